import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Hermes, type Job, json, msgpack, open } from '../../lib/index.js'
import { streamOf } from '../../lib/placement/nats/definition.js'
import { failure } from '../helpers/failure.js'
import { root } from '../helpers/folder.js'
import { type NatsCluster, natsMissing, startNats, streamsOf } from '../helpers/nats-server.js'
import { numbers, pause, publishMany, take } from '../helpers/receive.js'

const count = json<number>()

async function filled(hermes: Hermes, name: string, messages: number) {
  const topic = hermes.topic(name, { codec: count })
  const publisher = await topic.publisher()
  await publishMany(publisher, 0, messages)
  await publisher.flush()
  return topic
}

async function jobsOf(group: AsyncIterable<Job<number>>, many: number): Promise<Job<number>[]> {
  const jobs: Job<number>[] = []
  for await (const job of group) {
    jobs.push(job)
    if (jobs.length === many) break
  }
  return jobs
}

/** A process that takes some jobs, says so, and keeps them until it is killed. */
const holder = `
const { json, open } = await import(process.argv[1])
const hermes = await open(process.argv[2])
const topic = hermes.topic(process.argv[3], { codec: json() })
if (process.argv[4] === 'durable') {
  const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest', leaseMs: 1000 })
  await subscriber.commit(0 + 1).catch(() => {})
} else {
  const group = await topic.group('workers', { leaseMs: 1000 })
  const jobs = []
  for await (const job of group) if (jobs.push(job) === 5) break
  process.stdin.once('data', async () => {
    const code = await jobs[0].ack().then(() => 'acknowledged', (error) => error.code)
    process.stdout.write(code + '\\n')
  })
}
process.stdout.write('holds\\n')
setInterval(() => {}, 1000)
`

