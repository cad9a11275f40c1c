import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Hermes, type Mirror, open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'
import { numbers, pause, take } from '../helpers/receive.js'

const it = natsMissing === undefined ? test : test.skip
const folderOf = foldersPerTest()

let cluster: NatsCluster | undefined
beforeAll(async () => {
  if (natsMissing === undefined) cluster = await startNats(1)
}, 60_000)
afterAll(() => cluster?.close())
const url = () => (cluster as NatsCluster).url

let names = 0
/** Of a topic that no other test has. */
const fresh = () => `orders-${++names}`
const values = (from: number, count: number) => numbers(from, count).map((n) => `value ${n}`)

async function publish(hermes: Hermes, topic: string, from: number, count: number): Promise<void> {
  const publisher = await hermes.topic(topic, { codec: text }).publisher({ durability: 'synced' })
  publisher.publishBatch(values(from, count))
  await publisher.close()
}

async function read(hermes: Hermes, topic: string, count: number) {
  await using subscriber = await hermes.topic(topic, { codec: text }).subscriber({ from: 'earliest' })
  return await take(subscriber, count)
}

async function copyAll(mirror: Mirror): Promise<void> {
  await mirror.done
  await mirror.closed()
}

it('copies a topic into the cluster under the sequences and times that it has, and goes on where it was', async () => {
  const topic = fresh()
  await using local = await open(folderOf())
  await using there = await open(url())
  await publish(local, topic, 1, 5000)
  await copyAll(await local.mirror(topic, there, { follow: false }))
  await publish(local, topic, 5001, 1000)
  const second = await local.mirror(topic, there, { follow: false })
  await copyAll(second)
  expect(second.status()).toMatchObject({ sequence: 6001, lag: 0, messages: 1000 })
  const mirrored = await read(there, topic, 6000)
  expect(mirrored).toEqual(await read(local, topic, 6000))
  const times = async (hermes: Hermes) => {
    await using subscriber = await hermes.topic(topic, { codec: text }).subscriber({ from: 3000 })
    for await (const { timestampNs } of subscriber) return timestampNs
    return undefined
  }
  expect(await times(there)).toBe(await times(local))
  // Nobody else publishes to a mirror.
  await failure('CONFIG_MISMATCH', () => there.topic(topic, { codec: text }).publisher())
})

it('follows for ever, tells how far it is, and is closed with its place', async () => {
  const topic = fresh()
  const local = await open(folderOf())
  await using there = await open(url())
  await publish(local, topic, 1, 10)
  const mirror = await local.mirror(topic, there, { as: `${topic}-copy` })
  const reader = await there.topic(`${topic}-copy`, { codec: text }).subscriber({ from: 'earliest' })
  expect((await take(reader, 10)).length).toBe(10)
  // Nobody syncs these but the mirror.
  const publisher = await local.topic(topic, { codec: text }).publisher()
  publisher.publishBatch(values(11, 10))
  expect((await take(reader, 10)).map(({ value }) => value)).toEqual(values(11, 10))
  while (mirror.status().lag > 0) await pause(5)
  expect(mirror.status()).toMatchObject({ sequence: 21, messages: 20, outrun: 0 })
  await local.close()
  await mirror.done
})

it('copies a topic of the cluster into a directory, each message once, also if it is interrupted', async () => {
  const topic = fresh()
  await using there = await open(url())
  const publisher = await there.topic(topic, { codec: text }).publisher()
  for (const n of numbers(0, 20)) {
    publisher.publishBatch(values(1 + n * 100, 100))
    await publisher.flush()
  }
  const folder = folderOf()
  for (const round of numbers(0, 5)) {
    await using local = await open(folder)
    const stop = new AbortController()
    const mirror = await there.mirror(topic, local, { follow: round < 4, signal: stop.signal })
    if (round < 4) {
      while (mirror.status().messages < 100 && mirror.status().lag > 0) await pause(0)
      stop.abort()
    }
    await copyAll(mirror)
  }
  await using local = await open(folder)
  expect((await read(local, topic, 2000)).map(({ value }) => value)).toEqual(values(1, 2000))
  expect((await local.info(topic)).nextSequence).toBe(2001)
})

