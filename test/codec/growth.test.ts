import { describe, expect, expectTypeOf, it } from 'vitest'
import { regionOf } from '../../lib/codec/region.js'
import * as f from '../../lib/codec/struct/field.js'
import {
  ascii as asciiField,
  Decoder,
  Encoder,
  f64,
  struct,
  structFromSchema,
  u8,
  u32,
  u64,
  type ValueOf,
  type ViewOf,
  varUtf8,
  withDefault,
} from '../../lib/index.js'
import { Random } from '../../lib/testkit/random.js'
import { failure } from '../helpers/failure.js'
import { lineOf } from './growth-lines.js'
import { interpreterOf, recordOf } from './struct-fuzz.js'

const Trade = struct({ symbol: asciiField(8), price: f64, size: u32 }, { name: 'Trade' })
const Second = Trade.extend({ venue: withDefault(asciiField(4), 'XNYS'), flags: withDefault(u8, 7) })
const Third = Second.extend({ order: withDefault(u64, 9n) })

type Loose = { [key: string]: unknown }

/** A schema that somebody tampers with. */
interface LooseSchema {
  [key: string]: unknown
  sizes: unknown[]
  fields: { [key: string]: unknown }[]
}

const old = { symbol: 'BTC', price: 50_000, size: 3 }

function encoded<In>(
  codec: { encode(value: In, target: ReturnType<typeof regionOf>, at: number, limit: number): number },
  value: In,
): Uint8Array {
  const target = regionOf(new Uint8Array(8192).fill(0xaa))
  return target.bytes.slice(0, codec.encode(value, target, 0, 8192))
}

function decoded<Out>(
  codec: { decode(source: ReturnType<typeof regionOf>, at: number, length: number): Out },
  payload: Uint8Array,
): Out {
  return codec.decode(regionOf(Uint8Array.from([1, 2, 3, ...payload, 4, 5])), 3, payload.length)
}