async function startHolder(url: string, topic: string, kind: string) {
  const script = join(root, 'dist', 'index.js')
  const args = ['--input-type=module', '--eval', holder, script, url, topic, kind]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

describe.skipIf(natsMissing !== undefined)('groups in a cluster', () => {
  let cluster: NatsCluster
  beforeAll(async () => {
    cluster = await startNats(1)
  }, 60_000)
  afterAll(() => cluster?.close())

  it('gives what a killed member had to the others when its lease is over', async () => {
    await using hermes = await open(cluster.url)
    const topic = await filled(hermes, 'killed', 20)
    const child = await startHolder(cluster.url, 'killed', 'group')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const group = await topic.group('workers')
    const jobs = await jobsOf(group, 20)
    expect(jobs.map(({ value }) => value).sort((a, b) => a - b)).toEqual(numbers(0, 20))
    // Those that it had handed out came again; those that it had only claimed ahead too, since nobody was left to give them back.
    expect(jobs.filter(({ deliveries }) => deliveries === 2).length).toBeGreaterThanOrEqual(5)
    await group.ack(jobs)
    const { totals, floor, members } = await group.describe()
    expect([totals.settled, floor, members.length]).toEqual([20, 21, 1])
    expect(totals.taken).toBeGreaterThanOrEqual(5)
  }, 60_000)

  it('tells a member that was stopped for too long that its messages are with others', async () => {
    await using hermes = await open(cluster.url)
    const topic = await filled(hermes, 'stopped', 5)
    const child = await startHolder(cluster.url, 'stopped', 'group')
    child.kill('SIGSTOP')
    const group = await topic.group('workers')
    const jobs = await jobsOf(group, 5)
    await group.ack(jobs)
    child.kill('SIGCONT')
    child.stdin.write('ack\n')
    const [said] = await once(child.stdout, 'data')
    expect(String(said)).toBe('LEASE_LOST\n')
    // It goes on as a new member.
    await expect.poll(async () => (await group.describe()).members.length, { timeout: 30_000 }).toBe(2)
    expect((await group.describe()).totals).toMatchObject({ settled: 5, late: 1, taken: 5 })
    child.kill('SIGKILL')
    await once(child, 'exit')
  }, 60_000)

  it('takes over a durable subscription whose holder was killed when its lease is over, and not before', async () => {
    await using hermes = await open(cluster.url)
    const topic = await filled(hermes, 'positions', 3)
    const child = await startHolder(cluster.url, 'positions', 'durable')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const held = await failure('EXCLUSIVE_HELD', () => topic.subscriber({ name: 'engine' }))
    expect(held.details['leaseLeftMs']).toBeLessThanOrEqual(1000)
    await expect
      .poll(
        () =>
          topic.subscriber({ name: 'engine' }).then(
            (subscriber) => subscriber.position,
            () => 0,
          ),
        { timeout: 30_000 },
      )
      .toBe(1)
  }, 60_000)

  it('lists, describes, resets and deletes groups', async () => {
    await using hermes = await open(cluster.url)
    await using second = await open(cluster.url)
    const topic = await filled(hermes, 'looked.after', 30)
    const { admin } = second
    expect(await admin.groups('looked.after')).toEqual([])
    await failure('NOT_FOUND', () => admin.groups('no.such.topic'))
    await failure('NOT_FOUND', () => admin.describeGroup('looked.after', 'none'))
    const group = await topic.group('work.ers', { member: 'one' })
    const jobs = await jobsOf(group, 10)
    await group.ack(jobs.slice(0, 6))
    const durable = await topic.subscriber({ name: 'engine', from: 11 })
    expect(
      (await admin.groups('looked.after')).map(({ name, kind, members, lag }) => [name, kind, members, lag.messages]),
    ).toEqual([
      ['engine', 'durable', 1, 20],
      ['work.ers', 'shared', 1, 24],
    ])
    const described = await admin.describeGroup('looked.after', 'work.ers')
    expect(described).toMatchObject({ floor: 7, end: 31, totals: { settled: 6 } })
    expect(described.members[0]).toMatchObject({ name: 'one', alive: true, inFlight: 4, oldest: 7 })
    expect(described.lag.seconds).toBeGreaterThan(0)
    await failure('BUSY', () => admin.resetGroup('looked.after', 'work.ers', 'earliest'))
    await failure('BUSY', () => admin.deleteGroup('looked.after', 'engine'))
    await failure('OUT_OF_RANGE', () => admin.resetGroup('looked.after', 'work.ers', 99, { force: true }))
    expect(await admin.resetGroup('looked.after', 'work.ers', 3, { force: true })).toBe(3)
    await failure('LEASE_LOST', () => (jobs[9] as Job<number>).ack())
    // The member goes on where the group is now.
    expect((await jobsOf(group, 28)).map(({ sequence }) => sequence)).toEqual(numbers(3, 28))
    await group.close({ timeoutMs: 0 }).catch(() => {})
    await admin.deleteGroup('looked.after', 'engine', { force: true })
    await failure('NOT_FOUND', async () => {
      await take(durable, 1)
      await durable.commit()
    })
    await admin.deleteGroup('looked.after', 'work.ers')
    expect(await admin.groups('looked.after')).toEqual([])
    // A group of the name that is made now begins anew.
    const anew = await topic.group('work.ers')
    const first = await jobsOf(anew, 1)
    expect(first[0]?.sequence).toBe(1)
    await anew.ack(first)
  }, 60_000)

  it('makes, alters and deletes topics, with their groups', async () => {
    await using hermes = await open(cluster.url)
    const { admin } = hermes
    expect(await admin.createTopic('made', { codec: count, retention: { bytes: 1_000_000 } })).toMatchObject({
      name: 'made',
      retention: { bytes: 1_000_000 },
    })
    expect((await admin.alterTopic('made', { retention: { ageMs: 60_000 } })).retention).toEqual({ ageMs: 60_000 })
    expect((await admin.alterTopic('made', { retention: {} })).retention).toEqual({})
    await failure('UNSUPPORTED', () =>
      admin.alterTopic('made', { retention: { bytes: 1_000_000, waitForGroups: 2_000_000 } }),
    )
    await failure('CODEC_MISMATCH', () => admin.createTopic('made', { codec: msgpack() }))
    const group = await hermes.topic('made', { codec: count }).group('workers')
    const iterating = jobsOf(group, 1)
    iterating.catch(() => {})
    const refused = await failure('UNSUPPORTED', () => admin.deleteTopic('made'))
    expect(refused.message).toContain('force')
    await failure('NOT_FOUND', () => admin.deleteTopic('never', { force: true }))
    await admin.deleteTopic('made', { force: true })
    await failure('NOT_FOUND', () => iterating)
    await failure('NOT_FOUND', () => hermes.topic('made', { codec: count }).info())
  }, 60_000)

  it('refuses a group of an earlier topic of the name, and one with other options', async () => {
    await using hermes = await open(cluster.url)
    const topic = await filled(hermes, 'earlier', 3)
    await (await topic.group('workers', { leaseMs: 5000 })).close()
    const other = await failure('CONFIG_MISMATCH', () => topic.group('workers', { leaseMs: 6000 }))
    expect(other.message).toContain('leaseMs 5000')
    await failure('CONFIG_MISMATCH', () => topic.group('workers', { kind: 'exclusive' }))
    await failure('CONFIG_MISMATCH', () => topic.subscriber({ name: 'workers' }))
    await failure('INVALID_ARGUMENT', () => topic.group('own', { deadLetter: 'earlier' }))
    await failure('UNSUPPORTED', () => topic.group('synced', { upTo: 'synced' }))
    const group = await topic.group('workers')
    await failure('UNSUPPORTED', () => group.sync())
    await group.close()
    await streamsOf(cluster.url, (manager) => manager.streams.delete(streamOf('earlier')))
    await pause(1000)
    const again = await filled(hermes, 'earlier', 3)
    await failure('POSITION_LOST', () => again.group('workers'))
    await hermes.admin.deleteGroup('earlier', 'workers', { force: true })
    const anew = await again.group('workers')
    await anew.ack(await jobsOf(anew, 3))
    expect((await anew.describe()).floor).toBe(4)
  }, 60_000)

  it('goes on behind what retention has removed, and counts it', async () => {
    await using hermes = await open(cluster.url)
    const topic = hermes.topic('kept', { codec: count, retention: { bytes: 65_536 } })
    const publisher = await topic.publisher()
    await publisher.publishAsync(0)
    await (await topic.group('workers')).close()
    for (let n = 0; n < 20; n++) {
      await publishMany(publisher, 1 + n * 500, 500)
      await publisher.flush()
    }
    const { firstSequence } = await topic.info()
    expect(firstSequence).toBeGreaterThan(1)
    const group = await topic.group('workers')
    const [job] = (await jobsOf(group, 1)) as [Job<number>]
    expect(job.sequence).toBe(firstSequence)
    expect((await group.describe()).totals.lost).toBe(firstSequence - 1)
    await job.ack()
  }, 60_000)
})
