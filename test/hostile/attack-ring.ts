import { MpmcRing, removeRing, SpscByteRing, SpscRing } from '../../lib/index.js'
import type { Random } from '../../lib/testkit/random.js'
import { type Counts, judgeRefusal, owned } from './attack-codec.js'
import type { Target } from './codecs.js'
import { attempt, same, Thrown, text, Violation } from './judge.js'
import { hostile, type Scene, unknown } from './values.js'

export const ringKinds = ['spsc', 'bytes', 'mpmc'] as const
export type Kind = (typeof ringKinds)[number]

interface Producer {
  tryPush(value: unknown, label?: number): boolean
  pushBatch(values: readonly unknown[]): number
}
interface Consumer {
  tryPop(): unknown
  popBatch(limit?: number): unknown[]
  poll(handler: (view: unknown) => void, limit?: number): number
  popInto(target: Uint8Array, offset?: number): unknown
}

let names = 0

function make(kind: Kind, target: Target, random: Random): { producer: Producer; consumer: Consumer; name?: string } {
  const { codec } = target
  const name = random.chance(0.2) ? `hostile-${process.pid}-${names++}` : undefined
  const common = { codec, ...(name === undefined ? {} : { name }) }
  const startIndex = random.pick([0, 2 ** 32 - 16, 2 ** 31 - 16])
  const named = name === undefined ? {} : { name }
  if (kind === 'mpmc') {
    const ring = MpmcRing.create({ ...common, capacity: random.pick([2, 8]), startIndex })
    return {
      producer: ring,
      consumer: random.chance(0.5) ? ring : MpmcRing.attach(name ?? ring.handle, { codec }),
      ...named,
    } as never
  }
  if (kind === 'spsc') {
    const producer = SpscRing.create({ ...common, capacity: random.pick([2, 8]), startIndex, role: 'producer' })
    return {
      producer,
      consumer: SpscRing.attach(name ?? producer.handle, { codec, role: 'consumer' }),
      ...named,
    } as never
  }
  const capacity = random.pick([1024, 4096, 16_384])
  const producer = SpscByteRing.create({ ...common, capacity, startIndex, role: 'producer' })
  return {
    producer,
    consumer: SpscByteRing.attach(name ?? producer.handle, { codec, role: 'consumer' }),
    ...named,
  } as never
}

