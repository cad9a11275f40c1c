import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { errorCodes } from '../../lib/base/errors.js'
import { exitCodeOf } from '../../lib/cli/exit.js'
import { exitMeanings } from '../../lib/cli/exit-codes.js'
import { HermesError } from '../../lib/index.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place

test('every error code has an exit code of the documented table, and usage, absence and access have their own', () => {
  for (const code of errorCodes) expect(exitMeanings).toHaveProperty(String(exitCodeOf(new HermesError(code, ''))))
  const exit = (code: (typeof errorCodes)[number]) => exitCodeOf(new HermesError(code, ''))
  expect(
    ['INVALID_ARGUMENT', 'NOT_FOUND', 'ACCESS_DENIED', 'CORRUPT', 'DISK_FULL'].map((code) => exit(code as never)),
  ).toEqual([2, 3, 4, 5, 6])
  expect(exitCodeOf(new Error('other'))).toBe(1)
})

/** Arguments, exit code, error code, and what the message says. */
const usage: [string[], string, string][] = [
  [['sbu', 'x'], 'INVALID_ARGUMENT', 'Did you mean sub?'],
  [['pub', 'x', '--cuont', '3'], 'UNKNOWN_OPTION', 'Did you mean --count?'],
  [['pub'], 'INVALID_ARGUMENT', "Missing required argument 'topic'"],
  [['ping', 'extra'], 'INVALID_ARGUMENT', 'Too many arguments'],
  [['topics', 'extra'], 'INVALID_ARGUMENT', "'extra'"],
  [['sub', 'x', '--count', '-1'], 'INVALID_ARGUMENT', 'integer of at least 1'],
  [['sub', 'x', '--count', '1e3'], 'INVALID_ARGUMENT', 'integer of at least 1'],
  [['sub', 'x', '--duration', 'soon'], 'INVALID_ARGUMENT', '30s'],
  [['sub', 'x', '--duration', '99d'], 'INVALID_ARGUMENT', '24 days'],
  [['sub', 'x', '--from', 'yesterday'], 'INVALID_ARGUMENT', 'earliest'],
  [['sub', 'x', '--from', '0'], 'INVALID_ARGUMENT', 'at least 1'],
  [['sub', 'x', '--wait', 'sleep'], 'INVALID_ARGUMENT', 'adaptive'],
  [['pub', 'x', 'y', '--rate', '0'], 'INVALID_ARGUMENT', 'above 0'],
  [['pub', 'x', 'y', '--codec', 'xml'], 'INVALID_ARGUMENT', 'msgpack'],
  [['pub', 'x', 'y', '--segment-bytes', '70000'], 'INVALID_ARGUMENT', '4KiB'],
  [['pub', 'x', 'y', '--max-payload', '1G'], 'INVALID_ARGUMENT', '256MiB'],
  [['topics', '--url', 'quotes'], 'INVALID_ARGUMENT', 'tcp://host:port'],
  [['topics', '--url', 'localhost:9000'], 'INVALID_ARGUMENT', 'tcp://localhost:9000'],
  [['topics', '--dir', 'localhost:9000'], 'INVALID_ARGUMENT', 'tcp://localhost:9000'],
  [['pub', 'x', 'y', '--dir', '127.0.0.1:9000'], 'INVALID_ARGUMENT', './127.0.0.1:9000'],
  [['mirror', '127.0.0.1:9000/orders', 'data/orders'], 'INVALID_ARGUMENT', 'tcp://127.0.0.1:9000'],
  [['top', '--admin', 'nowhere'], 'INVALID_ARGUMENT', 'http://host:port'],
  [['top', '--admin', 'tcp://127.0.0.1:9464'], 'INVALID_ARGUMENT', 'http://host:port'],
  [['top', '--admin', 'http://'], 'INVALID_ARGUMENT', 'http://host:port'],
  [['top', '--admin', 'localhost:99999'], 'INVALID_ARGUMENT', 'http://host:port'],
  [['top', '--admin', 'http://localhost:9464/metrics'], 'INVALID_ARGUMENT', 'nothing more'],
  [['topics', '--url', 'tcp://127.0.0.1:9', '--dir', 'data'], 'INVALID_ARGUMENT', 'cannot be used with'],
  [['topics', '--dir', '~/data'], 'INVALID_ARGUMENT', "begins with '~'"],
  [['pub', 'x', 'y', '--codec', 'struct'], 'INVALID_ARGUMENT', '--schema'],
  [['pub', 'x', 'y', '--codec', 'json', '--schema', '{}'], 'INVALID_ARGUMENT', '--codec struct'],
  [['pub', 'x', 'y', '--schema', '{"a":"f46"}'], 'INVALID_ARGUMENT', 'f64'],
  [['pub', 'x', 'y', '--schema', '{"a":'], 'INVALID_ARGUMENT', 'not JSON'],
  [['pub', '../x', 'y'], 'INVALID_NAME', '../x'],
  [['pub', 'x', 'y', '--dir', 'kafka:broker'], 'UNSUPPORTED', 'kafka:'],
  [['completion', 'tcsh'], 'INVALID_ARGUMENT', 'bash'],
]

