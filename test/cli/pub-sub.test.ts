import { expect, test } from 'vitest'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place

test('publishes its arguments, and a new topic takes text', async () => {
  const published = await hermes(['pub', 'greetings', 'hello', 'good morning'])
  expect(published.code).toBe(0)
  expect(published.stdout).toBe('')
  expect(published.stderr).toMatch(/^published 2 messages in .*, written, to greetings\n$/)
  expect(await place.read('greetings')).toEqual(['hello', 'good morning'])
})

test('publishes the lines of stdin as they are, the last one without a line end too', async () => {
  await hermes(['pub', 'lines'], { input: 'one\r\n\n  three \nfour' })
  expect(await place.read('lines')).toEqual(['one', '', '  three ', 'four'])
})

test('prints sequence and time with --meta, and objects with --json', async () => {
  const before = BigInt(Date.now()) * 1_000_000n
  await hermes(['pub', 'greetings', 'hello', 'again'])
  const [first = ''] = await place.read('greetings', '--meta')
  expect(first).toMatch(/^1\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z\thello$/)
  const lines = (await place.read('greetings', '--json')).map((line) => JSON.parse(line))
  expect(lines.map(({ sequence, value }) => [sequence, value])).toEqual([
    [1, 'hello'],
    [2, 'again'],
  ])
  const at = BigInt(lines[0].timestampNs)
  expect(at >= before && at <= BigInt(Date.now()) * 1_000_000n + 1_000_000n).toBe(true)
  // Both ways of writing the time are the same time.
  expect(Date.parse(first.split('\t')[1] as string)).toBe(Number(at / 1_000_000n))
  expect(first).toContain(`.${String(at % 1_000_000_000n).padStart(9, '0')}Z`)
})

test('says with --json what it published', async () => {
  const { lines, stderr } = await hermes(['pub', 'greetings', 'a', 'b', '--json', '--durability', 'synced'])
  expect(stderr).toBe('')
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0] as string)).toMatchObject({
    topic: 'greetings',
    codec: 'text',
    durability: 'synced',
    published: 2,
    lastSequence: 2,
  })
})

test('syncs before it ends with --durability synced', async () => {
  await hermes(['pub', 'ledger', 'a', 'b', 'c', '--durability', 'synced'])
  const { stdout } = await hermes(['info', 'ledger', '--json'])
  expect(JSON.parse(stdout)).toMatchObject({ nextSequence: 4, syncedSequence: 4 })
})

test('repeats its arguments up to --count, and stops reading stdin at it', async () => {
  await hermes(['pub', 'beat', 'tick', 'tock', '--count', '5'])
  expect(await place.read('beat')).toEqual(['tick', 'tock', 'tick', 'tock', 'tick'])
  // Its stdin stays open: the count alone ends it.
  const open = start(['pub', 'lines', '--count', '2'])
  open.child.stdin?.write('a\nb\nc\n')
  expect((await open.ended).code).toBe(0)
  expect(await place.read('lines')).toEqual(['a', 'b'])
})

test('publishes a line of stdin when it comes, without waiting for the end', async () => {
  const pub = start(['pub', 'chat'])
  pub.child.stdin?.write('first\n')
  const sub = await hermes(['sub', 'chat', '--await', '--from', 'earliest', '--count', '1'])
  expect(sub.stdout).toBe('first\n')
  pub.child.stdin?.end()
  expect((await pub.ended).code).toBe(0)
})

test('holds --rate', async () => {
  await hermes(['pub', 'beat', 'tick', '--count', '6', '--rate', '50'])
  const times = (await place.read('beat', '--json')).map((line) => BigInt(JSON.parse(line).timestampNs))
  // Five gaps of 20 ms; the first message of a topic takes a moment, and the others keep their times all the same.
  expect(Number((times[5] as bigint) - (times[0] as bigint))).toBeGreaterThan(70e6)
})

