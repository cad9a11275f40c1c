import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  ascii,
  bytes,
  type Codec,
  enumeration,
  f64,
  json,
  open,
  struct,
  u16,
  u32,
  u64,
  validated,
  withDefault,
} from '../../lib/index.js'
import { flipBit, segmentFiles } from '../helpers/log-files.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place
const dir = () => join(place.folder, 'hermes-data')
const markPath = (topic: string) => join(dir(), 'topics', topic, 'migration.json')

const Trade = struct({ symbol: ascii(8), price: f64, size: u32, side: enumeration(['buy', 'sell']) })

async function fill<In>(topic: string, codec: Codec<In, unknown, unknown>, values: Iterable<In>): Promise<void> {
  const there = await open(dir())
  const publisher = await there.topic(topic, { codec }).publisher()
  publisher.publishBatch(values)
  await there.close()
}

function* trades(count: number, from = 0) {
  for (let i = from; i < from + count; i++)
    yield { symbol: `S${i % 1000}`, price: i / 4, size: i, side: i % 3 === 0 ? ('sell' as const) : ('buy' as const) }
}

const migrate = async (...args: string[]) => {
  const { code, stdout, stderr } = await hermes(['topics', 'migrate', ...args, '--json'])
  return { code, report: stdout === '' ? undefined : JSON.parse(stdout), stderr }
}

/** The values of a topic as objects. */
const values = async (topic: string) => (await place.read(topic)).map((line) => JSON.parse(line))

test('without a new layout the bytes stay as they are, also of a codec that only its program knows, and in another place', async () => {
  await fill('own', { ...json, name: 'own', fingerprint: 'own-1' } as never, [{ a: 1 }, { b: [2] }])
  expect((await migrate('own', 'copy', '--segment-bytes', '1MiB')).report).toMatchObject({ copied: 2, left: 0 })
  const info = JSON.parse((await hermes(['info', 'copy', '--json'])).stdout)
  expect(info).toMatchObject({ codec: { name: 'own', fingerprint: 'own-1' }, segmentBytes: 2 ** 20 })
  expect(await place.read('copy', '--codec', 'raw')).toEqual(['{"a":1}', '{"b":[2]}'])
  expect((await migrate('own', 'own', '--to', 'elsewhere')).report).toMatchObject({ copied: 2 })
  expect(await place.read('own', '--codec', 'raw', '--dir', 'elsewhere')).toEqual(['{"a":1}', '{"b":[2]}'])
})

test('a struct gets another layout: wider numbers, other names, given values, the first time of publishing', async () => {
  await fill('a', Trade, trades(5))
  const schema = {
    symbol: 'ascii(12)',
    px: 'f64',
    size: 'u64',
    side: 'enum(sell,buy,none)',
    venue: 'ascii(4)',
    lots: 'u16',
    at: 'u64',
  }
  const file = place.file('new.json', JSON.stringify(schema))
  const options = [
    '--schema',
    file,
    '--rename',
    'price=px',
    '--set',
    'venue=XNYS',
    '--set',
    'lots=7',
    '--time-field',
    'at',
  ]
  expect((await migrate('a', 'b', ...options)).report).toMatchObject({ copied: 5, resumed: false, lastSequence: 5 })
  const old = (await place.read('a', '--json')).map((line) => JSON.parse(line))
  expect(await values('b')).toEqual(
    old.map(({ timestampNs, value: { symbol, price, size, side } }) => {
      return { symbol, px: price, size: String(size), side, venue: 'XNYS', lots: 7, at: timestampNs }
    }),
  )
})

test.each([
  ['a field without a source', { symbol: 'ascii(8)', venue: 'ascii(4)' }, [], "field 'venue' has no source 'venue'"],
  ['a field that no value fits', { symbol: 'f64' }, [], "field 'symbol' is f64, and no ascii becomes one"],
  ['a name that is not there', { price: 'f64' }, ['--set', 'prise=1'], "no field 'prise' in the new layout"],
  ['a field for the time that takes none', { symbol: 'ascii(8)' }, ['--time-field', 'symbol'], 'takes no time'],
])('%s is refused before anything is made', async (_, schema, more, told) => {
  await fill('a', Trade, trades(2))
  const { code, stderr } = await migrate('a', 'b', '--schema', JSON.stringify(schema), ...more)
  expect([code, stderr]).toEqual([8, expect.stringContaining(told)])
  expect((await hermes(['topics'])).stdout).toBe('a\n')
})

