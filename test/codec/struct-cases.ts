import type { Codec } from '../../lib/codec/codec.js'
import type * as FieldModule from '../../lib/codec/struct/field.js'
import type * as StructModule from '../../lib/codec/struct/struct.js'

/** Structs and values that every way of encoding must agree on. Takes the modules, so that another build can run it. */
export function structCases(
  f: typeof FieldModule,
  struct: typeof StructModule.struct,
): {
  name: string
  codec: Codec<never, Record<string, unknown>, { toObject(): Record<string, unknown> }>
  values: unknown[]
}[] {
  const Point = struct({ x: f.i16, y: f.f64, tag: f.ascii(3) })
  const numbers = struct({
    a: f.u8,
    b: f.i8,
    c: f.u16,
    d: f.i16,
    e: f.u32,
    g: f.i32,
    h: f.u53,
    i: f.i53,
    j: f.u64,
    k: f.i64,
    l: f.f32,
    m: f.f64,
    n: f.bool,
  })
  const low = {
    a: 0,
    b: -128,
    c: 0,
    d: -32768,
    e: 0,
    g: -(2 ** 31),
    h: 0,
    i: Number.MIN_SAFE_INTEGER,
    j: 0n,
    k: -(2n ** 63n),
    l: -1.5,
    m: -0,
    n: false,
  }
  const high = {
    a: 255,
    b: 127,
    c: 65535,
    d: 32767,
    e: 2 ** 32 - 1,
    g: 2 ** 31 - 1,
    h: Number.MAX_SAFE_INTEGER,
    i: Number.MAX_SAFE_INTEGER,
    j: 2n ** 64n - 1n,
    k: 2n ** 63n - 1n,
    l: 3.4028234663852886e38,
    m: Number.MAX_VALUE,
    n: true,
  }
  const odd = { ...low, e: -0, h: 2 ** 32, i: -(2 ** 32), j: 2n ** 63n, k: -1n, l: Number.NaN, m: Number.NaN }
  const edges = { ...low, h: 2 ** 32 - 1, i: -(2 ** 32) - 1, l: Number.NEGATIVE_INFINITY, m: Number.POSITIVE_INFINITY }
  const strings = struct({
    a: f.ascii(1),
    b: f.ascii(4),
    c: f.ascii(8),
    d: f.ascii(13),
    e: f.ascii(40),
    g: f.utf8(3),
    h: f.utf8(30),
    i: f.bytes(3),
    j: f.bytes(40),
  })
  const empty = { a: '', b: '', c: '', d: '', e: '', g: '', h: '', i: new Uint8Array(3), j: new Uint8Array(40) }
  const full = {
    a: 'x',
    b: 'abcd',
    c: 'abcdefgh',
    d: 'abcdefghijklm',
    e: '~'.repeat(40),
    g: '日',
    h: 'é'.repeat(15),
    i: Uint8Array.of(1, 2, 255),
    j: new Uint8Array(40).fill(7),
  }
  const nested = struct({
    id: f.u8,
    point: Point,
    points: f.array(Point, 2),
    grid: f.array(f.array(f.u8, 2), 3),
    few: f.enumeration(['buy', 'sell']),
    many: f.enumeration(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']),
    deep: struct({ inner: struct({ v: f.i32 }) }),
  })
  const point = { x: -5, y: 2.5, tag: 'abc' }
  return [
    { name: 'numbers', codec: numbers, values: [low, high, odd, edges] },
    { name: 'strings', codec: strings, values: [empty, full] },
    {
      name: 'nested',
      codec: nested,
      values: [
        {
          id: 1,
          point,
          points: [point, { x: 1, y: 0, tag: '' }],
          grid: [Uint8Array.of(1, 2), [3, 4], [5, 6]],
          few: 'sell',
          many: 'h',
          deep: { inner: { v: -7 } },
        },
      ],
    },
    {
      name: 'trailing bytes',
      codec: struct({ a: f.u16, rest: f.varBytes() }),
      values: [0, 1, 32, 33, 500].map((size) => ({ a: size, rest: new Uint8Array(size).fill(5) })),
    },
    {
      name: 'trailing text',
      codec: struct({ a: f.f64, rest: f.varUtf8() }),
      values: ['', 'short', 'é', 'x'.repeat(200), '🚀'.repeat(20)].map((rest) => ({ a: 1, rest })),
    },
    {
      name: 'trailing array',
      codec: struct({ a: f.u8, rest: f.varArray(Point) }),
      values: [[], [point], new Array(20).fill(point)].map((rest) => ({ a: 1, rest })),
    },
    {
      name: 'trailing numbers alone',
      codec: struct({ rest: f.varArray(f.u32) }),
      values: [[], [1], Uint32Array.of(1, 2, 3)].map((rest) => ({ rest })),
    },
  ] as never
}
