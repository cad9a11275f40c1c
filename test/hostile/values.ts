import type { Random } from '../../lib/testkit/random.js'
import type { Thrown } from './judge.js'

/** Marks a value that no codec takes, or of which only the codec knows whether it takes it. */
export const unknown = Symbol('unknown')

/** A value, and the plain one that it stands for: what comes back, but for what a codec does by its documentation. */
export interface Pair {
  readonly value: unknown
  readonly plain: unknown
}

/** What hostile code does when it runs: set by whoever is under attack. */
export interface Scene {
  readonly random: Random
  readonly thrown: Thrown
  /** Calls back into what is at work. Never throws. */
  act(): void
}

export function revoked(target: object = {}): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

export function detached(bytes = 16): Uint8Array {
  const view = new Uint8Array(bytes)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}

/** (TypeScript's library for this target has none.) */
function resizable(bytes: number, maxByteLength: number): ArrayBuffer {
  return Reflect.construct(ArrayBuffer, [bytes, { maxByteLength }]) as ArrayBuffer
}

/** A view whose buffer has become too short for it. */
export function outOfBounds(): Uint8Array {
  const buffer = resizable(64, 128)
  const view = new Uint8Array(buffer, 16, 32)
  ;(buffer as ArrayBuffer & { resize(bytes: number): void }).resize(8)
  return view
}

/** A subclass that says another length than it has. */
export class Liar extends Uint8Array {
  said = 0
  override get length(): number {
    return this.said
  }
  override get byteLength(): number {
    return this.said
  }
}

export class Species extends Uint8Array {
  static get [Symbol.species](): never {
    throw new Error('species')
  }
}

export function liar(bytes: number, said: number): Liar {
  const made = new Liar(bytes)
  Uint8Array.prototype.fill.call(made, 0xee)
  made.said = said
  return made
}

export function deep(depth: number, array: boolean): unknown {
  let value: unknown = 1
  for (let n = 0; n < depth; n++) value = array ? [value] : { a: value }
  return value
}

function cyclic(): unknown {
  const value: Record<string, unknown> = { a: 1 }
  value['self'] = [value]
  return value
}

const strings = [
  '',
  'a',
  'BTC',
  '\0',
  'a\0b',
  '\ud800',
  'x\udc00y',
  '🚀',
  '\ufeffx',
  'é'.repeat(40),
  '__proto__',
  'a"\\\n\r',
]
const numbers = [
  0,
  -0,
  1,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  1e308,
  5e-324,
  255,
  256,
]
const bigints = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n, 2n ** 64n, -(2n ** 64n)]

/** Bytes in many guises, with what they are. */
export function bytesPair(random: Random): Pair {
  const length = random.pick([0, 1, 8, 32, 33, 64, 65, 200])
  const plain = Uint8Array.from({ length }, () => random.below(256))
  switch (random.below(8)) {
    case 0:
      return { value: plain.slice(), plain }
    case 1:
      return { value: Buffer.from(plain), plain }
    case 2: {
      const shared = new Uint8Array(new SharedArrayBuffer(length))
      shared.set(plain)
      return { value: shared, plain }
    }
    case 3: {
      const view = new Uint8Array(resizable(length, length + 64))
      view.set(plain)
      return { value: view, plain }
    }
    case 4: {
      const lying = new Liar(length)
      lying.set(plain)
      lying.said = random.pick([0, 8, 64, 1000])
      return { value: lying, plain }
    }
    case 5: {
      const view = new Species(length)
      view.set(plain)
      return { value: view, plain }
    }
    case 6:
      return { value: Object.seal(Buffer.from(plain)), plain }
    default: {
      const view = new Uint8Array(plain)
      Object.defineProperty(view, 'constructor', { get: () => Species })
      return { value: view, plain }
    }
  }
}