test('a layout that has grown is read in each of its ages, and a copy knows the former versions', async () => {
  const Grown = Trade.extend({ venue: withDefault(ascii(4), 'XNYS') })
  await fill('a', Trade, trades(2))
  await fill(
    'a',
    Grown,
    [...trades(1, 2)].map((trade) => ({ ...trade, venue: 'XLON' })),
  )
  await migrate('a', 'b', '--schema', '{"venue":"ascii(4)","size":"u32"}')
  expect(await values('b')).toEqual([
    { venue: 'XNYS', size: 0 },
    { venue: 'XNYS', size: 1 },
    { venue: 'XLON', size: 2 },
  ])
  await migrate('a', 'same')
  // Also a program with the first layout reads the copy.
  const there = await open(dir())
  const subscriber = await there.topic('same', { codec: Trade }).subscriber({ from: 'earliest' })
  const symbols: string[] = []
  subscriber.poll(({ symbol }) => symbols.push(symbol))
  expect(symbols).toEqual(['S0', 'S1', 'S2'])
  const schema = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  for (const version of [1, 2]) await fill('v', validated(json, schema, { version }), [version])
  await migrate('v', 'w')
  const { codec, history } = await there.info('w')
  expect([codec.schema, history?.map((one) => one.schema)]).toMatchObject([{ version: 2 }, [{ version: 1 }]])
  await there.close()
})

test('codecs become one another as sub --json and pub have it, and a value that does not fit is named', async () => {
  await fill('a', struct({ id: u64, key: bytes(2) }), [{ id: 2n ** 60n, key: Uint8Array.of(1, 2) }])
  await migrate('a', 'j', '--codec', 'json', '--rename', 'id=number', '--set', 'kind="x"')
  expect(await values('j')).toEqual([{ key: 'AQI=', number: String(2n ** 60n), kind: 'x' }])
  await migrate('j', 'back', '--schema', '{"number":"u64","key":"bytes(2)"}')
  expect(await values('back')).toEqual([{ number: String(2n ** 60n), key: 'AQI=' }])
  await fill('n', json, [{ n: 1 }, { n: 2 }, { n: 70_000 }, { n: 3 }])
  const { code, stderr } = await migrate('n', 'small', '--schema', '{"n":"u16"}')
  expect([code, stderr]).toEqual([7, expect.stringMatching(/message 3 of 'n'.*'n'/)])
  // What came before it is there, and is not copied again.
  expect(await values('small')).toEqual([{ n: 1 }, { n: 2 }])
  expect((await migrate('n', 'small', '--schema', '{"n":"u16"}')).code).toBe(7)
  expect(await values('small')).toEqual([{ n: 1 }, { n: 2 }])
})

test('run again, it copies what has come since; with other options, or into a topic of others, it is refused', async () => {
  await fill('a', Trade, trades(3))
  const options = ['--schema', '{"size":"u64"}']
  await migrate('a', 'b', ...options)
  await fill('a', Trade, trades(2, 3))
  expect((await migrate('a', 'b', ...options)).report).toMatchObject({ copied: 2, resumed: true, lastSequence: 5 })
  expect((await values('b')).map(({ size }) => size)).toEqual(['0', '1', '2', '3', '4'])
  const other = await migrate('a', 'b', '--schema', '{"price":"f64"}')
  expect([other.code, other.stderr]).toEqual([8, expect.stringContaining('begun with other options')])
  await fill('b', struct({ size: u64 }), [{ size: 99n }])
  const mixed = await migrate('a', 'b', ...options)
  expect([mixed.code, mixed.stderr]).toEqual([8, expect.stringContaining('others have published')])
  const taken = await migrate('b', 'a')
  expect([taken.code, taken.stderr]).toEqual([8, expect.stringContaining('no migration made it')])
  writeFileSync(markPath('b'), '{}')
  expect((await migrate('a', 'b', ...options)).code).toBe(5)
})