it('takes one mirror of a directory at a time, and lets two race into the cluster without harm', async () => {
  const topic = fresh()
  const folder = folderOf()
  await using local = await open(folder)
  await using again = await open(folder)
  await using there = await open(url())
  await using other = await open(url())
  const publisher = await local.topic(topic, { codec: text }).publisher()
  publisher.publish('value 0')
  const first = await local.mirror(topic, there)
  const second = await again.mirror(topic, other)
  let count = 1
  // Until they have met, and some time longer.
  for (const until = performance.now() + 20_000; performance.now() < until; await pause(1)) {
    publisher.publishBatch(values(count, 20))
    count += 20
    if (count > 2000 && first.status().outrun + second.status().outrun > 3) break
  }
  const mirrored = await read(there, topic, count)
  expect(mirrored.map(({ value }) => value)).toEqual(values(0, count))
  expect(mirrored.map(({ sequence }) => sequence)).toEqual(numbers(1, count))
  expect((await there.info(topic)).nextSequence).toBe(count + 1)
  await first.close()
  await second.close()
  expect(first.status().outrun + second.status().outrun).toBeGreaterThan(3)

  await using target = await open(folderOf())
  await there.mirror(topic, target)
  await failure('EXCLUSIVE_HELD', () => other.mirror(topic, target))
})

it('stops where the mirror is not of this topic, or has more than it', async () => {
  const topic = fresh()
  const folder = folderOf()
  const older = join(folderOf(), 'older')
  await using there = await open(url())
  const local = await open(folder)
  await publish(local, topic, 1, 50)
  await local.close()
  cpSync(folder, older, { recursive: true })
  {
    await using hermes = await open(folder)
    await publish(hermes, topic, 51, 50)
    await copyAll(await hermes.mirror(topic, there, { follow: false }))
  }
  // The copy has fewer messages, and then others.
  await using restored = await open(older)
  expect((await failure('CORRUPT', () => restored.mirror(topic, there))).message).toContain('does not have')
  await publish(restored, topic, 1000, 80)
  expect((await failure('CORRUPT', () => restored.mirror(topic, there))).message).toContain('another one')
  // A topic of the same name that was made later.
  await using later = await open(folderOf())
  await publish(later, topic, 1, 200)
  await failure('CONFIG_MISMATCH', () => later.mirror(topic, there))
  // What is there is no mirror.
  const own = fresh()
  await publish(later, own, 1, 3)
  await (await there.topic(own, { codec: text }).publisher()).publishAsync('mine')
  await failure('CONFIG_MISMATCH', () => later.mirror(own, there))
  await failure('CONFIG_MISMATCH', () => there.mirror(own, restored, { as: topic }))
  await failure('NOT_FOUND', () => later.mirror('nothing', there))
})

it('goes over the gap that retention has left in the stream, and stops where it would miss something', async () => {
  const topic = fresh()
  await using there = await open(url())
  const publisher = await there.topic(topic, { codec: text, retention: { bytes: 20_000 } }).publisher()
  for (const n of numbers(0, 100)) {
    publisher.publishBatch(values(1 + n * 10, 10))
    await publisher.flush()
  }
  const { firstSequence } = await there.info(topic)
  expect(firstSequence).toBeGreaterThan(1)
  const folder = folderOf()
  {
    await using local = await open(folder)
    await copyAll(await there.mirror(topic, local, { follow: false }))
    const kept = 1001 - firstSequence
    expect((await read(local, topic, kept)).map(({ value }) => value)).toEqual(values(firstSequence, kept))
  }
  // It goes on by the mark.
  publisher.publishBatch(values(1001, 10))
  await publisher.flush()
  {
    await using local = await open(folder)
    await copyAll(await there.mirror(topic, local, { follow: false }))
    expect((await local.info(topic)).nextSequence).toBe(1012 - firstSequence)
  }
  for (const n of numbers(0, 100)) {
    publisher.publishBatch(values(1011 + n * 10, 10))
    await publisher.flush()
  }
  await using local = await open(folder)
  await failure('BEHIND_RETENTION', () => there.mirror(topic, local))
  // Without its mark nobody knows where it is.
  rmSync(join(folder, 'topics', topic, 'mirror.json'))
  await failure('CONFIG_MISMATCH', () => there.mirror(topic, local))
})
