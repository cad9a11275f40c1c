import { spawnSync } from 'node:child_process'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { Region } from '../../lib/codec/codec.js'
import { regionOf } from '../../lib/codec/region.js'
import * as fields from '../../lib/codec/struct/field.js'
import { canGenerate } from '../../lib/codec/struct/generate.js'
import { encodeRecord, readRecord } from '../../lib/codec/struct/interpret.js'
import type { RecordLayout } from '../../lib/codec/struct/layout.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { decodeBytes, dirtyRegion, encodeBytes, failure, hex, placed, randomOf, viewBytes } from './helpers.js'
import { structCases } from './struct-cases.js'

const {
  array,
  ascii,
  bool,
  bytes,
  enumeration,
  f32,
  f64,
  i8,
  i32,
  i53,
  i64,
  u8,
  u16,
  u32,
  u53,
  u64,
  utf8,
  varArray,
  varBytes,
  varUtf8,
} = fields

const cases = structCases(fields, struct)

function layoutOf(codec: unknown): RecordLayout {
  return fields.layoutOf(codec, 'test') as RecordLayout
}

/** Typed arrays come back as arrays, and f32 values rounded: what an owned value should equal. */
function plain(value: unknown): unknown {
  if (Array.isArray(value) || value instanceof Uint32Array) return Array.from(value as number[], plain)
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]))
}

describe.each(cases)('a struct of $name', ({ codec, values }) => {
  it('brings back its values, owned and through a view', () => {
    for (const value of values) {
      const payload = encodeBytes(codec, value as never)
      const owned = decodeBytes(codec, payload)
      const expected = plain(value) as Record<string, unknown>
      if (Array.isArray(expected['grid']))
        expected['grid'] = (expected['grid'] as ArrayLike<number>[]).map((row) => Array.from(row))
      if (typeof expected['e'] === 'number') expected['e'] = (expected['e'] as number) + 0
      expect(owned).toEqual(expected)
      const view = viewBytes(codec, payload)
      expect(view.toObject()).toEqual(owned)
      for (const [name, one] of Object.entries(owned)) {
        const seen = (view as unknown as Record<string, unknown>)[name] as { toObject?: () => unknown }
        expect(typeof seen?.toObject === 'function' ? seen.toObject() : seen).toEqual(one)
      }
    }
  })

  it('has the same bytes and values from the generated code and from the interpreter', () => {
    expect(canGenerate).toBe(true)
    const layout = layoutOf(codec)
    for (const value of values) {
      const region = dirtyRegion()
      const length = encodeRecord(layout, value, region, 8, 2048)
      expect(hex(encodeBytes(codec, value as never))).toBe(hex(region.bytes.subarray(8, 8 + length)))
      expect(readRecord(layout, region, 8, length)).toEqual(codec.decode(region, 8, length))
    }
  })

  it('writes up to the limit and not past it', () => {
    for (const value of values) {
      const size = encodeBytes(codec, value as never).length
      expect(encodeBytes(codec, value as never, size)).toHaveLength(size)
      for (const limit of [0, size - 1, Math.floor(size / 2)]) {
        if (limit >= 0 && limit < size) failure('PAYLOAD_TOO_LARGE', () => encodeBytes(codec, value as never, limit))
      }
    }
  })
})

