import { describe, expect, it } from 'vitest'
import { json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { numbers, publishMany, take } from '../helpers/receive.js'

const folder = foldersPerTest()
const count = json<number>()

describe('a durable subscription', () => {
  it('goes on where it has committed, in another place object, and by what was said', async () => {
    const path = folder()
    const first = await open(path)
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

    const second = await open(path)
    const again = await second.topic('counts', { codec: count }).subscriber({ name: 'engine' })
    expect((await take(again, 3)).map(({ sequence }) => sequence)).toEqual([16, 17, 18])
    await again.commit(18, { durability: 'synced' })
    await again.close()
    const third = await second.topic('counts', { codec: count }).subscriber({ name: 'engine' })
    expect(third.position).toBe(19)
    // Another name begins where it is told to.
    const other = await second.topic('counts', { codec: count }).subscriber({ name: 'other', from: 50 })
    expect(other.position).toBe(50)
    await second.close()
  })

  it('is held by one subscriber at a time', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 3)
    const one = await topic.subscriber({ name: 'engine', from: 'earliest' })
    const error = await failure('EXCLUSIVE_HELD', () => topic.subscriber({ name: 'engine' }))
    expect(error.message).toContain(`'engine'`)
    expect(error.details).toEqual({ topic: 'counts', name: 'engine', pids: [process.pid] })
    await one.close()
    const two = await topic.subscriber({ name: 'engine' })
    expect((await take(two, 1))[0]?.value).toBe(0)
    await hermes.close()
  })

  it('commits by itself if it is told to: what an iteration has gone beyond, and what poll has handled', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 30)
    const iterating = await topic.subscriber({ name: 'auto', from: 'earliest', commit: 'auto' })
    for await (const { value } of iterating) if (value === 4) break
    // The fifth may not have been handled: its turn was left.
    expect(iterating.committed).toBe(5)
    await iterating.close()
    const polling = await topic.subscriber({ name: 'auto', commit: 'auto' })
    polling.poll(() => {}, 3)
    expect(polling.committed).toBe(8)
    expect(() =>
      polling.poll(() => {
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(polling.committed).toBe(8)
    await hermes.close()
  })

  it('refuses what was not received, and what has no name', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('counts', { codec: count })
    await publishMany(await topic.publisher(), 0, 30)
    const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest' })
    await take(subscriber, 3)
    await failure('OUT_OF_RANGE', () => subscriber.commit(4))
    await failure('INVALID_ARGUMENT', () => subscriber.commit(0))
    await subscriber.commit()
    const back = await failure('OUT_OF_RANGE', () => subscriber.commit(2))
    expect(back.message).toContain('has committed up to message 3, and does not go back: seek() reads earlier messages')
    await failure('UNKNOWN_OPTION', () => subscriber.commit(1, { durable: true } as never))
    const plain = await topic.subscriber()
    await failure('UNSUPPORTED', () => plain.commit())
    await failure('INVALID_ARGUMENT', () => topic.subscriber({ commit: 'auto' }))
    await failure('INVALID_NAME', () => topic.subscriber({ name: '/' }))
    const other = await failure('CONFIG_MISMATCH', () => topic.group('engine'))
    expect(other.message).toContain("'engine' is a durable subscription of topic 'counts', and no group")
    await hermes.close()
  })

  it('tells what retention has removed, or goes on behind it', async () => {
    const path = folder()
    const hermes = await open(path)
    const settings = { codec: count, segmentBytes: 65_536, retention: { bytes: 131_072 } }
    const topic = hermes.topic('counts', settings)
    const publisher = await topic.publisher()
    await publishMany(publisher, 0, 10)
    await (await topic.subscriber({ name: 'engine', from: 'earliest' })).close()
    await publishMany(publisher, 10, 10_000)
    await failure('BEHIND_RETENTION', () => topic.subscriber({ name: 'engine' }))
    const subscriber = await topic.subscriber({ name: 'engine', onBehind: 'earliest' })
    const { firstSequence } = await topic.info()
    expect(subscriber.position).toBeGreaterThanOrEqual(firstSequence)
    expect(firstSequence).toBeGreaterThan(1)
    await hermes.close()
  })
})