test('publishes batches of the size asked for, and the rest at the end', async () => {
  const input = Array.from({ length: 1003 }, (_, index) => `${index}\n`).join('')
  await hermes(['pub', 'numbers', '--codec', 'json', '--batch', '100'], { input })
  const messages = (await place.read('numbers', '--json')).map((line) => JSON.parse(line))
  expect(messages.map(({ value }) => value)).toEqual(Array.from({ length: 1003 }, (_, index) => index))
  // All messages of a batch have one timestamp.
  expect(new Set(messages.map(({ timestampNs }) => timestampNs)).size).toBeLessThanOrEqual(11)
})

test.each([
  ['text', ['plain', 'ünïcödé 😀', '{"not":"parsed"}']],
  ['json', ['{"a":[1,2.5,null,"x"]}', '"text"', '42', 'null']],
  ['msgpack', ['{"a":[1,2.5,null,"x"]}', '"text"', '-7']],
  ['raw', ['bytes as they are', 'ünïcödé']],
])('%s values come out as they went in', async (codec, values) => {
  await hermes(['pub', 'values', '--codec', codec, '--', ...values])
  expect(await place.read('values')).toEqual(values)
})

test('raw values can be any bytes, as they are, in hex or in base64', async () => {
  await hermes(['pub', 'bytes', '--codec', 'raw', '--encoding', 'hex', '00ff0a80', ''])
  await hermes(['pub', 'bytes', '--codec', 'raw', '--encoding', 'base64', '/w=='])
  await hermes(['pub', 'bytes'], { input: new Uint8Array([0xfe, 0xff, 10, 65]) })
  expect(await place.read('bytes', '--encoding', 'hex')).toEqual(['00ff0a80', '', 'ff', 'feff', '41'])
  const values = (await place.read('bytes', '--json')).map((line) => JSON.parse(line).value)
  expect(values).toEqual(['AP8KgA==', '', '/w==', '/v8=', 'QQ=='])
})

test('a struct topic is described by a short schema, and every kind of field comes out as it went in', async () => {
  const schema = place.file(
    'schema.json',
    JSON.stringify({
      id: 'u64',
      signed: 'i64',
      symbol: 'ascii(8)',
      name: 'utf8(16)',
      side: 'enum(buy,sell)',
      price: 'f64',
      size: 'u32',
      live: 'bool',
      key: 'bytes(4)',
      levels: 'f64[2]',
      inner: { a: 'i8', b: 'u53' },
      bids: 'u16[]',
    }),
  )
  const value =
    '{"id":"18446744073709551615","signed":"-9223372036854775808","symbol":"BTC","name":"Bitcóin","side":"sell",' +
    '"price":50000.25,"size":4294967295,"live":true,"key":"AQID/w==","levels":[1.5,-2],"inner":{"a":-128,"b":9007199254740991},"bids":[1,2,65535]}'
  const published = await hermes(['pub', 'trades', '--codec', 'struct', '--schema', schema, value])
  expect(published.stderr).toContain('published 1 message')
  expect(await place.read('trades')).toEqual([value])
  // The topic knows its layout now.
  await hermes(['pub', 'trades'], { input: `${value}\n\n${value}\n` })
  expect(await place.read('trades')).toEqual([value, value, value])
})

test('what sub prints, pub takes: NaN and all', async () => {
  const schema = '{"id":"u64","x":"f64","s":"utf8(8)"}'
  await hermes(['pub', 'a', '--schema', schema, '{"id":"1","x":null,"s":"q\\"\\n"}', '{"id":2,"x":-0.5,"s":""}'])
  const printed = await place.read('a')
  expect(printed).toEqual(['{"id":"1","x":null,"s":"q\\"\\n"}', '{"id":"2","x":-0.5,"s":""}'])
  const { stdout } = await hermes(['info', 'a', '--schema'])
  expect(JSON.parse(stdout).format).toBe('hermes-struct')
  const exported = place.file('exported.json', stdout)
  await hermes(['pub', 'b', '--schema', exported], { input: `${printed.join('\n')}\n` })
  expect(await place.read('b')).toEqual(printed)
  // A NaN is one: null alone would be printed for it and for nothing else.
  expect(
    (await hermes(['sub', 'b', '--codec', 'raw', '--encoding', 'hex', '--from', '1', '--end'])).lines[0],
  ).toContain('f87f')
})