describe('encoding a struct', () => {
  const wrong: [string, fields.Field, unknown[]][] = [
    [
      'u8',
      u8,
      [-1, 256, 300, 0.5, Number.NaN, Infinity, '1', 1n, null, undefined, true, {}, [1], Symbol('s'), new Number(1)],
    ],
    ['i8', i8, [-129, 128, '1']],
    ['u16', u16, [-1, 65536, 1.5]],
    ['u32', u32, [-1, 2 ** 32, Number.NaN, 1n]],
    ['i32', i32, [2 ** 31, -(2 ** 31) - 1]],
    ['u53', u53, [-1, 2 ** 53, 2 ** 64, 0.5, Number.NaN, Infinity, 1n, '5', undefined]],
    ['i53', i53, [2 ** 53, -(2 ** 53), 2 ** 64, -(2 ** 64), 0.5, Number.NaN, -Infinity, 1n]],
    ['u64', u64, [-1n, 2n ** 64n, 1, '1', undefined]],
    ['i64', i64, [2n ** 63n, -(2n ** 63n) - 1n, 1]],
    ['f32', f32, [3.5e38, -1e300, '1', 1n, undefined]],
    ['f64', f64, ['1', 1n, null, undefined, new Date()]],
    ['bool', bool, [0, 1, 'true', null, undefined]],
    ['ascii(3)', ascii(3), ['abcd', 'é', 'a\0', '\u0141', 5, null, undefined, ['a']]],
    ['utf8(3)', utf8(3), ['abcd', 'éé', 'a\0', '\ud83d', 5, undefined]],
    ['bytes(2)', bytes(2), [new Uint8Array(1), new Uint8Array(3), [1, 2], 'ab', new Uint16Array(2), undefined]],
    ['enumeration', enumeration(['buy', 'sell']), ['hold', 0, '', undefined, 'toString']],
    ['a large enumeration', enumeration(['a', 'b', 'c', 'd', 'e', 'f', 'g']), ['h', 0, undefined]],
    ['array(u8, 2)', array(u8, 2), [[1], [1, 2, 3], 'ab', null, undefined, { length: 2 }]],
    ['a struct', struct({ v: u8 }), [null, undefined, 5, {}]],
  ]

  it.each(wrong)('refuses wrong values of %s, and names the field', (_name, type, values) => {
    const codec = struct({ before: u8, wrong: type, after: u8 })
    for (const value of values) {
      const error = failure('ENCODE_FAILED', () => encodeBytes(codec, { before: 1, wrong: value, after: 1 } as never))
      expect(error.message).toContain("'wrong")
      expect(() => JSON.stringify(error.details)).not.toThrow()
    }
  })

  it('says what was expected, what was given, and where', () => {
    const Level = struct({ size: u8, side: enumeration(['buy', 'sell']) })
    const Book = struct({ levels: array(Level, 2), note: varUtf8() }, { name: 'Book' })
    const good = { size: 1, side: 'buy' } as const
    const message = (value: unknown): string =>
      failure('ENCODE_FAILED', () => encodeBytes(Book, value as never)).message
    expect(message({ levels: [good, { size: 300, side: 'buy' }], note: '' })).toBe(
      "Can't encode Book: field 'levels[1].size' expects an integer from 0 to 255 (u8), got 300.",
    )
    expect(message({ levels: [good, { size: 3 }], note: '' })).toBe(
      `Can't encode Book: field 'levels[1].side' is missing: expected one of "buy", "sell".`,
    )
    expect(message({ levels: [good, good] })).toBe(
      "Can't encode Book: field 'note' is missing: expected a string (varUtf8).",
    )
    expect(message(null)).toBe("Can't encode Book: the value must be an object with the fields levels, note, got null.")
    expect(message({ levels: [good], note: '' })).toContain("'levels' expects an array of exactly 2")
  })

  it('refuses wrong trailing parts', () => {
    for (const value of ['ab', [1], undefined]) {
      failure('ENCODE_FAILED', () => encodeBytes(struct({ rest: varBytes() }), { rest: value } as never))
    }
    for (const value of [5, undefined, '\ud800']) {
      failure('ENCODE_FAILED', () => encodeBytes(struct({ rest: varUtf8() }), { rest: value } as never))
    }
    for (const value of ['ab', 5, undefined, {}, { length: -1 }, { length: 0.5 }, [1, 256]]) {
      failure('ENCODE_FAILED', () => encodeBytes(struct({ rest: varArray(u8) }), { rest: value } as never))
    }
    failure('PAYLOAD_TOO_LARGE', () =>
      encodeBytes(struct({ rest: varArray(u32) }), { rest: { length: 2 ** 40 } } as never),
    )
  })

  it('ignores further properties', () => {
    expect(hex(encodeBytes(struct({ a: u8 }), { a: 1, b: 'more' } as never))).toBe('01')
  })

  it('reports what a getter of the value throws', () => {
    const value = {
      get a(): number {
        throw new RangeError('mine')
      },
    }
    expect(failure('ENCODE_FAILED', () => encodeBytes(struct({ a: u8 }), value)).cause).toBeInstanceOf(RangeError)
  })
})

