import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Codec } from '../../lib/codec/codec.js'
import {
  array,
  ascii,
  bool,
  bytes,
  enumeration,
  f32,
  f64,
  i8,
  i16,
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
} from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { encodeBytes, failure, hex } from './helpers.js'

const Level = struct({ price: f64, size: u32, side: enumeration(['buy', 'sell']) })

/** Bytes worked out by hand from docs/codecs.md. They may never change: logs hold them. */
const golden = [
  {
    name: 'trade',
    codec: struct({ symbol: ascii(8), price: f64, size: u32 }, { name: 'Trade' }),
    value: { symbol: 'BTC', price: 50_000, size: 3 },
    bytes: ['4254430000000000', '00000000006ae840', '03000000', '00000000'],
    size: 24,
    align: 8,
  },
  {
    name: 'every scalar, with padding where alignment asks for it',
    codec: struct({ a: u8, b: u16, c: i8, d: u32, e: i16, f: u64, g: bool, h: f32, i: i32, j: f64, k: i64 }),
    value: {
      a: 255,
      b: 0x1234,
      c: -1,
      d: 0xdead_beef,
      e: -2,
      f: 0x0102_0304_0506_0708n,
      g: true,
      h: 1.5,
      i: -3,
      j: -0.0,
      k: -4n,
    },
    bytes: [
      'ff',
      '00',
      '3412',
      'ff',
      '000000',
      'efbeadde',
      'feff',
      '0000',
      '0807060504030201',
      '01',
      '000000',
      '0000c03f',
      'fdffffff',
      '00000000',
      '0000000000000080',
      'fcffffffffffffff',
    ],
    size: 56,
    align: 8,
  },
  {
    name: 'safe integers in 64 bits',
    codec: struct({ a: u53, b: i53, c: i53 }),
    value: { a: Number.MAX_SAFE_INTEGER, b: Number.MIN_SAFE_INTEGER, c: -1 },
    bytes: ['ffffffffffff1f00', '010000000000e0ff', 'ffffffffffffffff'],
    size: 24,
    align: 8,
  },
  {
    name: 'strings and bytes need no alignment',
    codec: struct({ flag: bool, code: ascii(3), name: utf8(5), key: bytes(2), n: u16 }),
    value: { flag: false, code: 'ab', name: 'né', key: Uint8Array.of(1, 2), n: 1 },
    bytes: ['00', '616200', '6ec3a90000', '0102', '00', '0100'],
    size: 14,
    align: 2,
  },
  {
    name: 'nested structs and arrays',
    codec: struct({ id: u8, best: Level, depth: array(Level, 2), ticks: array(u16, 3) }),
    value: {
      id: 7,
      best: { price: 1, size: 2, side: 'sell' as const },
      depth: [
        { price: 0, size: 1, side: 'buy' as const },
        { price: 2, size: 0, side: 'sell' as const },
      ],
      ticks: [1, 2, 3],
    },
    bytes: [
      '07',
      '00000000000000',
      '000000000000f03f02000000',
      '01000000',
      '000000000000000001000000',
      '00000000',
      '000000000000004000000000',
      '01000000',
      '010002000300',
      '0000',
    ],
    size: 64,
    align: 8,
  },
  {
    name: 'trailing text',
    codec: struct({ level: u8, text: varUtf8() }),
    value: { level: 3, text: 'né' },
    bytes: ['03', '6ec3a9'],
    size: 1,
    align: 1,
  },
  {
    name: 'trailing bytes follow the padding',
    codec: struct({ a: u32, b: u8, rest: varBytes() }),
    value: { a: 1, b: 2, rest: Uint8Array.of(9) },
    bytes: ['01000000', '02', '000000', '09'],
    size: 8,
    align: 4,
  },
  {
    name: 'a trailing array aligns the end of the fixed part',
    codec: struct({ a: u8, levels: varArray(Level) }),
    value: { a: 1, levels: [{ price: 1, size: 2, side: 'sell' as const }] },
    bytes: ['01', '00000000000000', '000000000000f03f02000000', '01000000'],
    size: 8,
    align: 8,
  },
  {
    name: 'an enum of more than 256 labels takes two bytes',
    codec: struct({ one: enumeration(Array.from({ length: 257 }, (_, index) => `label ${index}`)) }),
    value: { one: 'label 256' },
    bytes: ['0001'],
    size: 2,
    align: 2,
  },
]

const fingerprints = [
  'b089e4b12163fd26',
  '4753579b479c91da',
  '5e421147b5360101',
  '5bca0db1c5eb70ba',
  '4b0a2ed584f2cd5e',
  'a4380cfd92181b69',
  '5d641873bf5d4236',
  '9679659cfe64c199',
  'bdd0ed37f31bace6',
]