test('--codec raw shows the payloads of any topic', async () => {
  await hermes(['pub', 'orders', '--codec', 'json', '{"id": 1}'])
  expect(await place.read('orders', '--codec', 'raw')).toEqual(['{"id": 1}'])
})

test('begins where --from says', async () => {
  await hermes(['pub', 'beat', 'a', 'b'])
  await new Promise((resolve) => setTimeout(resolve, 20))
  const between = new Date().toISOString()
  await hermes(['pub', 'beat', 'c'])
  const from = async (where: string) => (await hermes(['sub', 'beat', '--end', '--from', where])).lines
  expect(await from('earliest')).toEqual(['a', 'b', 'c'])
  expect(await from('2')).toEqual(['b', 'c'])
  expect(await from(between)).toEqual(['c'])
  expect(await from('latest')).toEqual([])
})

test('sub prints what comes until --count', async () => {
  await hermes(['pub', 'beat', 'old'])
  const sub = start(['sub', 'beat', '--from', '2', '--count', '3', '--wait', 'park'])
  const pub = await hermes(['pub', 'beat', 'a', 'b', 'c', 'd'])
  expect(pub.code).toBe(0)
  const { code, stdout, stderr } = await sub.ended
  expect([code, stdout, stderr]).toEqual([0, 'a\nb\nc\n', ''])
})

test('sub ends after --duration, and says so if --count was not reached by then', async () => {
  await hermes(['pub', 'beat', 'a'])
  const quiet = await hermes(['sub', 'beat', '--duration', '100ms'])
  expect([quiet.code, quiet.stdout, quiet.stderr]).toEqual([0, '', ''])
  const short = await hermes(['sub', 'beat', '--from', 'earliest', '--duration', '3s', '--count', '2'])
  expect([short.code, short.stdout]).toEqual([11, 'a\n'])
  expect(short.stderr).toContain('1 message of 2')
})

test('sub says so if the place of --until was not reached within --duration', async () => {
  await hermes(['pub', 'quotes', 'one', 'two'])
  const early = await hermes(['sub', 'quotes', '--from', 'earliest', '--until', '3', '--duration', '300ms'])
  expect(early).toMatchObject({ code: 11, stdout: 'one\ntwo\n' })
  expect(early.stderr).toMatch(/Time over: 2 messages within .*--until was not reached\. \[TIMED_OUT\]/)
  for (const end of [['--until', '2'], ['--until', 'latest'], ['--end']]) {
    const reached = await hermes(['sub', 'quotes', '--from', 'earliest', '--duration', '1m', ...end])
    expect({ end, ...reached }).toMatchObject({ end, code: 0, stdout: 'one\ntwo\n' })
  }
  const none = await hermes(['sub', 'nosuch', '--await', '--until', '3', '--duration', '100ms'])
  expect(none.code).toBe(11)
})

test('sub --await waits for the place and the topic, and misses nothing', async () => {
  const sub = start(['sub', 'later', '--await', '--count', '2'])
  await sub.until('Waiting for topic later to be made.\n')
  // It sees the topic only when everything is published.
  sub.child.kill('SIGSTOP')
  await hermes(['pub', 'later', 'first', 'second'])
  sub.child.kill('SIGCONT')
  expect((await sub.ended).stdout).toBe('first\nsecond\n')
})

test('two subscribers see all messages of two publishers', async () => {
  await hermes(['pub', 'shared', '--codec', 'json', '0'])
  const subs = [1, 2].map(() => start(['sub', 'shared', '--from', '2', '--count', '2000', '--json']))
  const input = (side: string) => Array.from({ length: 1000 }, (_, n) => `{"side":"${side}","n":${n}}\n`).join('')
  await Promise.all(['a', 'b'].map((side) => hermes(['pub', 'shared'], { input: input(side) })))
  for (const sub of subs) {
    const messages = (await sub.ended).lines.map((line) => JSON.parse(line))
    expect(messages.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 2000 }, (_, index) => index + 2))
    for (const side of ['a', 'b']) {
      const order = messages.filter(({ value }) => value.side === side).map(({ value }) => value.n)
      expect(order).toEqual(Array.from({ length: 1000 }, (_, index) => index))
    }
  }
})

