import { expect, test } from 'vitest'
import { ascii, f64, json, open, struct, u32, u64, validated, withDefault } from '../../lib/index.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes } = place

const Trade = struct({ symbol: ascii(8), price: f64 })
const Trade2 = Trade.extend({ size: withDefault(u32, 1) })
const Trade3 = Trade2.extend({ venue: withDefault(ascii(4), 'XNYS') })

/** Compares two schemas, and gives exit code, what was found, and what was told. */
async function check(old: unknown, now: unknown) {
  const files = [place.file('old.json', JSON.stringify(old)), place.file('new.json', JSON.stringify(now))]
  const { code, stdout, stderr } = await hermes(['schema', 'check', 'old.json', 'new.json', '--json'])
  const people = await hermes(['schema', 'check', ...files])
  expect(people.code).toBe(code)
  expect(people.stdout === '').toBe(code !== 0)
  return { code, found: stdout === '' ? undefined : JSON.parse(stdout), stderr, text: people.stdout + people.stderr }
}

test('a layout that has grown is compatible both ways, and the added fields are named', async () => {
  const grown = await check(Trade.schema, Trade3.schema)
  expect([grown.code, grown.found]).toEqual([
    0,
    {
      compatible: true,
      relation: 'newer',
      added: [
        { field: 'size', wanted: 'u32' },
        { field: 'venue', wanted: 'ascii(4)' },
      ],
      differences: [],
      reasons: [],
    },
  ])
  expect(grown.text).toMatch(/^compatible: \S+new\.json has grown from \S+old\.json by size u32, venue ascii\(4\)\n$/)
  expect((await check(Trade3.schema, Trade.schema)).found).toMatchObject({ compatible: true, relation: 'older' })
  expect((await check(Trade2.schema, Trade2.schema)).found).toMatchObject({
    compatible: true,
    relation: 'same',
    added: [],
  })
  // The short form is the same layout.
  expect((await check({ symbol: 'ascii(8)', price: 'f64' }, Trade.schema)).found.relation).toBe('same')
})

test.each([
  ['another type', struct({ symbol: ascii(8), price: u64 }), [{ field: 'price', found: 'f64', wanted: 'u64' }]],
  ['a field that is gone', struct({ symbol: ascii(8) }), [{ field: 'price', found: 'f64' }]],
  [
    'a field without a default',
    struct({ symbol: ascii(8), price: f64, size: u32 }),
    [{ field: 'size', wanted: 'u32' }],
  ],
] as const)('%s is refused with 8, and the field is named', async (_, now, differences) => {
  const { code, found, stderr, text } = await check(Trade.schema, now.schema)
  expect([code, found.compatible, found.differences]).toEqual([8, false, differences])
  expect(JSON.parse(stderr).error).toMatchObject({ code: 'CODEC_MISMATCH', details: { differences } })
  expect(text).toContain(`field '${differences[0].field}'`)
  if (differences[0].field === 'size') expect(text).toContain('withDefault(type, value)')
})

test('another default, another order and other steps are refused', async () => {
  const otherDefault = await check(Trade2.schema, Trade.extend({ size: withDefault(u32, 2) }).schema)
  expect([otherDefault.code, otherDefault.found.differences]).toEqual([
    8,
    [
      {
        field: 'size',
        found: 'u32, added with the default bytes 01000000',
        wanted: 'u32, added with the default bytes 02000000',
      },
    ],
  ])
  const order = await check(Trade.schema, struct({ price: f64, symbol: ascii(8) }).schema)
  expect([order.code, order.text]).toEqual([8, expect.stringContaining('in another order: symbol, price')])
  const oneStep = Trade.extend({ size: withDefault(u32, 1), venue: withDefault(ascii(4), 'XNYS') })
  const steps = await check(Trade3.schema, oneStep.schema)
  expect([steps.code, steps.text]).toEqual([8, expect.stringContaining('were added in other steps')])
})

test('what info prints of a topic is taken, with the versions that it had', async () => {
  const schema = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  const hermesPlace = await open(`${place.folder}/hermes-data`)
  for (const version of [1, 2]) {
    const codec = validated(json, schema, { version })
    await (await hermesPlace.topic('orders', { codec }).publisher()).close()
  }
  await (await hermesPlace.topic('trades', { codec: Trade2 }).publisher()).close()
  await hermesPlace.close()
  const info = async (topic: string) => JSON.parse((await hermes(['info', topic, '--json'])).stdout)
  const orders = await info('orders')
  const version = (version: number, reads: number) => ({ format: 'hermes-version', version, reads, readBy: 1 })
  expect((await check(orders, version(3, 1))).found).toMatchObject({ compatible: true, relation: 'newer' })
  expect((await check(orders, version(1, 1))).found.relation).toBe('older')
  const closed = await check(orders, version(3, 2))
  expect([closed.code, closed.text]).toEqual([8, expect.stringContaining('the topic holds some of version 1')])
  const trades = await info('trades')
  expect((await check(trades, Trade3.schema)).found.relation).toBe('newer')
  const codecs = await check(trades, version(1, 1))
  expect([codecs.code, codecs.text]).toEqual([8, expect.stringContaining('the codec is struct in')])
})

test('files that are none of these are named, and nothing is believed of a fingerprint', async () => {
  place.file('good.json', JSON.stringify(Trade.schema))
  expect((await hermes(['schema', 'check', 'good.json', 'nowhere.json'])).code).toBe(3)
  place.file('bad.json', '[1]')
  expect(await hermes(['schema', 'check', 'good.json', 'bad.json'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('bad.json must hold a JSON object'),
  })
  place.file('lie.json', JSON.stringify({ ...Trade2.schema, fingerprint: Trade.schema.fingerprint }))
  expect(await hermes(['schema', 'check', 'good.json', 'lie.json'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('lie.json: '),
  })
})
