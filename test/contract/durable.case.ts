import { expect } from 'vitest'
import { pause } from '../../lib/base/pause.js'
import { type Hermes, json, open, type Subscriber, type Wait } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { numbers, publishMany, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

export function durableCase({ it }: Suite): void {
  it(
    'goes on where it has committed, in another place object, and by what was said',
    ['groups'],
    async ({ place, options }) => {
      const first = await open(place, options)
      const topic = first.topic('counts', { codec: count })
      await publishMany(await topic.publisher(), 0, 100)
      const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest' })
      const seen = await take(subscriber, 10)
      expect(seen.map(({ value }) => value)).toEqual(numbers(0, 10))
      await subscriber.commit()
      await take(subscriber, 10)
      await subscriber.commit(15)
      expect(subscriber.committed).toBe(16)
      await take(subscriber, 5)
      await first.close()

      const second = await open(place, options)
      const again = await second.topic('counts', { codec: count }).subscriber({ name: 'engine' })
      expect((await take(again, 3)).map(({ sequence }) => sequence)).toEqual([16, 17, 18])
      await again.commit(18)
      await again.close()
      const third = await second.topic('counts', { codec: count }).subscriber({ name: 'engine' })
      expect(third.position).toBe(19)
      // Another name begins where it is told to.
      const other = await second.topic('counts', { codec: count }).subscriber({ name: 'other', from: 50 })
      expect(other.position).toBe(50)
      await second.close()
    },
  )

  it('commits to stable storage', ['groups', 'syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 3)
    const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest' })
    await take(subscriber, 2)
    await subscriber.commit(2, { durability: 'synced' })
    expect(subscriber.committed).toBe(3)
  })

  it('is held by one subscriber at a time', ['groups'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 3)
    const one = await topic.subscriber({ name: 'engine', from: 'earliest' })
    const error = await failure('EXCLUSIVE_HELD', () => topic.subscriber({ name: 'engine' }))
    expect(error.message).toContain(`'engine'`)
    expect(error.details).toMatchObject({ topic: 'counts', name: 'engine' })
    await one.close()
    const two = await topic.subscriber({ name: 'engine' })
    expect((await take(two, 1))[0]?.value).toBe(0)
  })

  it(
    'commits by itself if it is told to: what an iteration has gone beyond, and what poll has handled',
    ['groups'],
    async ({ hermes }) => {
      const topic = hermes.topic('counts', { codec: count })
      await publishMany(await topic.publisher(), 0, 30)
      const iterating = await topic.subscriber({ name: 'auto', from: 'earliest', commit: 'auto' })
      for await (const { value } of iterating) if (value === 4) break
      // The fifth may not have been handled: its turn was left.
      expect(iterating.committed).toBe(5)
      await iterating.close()
      const polling = await topic.subscriber({ name: 'auto', commit: 'auto' })
      for (let handled = 0; handled < 3; ) handled += polling.poll(() => {}, 3 - handled)
      await expect.poll(() => polling.committed, { timeout: 10_000 }).toBe(8)
      expect(() =>
        polling.poll(() => {
          throw new Error('no')
        }),
      ).toThrow('no')
      expect(polling.committed).toBe(8)
    },
  )

  it('refuses what was not received, and what has no name', ['groups'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 30)
    const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest' })
    await take(subscriber, 3)
    await failure('OUT_OF_RANGE', () => subscriber.commit(4))
    await subscriber.commit()
    const back = await failure('OUT_OF_RANGE', () => subscriber.commit(2))
    expect(back.message).toContain('has committed up to message 3, and does not go back: seek() reads earlier messages')
    await failure('INVALID_ARGUMENT', () => subscriber.commit(0))
    await failure('UNKNOWN_OPTION', () => subscriber.commit(1, { durable: true } as never))
    const plain = await topic.subscriber()
    await failure('UNSUPPORTED', () => plain.commit())
    await failure('INVALID_ARGUMENT', () => topic.subscriber({ commit: 'auto' }))
    await failure('INVALID_NAME', () => topic.subscriber({ name: '/' }))
    const other = await failure('CONFIG_MISMATCH', () => topic.group('engine'))
    expect(other.message).toContain("'engine' is a durable subscription of topic 'counts', and no group")
  })

  it('tells what retention has removed, or goes on behind it', ['groups'], async ({ hermes }) => {
    const settings = { codec: count, segmentBytes: 65_536, retention: { bytes: 131_072 } }
    const topic = hermes.topic('counts', settings)
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    await (await topic.subscriber({ name: 'engine', from: 'earliest' })).close()
    await publishMany(publisher, 10, 10_000)
    await failure('BEHIND_RETENTION', () => topic.subscriber({ name: 'engine' }))
    // (retention may remove more at any time)
    const { firstSequence } = await topic.info()
    const subscriber = await topic.subscriber({ name: 'engine', onBehind: 'earliest' })
    expect(subscriber.position).toBeGreaterThanOrEqual(firstSequence)
    expect(firstSequence).toBeGreaterThan(1)
  })

  for (const [what, code, change] of [
    ['reset', 'LEASE_LOST', (hermes: Hermes) => hermes.admin.resetGroup('counts', 'engine', 2, { force: true })],
    ['deleted', 'NOT_FOUND', (hermes: Hermes) => hermes.admin.deleteGroup('counts', 'engine', { force: true })],
  ] as const) {
    it(
      `one that waits for messages is told that it was ${what}, however it waits`,
      ['groups'],
      async ({ hermes, place, options }) => {
        await using other = await open(place, options)
        const topic = hermes.topic('counts', { codec: count })
        await publishMany(await topic.publisher(), 0, 3)
        const text =
          what === 'reset' ? "no longer has the durable subscription 'engine' of topic 'counts'" : 'was deleted'
        const told = async (wait: Wait, work: (subscriber: Subscriber<number, number>) => Promise<unknown>) => {
          await using subscriber = await topic.subscriber({ name: 'engine', from: 'earliest', wait })
          await take(subscriber, 4 - subscriber.position)
          const ends = failure(code, () => work(subscriber))
          await change(other)
          const error = await ends
          expect(error.message).toContain(text)
          expect(error.message).toContain('Open it again')
          // It stays so, for each use.
          await failure(code, () => subscriber.ready({ timeoutMs: 60_000 }))
          await failure(code, () => subscriber.commit())
          expect(() => subscriber.poll(() => {})).toThrow(expect.objectContaining({ code }))
        }
        await told('park', async (subscriber) => {
          for await (const _ of subscriber);
        })
        await told('adaptive', async (subscriber) => {
          for await (const _ of subscriber.batches());
        })
        await told('yield', (subscriber) => subscriber.ready())
        await told('park', async (subscriber) => {
          for (;;) {
            subscriber.poll(() => {})
            await pause(20)
          }
        })
        await using again = await topic.subscriber({ name: 'engine', from: 'earliest' })
        expect((await take(again, 1))[0]?.value).toBe(what === 'reset' ? 1 : 0)
        await again.commit()
      },
    )
  }
}
