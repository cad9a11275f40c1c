import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { type Hermes, json, open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 1024 }

interface Place extends AsyncDisposable {
  readonly dir: string
  readonly hermes: Hermes
}

async function local(): Promise<Place> {
  const dir = folder()
  const hermes = await open(dir)
  return { dir, hermes, [Symbol.asyncDispose]: () => hermes.close() }
}

async function remote(): Promise<Place> {
  const dir = folder()
  const broker = await serve({ dir, port: 0, log: () => {} })
  const hermes = await open(broker.url)
  const close = async () => {
    await hermes.close()
    await broker.close()
  }
  return { dir, hermes, [Symbol.asyncDispose]: close }
}

/** Publishes without a broker, as a process of the broker's host does. */
async function publishIn(dir: string, values: readonly string[]): Promise<void> {
  await using hermes = await open(dir)
  await using publisher = await hermes.topic('t', small).publisher()
  for (const value of values) publisher.publish(value)
}

/** Has a group, with `handled` messages acknowledged. */
async function groupIn(dir: string, name: string, handled: number): Promise<void> {
  await using hermes = await open(dir)
  await using group = await hermes.topic('t', small).group(name)
  if (handled > 0) expect(group.poll(() => {}, handled)).toBe(handled)
}

describe.each([
  ['in a directory', local],
  ['through a broker', remote],
])('%s', (_, place) => {
  it('a topic is made with codec, sizes and retention, and a second time only as it is', async () => {
    await using there = await place()
    const { admin } = there.hermes
    const info = await admin.createTopic('t', { ...small, retention: { bytes: 1 << 20, waitForGroups: 1 << 22 } })
    expect(info).toMatchObject({ name: 't', segmentBytes: 65_536, maxPayloadBytes: 1024, nextSequence: 1 })
    expect([info.codec.name, info.retention]).toEqual(['text', { bytes: 1 << 20, waitForGroups: 1 << 22 }])
    expect(await there.hermes.topics()).toEqual(['t'])
    expect((await admin.createTopic('t', { codec: text })).retention).toEqual(info.retention)
    await failure('CONFIG_MISMATCH', () => admin.createTopic('t', { ...small, segmentBytes: 131_072 }))
    await publishIn(there.dir, ['a'])
    await failure('CODEC_MISMATCH', () => admin.createTopic('t', { codec: json }))
    await failure('UNKNOWN_OPTION', () => admin.createTopic('t', { lowWaterBytes: 1 } as object))
    await failure('INVALID_NAME', () => admin.createTopic('.t'))
  })

  it('retention is replaced as a whole, and applied at once', async () => {
    await using there = await place()
    const { admin } = there.hermes
    await failure('NOT_FOUND', () => admin.alterTopic('t', { retention: {} }))
    await publishIn(
      there.dir,
      Array.from({ length: 400 }, () => 'x'.repeat(1000)),
    )
    expect((await there.hermes.info('t')).firstSequence).toBe(1)
    const altered = await admin.alterTopic('t', { retention: { bytes: 3 * 65_536 } })
    expect(altered.firstSequence).toBeGreaterThan(100)
    expect((await admin.alterTopic('t', { retention: {} })).retention).toEqual({})
    await failure('INVALID_ARGUMENT', () => admin.alterTopic('t', { retention: { waitForGroups: 5 } }))
    await failure('INVALID_ARGUMENT', () => admin.alterTopic('t', { retention: { bytes: 0 } }))
    await failure('UNKNOWN_OPTION', () => admin.alterTopic('t', { retention: { byte: 1 } as object }))
  })

  it('groups are listed and described, with lag in messages and seconds, also of each member', async () => {
    await using there = await place()
    const { admin } = there.hermes
    await publishIn(there.dir, ['a', 'b', 'c', 'd', 'e'])
    expect(await admin.groups('t')).toEqual([])
    await groupIn(there.dir, 'one', 2)
    await groupIn(there.dir, 'two', 5)
    await using hermes = await open(there.dir)
    await using durable = await hermes.topic('t', small).subscriber({ name: 'engine', from: 'earliest' })
    const groups = await admin.groups('t')
    expect(groups.map(({ name, kind, members, lag }) => [name, kind, members, lag.messages])).toEqual([
      ['engine', 'durable', 1, 5],
      ['one', 'shared', 0, 3],
      ['two', 'shared', 0, 0],
    ])
    expect(groups[2]?.lag).toEqual({ messages: 0, seconds: 0 })
    await using member = await hermes.topic('t', small).group('one', { member: 'me' })
    for await (const job of member) {
      const one = await admin.describeGroup('t', 'one')
      expect(one).toMatchObject({ topic: 't', name: 'one', floor: 3, end: 6, claimed: 1 })
      expect(one.lag.messages).toBe(3)
      expect(one.lag.seconds).toBeGreaterThan(0)
      expect(one.members).toHaveLength(1)
      expect(one.members[0]).toMatchObject({
        name: 'me',
        pid: process.pid,
        inFlight: 1,
        oldest: 3,
        lag: { messages: 1 },
      })
      expect(one.members[0]?.since).toBeInstanceOf(Date)
      // Both are the age of message 3, looked at in one moment.
      expect(one.members[0]?.lag.seconds).toBe(one.lag.seconds)
      await job.ack()
      break
    }
    expect((await admin.describeGroup('t', 'engine')).members[0]?.lag.messages).toBe(5)
    expect(durable.committed).toBe(1)
    await failure('NOT_FOUND', () => admin.describeGroup('t', 'three'))
    await failure('NOT_FOUND', () => admin.groups('u'))
  })

  it('a group goes on elsewhere: earliest, latest, a sequence, a time; while it has members, by force only', async () => {
    await using there = await place()
    const { admin } = there.hermes
    const before = new Date(Date.now() - 1000)
    await publishIn(there.dir, ['a', 'b', 'c', 'd', 'e'])
    await groupIn(there.dir, 'g', 3)
    expect(await admin.resetGroup('t', 'g', 'latest')).toBe(6)
    expect((await admin.describeGroup('t', 'g')).lag.messages).toBe(0)
    expect(await admin.resetGroup('t', 'g', before)).toBe(1)
    expect(await admin.resetGroup('t', 'g', 2)).toBe(2)
    expect((await admin.describeGroup('t', 'g')).lag.messages).toBe(4)
    await failure('OUT_OF_RANGE', () => admin.resetGroup('t', 'g', 7))
    await failure('NOT_FOUND', () => admin.resetGroup('t', 'h', 1))
    await using hermes = await open(there.dir)
    await using member = await hermes.topic('t', small).group('g')
    for await (const job of member) {
      expect(job.value).toBe('b')
      await failure('BUSY', () => admin.resetGroup('t', 'g', 'earliest'))
      expect(await admin.resetGroup('t', 'g', 'earliest', { force: true })).toBe(1)
      await failure('LEASE_LOST', () => job.ack())
      break
    }
    for await (const job of member) {
      expect(job.value).toBe('a')
      await job.ack()
      break
    }
  })

  it('a group is deleted when it has no members, or by force: then they are told', async () => {
    await using there = await place()
    const { admin } = there.hermes
    await publishIn(there.dir, ['a', 'b'])
    await using hermes = await open(there.dir)
    const member = await hermes.topic('t', small).group('g')
    const waiting = (async () => {
      for await (const job of member) await job.ack()
    })()
    await failure('BUSY', () => admin.deleteGroup('t', 'g'))
    const told = failure('NOT_FOUND', () => waiting)
    await admin.deleteGroup('t', 'g', { force: true })
    await told
    await member.close()
    expect(await admin.groups('t')).toEqual([])
    await failure('NOT_FOUND', () => admin.deleteGroup('t', 'g'))
    await groupIn(there.dir, 'g', 2)
    await admin.deleteGroup('t', 'g')
    expect(await admin.groups('t')).toEqual([])
  })

  it('a topic that nobody uses is deleted with everything, and its name is free at once', async () => {
    await using there = await place()
    const { admin } = there.hermes
    await publishIn(there.dir, ['a', 'b'])
    await groupIn(there.dir, 'g', 1)
    await admin.deleteTopic('t')
    expect(readdirSync(join(there.dir, 'topics'))).toEqual([])
    expect(await there.hermes.topics()).toEqual([])
    await failure('NOT_FOUND', () => there.hermes.info('t'))
    await failure('NOT_FOUND', () => admin.deleteTopic('t'))
    await using publisher = await there.hermes.topic('t', { ...small, codec: json<string>() }).publisher()
    expect((await publisher.publishAsync('anew')).sequence).toBe(1)
    expect(await admin.groups('t')).toEqual([])
  })

  it('one that is in use is not deleted, but by force; then all who use it are told', async () => {
    await using there = await place()
    const { hermes } = there
    await using other = await open(there.dir)
    const publishers = [await hermes.topic('t', small).publisher(), await other.topic('t', small).publisher()]
    for (const one of publishers) await one.publishAsync('a')
    const readers = [
      await hermes.topic('t', small).subscriber({ from: 'earliest' }),
      await other.topic('t', small).subscriber({ from: 'earliest' }),
      await other.topic('t', small).subscriber({ name: 'engine', from: 'earliest' }),
    ]
    const member = await other.topic('t', small).group('g')
    await failure('BUSY', () => hermes.admin.deleteTopic('t'))
    expect(await hermes.topics()).toEqual(['t'])
    const told = [
      ...readers.map((reader) =>
        failure('TOPIC_DELETED', async () => {
          for await (const _ of reader);
        }),
      ),
      failure('TOPIC_DELETED', async () => {
        for await (const job of member) await job.ack()
      }),
    ]
    await hermes.admin.deleteTopic('t', { force: true })
    await Promise.all(told)
    for (const one of publishers) {
      await failure('TOPIC_DELETED', async () => {
        // Through a broker the answer comes later than the first call.
        for (;;) await one.publishAsync('b')
      })
    }
    // The next one of the name has nothing to do with it.
    await using next = await open(there.dir)
    await using publisher = await next.topic('t', small).publisher()
    expect((await publisher.publishAsync('anew')).sequence).toBe(1)
    for (const one of publishers) await failure('TOPIC_DELETED', () => one.publishAsync('c'))
    expect((await next.info('t')).nextSequence).toBe(2)
    for (const one of [...readers, ...publishers, member]) await one.close().catch(() => undefined)
  })
})

