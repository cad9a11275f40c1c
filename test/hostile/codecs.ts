import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Codec } from '../../lib/index.js'
import * as h from '../../lib/index.js'
import type { Random } from '../../lib/testkit/random.js'
import { bytesPair, dataPair, hostile, type Pair, type Scene, unknown } from './values.js'

/** A codec under attack: values for it, and what has to come back. */
export interface Target {
  readonly name: string
  readonly codec: Codec<unknown, unknown, unknown>
  /** A hostile value, with what it stands for. */
  make(scene: Scene): Pair
  /** One that is always taken. */
  good(random: Random): unknown
  /** What comes back of a plain value; `refused` if the codec may not take it. */
  back(plain: unknown): unknown
}

export const refused = Symbol('refused')

const Inner = h.struct({ x: h.i16, y: h.f32 })
const Wide = h.struct({
  n: h.u32,
  f: h.f64,
  code: h.ascii(8),
  name: h.utf8(12),
  digest: h.bytes(40),
  short: h.bytes(3),
  list: h.array(h.i16, 3),
  side: h.enumeration(['buy', 'sell']),
  big: h.u64,
  signed: h.i64,
  safe: h.i53,
  on: h.bool,
  inner: Inner,
  inners: h.array(Inner, 2),
})

const ranges: Record<string, readonly [number, number]> = {
  n: [0, 2 ** 32 - 1],
  safe: [-(2 ** 53 - 1), 2 ** 53 - 1],
}

function goodWide(random: Random): Record<string, unknown> {
  return {
    n: random.next(),
    f: random.pick([0, -0, Number.NaN, 1e308, 5e-324, Number.NEGATIVE_INFINITY]),
    code: random.pick(['', 'BTC', 'ABCDEFGH']),
    name: random.pick(['', 'é', '🚀🚀🚀', 'abc']),
    digest: Uint8Array.from({ length: 40 }, () => random.below(256)),
    short: Uint8Array.of(1, random.below(256), 3),
    list: [random.below(100), -32_768, 32_767],
    side: random.pick(['buy', 'sell']),
    big: random.pick([0n, 2n ** 64n - 1n]),
    signed: random.pick([-(2n ** 63n), 2n ** 63n - 1n]),
    safe: random.pick([-(2 ** 53 - 1), 2 ** 53 - 1, 0]),
    on: random.chance(0.5),
    inner: { x: random.below(9), y: 0.5 },
    inners: [
      { x: 1, y: Number.POSITIVE_INFINITY },
      { x: -1, y: -0 },
    ],
  }
}

function isWellFormed(value: string): boolean {
  return !/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(value)
}

/** A value of the struct of which one field or another is hostile. */
function wideWith(extra: (random: Random) => Record<string, unknown>): (scene: Scene) => Pair {
  return (scene) => {
    const { random } = scene
    if (random.chance(0.05)) return { value: hostile(scene), plain: unknown }
    const plain = { ...goodWide(random), ...extra(random) }
    const value: Record<string, unknown> = { ...plain }
    const names = Object.keys(plain)
    let known = true
    for (let n = 1 + random.below(2); n > 0; n--) {
      const name = names.splice(random.below(names.length), 1)[0] as string
      const held = value[name]
      switch (random.below(4)) {
        case 0:
          Object.defineProperty(value, name, {
            get: () => {
              scene.act()
              return held
            },
            enumerable: true,
            configurable: true,
          })
          break
        case 1:
          if (held instanceof Uint8Array) {
            const pair = bytesPair(random)
            value[name] = pair.value
            plain[name] = pair.plain
            const size = { digest: 40, short: 3 }[name]
            if (size !== undefined && (pair.plain as Uint8Array).length !== size) known = false
            break
          }
          if (Array.isArray(held)) {
            value[name] = name === 'list' ? Int16Array.from(held as number[]) : Object.freeze([...(held as unknown[])])
            break
          }
          value[name] = held
          break
        case 2:
          value[name] = hostile(scene)
          known = false
          break
        default: {
          const range = ranges[name]
          if (range === undefined) break
          value[name] = plain[name] = range[0] + random.below(range[1] - range[0])
        }
      }
    }
    return { value: random.chance(0.1) ? Object.freeze(value) : value, plain: known ? plain : unknown }
  }
}

const messagePlain = (plain: unknown): unknown => {
  if (plain === undefined) return null
  if (typeof plain === 'string') return isWellFormed(plain) ? plain : refused
  if (typeof plain === 'bigint') return plain >= -(2n ** 63n) && plain < 2n ** 64n ? plain : refused
  if (typeof plain !== 'object' || plain === null) return plain
  if (plain instanceof Date) return Number.isNaN(plain.getTime()) ? refused : plain
  if (Array.isArray(plain)) {
    const list = Array.from(plain, messagePlain)
    return list.includes(refused) ? refused : list
  }
  const out: Record<string, unknown> = {}
  for (const [key, one] of Object.entries(plain)) {
    const inner = messagePlain(one)
    if (inner === refused || key === '__proto__' || !isWellFormed(key)) return refused
    out[key] = inner
  }
  return out
}

