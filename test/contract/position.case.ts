import { expect } from 'vitest'
import { json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, numbers, pause, publishMany, same, stateOf, take } from '../helpers/receive.js'
import type { OpenPlace, Suite } from './placement.js'

const count = json<number>()

async function filled({ hermes }: OpenPlace, messages: number) {
  // Small segments, so that positions lie in several of them.
  const topic = hermes.topic('counts', { codec: count, segmentBytes: 65_536 })
  const publisher = await topic.publisher()
  await publishMany(publisher, 1, messages)
  return { topic, publisher }
}

export function positionCase({ it }: Suite): void {
  it('begins with what is published from now on, unless told otherwise', ['growth'], async (place) => {
    const { topic, publisher } = await filled(place, 5000)
    const subscriber = await topic.subscriber()
    expect(subscriber.position).toBe(5001)
    expect(drain(subscriber, same)).toEqual([])
    publisher.publish(5001)
    expect(await collect(subscriber, 1, same)).toEqual([{ value: 5001, sequence: 5001 }])
  })

  it('begins where it is told to', ['replay'], async (place) => {
    const { topic } = await filled(place, 5000)
    for (const from of [1, 2, 1637, 1638, 1639, 2500, 4999, 5000]) {
      const subscriber = await topic.subscriber({ from })
      expect(subscriber.position).toBe(from)
      expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(from, 5001 - from))
      await subscriber.close()
    }
    const next = await topic.subscriber({ from: 5001 })
    expect(drain(next, same)).toEqual([])
    const error = await failure('OUT_OF_RANGE', () => topic.subscriber({ from: 5002 }))
    expect(error.details).toMatchObject({ topic: 'counts', sequence: 5002, nextSequence: 5001 })
  })

  it('begins at a time', ['replay'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    const start = new Date(Date.now() - 1000)
    await publishMany(publisher, 1, 3000)
    await pause(5)
    const middle = new Date()
    await pause(5)
    await publishMany(publisher, 3001, 2000)
    await pause(5)
    const end = new Date()
    const first = async (from: Date) => (await topic.subscriber({ from })).position
    expect(await first(start)).toBe(1)
    expect(await first(new Date(0))).toBe(1)
    expect(await first(middle)).toBe(3001)
    expect(await first(end)).toBe(5001)
    expect(await first(new Date(Date.now() + 1e9))).toBe(5001)
  })

  it('delivers nothing to who waits for a time beyond the timestamps of the log', ['replay'], async ({ hermes }) => {
    for (const ms of [18_446_744_073_710, 8.64e15]) {
      const topic = hermes.topic(`counts-${ms}`, { codec: count })
      const before = await topic.subscriber({ from: new Date(ms) })
      const publisher = await topic.publisher()
      await publishMany(publisher, 1, 3)
      const after = await topic.subscriber({ from: new Date(ms) })
      const moved = await topic.subscriber({ from: 'earliest' })
      await collect(moved, 3, same)
      moved.seek(new Date(ms))
      await publishMany(publisher, 4, 3)
      // One that gets them all comes last, so the others would have got theirs before.
      await collect(await topic.subscriber({ from: 'earliest' }), 6, same)
      for (const subscriber of [before, after, moved]) expect(drain(subscriber, same)).toEqual([])
    }
  })

  it('passes over what is stamped before a time to come', ['replay'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    await publisher.publishAsync(0)
    const from = new Date(Date.now() + 700)
    const subscribers = [await topic.subscriber({ from }), await topic.subscriber({ from: 'earliest' })]
    subscribers[1]?.seek(from)
    let expected = 0
    for (let n = 1; expected === 0; n++) {
      const { sequence, timestampNs } = await publisher.publishAsync(n)
      if (timestampNs >= BigInt(from.getTime()) * 1_000_000n) expected = sequence
      await pause(5)
    }
    expect(expected).toBeGreaterThan(1)
    for (const subscriber of subscribers) {
      const [first] = await collect(subscriber, 1, same)
      expect(first).toEqual({ value: expected - 1, sequence: expected })
    }
  })

  it('begins at the only place there is while the topic is empty', ['sharing', 'immediacy'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const subscribers = await Promise.all(
      (['earliest', 'latest', 1, new Date()] as const).map((from) => topic.subscriber({ from })),
    )
    const error = await failure('OUT_OF_RANGE', () => topic.subscriber({ from: 2 }))
    expect(error.details).toMatchObject({ topic: 'counts', sequence: 2, nextSequence: 1 })
    for (const subscriber of subscribers) {
      expect(subscriber.position).toBe(1)
      expect(subscriber.lag).toBe(0)
      expect(drain(subscriber, same)).toEqual([])
    }
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 3)
    for (const subscriber of subscribers) {
      expect(subscriber.lag).toBe(3)
      expect(drain(subscriber, same).map((one) => one.value)).toEqual([0, 1, 2])
    }
  })

  it('replays for a late subscriber, also when the publisher has gone', ['replay'], async (place) => {
    const { topic, publisher } = await filled(place, 3000)
    await publisher.close()
    await using again = await open(place.place, place.options)
    const late = await again.topic('counts', { codec: count }).subscriber({ from: 'earliest' })
    expect((await take(late, 3000)).map((one) => one.value)).toEqual(numbers(1, 3000))
    expect((await topic.info()).publishers).toBe(0)
  })

  it('goes on numbering when the topic is opened again', async (place) => {
    const { publisher } = await filled(place, 100)
    await publisher.close()
    await place.hermes.close()
    await using again = await open(place.place, place.options)
    const topic = again.topic('counts', { codec: count })
    const next = await topic.publisher()
    await publishMany(next, 101, 100)
    await next.flush()
    expect(next.lastSequence).toBe(200)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect((await collect(subscriber, 200, same)).map((one) => one.value)).toEqual(numbers(1, 200))
  })

  it('tells position and lag', ['immediacy'], async (place) => {
    const { topic, publisher } = await filled(place, 500)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect([subscriber.position, subscriber.lag]).toEqual([1, 500])
    subscriber.poll(() => {}, 200)
    expect([subscriber.position, subscriber.lag]).toEqual([201, 300])
    publisher.publish(501)
    expect([subscriber.position, subscriber.lag]).toEqual([201, 301])
    drain(subscriber, same)
    expect([subscriber.position, subscriber.lag]).toEqual([502, 0])
  })

  it('seeks to anywhere between polls', ['replay', 'knownPositions'], async (place) => {
    const { topic } = await filled(place, 5000)
    const subscriber = await topic.subscriber()
    const next = () => {
      let seen: number | undefined
      subscriber.poll((value) => (seen = value), 1)
      return seen
    }
    for (const target of [17, 4999, 1, 2500, 2499]) {
      subscriber.seek(target)
      expect(subscriber.position).toBe(target)
      expect(next()).toBe(target)
      expect(next()).toBe(target + 1)
    }
    subscriber.seek('earliest')
    expect(next()).toBe(1)
    subscriber.seek('latest')
    expect(next()).toBeUndefined()
    subscriber.seek(new Date(0))
    expect(next()).toBe(1)
    const error = await failure('OUT_OF_RANGE', () => subscriber.seek(6000))
    expect(error.details).toMatchObject({ topic: 'counts', sequence: 6000, nextSequence: 5001 })
  })

  it('is where it was after a seek that failed', ['replay', 'knownPositions'], async (place) => {
    const { topic } = await filled(place, 5000)
    const subscriber = await topic.subscriber({ from: 2000 })
    subscriber.poll(() => {}, 10)
    await failure('OUT_OF_RANGE', () => subscriber.seek(6000))
    expect(subscriber.position).toBe(2010)
    expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(2010, 2991))
  })

  it('seeks from within a handler', ['replay', 'knownPositions'], async (place) => {
    const { topic } = await filled(place, 5000)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    const polled = subscriber.poll((value) => {
      seen.push(value)
      if (value === 3) subscriber.seek(4990)
    })
    expect(polled).toBe(3)
    drain(subscriber, (value) => seen.push(value))
    expect(seen).toEqual([1, 2, 3, ...numbers(4990, 11)])
    // Within one segment as well.
    subscriber.seek(1)
    seen.length = 0
    subscriber.poll((value) => {
      seen.push(value)
      if (seen.length < 10) subscriber.seek(1)
    }, 1)
    expect(seen).toEqual([1])
    expect(subscriber.position).toBe(1)
  })

  it('seeks during an iteration', ['replay'], async (place) => {
    const { topic } = await filled(place, 5000)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: number[] = []
    for await (const [message] of subscriber.batches(1)) {
      seen.push(message!.value)
      if (seen.length === 2) subscriber.seek(4000)
      if (seen.length === 4) break
    }
    expect(seen).toEqual([1, 2, 4000, 4001])
  })

  it('wakes a waiting iteration when it is sent elsewhere', ['replay'], async (place) => {
    const { topic } = await filled(place, 100)
    const subscriber = await topic.subscriber({ wait: 'park' })
    const batches = subscriber.batches(10)
    const next = batches.next()
    await pause(50)
    subscriber.seek('earliest')
    // Well before it would have looked up by itself, after a second.
    expect(await stateOf(next, 700)).toBe('resolved')
    const batch = (await next).value as { value: number }[]
    expect(batch.map((message) => message.value)).toEqual(numbers(1, 10))
    await batches.return?.()
  })
}