test.each(['SIGKILL', 'SIGINT'] as const)(
  '%s in the middle: it goes on, and each message is there once',
  async (signal) => {
    const count = 400_000
    const narrow = struct({ id: u32 })
    await fill(
      'a',
      narrow,
      (function* () {
        for (let id = 0; id < count; id++) yield { id }
      })(),
    )
    const options = ['--schema', '{"id":"u64"}']
    let runs = 0
    for (let isDone = false; !isDone; runs++) {
      const running = start(['topics', 'migrate', 'a', 'b', ...options, '--json'])
      if (runs < 4) {
        // Let it come a little farther each time: once before the topic is there, then in the middle of it.
        const wanted = runs * 40_000
        for (;;) {
          const found = await hermes(['info', 'b', '--json'])
          if (running.child.exitCode !== null) break
          if (wanted === 0 || (found.code === 0 && JSON.parse(found.stdout).nextSequence > wanted)) break
        }
        running.child.kill(signal)
      }
      const { code } = await running.ended
      isDone = code === 0
      if (!isDone && signal === 'SIGINT') expect(code).toBe(130)
    }
    const there = await open(dir())
    const subscriber = await there.topic('b', { codec: struct({ id: u64 }) }).subscriber({ from: 'earliest' })
    let next = 0n
    while (subscriber.lag > 0) subscriber.poll(({ id }) => expect(id === next++).toBe(true))
    expect(Number(next)).toBe(count)
    await there.close()
  },
)

test('behind a mark, only what the migration itself has put there is passed over', async () => {
  await fill('a', Trade, trades(6))
  const options = ['--schema', '{"size":"u32"}']
  await migrate('a', 'b', ...options)
  const done = JSON.parse(readFileSync(markPath('b'), 'utf8'))
  // As if it had been killed behind the second message.
  const interrupted = { ...done, source: 3, target: 3, isWhole: false }
  writeFileSync(markPath('b'), JSON.stringify(interrupted))
  expect((await migrate('a', 'b', ...options)).report).toMatchObject({ copied: 0, resumed: true })
  expect(await values('b')).toHaveLength(6)
  await fill('a', Trade, trades(1, 6))
  await fill('b', struct({ size: u32 }), [{ size: 77 }])
  writeFileSync(markPath('b'), JSON.stringify(interrupted))
  const foreign = await migrate('a', 'b', ...options)
  expect([foreign.code, foreign.stderr]).toEqual([8, expect.stringContaining('Message 7 of topic')])
  expect(JSON.parse(readFileSync(markPath('b'), 'utf8'))).toEqual(interrupted)
})

test('damage ends it with 5 where it is; --skip-damage goes on behind it', async () => {
  await fill('a', struct({ n: u16 }), [{ n: 1 }, { n: 2 }, { n: 3 }])
  const [file = ''] = segmentFiles(dir(), 'a')
  flipBit(file, 256 + 40 + 33)
  const { code } = await migrate('a', 'b', '--schema', '{"n":"u32"}')
  expect([code, await values('b')]).toEqual([5, [{ n: 1 }]])
  expect((await migrate('a', 'b', '--schema', '{"n":"u32"}', '--skip-damage')).report).toMatchObject({ copied: 1 })
  expect(await values('b')).toEqual([{ n: 1 }, { n: 3 }])
})

test('brokers and rings are refused with what to do', async () => {
  for (const args of [
    ['a', 'b', '--url', 'tcp://127.0.0.1:1'],
    ['a', 'b', '--to', 'ring:x'],
  ]) {
    const { code, stderr } = await migrate(...args)
    expect([code, JSON.parse(stderr).error.code]).toEqual([1, 'UNSUPPORTED'])
  }
  expect(existsSync(dir())).toBe(false)
})

test('Python reads what was migrated as TypeScript does', async () => {
  await fill('a', Trade, trades(50))
  await migrate('a', 'b', '--schema', '{"size":"u64","symbol":"utf8(10)","price":"f32"}')
  const { url } = await place.serve()
  const program = `
import sys
from hermes_mq import connect, struct
import json
with connect("${url}") as hermes:
    codec = struct(hermes.info("b").codec.schema)
    with hermes.topic("b", codec=codec).subscriber("earliest") as subscriber:
        for message in subscriber:
            print(json.dumps(message.value))
            if message.sequence == 50: break
`
  const env = { ...process.env, PYTHONPATH: join(import.meta.dirname, '../../clients/python') }
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { encoding: 'utf8', env, timeout: 60_000 })
  expect([status, stderr]).toEqual([0, ''])
  const read = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(read).toEqual((await values('b')).map((value) => ({ ...value, size: Number(value.size) })))
})