describe('reading a struct', () => {
  const Trade = struct({ symbol: ascii(8), price: f64, size: u32 }, { name: 'Trade' })
  const payload = encodeBytes(Trade, { symbol: 'BTC', price: 50_000, size: 3 })

  it('refuses payloads of another length', () => {
    for (const length of [0, 1, 23, 25, 47]) {
      const other = new Uint8Array(length)
      failure('DECODE_FAILED', () => decodeBytes(Trade, other))
      failure('DECODE_FAILED', () => viewBytes(Trade, other))
    }
    // (48 is a length that a struct grown from it has: see growth.test.ts)
    const Rows = struct({ a: u32, rows: varArray(u64) })
    for (const length of [0, 7, 9, 15, 17]) failure('DECODE_FAILED', () => viewBytes(Rows, new Uint8Array(length)))
    expect(viewBytes(Rows, new Uint8Array(24)).rows).toEqual([0n, 0n])
  })

  it('refuses bytes that no value has', () => {
    const cases: [ReturnType<typeof struct>, string][] = [
      [struct({ v: enumeration(['a', 'b']) }), '02'],
      [struct({ v: ascii(2) }), '80ff'],
      [struct({ v: ascii(20) }), '80'.repeat(20)],
      [struct({ v: utf8(2) }), 'ff41'],
      [struct({ v: varUtf8() }), 'c3'],
      [struct({ v: u53 }), '0000000000002000'],
      [struct({ v: i53 }), '0000000000002000'],
      [struct({ v: i53 }), '000000000000e0ff'],
      [struct({ v: u53 }), 'ffffffffffffffff'],
    ] as never
    for (const [codec, text] of cases) {
      const bad = Buffer.from(text, 'hex')
      failure('DECODE_FAILED', () => decodeBytes(codec, bad))
      const view = viewBytes(codec, bad) as unknown as { v: unknown; toObject(): unknown }
      failure('DECODE_FAILED', () => view.v)
      failure('DECODE_FAILED', () => view.toObject())
    }
  })

  it('survives random bytes in every struct', () => {
    const random = randomOf(3)
    for (const { codec, values } of cases) {
      const size = encodeBytes(codec, values[0] as never).length
      for (let round = 0; round < 200; round++) {
        const bad = Uint8Array.from({ length: size }, () => random() * 256)
        try {
          expect(viewBytes(codec, bad).toObject()).toEqual(decodeBytes(codec, bad))
        } catch (error) {
          expect((error as { code: string }).code).toBe('DECODE_FAILED')
        }
      }
    }
  })

  it('gives one view for all messages of a reader, which shows the present one', () => {
    const region = dirtyRegion()
    Trade.encode({ symbol: 'A', price: 1, size: 1 }, region, 0, 100)
    Trade.encode({ symbol: 'B', price: 2, size: 2 }, region, 104, 200)
    const reader = Trade.reader()
    const first = reader.read(region, 0, 24)
    expect(first.symbol).toBe('A')
    expect(reader.read(region, 104, 24)).toBe(first)
    expect(first.symbol).toBe('B')
    const other = Trade.reader().read(region, 0, 24)
    expect([other.symbol, first.symbol]).toEqual(['A', 'B'])
  })

  it('does not take one short string for another that shares its place in the table of short strings', () => {
    const Symbol8 = struct({ a: ascii(8), b: ascii(7) })
    const region = dirtyRegion()
    for (let round = 0; round < 5000; round++) {
      // The first four bytes are the same, and 5,000 strings share 1,024 places.
      const a = `SAME${String(round).padStart(4, '0')}`
      const length = Symbol8.encode({ a, b: a.slice(0, 7) }, region, 0, 100)
      expect(Symbol8.decode(region, 0, length)).toEqual({ a, b: a.slice(0, 7) })
    }
  })

  it('follows a reader from one region to another', () => {
    const reader = Trade.reader()
    for (let index = 0; index < 3; index++) {
      const region = dirtyRegion()
      Trade.encode({ symbol: `S${index}`, price: index, size: index }, region, 8, 100)
      expect(reader.read(region, 8, 24).toObject()).toEqual({ symbol: `S${index}`, price: index, size: index })
    }
  })

  it('reads nested structs in place', () => {
    const Pair = struct({ left: Trade, right: Trade })
    const view = viewBytes(
      Pair,
      encodeBytes(Pair, { left: { symbol: 'L', price: 1, size: 1 }, right: { symbol: 'R', price: 2, size: 2 } }),
    )
    const { left, right } = view
    expect([left.symbol, right.symbol]).toEqual(['L', 'R'])
    expect(view.left).toBe(left)
  })

  it('shows its values in console.log, in JSON and as a plain object', () => {
    const view = viewBytes(Trade, payload)
    expect(inspect(view)).toBe("Trade { symbol: 'BTC', price: 50000, size: 3 }")
    expect(JSON.stringify(view)).toBe('{"symbol":"BTC","price":50000,"size":3}')
    expect(Object.getPrototypeOf(view.toObject())).toBe(Object.prototype)
    const Wide = struct({ a: u64, b: array(i64, 2), c: bytes(2), d: struct({ e: u64 }), f: varBytes() })
    const wide = viewBytes(
      Wide,
      encodeBytes(Wide, { a: 1n, b: [2n, -3n], c: Uint8Array.of(255, 0), d: { e: 4n }, f: Uint8Array.of(1) }),
    )
    expect(JSON.stringify(wide)).toBe('{"a":"1","b":["2","-3"],"c":"/wA=","d":{"e":"4"},"f":"AQ=="}')
  })

  it('cannot be written to', () => {
    const view = viewBytes(Trade, payload) as unknown as Record<string, unknown>
    expect(() => {
      view['price'] = 1
    }).toThrow(TypeError)
    expect(view['price']).toBe(50_000)
  })

  it('never hands out the memory of the region, by any way', () => {
    const All = struct({ a: bytes(4), list: array(bytes(2), 2), one: struct({ b: bytes(2) }), rest: varBytes() })
    const { region, offset, length } = placed(
      encodeBytes(All, {
        a: new Uint8Array(4),
        list: [new Uint8Array(2), new Uint8Array(2)],
        one: { b: new Uint8Array(2) },
        rest: new Uint8Array(100),
      }),
    )
    const view = All.reader().read(region, offset, length)
    const seen = new Set<unknown>()
    const queue: unknown[] = [view, All.decode(region, offset, length), Object.getPrototypeOf(view)]
    while (queue.length > 0) {
      const item = queue.pop()
      if ((typeof item !== 'object' && typeof item !== 'function') || item === null || seen.has(item)) continue
      seen.add(item)
      expect(item).not.toBe(region.bytes.buffer)
      expect(item).not.toBe(region)
      if (item instanceof Uint8Array) {
        expect(item.buffer).not.toBe(region.bytes.buffer)
        item.fill(0x77)
      }
      if (item === Object.prototype || item === Function.prototype || item === globalThis) continue
      for (const key of Reflect.ownKeys(item)) {
        const { get, value } = Object.getOwnPropertyDescriptor(item, key) as PropertyDescriptor
        if (get !== undefined) {
          for (const receiver of [view, view.one]) {
            try {
              queue.push(get.call(receiver))
            } catch {
              // A getter of the other class.
            }
          }
        } else if (typeof value !== 'function') queue.push(value)
      }
    }
    expect(seen.size).toBeGreaterThan(8)
    expect(region.bytes.includes(0x77)).toBe(false)
  })

  it('throws CLOSED, never a TypeError, once the memory was released', () => {
    for (const { codec, values } of cases) {
      const bytesOf = encodeBytes(codec, values[0] as never)
      const { region, offset, length } = placed(bytesOf)
      const view = codec.reader().read(region, offset, length) as unknown as Record<string, unknown> & {
        toObject(): unknown
      }
      const nested = view['point'] as { x: number } | undefined
      const names = Object.keys(view.toObject() as object)
      const buffer = region.bytes.buffer as ArrayBuffer
      structuredClone(buffer, { transfer: [buffer] })
      for (const name of names) {
        if (name === 'point' || name === 'deep') continue
        failure('CLOSED', () => view[name])
      }
      if (nested !== undefined) failure('CLOSED', () => nested.x)
      failure('CLOSED', () => view.toObject())
      failure('CLOSED', () => codec.decode(region, offset, length))
      expect(inspect(view)).toContain('not readable any more')
    }
  })

  it('reads shared memory', () => {
    const shared: Region = regionOf(new Uint8Array(new SharedArrayBuffer(256)))
    const Mixed = struct({ a: ascii(20), b: utf8(20), c: bytes(3), rest: varUtf8() })
    const value = {
      a: 'ascii text that is long'.slice(0, 20),
      b: 'ünïcödé',
      c: Uint8Array.of(1, 2, 3),
      rest: 'é'.repeat(40),
    }
    const length = Mixed.encode(value, shared, 8, 256)
    expect(Mixed.decode(shared, 8, length)).toEqual(value)
    expect(Mixed.decode(shared, 8, length).c.buffer).toBeInstanceOf(ArrayBuffer)
  })
})