/** A value for codecs that take any plain data: json and msgpack. */
export function dataPair(scene: Scene, depth = 3): Pair {
  const { random } = scene
  switch (random.below(depth > 0 ? 16 : 6)) {
    case 0:
      return both(random.pick(numbers))
    case 1:
    case 2:
      return both(random.pick(strings))
    case 3:
      return both(random.pick([true, false, null]))
    case 4:
      return both(random.pick(bigints))
    case 5:
      return random.chance(0.3) ? { value: hostile(scene), plain: unknown } : both(random.below(100))
    case 6:
      return arrayPair(scene, depth)
    case 7: {
      const pair = dataPair(scene, depth - 1)
      // The code of the caller runs, and gives what it says.
      const value = {
        get a() {
          scene.act()
          return pair.value
        },
      }
      return { value, plain: pair.plain === unknown ? unknown : { a: pair.plain } }
    }
    case 8: {
      const pair = dataPair(scene, depth - 1)
      const frozen = Object.freeze({ a: pair.value })
      return { value: frozen, plain: pair.plain === unknown ? unknown : { a: pair.plain } }
    }
    case 9: {
      const { thrown } = scene
      const what = random.pick([new Error('mine'), Symbol('s'), null, undefined, Object.create(null), revoked(), 1n])
      const trap = () => thrown.throw(what)
      return {
        value: random.pick([
          {
            toJSON: trap,
            get a() {
              return trap()
            },
          },
        ]),
        plain: unknown,
      }
    }
    case 10: {
      const pair = dataPair(scene, depth - 1)
      const value = new Proxy({ a: pair.value } as Record<string, unknown>, {
        ownKeys: (target) => {
          scene.act()
          return Reflect.ownKeys(target)
        },
      })
      return { value, plain: pair.plain === unknown ? unknown : { a: pair.plain } }
    }
    case 11:
      return {
        value: JSON.parse('{"__proto__":{"a":1},"constructor":2}'),
        plain: JSON.parse('{"__proto__":{"a":1},"constructor":2}'),
      }
    case 12: {
      const date = new Date(random.pick([0, 1e12, -1, 8.64e15, Number.NaN]))
      return { value: date, plain: date }
    }
    default: {
      const value: Record<string, unknown> = {}
      const plain: Record<string, unknown> = {}
      let known = true
      for (let n = random.below(4); n > 0; n--) {
        const key = random.pick(['a', 'b', '', 'é', 'toString', 'constructor', '0', '-0'])
        const pair = dataPair(scene, depth - 1)
        value[key] = pair.value
        plain[key] = pair.plain
        known &&= !Object.values(plain).includes(unknown)
      }
      return { value, plain: known ? plain : unknown }
    }
  }
}

function both(value: unknown): Pair {
  return { value, plain: value }
}

function arrayPair(scene: Scene, depth: number): Pair {
  const pairs = Array.from({ length: scene.random.below(4) }, () => dataPair(scene, depth - 1))
  const value = pairs.map((one) => one.value)
  const plain = pairs.map((one) => one.plain)
  if (scene.random.chance(0.2) && value.length > 0) {
    // Does its worst while it is walked over, and is as long afterwards as before.
    const at = scene.random.below(value.length)
    const held = value[at]
    Object.defineProperty(value, at, {
      get: () => {
        scene.act()
        return held
      },
      enumerable: true,
      configurable: true,
    })
  }
  return { value, plain: plain.includes(unknown) ? unknown : plain }
}

/** Anything at all: what no call was made for. */
export function hostile(scene: Scene): unknown {
  const { random, thrown } = scene
  const own = () => thrown.throw(new Error('mine'))
  return random.pick<() => unknown>([
    () => undefined,
    () => null,
    () => random.pick(numbers),
    () => random.pick(strings),
    () => random.pick(bigints),
    () => Symbol('s'),
    () => true,
    () => () => scene.act(),
    () => async () => scene.act(),
    () => class {},
    () => ({}),
    () => Object.create(null) as unknown,
    () => [],
    () => [undefined, undefined],
    () => ({ length: -1 }),
    () => ({ length: 2 ** 53 - 1 }),
    () => ({ length: 1.5, 0: 1 }),
    () => ({ length: 1n }),
    () => ({
      valueOf: () => {
        scene.act()
        return 7
      },
    }),
    () => ({ toString: own, valueOf: own }),
    () => ({
      [Symbol.toPrimitive]: () => {
        scene.act()
        return 3
      },
    }),
    () => ({
      get length() {
        return own()
      },
    }),
    () => revoked(),
    () => revoked([]),
    () => revoked(() => {}),
    () => new Proxy({}, { get: own, has: own, ownKeys: own, getPrototypeOf: own, getOwnPropertyDescriptor: own }),
    () => Object.freeze([1, 2]),
    () => Object.seal({ a: 1 }),
    () => new Date(Number.NaN),
    () => new Date(0),
    () => detached(),
    () => outOfBounds(),
    () => new Uint8Array(new SharedArrayBuffer(8)),
    () => liar(8, 4),
    () => liar(8, 5000),
    () => liar(400, 8),
    () => new Species(300),
    () => new BigInt64Array(2),
    () => new DataView(new ArrayBuffer(8)),
    () => new ArrayBuffer(8),
    () => cyclic(),
    () => deep(20_000, random.chance(0.5)),
    () => deep(101, random.chance(0.5)),
    () => Promise.resolve(1),
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tried
      then: () => scene.act(),
    }),
    () => Object.defineProperty(new Error('x'), 'message', { get: own }),
    () => /x/g,
    () => new Map([[1, 2]]),
    () => new Set([1]),
    () => Object(1n) as unknown,
    () => Object('x') as unknown,
    () =>
      Object.defineProperty(() => {}, Symbol.toStringTag, {
        get: () => {
          scene.act()
          return 'x'
        },
      }),
    () => ({ __proto__: null, constructor: 1 }),
    () => JSON.parse('{"__proto__":1}') as unknown,
    () => 'x'.repeat(random.pick([65, 5000, 70_000])),
  ])()
}