test.each(usage)('refuses %j', async (args, code, text) => {
  const { code: exit, stdout, stderr } = await hermes(args)
  expect(stderr).toContain(`[${code}]`)
  expect(stderr).toContain(text)
  expect(stdout).toBe('')
  expect(exit).toBe(code === 'UNSUPPORTED' ? 1 : 2)
})

test('failures are JSON objects with --json', async () => {
  const absent = await hermes(['sub', 'nothing', '--json', '--dir', 'nowhere'])
  expect(absent.code).toBe(3)
  expect(JSON.parse(absent.stderr).error).toMatchObject({ code: 'NOT_FOUND' })
  const wrong = await hermes(['sub', 'x', '--form', '1', '--json'])
  expect(JSON.parse(wrong.stderr).error).toMatchObject({ code: 'UNKNOWN_OPTION' })
})

test('a topic that does not exist is named with the likely one', async () => {
  await hermes(['pub', 'quotes', 'x'])
  for (const command of ['sub', 'tail', 'info']) {
    const { code, stderr } = await hermes([command, 'qoutes'])
    expect(code).toBe(3)
    expect(stderr).toContain("Did you mean 'quotes'?")
  }
  // Looking for it has not made it.
  expect((await hermes(['topics'])).stdout).toBe('quotes\n')
})

test('a place that does not exist is not made by looking', async () => {
  for (const args of [['topics'], ['info', 'x'], ['tail', 'x'], ['sub', 'x']]) {
    expect((await hermes([...args, '--dir', 'nowhere'])).code).toBe(3)
  }
  expect((await hermes(['topics', '--dir', 'nowhere'])).code).toBe(3)
})

test('a file, or a directory of somebody else, is no place', async () => {
  place.file('plain', '')
  mkdirSync(join(place.folder, 'photos'))
  writeFileSync(join(place.folder, 'photos', 'cat.jpg'), '')
  expect(await hermes(['pub', 'x', 'y', '--dir', 'plain'])).toMatchObject({ code: 3 })
  const photos = await hermes(['pub', 'x', 'y', '--dir', 'photos'])
  expect(photos.code).toBe(3)
  expect(photos.stderr).toContain('NOT_HERMES')
  expect((await hermes(['sub', 'x', '--await', '--dir', 'photos'])).code).toBe(3)
})

test('a directory that cannot be written is access denied', async () => {
  // Not even root may make a folder there.
  const { code, stderr } = await hermes(['pub', 'x', 'y', '--dir', '/sys/hermes-cli-test'])
  expect(stderr).toContain('ACCESS_DENIED')
  expect(code).toBe(4)
})

