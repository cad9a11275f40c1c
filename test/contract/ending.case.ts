import { expect } from 'vitest'
import { json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { numbers, pause, publishMany, stateOf } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

export function endingCase({ it }: Suite): void {
  it('closes as often as it is asked to', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber()
    for (const one of [publisher, subscriber, hermes]) {
      const closed = one.closed()
      expect(await stateOf(closed, 5)).toBe('pending')
      await Promise.all([one.close(), one.close()])
      await one.close()
      await closed
      await one.closed()
    }
  })

  it('refuses work after close', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ durability: 'synced' })
    const subscriber = await topic.subscriber()
    publisher.publish(1)
    await publisher.close()
    await failure('CLOSED', () => publisher.publish(2))
    await failure('CLOSED', () => publisher.publishBatch([2]))
    await failure('CLOSED', () => publisher.publishAsync(2))
    await failure('CLOSED', () => publisher.flush())
    await failure('CLOSED', () => publisher.ready())
    expect(publisher.lastSequence).toBe(1)
    await subscriber.close()
    await failure('CLOSED', () => subscriber.poll(() => {}))
    await failure('CLOSED', () => subscriber.ready())
    await failure('CLOSED', () => subscriber.seek('earliest'))
    await failure('CLOSED', () => subscriber.lag)
    await failure('CLOSED', () => subscriber.batches().next())
    await failure('CLOSED', () => subscriber[Symbol.asyncIterator]().next())
    expect(subscriber.position).toBeGreaterThan(0)
    expect((await topic.info()).nextSequence).toBe(2)
    await hermes.close()
    await failure('CLOSED', () => hermes.topic('other'))
    await failure('CLOSED', () => hermes.topics())
    await failure('CLOSED', () => hermes.info('counts'))
    await failure('CLOSED', () => topic.publisher())
    await failure('CLOSED', () => topic.subscriber())
    await failure('CLOSED', () => topic.info())
  })

  it('disposes of what leaves its scope', ['exclusivity'], async ({ place, options }) => {
    let kept: { closed(): Promise<void> }[] = []
    {
      await using hermes = await open(place, options)
      const topic = hermes.topic('counts', { codec: count })
      await using publisher = await topic.publisher({ exclusive: true })
      await using subscriber = await topic.subscriber()
      publisher.publish(1)
      kept = [hermes, publisher, subscriber]
    }
    for (const one of kept) await one.closed()
    await using hermes = await open(place, options)
    await (await hermes.topic('counts', { codec: count }).publisher({ exclusive: true })).close()
  })

  it('closes what was made with it', ['exclusivity'], async ({ hermes, place, options }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ exclusive: true })
    const subscriber = await topic.subscriber()
    const iterating = subscriber.batches().next()
    await hermes.close()
    await publisher.closed()
    await subscriber.closed()
    expect(await iterating).toMatchObject({ done: true })
    await failure('CLOSED', () => publisher.publish(1))
    await using again = await open(place, options)
    await (await again.topic('counts', { codec: count }).publisher({ exclusive: true })).close()
  })

  it('ends an iteration that has just found a message when it is closed', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    await (await topic.publisher()).publishAsync(1)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const iterator = subscriber[Symbol.asyncIterator]()
    const next = iterator.next()
    await subscriber.close()
    // (where the message was there already, it was taken out before)
    const { done, value } = await next
    expect(done === true || value.value === 1).toBe(true)
  })

  it('closes what was being made when it was closed', ['exclusivity'], async ({ hermes, place, options }) => {
    const topic = hermes.topic('counts', { codec: count })
    const opening = [topic.publisher({ exclusive: true }), topic.subscriber()]
    const closing = hermes.close()
    await Promise.all(opening.map((one) => failure('CLOSED', () => one)))
    await closing
    await using again = await open(place, options)
    await (await again.topic('counts', { codec: count }).publisher({ exclusive: true })).close()
  })

  it('ends iterations and waits when the subscriber is closed', ['replay'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    for (const wait of ['spin', 'yield', 'park', 'adaptive'] as const) {
      const subscriber = await topic.subscriber({ from: 'earliest', wait })
      const seen: number[] = []
      const iterating = (async () => {
        for await (const message of subscriber) seen.push(message.value)
      })()
      while (seen.length < 10) await pause(1)
      await pause(20)
      await subscriber.close()
      await iterating
      expect(seen).toEqual(numbers(0, 10))
      const waiting = await topic.subscriber({ wait })
      const ready = waiting.ready()
      const refused = failure('CLOSED', () => ready)
      await pause(20)
      await waiting.close()
      await refused
    }
  })

  it('may be closed from within a handler or an iteration', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    const polled = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    expect(
      polled.poll((value) => {
        seen.push(value)
        if (value === 2) void polled.close()
      }),
    ).toBe(3)
    expect(seen).toEqual([0, 1, 2])
    await failure('CLOSED', () => polled.poll(() => {}))
    const iterated = await topic.subscriber({ from: 'earliest' })
    const batches: number[] = []
    for await (const batch of iterated.batches(4)) {
      batches.push(batch.length)
      await iterated.close()
    }
    expect(batches).toEqual([4])
  })

  it('settles what is under way when a publisher is closed', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ durability: 'synced' })
    const receipts = numbers(0, 50).map((n) => publisher.publishAsync(n))
    const closing = publisher.close()
    await failure('CLOSED', () => publisher.publish(99))
    expect((await Promise.all(receipts)).map((receipt) => receipt.sequence)).toEqual(numbers(1, 50))
    await closing
    expect((await topic.info()).syncedSequence).toBe(51)
  })

  it(
    "ends with 'until' at what is synced when it begins, if it reads no further",
    ['syncing', 'replay'],
    async ({ hermes, place, options }) => {
      const topic = hermes.topic('counts', { codec: count })
      const synced = await topic.publisher({ durability: 'synced' })
      await publishMany(synced, 0, 10)
      await synced.flush('synced')
      const end = (await topic.info()).syncedSequence
      expect(end).toBe(11)
      // A tail that nothing syncs.
      const written = await topic.publisher()
      await publishMany(written, 10, 10)
      await written.flush('written')
      const now = new Date()
      // (With a connection of its own: the suite's waits until all that is published has arrived.)
      await using reading = await open(place, options)
      const read = reading.topic('counts', { codec: count })
      for (const until of ['latest', now] as const) {
        const subscriber = await read.subscriber({ from: 'earliest', upTo: 'synced', until })
        const seen: number[] = []
        for await (const { value } of subscriber) seen.push(value)
        expect(seen).toEqual(numbers(0, 10))
        expect(subscriber.position).toBe(end)
        await failure('OUT_OF_RANGE', () => subscriber.ready())
      }
      // One that is named is waited for.
      const waiting = await read.subscriber({ from: 'earliest', upTo: 'synced', until: 12 })
      const seen: number[] = []
      const iterating = (async () => {
        for await (const { value } of waiting) seen.push(value)
      })()
      while (seen.length < 10) await pause(1)
      expect(await stateOf(iterating, 20)).toBe('pending')
      await written.flush('synced')
      await iterating
      expect(seen).toEqual(numbers(0, 12))
    },
  )

  it(
    "ends at once with 'until' and what is synced, in a topic that is still to be made",
    ['syncing'],
    async ({ hermes }) => {
      const topic = hermes.topic('counts', { codec: count })
      const subscriber = await topic.subscriber({ from: 'earliest', upTo: 'synced', until: 'latest' })
      expect(await subscriber.batches().next()).toEqual({ done: true, value: undefined })
    },
  )
}
