import { getEventListeners } from 'node:events'
import { expect } from 'vitest'
import { json, type Wait } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { numbers, pause, publishMany, stateOf, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()
const waits: readonly Wait[] = ['spin', 'yield', 'park', 'adaptive']

export function waitCase({ it }: Suite): void {
  for (const wait of waits) {
    it(`delivers and ends: ${wait}`, async ({ hermes }) => {
      const topic = hermes.topic('counts', { codec: count })
      const subscriber = await topic.subscriber({ from: 'earliest', wait })
      expect(subscriber.wait).toBe(wait)
      const values: number[] = []
      const iterating = (async () => {
        for await (const message of subscriber) values.push(message.value)
      })()
      const publisher = await topic.publisher()
      for (let n = 0; n < 30; n += 10) {
        await publishMany(publisher, n, 10)
        await pause(5)
      }
      while (values.length < 30) await pause(1)
      await pause(30)
      await subscriber.close()
      await iterating
      expect(values).toEqual(numbers(0, 30))
    })

    it(`resolves ready() once there is a message: ${wait}`, async ({ hermes }) => {
      const topic = hermes.topic('counts', { codec: count })
      const publisher = await topic.publisher()
      const subscriber = await topic.subscriber({ wait })
      const ready = subscriber.ready()
      expect(await stateOf(ready)).toBe('pending')
      publisher.publish(7)
      await ready
      await subscriber.ready()
      let seen: number | undefined
      expect(subscriber.poll((value) => (seen = value))).toBe(1)
      expect(seen).toBe(7)
    })

    it(`ends a wait when its signal fires: ${wait}`, ['sharing'], async ({ hermes }) => {
      const topic = hermes.topic('counts', { codec: count })
      const controller = new AbortController()
      const subscriber = await topic.subscriber({ wait, signal: controller.signal })
      const next = subscriber.batches().next()
      expect(await stateOf(next)).toBe('pending')
      controller.abort(new Error('the user left'))
      const error = await failure('ABORTED', () => next)
      expect(error.cause).toMatchObject({ message: 'the user left' })
      // It is still open: what can be had without waiting can be had.
      expect(subscriber.poll(() => {})).toBe(0)

      const other = await topic.subscriber({ wait })
      const again = new AbortController()
      const ready = other.ready({ signal: again.signal })
      expect(await stateOf(ready)).toBe('pending')
      again.abort()
      await failure('ABORTED', () => ready)
      const publisher = await topic.publisher()
      publisher.publish(1)
      expect(await take(other, 1)).toEqual([{ value: 1, sequence: 1 }])
    })
  }

  it('refuses a signal that has fired before', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber()
    const signal = AbortSignal.abort()
    await failure('ABORTED', () => topic.subscriber({ signal }))
    await failure('ABORTED', () => subscriber.ready({ signal }))
    await failure('ABORTED', () => publisher.ready({ signal }))
    await failure('ABORTED', () => publisher.flush('synced', { signal }))
    await failure('ABORTED', () => publisher.publishAsync(1, { signal }))
    expect(publisher.lastSequence).toBe(0)
    const wrong = { signal: 'now' as never }
    await failure('INVALID_ARGUMENT', () => topic.subscriber(wrong))
    await failure('INVALID_ARGUMENT', () => subscriber.ready(wrong))
    await failure('INVALID_ARGUMENT', () => publisher.flush('synced', wrong))
  })

  it('ends waits for durability when their signal fires, and no others', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ durability: 'synced' })
    const controller = new AbortController()
    const { signal } = controller
    const kept = publisher.publishAsync(1)
    const waits = [publisher.publishAsync(2, { signal }), publisher.flush('synced', { signal })]
    controller.abort()
    for (const wait of waits) await failure('ABORTED', () => wait)
    expect(await kept).toMatchObject({ sequence: 1 })
    // What was published stays published.
    expect((await topic.info()).nextSequence).toBe(3)
  })

  it('leaves no listener on a signal', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ durability: 'synced' })
    const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
    const controller = new AbortController()
    const { signal } = controller
    let listeners = 0
    let most = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      most = Math.max(most, ++listeners)
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--
      removeEventListener.apply(signal, args)
    }
    const ready = subscriber.ready({ signal })
    await pause(20)
    expect(listeners).toBe(1)
    await Promise.all(numbers(0, 20).map((n) => publisher.publishAsync(n, { signal })))
    await publisher.flush('synced', { signal })
    await ready
    expect(listeners).toBe(0)
    // However many waited: Node warns of a leak beyond ten.
    expect(most).toBe(1)
  })

  it('takes one listener of a signal that many waits share, and ends all of them', async ({ hermes }) => {
    const topics = numbers(0, 15).map((n) => hermes.topic(`counts.${n}`, { codec: count, segmentBytes: 65_536 }))
    const subscribers = await Promise.all(topics.map((topic) => topic.subscriber({ wait: 'park' })))
    const controller = new AbortController()
    const { signal } = controller
    const warnings: Error[] = []
    const warn = (warning: Error) => void warnings.push(warning)
    process.on('warning', warn)
    const waits = subscribers.map((subscriber) => subscriber.ready({ signal }))
    await pause(20)
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    controller.abort()
    const ends = await Promise.allSettled(waits)
    expect(ends.map((end) => end.status === 'rejected' && end.reason.code)).toEqual(numbers(0, 15).map(() => 'ABORTED'))
    // (a warning comes in a later turn)
    await pause(5)
    process.off('warning', warn)
    expect(warnings).toEqual([])
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('reports a second wait at the same time as a HermesError', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const subscriber = await topic.subscriber({ wait: 'park' })
    const publisher = await topic.publisher()
    const first = subscriber.ready()
    await pause(20)
    await failure('BUSY', () => subscriber.ready())
    await failure('BUSY', () => subscriber.batches().next())
    publisher.publish(1)
    await first
    expect(await take(subscriber, 1)).toEqual([{ value: 1, sequence: 1 }])
  })
}
