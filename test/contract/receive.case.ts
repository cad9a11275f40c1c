import { expect } from 'vitest'
import { json } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, numbers, publishMany, same, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

export function receiveCase({ it }: Suite): void {
  it('gives every subscriber every message', ['sharing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const subscribers = await Promise.all([1, 2, 3].map(() => topic.subscriber({ from: 'earliest' })))
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 300)
    for (const subscriber of subscribers) {
      expect((await collect(subscriber, 300, same)).map((one) => one.value)).toEqual(numbers(0, 300))
    }
    await publishMany(publisher, 300, 10)
    for (const subscriber of subscribers) {
      expect((await collect(subscriber, 10, same)).map((one) => one.value)).toEqual(numbers(300, 10))
    }
  })

  it('hands out at most as many as the limit says', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 1000)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    const handler = (value: number) => void seen.push(value)
    expect(subscriber.poll(handler)).toBe(256)
    expect(subscriber.poll(handler, 1)).toBe(1)
    expect(subscriber.poll(handler, 100)).toBe(100)
    expect(subscriber.poll(handler, 65_535)).toBe(643)
    expect(subscriber.poll(handler)).toBe(0)
    expect(seen).toEqual(numbers(0, 1000))
  })

  it('refuses a limit that is none, also while messages are at hand', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 100)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const wrong = [0, -1, 1.5, Number.NaN, 65_536, '5', null] as number[]
    for (const limit of wrong) await failure('INVALID_ARGUMENT', () => subscriber.poll(() => {}, limit))
    // A handler that throws leaves fetched messages behind.
    expect(() =>
      subscriber.poll(() => {
        throw new Error('enough')
      }),
    ).toThrow('enough')
    for (const limit of wrong) await failure('INVALID_ARGUMENT', () => subscriber.poll(() => {}, limit))
    await failure('INVALID_ARGUMENT', () => subscriber.poll(undefined as never))
    expect(drain(subscriber, same)).toHaveLength(99)
  })

  it('yields batches of what is there', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 1000)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const sizes: number[] = []
    const values: number[] = []
    for await (const batch of subscriber.batches(300)) {
      sizes.push(batch.length)
      values.push(...batch.map((message) => message.value))
      if (values.length === 1000) break
    }
    expect(sizes).toEqual([300, 300, 300, 100])
    expect(values).toEqual(numbers(0, 1000))
    for (const max of [0, 65_536, 1.5]) await failure('INVALID_ARGUMENT', () => subscriber.batches(max).next())
  })

  it('leaves nothing out when an iteration is broken off and another begins', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 20)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    for await (const message of subscriber) {
      seen.push(message.value)
      if (seen.length === 3) break
    }
    for await (const message of subscriber) {
      seen.push(message.value)
      if (seen.length === 7) break
    }
    expect(seen).toEqual(numbers(0, 7))
    expect(subscriber.position).toBe(8)
    expect(subscriber.lag).toBe(13)
    expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(7, 13))
  })

  it('counts a message as consumed when its handler throws, and goes on behind it', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    const handler = (value: number) => {
      seen.push(value)
      if (value === 3) throw new RangeError('three')
    }
    expect(() => subscriber.poll(handler)).toThrow(RangeError)
    expect(subscriber.position).toBe(5)
    expect(subscriber.poll(handler)).toBe(6)
    expect(seen).toEqual(numbers(0, 10))
  })

  it('refuses to be used twice at once', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const within: unknown[] = []
    subscriber.poll(() => {
      try {
        subscriber.poll(() => {})
      } catch (error) {
        within.push((error as { code?: string }).code)
      }
    }, 1)
    expect(within).toEqual(['BUSY'])
    await failure('BUSY', async () => {
      for await (const _ of subscriber) subscriber.poll(() => {})
    })
    await failure('BUSY', async () => {
      for await (const _ of subscriber) await subscriber.batches().next()
    })
    // And the failures leave it usable.
    expect(drain(subscriber, same).length).toBeGreaterThan(0)
  })

  it('sees what its own process publishes within a handler', ['immediacy'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    publisher.publish(0)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    while (
      subscriber.poll((value) => {
        seen.push(value)
        if (value < 50) publisher.publish(value + 1)
      }) > 0
    );
    expect(seen).toEqual(numbers(0, 51))
  })

  it('delivers while both sides go on at the same time', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const receiving = take(subscriber, 20_000)
    for (let n = 0; n < 20_000; n += 100) {
      publisher.publishBatch(numbers(n, 100))
      await publisher.ready()
      if (n % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const received = await receiving
    expect(received.map((one) => one.value)).toEqual(numbers(0, 20_000))
    expect(received.map((one) => one.sequence)).toEqual(numbers(1, 20_000))
  })
}
