import { jetstream } from '@nats-io/jetstream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { json, open, text } from '../../lib/index.js'
import { streamOf } from '../../lib/placement/nats/definition.js'
import { failure } from '../helpers/failure.js'
import { type NatsCluster, natsMissing, startNats, streamsOf } from '../helpers/nats-server.js'
import { numbers, pause, take } from '../helpers/receive.js'

const count = json<number>()
const it = natsMissing === undefined ? test : test.skip

let cluster: NatsCluster | undefined
beforeAll(async () => {
  if (natsMissing !== undefined) return
  cluster = await startNats(1, 'authorization { user: anna, password: "s p:e@c" }')
}, 60_000)
afterAll(() => cluster?.close())

/** As the one user that the server knows. */
const url = () => (cluster as NatsCluster).url.replace('nats://', `nats://anna:${encodeURIComponent('s p:e@c')}@`)
const raw = () => (cluster as NatsCluster).url
const behind = <T>(work: Parameters<typeof streamsOf<T>>[1]) =>
  streamsOf(raw(), work, { user: 'anna', pass: 's p:e@c' })

it('tells who is not let in, and keeps the password to itself', async () => {
  const error = await failure('UNAUTHORIZED', () => open(raw()))
  expect(error.message).not.toContain('s p')
  await failure('UNAUTHORIZED', () => open(raw().replace('nats://', 'nats://anna:wrong@')))
  await using hermes = await open(url())
  expect(hermes.place).toBe(raw())
})

it('tells that nobody is there, in time', async () => {
  const error = await failure('CONNECTION_FAILED', () => open('nats://127.0.0.1:1', { connectTimeoutMs: 500 }))
  expect(error.message).toContain('nats://127.0.0.1:1')
  await failure('INVALID_ARGUMENT', () => open('nats://'))
  await failure('INVALID_ARGUMENT', () => open('nats://a:1,b:99999'))
  await failure('INVALID_ARGUMENT', () => open(raw(), { replicas: 2 as never }))
  await failure('INVALID_ARGUMENT', () => open(url(), { token: 'x' }))
  await failure('UNKNOWN_OPTION', () => open(raw(), { compression: 'deflate' }))
})

it('refuses more replicas than there are servers', async () => {
  await using hermes = await open(url(), { replicas: 3 })
  await failure('CONFIG_MISMATCH', () => hermes.topic('three', { codec: count }).publisher())
})

it('refuses retention that waits for groups, which are not there', async () => {
  await using hermes = await open(url())
  const retention = { bytes: 1_000_000, waitForGroups: 2_000_000 }
  await failure('UNSUPPORTED', () => hermes.topic('waits', { codec: count, retention }).publisher())
})

it('does not go on in silence when a topic is deleted, or deleted and made anew', async () => {
  for (const again of [false, true]) {
    const hermes = await open(url())
    const topic = hermes.topic('gone', { codec: count })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (const n of numbers(0, 3)) await publisher.publishAsync(n)
    expect((await take(subscriber, 3)).length).toBe(3)
    await behind((manager) => manager.streams.delete(streamOf('gone')))
    if (again) {
      await using other = await open(url())
      const anew = await other.topic('gone', { codec: count }).publisher()
      for (const n of numbers(0, 5)) await anew.publishAsync(100 + n)
    }
    const error = await failure('NOT_FOUND', () => publisher.publishAsync(4))
    expect(error.message).toContain('deleted')
    await failure('NOT_FOUND', () => subscriber.ready({ timeoutMs: 30_000 }))
    await failure('NOT_FOUND', () => publisher.publish(5))
    // Closing says that not all was stored.
    await failure('NOT_FOUND', () => hermes.close())
    if (again) {
      // Who opens it now has the new one, whole.
      await using fresh = await open(url())
      const reader = await fresh.topic('gone', { codec: count }).subscriber({ from: 'earliest' })
      expect((await take(reader, 5)).map(({ value }) => value)).toEqual(numbers(100, 5))
    }
  }
}, 90_000)

it('stops at what does not come from Hermes', async () => {
  const hermes = await open(url())
  const topic = hermes.topic('mixed', { codec: count })
  const publisher = await topic.publisher()
  await publisher.publishAsync(1)
  const subject = await behind(
    async (manager) => (await manager.streams.info(streamOf('mixed'))).config.subjects[0] as string,
  )
  await behind((_, connection) => jetstream(connection).publish(subject, 'hello'))
  const subscriber = await topic.subscriber({ from: 1 }).catch((error: unknown) => error)
  // Its end can't be told, so nobody begins; and what is published does not go behind it.
  expect(subscriber).toMatchObject({ code: 'CORRUPT' })
  await failure('CORRUPT', () => publisher.publishAsync(2))
  await failure('CORRUPT', () => hermes.close())
})

it('refuses a stream that it did not make', async () => {
  await behind((manager) => manager.streams.add({ name: streamOf('foreign'), subjects: ['foreign'] }))
  await using hermes = await open(url())
  await failure('NOT_HERMES', () => hermes.topic('foreign', { codec: count }).publisher())
  expect(await hermes.topics()).not.toContain('foreign')
})

it('shares a topic among publishers that all append at once', async () => {
  await using first = await open(url())
  await using second = await open(url())
  const topics = [first, second, first].map((hermes) => hermes.topic('shared', { codec: text }))
  const publishers = await Promise.all(topics.map((topic) => topic.publisher()))
  const given = await Promise.all(
    publishers.map(async (publisher, who) => {
      const got: number[] = []
      for (const n of numbers(0, 40)) {
        for (const m of numbers(0, 10)) publisher.publish(`${who}:${n}:${m}`)
        got.push((await publisher.publishAsync(`${who}:${n}:last`)).sequence)
      }
      return got
    }),
  )
  const subscriber = await (topics[0] as (typeof topics)[0]).subscriber({ from: 'earliest' })
  const all = await take(subscriber, 3 * 40 * 11)
  expect(all.map(({ sequence }) => sequence)).toEqual(numbers(1, 3 * 40 * 11))
  expect(new Set(all.map(({ value }) => value)).size).toBe(3 * 40 * 11)
  for (const [who, got] of given.entries()) {
    const mine = all.filter(({ value }) => value.startsWith(`${who}:`))
    expect(mine.map(({ value }) => value)).toEqual(
      numbers(0, 40).flatMap((n) => [...numbers(0, 10), 'last'].map((m) => `${who}:${n}:${m}`)),
    )
    expect(got).toEqual(mine.filter(({ value }) => value.endsWith('last')).map(({ sequence }) => sequence))
  }
}, 60_000)

it('goes on behind the old sequences when all messages of a topic have expired', async () => {
  await using hermes = await open(url())
  const topic = hermes.topic('short', { codec: count, retention: { ageMs: 300 } })
  const publisher = await topic.publisher()
  const { sequence } = await publisher.publishAsync(1)
  const reader = await topic.subscriber({ from: 'earliest' })
  expect((await take(reader, 1)).length).toBe(1)
  while ((await topic.info()).bytes > 0) await pause(100)
  // The one that is open still knows the end; one that opens now knows only that no sequence above was given out.
  expect((await publisher.publishAsync(2)).sequence).toBe(sequence + 1)
  while ((await topic.info()).bytes > 0) await pause(100)
  const later = await topic.publisher()
  const third = await later.publishAsync(3)
  expect(third.sequence).toBeGreaterThan(sequence + 1)
  // Who had read everything has missed nothing.
  expect((await take(reader, 2)).map(({ value }) => value)).toEqual([2, 3])
}, 60_000)