describe('the layout of structs', () => {
  it.each(golden)('never changes: $name', ({ codec, value, bytes: expected, size, align }) => {
    expect(hex(encodeBytes(codec as unknown as Codec<never>, value as never))).toBe(expected.join(''))
    expect(codec.byteLength).toBe(size)
    expect(codec.schema.size).toBe(size)
    expect(codec.schema.align).toBe(align)
  })

  it('has fingerprints that never change', () => {
    expect(golden.map(({ codec }) => codec.fingerprint)).toEqual(fingerprints)
  })

  it('has the schema that docs/codecs.md shows', () => {
    expect(JSON.stringify(golden[0]?.codec.schema)).toBe(
      '{"format":"hermes-struct","version":1,"name":"Trade","fingerprint":"' +
        fingerprints[0] +
        '","size":24,"align":8,"fields":[' +
        '{"name":"symbol","offset":0,"type":"ascii","size":8},' +
        '{"name":"price","offset":8,"type":"f64","size":8},' +
        '{"name":"size","offset":16,"type":"u32","size":4}]}',
    )
  })

  it('has fingerprints that follow from the schema alone', () => {
    for (const { codec } of golden) {
      const { size, align, fields } = codec.schema
      const canonical = JSON.stringify({ size, align, fields })
      expect(codec.fingerprint).toBe(createHash('sha256').update(canonical).digest('hex').slice(0, 16))
    }
  })

  it('gives another fingerprint to another name, type, order or label, and none to another struct name', () => {
    const base = { a: u32, b: enumeration(['x', 'y']) }
    const prints = [
      struct(base),
      struct({ a: u32, c: base.b }),
      struct({ a: i32, b: base.b }),
      struct({ b: base.b, a: u32 }),
      struct({ a: u32, b: enumeration(['y', 'x']) }),
    ].map((codec) => codec.fingerprint)
    expect(new Set(prints).size).toBe(prints.length)
    expect(struct(base, { name: 'Named' }).fingerprint).toBe(prints[0])
  })

  it('bounds the size of a value when it can', () => {
    expect(golden[0]?.codec.maxBytes).toBe(24)
    expect(struct({ text: varUtf8() }).maxBytes).toBeUndefined()
  })
})

describe('a declaration', () => {
  it.each([
    ['no fields', () => struct({})],
    ['no object', () => struct(undefined as never)],
    ['an unknown type', () => struct({ a: 'u32' as never })],
    ['a missing type', () => struct({ a: undefined as never })],
    ['a type function that was not called', () => struct({ a: ascii as never })],
    ['the name toObject', () => struct({ toObject: u8 })],
    ['the name toJSON', () => struct({ toJSON: u8 })],
    ['the name constructor', () => struct({ constructor: u8 })],
    ['the name __proto__', () => struct(JSON.parse('{"__proto__":1}') as never)],
    ['the name hasOwnProperty', () => struct({ hasOwnProperty: u8 })],
    ['a name that is no identifier', () => struct({ 'a-b': u8 })],
    ['a name that is a number', () => struct({ 1: u8 })],
    ['a name that is code', () => struct({ '"]);process.exit(9);//': u8 })],
    ['a name that is too long', () => struct({ ['a'.repeat(65)]: u8 })],
    ['a field after the trailing part', () => struct({ a: varBytes(), b: u8 })],
    ['two trailing parts', () => struct({ a: varBytes(), b: varUtf8() })],
    ['a nested struct of variable length', () => struct({ a: struct({ b: varBytes() }) })],
    ['an array of variable length elements', () => array(varUtf8(), 3)],
    ['a trailing array of variable length elements', () => varArray(struct({ b: varBytes() }))],
    ['more than 64 KiB', () => struct({ a: bytes(65_536), b: u8 })],
    ['an array of more than 64 KiB', () => array(u64, 8193)],
    [
      'too many fields',
      () => struct(Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`f${index}`, u8]))),
    ],
    ['a string of no bytes', () => ascii(0)],
    ['a string of half a byte', () => utf8(1.5)],
    ['bytes without a size', () => bytes(undefined as never)],
    ['an array of nothing', () => array(u8, 0)],
    ['an enum without labels', () => enumeration([])],
    ['an enum with a label twice', () => enumeration(['a', 'a'])],
    ['an enum with a label that is no string', () => enumeration([1 as never])],
    ['a struct name that is no name', () => struct({ a: u8 }, { name: 'a b' })],
  ])('refuses %s', (_what, declare) => {
    failure('INVALID_ARGUMENT', declare)
  })

  it('refuses an unknown option', () => {
    failure('UNKNOWN_OPTION', () => struct({ a: u8 }, { title: 'x' } as never))
  })

  it('refuses nesting deeper than 16', () => {
    let deep = struct({ a: u8 }) as unknown as ReturnType<typeof struct>
    failure('INVALID_ARGUMENT', () => {
      for (let level = 0; level < 20; level++) deep = struct({ a: deep }) as unknown as ReturnType<typeof struct>
    })
  })

  it('refuses a small declaration that would become large code', () => {
    failure('INVALID_ARGUMENT', () => {
      let wide = struct({ a: u8, b: u8 }) as unknown as ReturnType<typeof struct>
      for (let level = 0; level < 14; level++)
        wide = struct({ a: wide, b: wide }) as unknown as ReturnType<typeof struct>
    })
  })

  it('takes 64 KiB exactly', () => {
    expect(struct({ a: bytes(65_536) }).byteLength).toBe(65_536)
  })

  it('cannot be changed afterwards', () => {
    const codec = struct({ a: u8 })
    expect(Object.isFrozen(codec)).toBe(true)
    expect(Object.isFrozen(codec.schema.fields[0])).toBe(true)
  })
})
