import { expect } from 'vitest'
import { type Hermes, raw } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { drain, numbers, pause } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const segmentBytes = 65_536

/** Publishes messages of about a sixteenth of a segment each. */
async function fill(hermes: Hermes, count: number, retention: { bytes?: number; ageMs?: number }) {
  const topic = hermes.topic('bytes', { codec: raw, segmentBytes, retention })
  const publisher = await topic.publisher()
  for (const n of numbers(0, count)) if (!publisher.publish(new Uint8Array(4000).fill(n))) await publisher.ready()
  return { topic, publisher }
}

export function retentionCase({ it }: Suite): void {
  it(
    'keeps no more bytes than it is told to, and always the newest messages',
    ['retention', 'segments'],
    async ({ hermes }) => {
      const { topic } = await fill(hermes, 500, { bytes: 4 * segmentBytes })
      // The preparer removes what is too much beside the publisher, and may be a moment behind it.
      const until = performance.now() + 30_000
      let info = await topic.info()
      while (info.bytes > 4 * segmentBytes && performance.now() < until) {
        await pause(5)
        info = await topic.info()
      }
      expect(info.bytes).toBeLessThanOrEqual(4 * segmentBytes)
      expect(info.segments).toBeGreaterThanOrEqual(2)
      expect(info.nextSequence).toBe(501)
      expect(info.retention).toEqual({ bytes: 4 * segmentBytes })
      const subscriber = await topic.subscriber({ from: 'earliest' })
      expect(subscriber.position).toBe(info.firstSequence)
      const kept = drain(subscriber, (view) => view[0])
      expect(kept.map((one) => one.sequence)).toEqual(numbers(info.firstSequence, 501 - info.firstSequence))
      expect(kept.every((one) => one.value === ((one.sequence - 1) & 0xff))).toBe(true)
    },
  )

  it(
    'tells a subscriber that fell behind what the first message is that is left',
    ['retention', 'immediacy'],
    async ({ hermes }) => {
      const topic = hermes.topic('bytes', { codec: raw, segmentBytes, retention: { bytes: 3 * segmentBytes } })
      const subscriber = await topic.subscriber({ from: 'earliest' })
      const iterator = await topic.subscriber({ from: 'earliest' })
      const publisher = await topic.publisher()
      publisher.publish(new Uint8Array(4000))
      expect(subscriber.poll(() => {}, 1)).toBe(1)
      await fill(hermes, 300, { bytes: 3 * segmentBytes })
      // What its mapping still holds is delivered first.
      const fallBehind = () => drain(subscriber, () => 0)
      const error = await failure('BEHIND_RETENTION', fallBehind)
      const { firstSequence, nextSequence } = await topic.info()
      expect(firstSequence).toBeGreaterThan(100)
      expect(error.details).toMatchObject({ topic: 'bytes', firstSequence })
      expect(error.details.sequence).toBe(subscriber.position)
      expect(error.message).toContain("Go on at 'earliest'")
      expect(subscriber.position).toBeLessThan(firstSequence)
      // Nothing is skipped in silence: it stays so until the user decides.
      await failure('BEHIND_RETENTION', fallBehind)
      await failure('BEHIND_RETENTION', async () => {
        for await (const _ of iterator);
      })
      subscriber.seek(error.details.firstSequence as number)
      const left = drain(subscriber, () => 0)
      expect(left.map((one) => one.sequence)).toEqual(numbers(firstSequence, nextSequence - firstSequence))
    },
  )

  it(
    'refuses to begin at what was removed, and tells the first message that is left',
    ['retention', 'knownPositions'],
    async ({ hermes }) => {
      const { topic } = await fill(hermes, 300, { bytes: 3 * segmentBytes })
      const { firstSequence } = await topic.info()
      const error = await failure('BEHIND_RETENTION', () => topic.subscriber({ from: 1 }))
      expect(error.details).toMatchObject({ topic: 'bytes', sequence: 1, firstSequence })
      expect(error.message).toContain("Go on at 'earliest'")
      const subscriber = await topic.subscriber()
      const again = await failure('BEHIND_RETENTION', () => subscriber.seek(firstSequence - 1))
      expect(again.details).toMatchObject({ topic: 'bytes', sequence: firstSequence - 1, firstSequence })
      subscriber.seek(firstSequence)
      expect(subscriber.position).toBe(firstSequence)
      expect((await topic.subscriber({ from: new Date(0) })).position).toBe(firstSequence)
    },
  )

  it(
    'removes messages when they are older than it is told to keep them',
    ['retention', 'segments'],
    async ({ hermes }) => {
      const { topic, publisher } = await fill(hermes, 100, { ageMs: 200 })
      expect((await topic.info()).retention).toEqual({ ageMs: 200 })
      let info = await topic.info()
      // An open publisher looks after it about once per second.
      for (const end = Date.now() + 10_000; info.segments > 1 && Date.now() < end; info = await topic.info())
        await pause(100)
      expect(info.segments).toBe(1)
      expect(info.firstSequence).toBeGreaterThan(80)
      expect(info.nextSequence).toBe(101)
      await publisher.publishAsync(new Uint8Array(1))
      const subscriber = await topic.subscriber({ from: 'earliest' })
      expect(drain(subscriber, () => 0).at(-1)?.sequence).toBe(101)
    },
  )

  it('takes another retention at any time', ['retention'], async ({ hermes }) => {
    const { topic } = await fill(hermes, 200, { bytes: 100 * segmentBytes })
    expect((await topic.info()).firstSequence).toBe(1)
    const other = hermes.topic('bytes', { codec: raw, retention: { bytes: 2 * segmentBytes, ageMs: 365 * 86_400_000 } })
    // What is kept is for publishers to say.
    await other.subscriber()
    expect((await topic.info()).retention).toEqual({ bytes: 100 * segmentBytes })
    await other.publisher()
    const info = await topic.info()
    expect(info.retention).toEqual({ bytes: 2 * segmentBytes, ageMs: 365 * 86_400_000 })
    expect(info.bytes).toBeLessThanOrEqual(2 * segmentBytes)
    expect(info.firstSequence).toBeGreaterThan(1)
    // Left out: it stays as it is.
    await hermes.topic('bytes', { codec: raw }).publisher()
    expect((await topic.info()).retention.bytes).toBe(2 * segmentBytes)
  })
}
