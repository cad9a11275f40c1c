import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { type Hermes, json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { publishMany } from '../helpers/receive.js'

/* As test/api/many-groups.test.ts, through a broker; and groups and positions that fall behind retention. */

const folder = foldersPerTest()
const small = { codec: json<number>(), segmentBytes: 65_536, maxPayloadBytes: 1024 }
let broker: Broker
let hermes: Hermes

beforeEach(async () => {
  broker = await serve({ dir: folder(), port: 0 })
  hermes = await open(broker.url)
})

afterEach(async () => {
  await hermes.close()
  await broker.close()
})

it('a topic has 1,000 groups, each with its own place', { timeout: 240_000 }, async () => {
  const topic = hermes.topic('t', small)
  const publisher = await topic.publisher()
  await publishMany(publisher, 0, 10)
  await publisher.flush()
  for (let n = 0; n < 1000; n++) {
    const group = await topic.group(`g${String(n).padStart(4, '0')}`, { window: 64 })
    const many = n % 10
    let handled = 0
    if (many > 0)
      for await (const job of group) {
        await job.ack()
        if (++handled === many) break
      }
    await group.close()
  }
  const groups = await hermes.admin.groups('t')
  expect(groups.map(({ lag }) => lag.messages)).toEqual(Array.from({ length: 1000 }, (_, n) => 10 - (n % 10)))
})

it('a group has 256 remote members that share the messages, and no more', { timeout: 240_000 }, async () => {
  const topic = hermes.topic('t', small)
  const publisher = await topic.publisher()
  const members = await Promise.all(
    Array.from({ length: 256 }, () => topic.group('g', { kind: 'shared', maxInFlight: 10 })),
  )
  await failure('LIMIT', () => topic.group('g'))
  const values: number[] = []
  const by = new Set<number>()
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
  expect((await hermes.admin.describeGroup('t', 'g')).members).toHaveLength(256)
})

it('a group and a position behind retention are counted, and go on as they were told', {
  timeout: 120_000,
}, async () => {
  const topic = hermes.topic('t', { ...small, retention: { bytes: 2 * 65_536 } })
  const publisher = await topic.publisher()
  await publishMany(publisher, 0, 10)
  await publisher.flush()
  const group = await topic.group('g')
  const open3 = async (name: string, onBehind: 'error' | 'earliest') =>
    topic.subscriber({ name, from: 'earliest', onBehind })
  for (const name of ['strict', 'easy']) await (await open3(name, 'error')).close()
  for (let n = 0, first = 1; first === 1; n++) {
    await publishMany(publisher, 1000 * n, 1000)
    await publisher.flush()
    first = (await hermes.info('t')).firstSequence
  }
  const { firstSequence } = await hermes.info('t')
  for await (const job of group) {
    expect(job.sequence).toBeGreaterThanOrEqual(firstSequence)
    await job.ack()
    break
  }
  expect((await group.describe()).totals.lost).toBeGreaterThan(0)
  await failure('BEHIND_RETENTION', async () => {
    const strict = await open3('strict', 'error')
    for await (const _ of strict) break
  })
  const easy = await open3('easy', 'earliest')
  for await (const { sequence } of easy) {
    expect(sequence).toBeGreaterThanOrEqual(firstSequence)
    break
  }
  expect((await hermes.admin.describeGroup('t', 'easy')).totals.lost).toBeGreaterThanOrEqual(firstSequence - 1)
})
