import { isDate } from 'node:util/types'
import type { HermesError } from '../../lib/base/errors.js'
import type { Hermes, Publisher } from '../../lib/index.js'
import type { Random } from '../../lib/testkit/random.js'
import { type Counts, compare, judgeRefusal, owned } from './attack-codec.js'
import type { Target } from './codecs.js'
import { attempt, codeOf, same, Thrown, text, Violation } from './judge.js'
import { hostile, type Pair, type Scene, unknown } from './values.js'

let topics = 0

/** A publisher and a subscriber whose values and handlers call back into them, beside a list of what was accepted. */
export async function attackPlace(hermes: Hermes, target: Target, random: Random, counts: Counts): Promise<void> {
  const thrown = new Thrown()
  const topic = hermes.topic(`hostile-${process.pid}-${topics++}`, {
    codec: target.codec,
    segmentBytes: 65_536,
    maxPayloadBytes: 4096,
  })
  const publisher: Publisher<unknown> = await topic.publisher()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const expected: unknown[] = []
  const found: unknown[] = []
  let depth = 0
  let isEncoding = false
  let isPolling = false
  const note = (plain: unknown) => expected.push(plain === unknown ? unknown : target.back(plain))
  const scene: Scene = {
    random,
    thrown,
    act: () => {
      if (depth > 1) return
      depth++
      counts.nested++
      const good = target.good(random)
      if (random.chance(0.6)) {
        const result = attempt('nested publish', thrown, () => publisher.publish(good))
        if ('value' in result) note(good)
        if (isEncoding) same('a publish within an encode', result, { code: 'BUSY' })
        same(
          'a batch within an encode',
          isEncoding && 'value' in attempt('nested', thrown, () => publisher.publishBatch([])),
          false,
        )
      } else poll()
      depth--
    },
  }
  const poll = () => {
    const nested = isPolling
    const result = attempt('poll', thrown, () => {
      const before = isEncoding
      try {
        return subscriber.poll(
          (view, message) => {
            isPolling = true
            isEncoding = false
            try {
              const first = owned(view)
              same('sequence', message.sequence, found.length + 1)
              found.push(first)
              if (random.chance(0.3)) scene.act()
              same('the view', owned(view), first)
            } finally {
              isPolling = nested
              isEncoding = before
            }
          },
          random.pick([1, 7, 256]),
        )
      } finally {
        isEncoding = before
      }
    })
    if (nested) same('a poll within a handler', result, { code: 'BUSY' })
    else if ('code' in result) throw new Violation(`poll: ${result.code}`)
  }
  const encoding = <T>(call: () => T): T => {
    isEncoding = true
    try {
      return call()
    } finally {
      isEncoding = false
    }
  }
  for (let n = 0; n < 25; n++) {
    const pair: Pair = target.make(scene)
    const where = `${hermes.place}, ${target.name} of ${text(pair.value)}`
    const choice = random.below(10)
    if (choice < 5) {
      const result = attempt(where, thrown, () => encoding(() => publisher.publish(pair.value)))
      if ('code' in result) {
        counts.refused++
        judgeRefusal(where, result.code, pair.plain, target)
      } else {
        counts.accepted++
        note(pair.plain)
      }
    } else if (choice < 7) {
      const values = [target.good(random), pair.value, target.good(random)]
      try {
        encoding(() => publisher.publishBatch(values))
        note(values[0])
        note(pair.plain)
        note(values[2])
      } catch (error) {
        codeOf(error, where, thrown)
        same(`${where}: values before it`, (error as HermesError).details['accepted'], 0)
      }
    } else if (choice < 8) {
      try {
        isEncoding = true
        const sent = publisher.publishAsync(pair.value)
        isEncoding = false
        const receipt = await sent
        note(pair.plain)
        same('receipt', receipt.sequence, expected.length)
      } catch (error) {
        judgeRefusal(where, codeOf(error, where, thrown), pair.plain, target)
      } finally {
        isEncoding = false
      }
    } else if (choice < 9) {
      poll()
    } else {
      const wrong = hostile(scene)
      const isLimit = wrong === undefined || (typeof wrong === 'number' && wrong >= 1 && wrong % 1 === 0)
      attempt('poll', thrown, () => subscriber.poll(() => {}, (isLimit ? 0 : wrong) as number))
      attempt('seek', thrown, () => subscriber.seek((typeof wrong === 'number' || isDate(wrong) ? -1 : wrong) as never))
      const isIterable = typeof wrong === 'string' || (typeof wrong === 'object' && wrong !== null)
      attempt('publishBatch', thrown, () => publisher.publishBatch((isIterable ? 5 : wrong) as never))
    }
  }
  // Closed by the code of a value: that message is refused, and what was accepted is there.
  let closing: Promise<void> | undefined
  const last = target.good(random)
  const lastValue =
    typeof last === 'object' && !(last instanceof Uint8Array)
      ? Object.defineProperty({ ...last }, 'n', {
          get: () => {
            closing ??= publisher.close()
            return 1
          },
          enumerable: true,
        })
      : undefined
  if (lastValue !== undefined) {
    const result = attempt('closing', thrown, () => publisher.publish(lastValue))
    same('closed by a value', result, { code: 'CLOSED' })
  }
  await (closing ?? publisher.close())
  for (let misses = 0; found.length < expected.length; ) {
    const before = found.length
    poll()
    if (found.length > before) misses = 0
    else if (misses++ < 20) await subscriber.ready({ timeoutMs: 2000 }).catch(() => {})
    else throw new Violation(`${hermes.place}: ${expected.length - before} messages are lost`)
  }
  compare(`${hermes.place}, ${target.name}`, found, expected)
  poll()
  same('nothing behind the end', found.length, expected.length)
  await subscriber.close()
}
