import { readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { json, open, type Subscriber } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { publishMany } from '../helpers/receive.js'

/* As many groups, members and sleepers as there may be. */

const folder = foldersPerTest()
const count = json<number>()
const small = { codec: count, segmentBytes: 1 << 20, maxPayloadBytes: 1024 }

/** Threads of this process, as the kernel counts them. */
const threads = () => readdirSync('/proc/self/task').length

it('a topic has 1,000 groups, each with its own place', async () => {
  await using hermes = await open(folder())
  const topic = hermes.topic('t', small)
  await using publisher = await topic.publisher()
  await publishMany(publisher, 0, 100)
  for (let n = 0; n < 1000; n++) {
    const group = await topic.group(`g${String(n).padStart(4, '0')}`, { window: 128 })
    const many = n % 100
    if (many > 0) expect(group.poll(() => {}, many)).toBe(many)
    await group.close()
  }
  const groups = await hermes.admin.groups('t')
  expect(groups.map(({ lag }) => lag.messages)).toEqual(Array.from({ length: 1000 }, (_, n) => 100 - (n % 100)))
}, 180_000)

it('a group has 256 members that share the messages, and no more', async () => {
  await using hermes = await open(folder())
  const topic = hermes.topic('t', small)
  await using publisher = await topic.publisher()
  const members = await Promise.all(Array.from({ length: 256 }, () => topic.group('g', { kind: 'shared' })))
  await failure('LIMIT', () => topic.group('g'))
  const values: number[] = []
  const by = new Set<number>()
  const before = threads()
  const stop = new AbortController()
  const running = members.map((member, n) =>
    member.run(
      (job) => {
        values.push(job.value)
        by.add(n)
        if (values.length === 5000) stop.abort()
      },
      { signal: stop.signal },
    ),
  )
  await publishMany(publisher, 0, 5000)
  await Promise.all(running)
  expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 5000 }, (_, n) => n))
  expect(by.size).toBeGreaterThan(1)
  expect(threads() - before).toBeLessThan(16)
  expect((await hermes.admin.describeGroup('t', 'g')).members).toHaveLength(256)
  await members[0]?.close()
  await (await topic.group('g')).close()
}, 180_000)

it('500 subscribers that sleep share a few threads, and one message wakes them all', async () => {
  await using hermes = await open(folder())
  const topic = hermes.topic('t', small)
  await using publisher = await topic.publisher()
  const subscribers: Subscriber<number, number>[] = []
  for (let n = 0; n < 500; n++) subscribers.push(await topic.subscriber({ wait: 'park' }))
  const before = threads()
  const woken = subscribers.map(async (subscriber) => {
    await subscriber.ready()
    let got = -1
    subscriber.poll((value) => {
      got = value
    })
    return got
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  // 127 sleep on one thread (futex_waitv).
  expect(threads() - before).toBeLessThanOrEqual(8)
  publisher.publish(42)
  expect(new Set(await Promise.all(woken))).toEqual(new Set([42]))
}, 60_000)