test('another codec than the topic has is refused, for reading and writing', async () => {
  await hermes(['pub', 'orders', '--codec', 'json', '1'])
  for (const args of [
    ['sub', 'orders', '--codec', 'text'],
    ['sub', 'orders', '--codec', 'struct'],
    ['pub', 'orders', '--codec', 'raw', 'x'],
    ['pub', 'orders', '--codec', 'struct', 'x'],
    ['pub', 'orders', '--schema', '{"a":"u8"}', '{"a":1}'],
    ['info', 'orders', '--schema'],
  ]) {
    const { code, stderr } = await hermes(args)
    expect(stderr).toContain('CODEC_MISMATCH')
    expect(code).toBe(8)
  }
  expect(await place.read('orders')).toEqual(['1'])
})

test.each([[[]], [['--batch', '100']]])(
  'a bad line of JSON is named, and the lines before it are published %j',
  async (batch) => {
    const input = '{"n":1}\n\n{"n":2}\n{"n":\n{"n":4}\n'
    const { code, stderr } = await hermes(['pub', 'orders', '--codec', 'json', ...batch], { input })
    expect(code).toBe(7)
    expect(stderr).toContain('line 4: This is not JSON')
    expect(stderr).toContain('2 messages published')
    expect(await place.read('orders')).toEqual(['{"n":1}', '{"n":2}'])
  },
)

test.each([[[]], [['--batch', '3']], [['--batch', '100']]])(
  'a value that does not fit its struct is named %j',
  async (batch) => {
    const input = '{"n":1}\n{"n":2}\n{"n":3}\n{"n":4}\n{"n":256}\n{"n":6}\n'
    const { code, stderr } = await hermes(['pub', 'small', '--schema', '{"n":"u8"}', ...batch], { input })
    expect(code).toBe(7)
    expect(stderr).toContain("line 5: Can't encode struct: field 'n'")
    expect(stderr).toContain('4 messages published')
    expect(await place.read('small')).toHaveLength(4)
  },
)

test('bytes that are no UTF-8 are refused as text, hex and base64 that are none as bytes', async () => {
  const input = new Uint8Array([0x6f, 0x6b, 10, 0xff, 10])
  const text = await hermes(['pub', 'words'], { input })
  expect(text.stderr).toContain('line 2: This is not valid UTF-8')
  expect(text.code).toBe(7)
  expect((await hermes(['pub', 'b', '--codec', 'raw', '--encoding', 'hex', 'abc'])).code).toBe(7)
  expect((await hermes(['pub', 'b', '--codec', 'raw', '--encoding', 'base64', 'a'])).code).toBe(7)
  // A replacement character that somebody wrote is text like any other.
  expect((await hermes(['pub', 'words', '\ufffd'])).code).toBe(0)
})

test('a value over the limit is refused', async () => {
  await hermes(['pub', 'small', 'x', '--max-payload', '1k'])
  const { code, stderr } = await hermes(['pub', 'small', 'y'.repeat(1025)])
  expect(stderr).toContain('argument 1: ')
  expect(stderr).toContain('PAYLOAD_TOO_LARGE')
  expect(code).toBe(7)
})

test('a setting that is fixed, and an exclusive publisher, are refused with codes of their own', async () => {
  await hermes(['pub', 'small', 'x', '--segment-bytes', '64k'])
  expect((await hermes(['pub', 'small', 'x', '--segment-bytes', '128k'])).code).toBe(8)
  const holder = start(['pub', 'small', '--exclusive'])
  holder.child.stdin?.write('held\n')
  await hermes(['sub', 'small', '--from', '2', '--count', '1'])
  const second = await hermes(['pub', 'small', '--exclusive', 'x'])
  expect(second.stderr).toContain('EXCLUSIVE_HELD')
  expect(second.code).toBe(9)
  holder.child.stdin?.end()
  expect((await holder.ended).code).toBe(0)
})

test('a sequence that does not exist yet is out of range', async () => {
  await hermes(['pub', 'beat', 'x'])
  const { code, stderr } = await hermes(['sub', 'beat', '--from', '1000', '--end'])
  expect(stderr).toContain('OUT_OF_RANGE')
  expect(code).toBe(10)
})