test('places come from --dir, before or behind the command, or from HERMES_DIR; shm: is one', async () => {
  await hermes(['--dir', 'one', 'pub', 'topic', 'a'])
  expect((await hermes(['topics', '--dir', './one'])).stdout).toBe('topic\n')
  expect((await hermes(['topics'], { env: { HERMES_DIR: 'one' } })).stdout).toBe('topic\n')
  const name = `shm:cli-test-${process.pid}`
  try {
    await hermes(['pub', 'quotes', 'x', '--dir', name, '--segment-bytes', '1MiB'])
    expect((await hermes(['tail', 'quotes', '-d', name])).stdout).toBe('x\n')
  } finally {
    const { rmSync } = await import('node:fs')
    rmSync(`/dev/shm/hermes-cli-test-${process.pid}`, { recursive: true, force: true })
  }
})

test('--quiet leaves summaries out', async () => {
  const { code, stdout, stderr } = await hermes(['pub', 'greetings', 'hello', '--quiet'])
  expect([code, stdout, stderr]).toEqual([0, '', ''])
})

test('settings of a new topic are taken, and retention can be changed later', async () => {
  const fixed = ['--segment-bytes', '64KiB', '--max-payload', '1k', '--retain-bytes', '1MiB', '--retain-age', '2h']
  await hermes(['pub', 'small', 'x', ...fixed])
  const info = async () => JSON.parse((await hermes(['info', 'small', '--json'])).stdout)
  expect(await info()).toMatchObject({
    segmentBytes: 65_536,
    maxPayloadBytes: 1024,
    retention: { bytes: 1_048_576, ageMs: 7_200_000 },
  })
  await hermes(['pub', 'small', 'x', '--retain-age', '3h'])
  expect((await info()).retention).toEqual({ bytes: 1_048_576, ageMs: 10_800_000 })
})

test('ends behind the sequence of --until, which it waits for, and in front of the messages of a date', async () => {
  await hermes(['pub', 'beat', 'a', 'b', 'c'])
  expect((await hermes(['sub', 'beat', '--from', 'earliest', '--until', '2'])).lines).toEqual(['a', 'b'])
  expect((await hermes(['sub', 'beat', '--from', 'earliest', '--until', 'latest'])).lines).toEqual(['a', 'b', 'c'])
  const past = await hermes(['sub', 'beat', '--from', 'earliest', '--until', '2020-01-01T00:00:00Z'])
  expect([past.code, past.lines]).toEqual([0, []])
  const waiting = start(['sub', 'beat', '--from', 'earliest', '--until', '5'])
  await waiting.until('c')
  await hermes(['pub', 'beat', 'd', 'e', 'f'])
  expect(await waiting.ended).toMatchObject({ code: 0, stdout: 'a\nb\nc\nd\ne\n' })
  const both = await hermes(['sub', 'beat', '--until', '5', '--end'])
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("'--until <where>' cannot be used with")])
  const early = await hermes(['sub', 'beat', '--until', 'earliest'])
  expect([early.code, early.stderr]).toEqual([2, expect.stringContaining("Give 'latest', a sequence such as 1200")])
})

test('prints with --synced what is synced, and no more', async () => {
  await hermes(['pub', 'ledger', 'a', 'b', '--durability', 'synced'])
  const held = start(['pub', 'ledger'])
  held.child.stdin?.write('c\n')
  await expect.poll(async () => (await hermes(['info', 'ledger', '--json'])).stdout).toContain('"nextSequence":4')
  expect((await hermes(['sub', 'ledger', '--from', 'earliest', '--synced', '--end'])).lines).toEqual(['a', 'b'])
  expect((await hermes(['sub', 'ledger', '--from', 'earliest', '--end'])).lines).toEqual(['a', 'b', 'c'])
  held.child.stdin?.end()
  await held.ended
})