function jsonBack(plain: unknown): unknown {
  try {
    const written = JSON.stringify(plain) as string | undefined
    return written === undefined ? refused : (JSON.parse(written) as unknown)
  } catch {
    return refused
  }
}

const pass: StandardSchemaV1<unknown, unknown> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
}

const any = (codec: unknown): Codec<unknown, unknown, unknown> => codec as Codec<unknown, unknown, unknown>

const json: Target = {
  name: 'json',
  codec: any(h.json),
  make: (scene) => dataPair(scene),
  good: (random) => ({ n: random.next(), list: [random.below(9), 'é'] }),
  back: jsonBack,
}
const raw: Target = {
  name: 'raw',
  codec: any(h.raw),
  make: (scene) => (scene.random.chance(0.2) ? { value: hostile(scene), plain: unknown } : bytesPair(scene.random)),
  good: (random) => Uint8Array.of(random.below(256), 1, 2),
  back: (plain) => plain,
}

export const targets: readonly Target[] = [
  json,
  raw,
  {
    name: 'text',
    codec: any(h.text),
    make: (scene) => {
      const value = scene.random.chance(0.7)
        ? scene.random.pick(['', 'a', '\ud800', '\ufeff', '🚀', '\0', 'é'.repeat(100), 'x\udc00'])
        : hostile(scene)
      return { value, plain: value }
    },
    good: (random) => `text ${random.next()} é`,
    back: (plain) => (typeof plain === 'string' && isWellFormed(plain) ? plain : refused),
  },
  {
    name: 'msgpack',
    codec: any(h.msgpack),
    make: (scene) => dataPair(scene),
    good: (random) => ({ n: random.next(), list: [random.below(9), 'é'] }),
    back: messagePlain,
  },
  { name: 'struct', codec: any(Wide), make: wideWith(() => ({})), good: goodWide, back: (plain) => plain },
  {
    name: 'struct with bytes behind',
    codec: any(h.struct({ n: h.u32, rest: h.varBytes() })),
    make: (scene) => {
      const { random } = scene
      const pair = random.chance(0.3) ? { value: hostile(scene), plain: unknown } : bytesPair(random)
      const n = random.next()
      return { value: { n, rest: pair.value }, plain: pair.plain === unknown ? unknown : { n, rest: pair.plain } }
    },
    good: (random) => ({ n: random.next(), rest: Uint8Array.of(1, random.below(9)) }),
    back: (plain) => plain,
  },
  {
    name: 'struct with an array behind',
    codec: any(h.struct({ n: h.u8, rest: h.varArray(h.bytes(5)) })),
    make: (scene) => {
      const { random } = scene
      const rest = Array.from({ length: random.below(4) }, () =>
        Uint8Array.from({ length: 5 }, () => random.below(256)),
      )
      const value: unknown[] = [...rest]
      let known = true
      if (random.chance(0.5)) {
        value[random.below(rest.length + 1)] = random.pick([() => liar9(random), () => hostile(scene)])()
        known = false
      }
      return { value: { n: 1, rest: value }, plain: known ? { n: 1, rest } : unknown }
    },
    good: () => ({ n: 1, rest: [Uint8Array.of(1, 2, 3, 4, 5)] }),
    back: (plain) => plain,
  },
  {
    name: 'custom',
    codec: any(
      h.custom<unknown, unknown>({
        name: 'mine',
        fingerprint: '1',
        encode: (value) => Buffer.from(JSON.stringify(value)),
        decode: (payload) => JSON.parse(Buffer.from(payload).toString()) as unknown,
      }),
    ),
    make: json.make,
    good: json.good,
    back: (plain) => {
      const back = jsonBack(plain)
      return back
    },
  },
  {
    name: 'custom, the bytes as they are',
    codec: any(
      h.custom<Uint8Array, Uint8Array>({
        name: 'bytes',
        fingerprint: '1',
        encode: (value) => value,
        decode: (payload) => payload,
      }),
    ),
    make: raw.make,
    good: raw.good,
    back: (plain) => plain,
  },
  { ...json, name: 'validated json', codec: any(h.validated(h.json, pass as never)) },
]

function liar9(random: Random): Uint8Array {
  class Five extends Uint8Array {
    override get length(): number {
      return 5
    }
  }
  return new Five(random.pick([0, 4, 6, 50]))
}