describe('a process that forbids code generation', () => {
  it('writes the same bytes and reads the same values', () => {
    const script = `
      import * as fields from '${new URL('../../dist/codec/struct/field.js', import.meta.url).href}'
      import { struct } from '${new URL('../../dist/codec/struct/struct.js', import.meta.url).href}'
      import { canGenerate } from '${new URL('../../dist/codec/struct/generate.js', import.meta.url).href}'
      import { inspect } from 'node:util'
      ${structCases.toString()}
      const out = []
      for (const { codec, values } of structCases(fields, struct)) {
        for (const value of values) {
          const bytes = new Uint8Array(4096).fill(0xaa)
          const region = { bytes, data: new DataView(bytes.buffer) }
          const length = codec.encode(value, region, 16, 4096)
          const view = codec.reader().read(region, 16, length)
          const each = Object.keys(view.toObject()).map((name) => inspect(view[name], { depth: 9 }))
          out.push(Buffer.from(bytes.subarray(16, 16 + length)).toString('hex'), inspect(codec.decode(region, 16, length), { depth: 9 }), JSON.stringify(view), ...each)
        }
      }
      const errors = []
      const A = struct({ a: fields.u8, list: fields.array(fields.u8, 2) })
      const bytes = new Uint8Array(64)
      const region = { bytes, data: new DataView(bytes.buffer) }
      for (const value of [{ a: 300, list: [1, 2] }, { a: 1, list: [1, 999] }, null]) {
        try { A.encode(value, region, 0, 64) } catch (error) { errors.push(error.code + ' ' + error.message) }
      }
      const view = A.reader().read(region, 0, 3)
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      for (const name of ['a', 'list', 'toObject']) {
        try { typeof view[name] === 'function' ? view[name]() : view[name] } catch (error) { errors.push(error.code) }
      }
      console.log(JSON.stringify({ canGenerate, out, errors }))`
    const run = (...flags: string[]): { canGenerate: boolean; out: string[]; errors: string[] } => {
      const child = spawnSync(process.execPath, [...flags, '--input-type=module', '--eval', script], {
        encoding: 'utf8',
      })
      expect(child.stderr).toBe('')
      return JSON.parse(child.stdout)
    }
    const generated = run()
    const interpreted = run('--disallow-code-generation-from-strings')
    expect([generated.canGenerate, interpreted.canGenerate]).toEqual([true, false])
    expect(generated.out.length).toBeGreaterThan(100)
    expect(interpreted.out).toEqual(generated.out)
    expect(interpreted.errors).toEqual(generated.errors)
    expect(generated.errors.slice(3)).toEqual(['CLOSED', 'CLOSED', 'CLOSED'])
  })
})
