import { expect } from 'vitest'
import { json, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, numbers, pause, publishMany, same, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

/** Who says what a topic is: its publishers, and never a subscriber that was not asked to. */
export function definitionCase({ it }: Suite): void {
  it('lets a subscriber begin before its topic is there, and miss nothing', async ({ hermes }) => {
    for (const wait of ['spin', 'yield', 'park', 'adaptive'] as const) {
      const topic = hermes.topic(`counts-${wait}`, { codec: count })
      const subscriber = await topic.subscriber({ wait })
      expect([subscriber.poll(() => {}), subscriber.lag, subscriber.position]).toEqual([0, 0, 1])
      expect(await hermes.topics()).not.toContain(topic.name)
      const taking = take(subscriber, 3)
      await pause(20)
      await publishMany(await topic.publisher(), 0, 3)
      expect((await taking).map((one) => one.value)).toEqual(numbers(0, 3))
      await subscriber.close()
    }
  })

  it('has the publisher say what the topic is, whatever a subscriber before it would have', async ({ hermes }) => {
    const mine = hermes.topic('counts', { codec: count, segmentBytes: 1024 * 1024, maxPayloadBytes: 1000 })
    const subscriber = await mine.subscriber()
    const publisher = await hermes.topic('counts', { codec: text, segmentBytes: 262_144 }).publisher()
    expect(await hermes.info('counts')).toMatchObject({ codec: { name: 'text' }, segmentBytes: 262_144 })
    await publisher.publishAsync('a')
    const error = await failure('CODEC_MISMATCH', () => take(subscriber, 1))
    expect(error.message).toContain("'text'")
    // A subscriber of the right codec need not know the sizes.
    const right = await hermes.topic('counts', { codec: text }).subscriber({ from: 'earliest' })
    expect((await collect(right, 1, same)).map((one) => one.value)).toEqual(['a'])
  })

  it('makes the topic for a subscriber that is told to', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, segmentBytes: 262_144 })
    const subscriber = await topic.subscriber({ create: true })
    expect(await hermes.topics()).toEqual(['counts'])
    expect((await topic.info()).segmentBytes).toBe(262_144)
    await publishMany(await topic.publisher(), 0, 2)
    expect((await take(subscriber, 2)).map((one) => one.value)).toEqual([0, 1])
  })

  it('refuses a subscriber that must not wait for its topic', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, create: false })
    await failure('NOT_FOUND', () => topic.subscriber())
    await failure('NOT_FOUND', () => topic.publisher())
    await failure('INVALID_ARGUMENT', () => topic.subscriber({ create: 'yes' as never }))
  })

  it('waits until a topic exists', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const error = await failure('TIMED_OUT', () => topic.waitUntilExists({ timeoutMs: 30 }))
    expect(error.details).toEqual({ topic: 'counts' })
    await failure('ABORTED', () => topic.waitUntilExists({ signal: AbortSignal.timeout(30) }))
    const waiting = topic.waitUntilExists()
    await topic.publisher()
    expect(await waiting).toMatchObject({ name: 'counts', nextSequence: 1 })
  })

  it('ends the wait of a subscriber for its topic with the subscriber', async ({ hermes }) => {
    const subscriber = await hermes.topic('counts', { codec: count }).subscriber()
    const next = subscriber.batches().next()
    await pause(10)
    await subscriber.close()
    expect(await next).toMatchObject({ done: true })
    const other = await hermes.topic('counts', { codec: count }).subscriber({ from: 'earliest' })
    await failure('TIMED_OUT', () => other.ready({ timeoutMs: 20 }))
  })

  it('lets an empty topic be defined anew', async ({ hermes, place }) => {
    await (await hermes.topic('counts', { codec: count }).publisher()).close()
    const before = await hermes.topic('counts', { codec: count }).subscriber({ from: 'earliest' })
    if (place.startsWith('ring:') || place.includes('://')) {
      // (a ring belongs to its subscriber; a broker has told remote subscribers the codec)
      await failure('CODEC_MISMATCH', () => hermes.topic('counts', { codec: text }).publisher())
      return
    }
    const after = await hermes.topic('counts', { codec: text }).subscriber()
    const publisher = await hermes.topic('counts', { codec: text }).publisher()
    publisher.publish('a')
    expect((await collect(after, 1, same)).map((one) => one.value)).toEqual(['a'])
    await failure('CODEC_MISMATCH', () => take(before, 1))
    // With a message in it, it stays what it is.
    await publisher.close()
    await failure('CODEC_MISMATCH', () => hermes.topic('counts', { codec: count }).publisher())
    await failure('CODEC_MISMATCH', () => hermes.topic('counts', { codec: count }).subscriber())
  })
}