test('a damaged topic is reported, with those that are whole', async () => {
  await hermes(['pub', 'a', 'x'])
  await hermes(['pub', 'b', 'x'])
  const file = join(place.folder, 'hermes-data/topics/a/topic.json')
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 40))
  const { code, stderr } = await hermes(['sub', 'a', '--from', 'earliest'])
  expect(stderr).toContain('CORRUPT')
  expect(code).toBe(5)
})

test('help has examples and exit codes on every page, on stdout', async () => {
  const commands = ['pub', 'sub', 'tail', 'topics', 'info', 'replay', 'bench', 'completion']
  const top = await hermes(['--help'])
  expect(top.code).toBe(0)
  for (const command of commands) {
    expect(top.stdout).toContain(`  ${command} `)
    const { code, stdout, stderr } = await hermes([command, '--help'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Usage: hermes ${command}`)
    expect(stdout).toMatch(/Examples:\n {2}\S+/)
    expect(stdout).toContain('  130  interrupted')
    expect(stdout).toContain('--dir <place>')
  }
})

test('without a command it shows help on stderr and fails', async () => {
  const { code, stdout, stderr } = await hermes([])
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain('Usage: hermes')
})

test('a directory that is not there is told with what makes it, without a line of the system', async () => {
  const { code, stderr } = await hermes(['topics', '--dir', 'nowhere'])
  expect(code).toBe(3)
  expect(stderr).toMatch(/There is no directory .*nowhere\. `hermes pub` makes it/)
  expect(stderr).not.toContain('ENOENT')
})

test('a value that is no string is told what a topic of text takes', async () => {
  expect((await hermes(['pub', 'texts', 'x'])).code).toBe(0)
  const { code, stderr } = await hermes(['pub', 'texts', '--json'], {
    input: '{"sequence":1,"timestampNs":"1","value":5}\n',
  })
  expect(code).toBe(7)
  expect(JSON.parse(stderr).error.message).toMatch(/are strings, and this one is 5\. Give --codec json/)
})

test('column names that no struct can have are told with what can be done', async () => {
  const file = place.file('names.csv', 'a b,2c\n1,2\n')
  const { code, stderr } = await hermes(['replay', file, 'names', '--speed', 'max'])
  expect(code).toBe(2)
  expect(stderr).toMatch(/Column "a b".*--columns.*--codec json/)
})

test('what can not be published leaves no topic behind', async () => {
  writeFileSync(join(place.folder, 'words.ndjson'), '{"a": \n{"a":1}\n')
  writeFileSync(join(place.folder, 'times.csv'), 'when,price\nsoon,1\n')
  writeFileSync(join(place.folder, 'price.csv'), 'price\nhigh\n')
  writeFileSync(join(place.folder, 'large.ndjson'), `${JSON.stringify({ a: 'x'.repeat(70_000) })}\n`)
  await (await hermes(['pub', 'kept', 'one'])).code
  for (const [args, says] of [
    [['replay', 'words.ndjson', 't', '--speed', 'max'], 'line 1'],
    [['replay', 'times.csv', 't', '--time', 'when'], 'line 2'],
    [['replay', 'price.csv', 't', '--speed', 'max', '--schema', '{"price":"f64"}'], 'line 2'],
    [['replay', 'large.ndjson', 't', '--speed', 'max'], 'line 1'],
    [['pub', 't', '--codec', 'json', '{'], 'argument 1'],
    [['pub', 't', 'x'.repeat(70_000)], 'argument 1'],
  ] as const) {
    const { code, stderr } = await hermes([...args])
    expect([args[0], code, stderr]).toEqual([args[0], 7, expect.stringContaining(says)])
    expect((await hermes(['topics'])).lines).toEqual(['kept'])
  }
  // One that is good is there, with what came before the failure.
  writeFileSync(join(place.folder, 'words.ndjson'), '{"a":1}\n{"a":\n')
  expect((await hermes(['replay', 'words.ndjson', 't', '--speed', 'max'])).code).toBe(7)
  expect((await hermes(['sub', 't', '--from', 'earliest', '--end'])).lines).toEqual(['{"a":1}'])
})