it('publish itself throws once a topic is deleted: no message is accepted that nobody will ever read', async () => {
  await using there = await local()
  await using other = await open(there.dir)
  const publisher = await there.hermes.topic('t', small).publisher()
  const batches = await other.topic('t', small).publisher()
  publisher.publish('a')
  await there.hermes.admin.deleteTopic('t', { force: true })
  await failure('TOPIC_DELETED', () => publisher.publish('b'))
  await failure('TOPIC_DELETED', () => batches.publishBatch(['b', 'c']))
  await failure('TOPIC_DELETED', () => publisher.publish('c'))
  await failure('TOPIC_DELETED', () => publisher.flush('synced'))
})

it('who only polls, and seldom, is told of the deletion as well', async () => {
  await using there = await local()
  const { hermes } = there
  const publisher = await hermes.topic('t', small).publisher()
  publisher.publish('a')
  const subscriber = await hermes.topic('t', small).subscriber({ from: 'earliest' })
  const seen: string[] = []
  await hermes.admin.deleteTopic('t', { force: true })
  await failure('TOPIC_DELETED', async () => {
    for (let polls = 0; polls < 100; polls++) {
      subscriber.poll((value) => seen.push(value))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
  expect(seen).toEqual(['a'])
})

it('another process is told, and one that waits for an empty topic waits for the next', async () => {
  await using there = await local()
  await there.hermes.admin.createTopic('empty', small)
  const awaiting = await there.hermes.topic('empty', small).subscriber()
  await publishIn(there.dir, ['a'])
  const program = join(folder(), 'reader.mjs')
  writeFileSync(
    program,
    `import { open, text } from ${JSON.stringify(join(root, 'dist/index.js'))}
     const hermes = await open(process.argv[2])
     const subscriber = await hermes.topic('t', { codec: text }).subscriber({ from: 'earliest', wait: 'park' })
     try { for await (const { value } of subscriber) console.log(value) } catch (error) { console.log(error.code) }
     await hermes.close()`,
  )
  const child = spawn(process.execPath, [program, there.dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  // (it may have ended by the time that the topic is deleted)
  const closed = once(child, 'close')
  let printed = ''
  child.stdout.on('data', (data) => {
    printed += data
  })
  while (!printed.includes('a\n')) await once(child.stdout, 'data')
  await failure('BUSY', () => there.hermes.admin.deleteTopic('t'))
  await there.hermes.admin.deleteTopic('t', { force: true })
  await closed
  expect(printed).toBe('a\nTOPIC_DELETED\n')

  const first = (async () => {
    for await (const { value } of awaiting) return value
    return undefined
  })()
  await there.hermes.admin.deleteTopic('empty', { force: true })
  await using publisher = await there.hermes.topic('empty', small).publisher()
  publisher.publish('next')
  expect(await first).toBe('next')
})

it('a topic that lies on another disk, by a link, is deleted there', async () => {
  await using there = await local()
  const elsewhere = folder()
  await publishIn(there.dir, ['a'])
  renameSync(join(there.dir, 'topics', 't'), join(elsewhere, 't'))
  symlinkSync(join(elsewhere, 't'), join(there.dir, 'topics', 't'))
  await there.hermes.admin.deleteTopic('t')
  expect(existsSync(join(elsewhere, 't'))).toBe(false)
  expect(readdirSync(join(there.dir, 'topics'))).toEqual([])
})

it('what a deletion that was cut short has left is no topic, and goes with the next one that is made or deleted', async () => {
  await using there = await local()
  const left = join(there.dir, 'topics', '.deleted-t-0123456789ab')
  await publishIn(there.dir, ['a'])
  renameSync(join(there.dir, 'topics', 't'), left)
  expect(await there.hermes.topics()).toEqual([])
  await there.hermes.admin.createTopic('u', small)
  expect(existsSync(left)).toBe(false)
  mkdirSync(left)
  await there.hermes.admin.deleteTopic('u')
  expect(readdirSync(join(there.dir, 'topics'))).toEqual([])
})

it('a ring has nothing to administer', async () => {
  const name = `ring:admin-${process.pid}`
  await using hermes = await open(name)
  await failure('UNSUPPORTED', () => hermes.admin.groups('t'))
})