describe('a struct that grows', () => {
  it('keeps the fields where they were, and lays the new ones behind the end, padding included', () => {
    expect(Trade.byteLength).toBe(24)
    expect(Second.schema).toEqual({
      format: 'hermes-struct',
      version: 2,
      name: 'Trade',
      fingerprint: Second.fingerprint,
      size: 32,
      align: 8,
      sizes: [24, 32],
      fields: [
        ...Trade.schema.fields,
        { name: 'venue', offset: 24, type: 'ascii', size: 4, fallback: '584e5953' },
        { name: 'flags', offset: 28, type: 'u8', size: 1, fallback: '07' },
      ],
    })
    expect(Third.schema.sizes).toEqual([24, 32, 40])
    expect(new Set([Trade, Second, Third].map(({ fingerprint }) => fingerprint)).size).toBe(3)
  })

  it('finds the defaults in old messages', () => {
    const payload = encoded(Trade, old)
    expect(decoded(Second, payload)).toEqual({ ...old, venue: 'XNYS', flags: 7 })
    expect(decoded(Third, payload)).toEqual({ ...old, venue: 'XNYS', flags: 7, order: 9n })
    const view = Third.reader().read(regionOf(payload), 0, payload.length)
    expect([view.symbol, view.price, view.venue, view.flags, view.order]).toEqual(['BTC', 50_000, 'XNYS', 7, 9n])
    expect(view.toObject()).toEqual({ ...old, venue: 'XNYS', flags: 7, order: 9n })
  })

  it('passes over what a newer struct has added', () => {
    const payload = encoded(Third, { ...old, venue: 'XLON', flags: 1, order: 5n })
    expect(payload.length).toBe(40)
    expect(decoded(Trade, payload)).toEqual(old)
    expect(decoded(Second, payload)).toEqual({ ...old, venue: 'XLON', flags: 1 })
    const view = Trade.reader().read(regionOf(payload), 0, payload.length)
    expect(view.toObject()).toEqual(old)
  })

  it('fills in what a published value leaves out', () => {
    expect(decoded(Third, encoded(Third, { ...old, flags: 1 }))).toEqual({ ...old, venue: 'XNYS', flags: 1, order: 9n })
  })

  it('goes from one message to the next of another age', () => {
    const reader = Second.reader()
    const short = encoded(Trade, old)
    const long = encoded(Second, { ...old, size: 4, venue: 'XLON', flags: 1 })
    const region = regionOf(Uint8Array.from([...short, ...long, ...short]))
    const seen = [
      [0, 24],
      [24, 32],
      [56, 24],
    ].map(([at, length]) => reader.read(region, at as number, length as number).toObject())
    expect(seen.map(({ size, venue, flags }) => [size, venue, flags])).toEqual([
      [3, 'XNYS', 7],
      [4, 'XLON', 1],
      [3, 'XNYS', 7],
    ])
  })

  it('refuses a payload of a length that it never had', async () => {
    for (const length of [0, 23, 25, 31, 33, 39]) {
      const error = await failure('DECODE_FAILED', () => decoded(Third, new Uint8Array(length)))
      expect(error.message).toContain('24 bytes or 32 bytes or 40 bytes')
    }
  })

  it('comes back from its schema, which is checked', async () => {
    const schema = JSON.parse(JSON.stringify(Third.schema))
    expect(structFromSchema(schema).schema).toEqual(Third.schema)
    const refused = async (change: (schema: LooseSchema) => void, what: RegExp) => {
      const changed = structuredClone(schema)
      change(changed)
      expect((await failure('INVALID_ARGUMENT', () => structFromSchema(changed))).message).toMatch(what)
    }
    await refused((one) => delete (one as Partial<LooseSchema>).sizes, /fallback/)
    await refused((one) => (one['version'] = 1), /version/)
    await refused((one) => (one.sizes = [24, 40]), /fingerprint/)
    await refused((one) => (one.sizes = [24, 32, 40, 48]), /size/)
    await refused((one) => (one.sizes = 'x' as never), /sizes/)
    await refused((one) => (one.sizes[0] = '24'), /sizes/)
    await refused((one) => ((one.fields[3] as Loose)['fallback'] = '58'), /fallback/)
    await refused((one) => ((one.fields[3] as Loose)['fallback'] = 'zz4e5953'), /fallback/)
    await refused((one) => ((one.fields[3] as Loose)['fallback'] = '00ff0000'), /fallback/)
    await refused((one) => ((one.fields[4] as Loose)['fallback'] = '08'), /fingerprint/)
    await refused((one) => delete (one.fields[4] as Loose)['fallback'], /fallback/)
    await refused((one) => ((one.fields[0] as Loose)['fallback'] = '0000000000000000'), /fallback/)
  })

  it('says what can not be added', async () => {
    await failure('INVALID_ARGUMENT', () => Trade.extend({}))
    await failure('INVALID_ARGUMENT', () => Trade.extend({ venue: u8 as never }))
    await failure('INVALID_ARGUMENT', () => Trade.extend({ price: withDefault(u8, 1) }))
    await failure('INVALID_ARGUMENT', () => Trade.extend(null as never))
    await failure('INVALID_ARGUMENT', () => withDefault(varUtf8(), 'x'))
    const error = await failure('INVALID_ARGUMENT', () => Trade.extend({ flags: withDefault(u8, 256) }))
    expect(error.message).toContain("'flags'")
    await failure('INVALID_ARGUMENT', () => struct({ note: varUtf8() }).extend({ flags: withDefault(u8, 1) }))
    await failure('INVALID_ARGUMENT', () => Trade.extend({ big: withDefault(f.bytes(65_536), new Uint8Array(65_536)) }))
  })

  it('goes through frames', () => {
    const encoder = new Encoder(Trade, { capacity: 4096 })
    encoder.encodeBatch([old, { ...old, size: 4 }])
    const seen: unknown[] = []
    new Decoder(Second).decode(encoder.bytes, (trade) => seen.push([trade.size, trade.venue]))
    expect(seen).toEqual([
      [3, 'XNYS'],
      [4, 'XNYS'],
    ])
  })

  it('can be a field of another struct, as it is', () => {
    const Pair = struct({ first: Second, second: Trade })
    const value = { first: { ...old, venue: 'XLON', flags: 1 }, second: old }
    expect(decoded(Pair, encoded(Pair, value))).toEqual(value)
    expect(Pair.schema.version).toBe(2)
    expect(structFromSchema(JSON.parse(JSON.stringify(Pair.schema))).fingerprint).toBe(Pair.fingerprint)
  })

  it('has types to match', () => {
    expectTypeOf<ValueOf<typeof Second>>().toEqualTypeOf<{
      symbol: string
      price: number
      size: number
      venue: string
      flags: number
    }>()
    expectTypeOf<ViewOf<typeof Third>['order']>().toEqualTypeOf<bigint>()
  })
})

const counts = Number(process.env['HERMES_GROWTH_PAIRS'] ?? 1000)

describe('random lines of structs', () => {
  it(`each reads every other's messages: ${counts} pairs`, { timeout: 120_000 }, () => {
    const all = new Random(4)
    let pairs = 0
    while (pairs < counts) {
      const random = all.fork()
      const line = lineOf(random)
      for (const writer of line) {
        for (const reader of line) {
          pairs++
          const value = recordOf(f.layoutOf(writer, 'growth') as never, random)
          const payload = encoded(writer, value)
          const known = reader.schema.fields.map(({ name }) => name)
          // What the writer did not know has its default: that of a value which leaves it out.
          const expected = decoded(reader, encoded(reader, pick(value, known)))
          const found = decoded(reader, payload)
          const seed = `seed ${random.seed}`
          expect(found, seed).toStrictEqual(expected)
          const region = regionOf(payload)
          expect(reader.reader().read(region, 0, payload.length).toObject(), seed).toStrictEqual(expected)
          const again = structFromSchema(JSON.parse(JSON.stringify(reader.schema)))
          expect(decoded(again, payload), seed).toStrictEqual(expected)
          // The interpreter writes the same bytes.
          const target = regionOf(new Uint8Array(8192).fill(0xaa))
          const size = interpreterOf(f.layoutOf(writer, 'growth') as never).encode(value, target, 0, 8192)
          expect(Buffer.compare(target.bytes.subarray(0, size), payload), seed).toBe(0)
        }
      }
    }
  })
})

function pick(value: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => name in value).map((name) => [name, value[name]]))
}