/** A ring whose values, handlers and arguments call back into it, beside a list of what it has to hold. */
export function attackRing(kind: Kind, target: Target, random: Random, counts: Counts): void {
  const thrown = new Thrown()
  const { producer, consumer, name } = make(kind, target, random)
  /** What was taken from the caller and not given back yet, oldest first. */
  const queue: unknown[] = []
  let depth = 0
  const scene: Scene = {
    random,
    thrown,
    act: () => {
      if (depth > 2) return
      depth++
      counts.nested++
      // Whatever is done here: the model is told only what the ring says that it did.
      if (random.chance(0.5)) push(target.good(random), 'nested')
      else if (random.chance(0.7)) take('nested')
      else meddle()
      depth--
    },
  }
  const note = (plain: unknown) => queue.push(plain === unknown ? unknown : target.back(plain))
  const push = (value: unknown, where: string) => {
    const result = attempt(where, thrown, () => producer.tryPush(value))
    if ('value' in result && result.value) note(value)
    return result
  }
  const got = (where: string, value: unknown) => {
    if (queue.length === 0) throw new Violation(`${where}: ${text(value)} came from nowhere`)
    const expected = queue.shift()
    if (expected !== unknown) same(`${kind}, ${where}`, value, expected)
  }
  const take = (where: string) => {
    switch (random.below(3)) {
      case 0: {
        const result = attempt(where, thrown, () => consumer.tryPop())
        if ('value' in result && result.value !== undefined) got(where, result.value)
        return
      }
      case 1: {
        const result = attempt(where, thrown, () => consumer.popBatch(random.pick([0, 1, 2, 256])))
        if ('value' in result) for (const one of result.value) got(where, one)
        return
      }
      default: {
        const throwing = random.chance(0.1)
        attempt(where, thrown, () =>
          consumer.poll(
            (view) => {
              // The view stays as it is, whatever the handler does.
              const first = owned(view)
              got(where, first)
              if (random.chance(0.3)) scene.act()
              same(`${kind}, ${where}: the view`, owned(view), first)
              if (throwing) thrown.throw(new Error('mine'))
            },
            random.pick([1, 2, 256]),
          ),
        )
      }
    }
  }
  /** Calls with arguments that are none. Nothing may move. */
  const meddle = () => {
    const ring = producer as unknown as Record<string, (...args: unknown[]) => unknown>
    const other = consumer as unknown as Record<string, (...args: unknown[]) => unknown>
    const wrong = () => hostile(scene)
    const bad = random.pick([-1, 1.5, Number.NaN, 1n, '1', {}, Symbol('s'), wrong()])
    random.pick<() => void>([
      () => void attempt('claim', thrown, () => ring['claim']?.(bad)),
      () => void attempt('commit', thrown, () => kind === 'bytes' && ring['commit']?.(bad, bad)),
      () => void attempt('popBatch', thrown, () => other['popBatch']?.(badLimit(bad))),
      () => void attempt('poll', thrown, () => other['poll']?.(null, bad)),
      () => void attempt('poll', thrown, () => other['poll']?.(() => {}, badLimit(bad))),
      () => void attempt('peek', thrown, () => other['peek']?.(bad)),
      () => void attempt('consume', thrown, () => other['consume']?.(badLimit(bad))),
      () => void attempt('popInto', thrown, () => other['popInto']?.(new Uint8Array(4), badLimit(bad))),
      () =>
        void attempt('popInto', thrown, () =>
          other['popInto']?.(random.pick([null, [], new DataView(new ArrayBuffer(9))])),
        ),
      () => void attempt('pushBatch', thrown, () => ring['pushBatch']?.(random.pick([null, { length: 1.5 }, 'ab', 5]))),
      () => void attempt('evict', thrown, () => ring['evict']?.(random.pick([-1, 1.5, 'x', 300, Symbol('s')]))),
      () =>
        void attempt('waitForItems', thrown, () =>
          ring['waitForItems']?.(random.pick([-1, 1.5, 'x', Number.NaN, 2 ** 40])),
        ),
      () => void attempt('abort', thrown, () => ring['abort']?.()),
    ])()
    // A claim that was made by the way is given up.
    attempt('abort', thrown, () => ring['abort']?.())
  }
  try {
    for (let n = 0; n < 30; n++) {
      const choice = random.below(10)
      if (choice < 5) {
        const pair = target.make(scene)
        const where = `${kind}, ${target.name} of ${text(pair.value)}`
        const label = random.chance(0.2) ? hostile(scene) : random.next()
        const result = attempt(where, thrown, () => producer.tryPush(pair.value, label as number))
        if ('code' in result) {
          counts.refused++
          if (!(kind === 'bytes' && result.code === 'INVALID_ARGUMENT'))
            judgeRefusal(where, result.code, pair.plain, target)
        } else if (result.value) {
          counts.accepted++
          note(pair.plain)
        }
      } else if (choice < 7) {
        const pair = target.make(scene)
        const first = target.good(random)
        const where = `${kind}, batch with ${target.name} of ${text(pair.value)}`
        // An SPSC ring shows a batch as a whole; the others have the first value by the time that they ask for the second.
        const batch = Object.defineProperty([first, undefined] as unknown[], 1, {
          get: () => {
            if (kind !== 'spsc') note(first)
            return pair.value
          },
        })
        const result = attempt(where, thrown, () => producer.pushBatch(batch))
        const done = 'value' in result ? result.value : 0
        if (kind === 'spsc' && done > 0) note(first)
        if (done > 1) note(pair.plain)
      } else if (choice < 9) take('outside')
      else meddle()
    }
    for (let most = 0; queue.length > 0; most++) {
      const before = queue.length
      take('at the end')
      if (queue.length === before && most > 100)
        throw new Violation(`${kind}: ${before} values are lost: ${text(queue)}`)
    }
    same(`${kind}: nothing behind the end`, consumer.tryPop(), undefined)
    // And it goes on.
    const good = target.good(random)
    same(`${kind}: a push afterwards`, producer.tryPush(good), true)
    same(`${kind}: a pop afterwards`, consumer.tryPop(), target.back(good))
  } finally {
    for (const one of [producer, consumer] as unknown as { close(): void }[]) one.close()
    if (name !== undefined) removeRing(name)
  }
}

function badLimit(value: unknown): unknown {
  // A whole number, and Infinity, are limits; without one the default counts.
  return value === undefined ||
    (typeof value === 'number' && value >= 0 && value % 1 === 0) ||
    value === Number.POSITIVE_INFINITY
    ? -1
    : value
}
