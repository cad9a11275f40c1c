import { describe, expect, it } from 'vitest'
import { custom, type Hermes, type Job, json, open, type Topic, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { numbers, publishMany } from '../helpers/receive.js'

const folder = foldersPerTest()
const count = json<number>()

async function counts(messages: number): Promise<{ hermes: Hermes; topic: Topic<number> }> {
  const hermes = await open(folder())
  const topic = hermes.topic('jobs', { codec: count, segmentBytes: 1 << 22 })
  await publishMany(await topic.publisher(), 0, messages)
  return { hermes, topic }
}

/** Takes jobs from an iteration, which it ends; acknowledges them. */
async function handled<T>(group: AsyncIterable<Job<T>>, many: number): Promise<T[]> {
  const values: T[] = []
  for await (const job of group) {
    values.push(job.value)
    await job.ack()
    if (values.length === many) break
  }
  return values
}

describe('a group', () => {
  it('has a letter on stable storage before it settles the message', async () => {
    const { hermes, topic } = await counts(2)
    const group = await topic.group('poisoned')
    for await (const job of group) {
      await job.reject('of no use')
      const { nextSequence, syncedSequence } = await hermes.info('jobs.dead')
      expect([nextSequence, syncedSequence]).toEqual([job.sequence + 1, job.sequence + 1])
      if (job.sequence === 2) break
    }
    await hermes.close()
  })

  it('hands out by poll, and settles what was handled', async () => {
    const { hermes, topic } = await counts(600)
    const group = await topic.group('pollers')
    const seen: number[] = []
    expect(group.poll((value) => seen.push(value), 100)).toBe(100)
    expect((await group.describe()).floor).toBe(101)
    expect(() =>
      group.poll((value) => {
        if (value === 150) throw new Error('no')
        seen.push(value)
      }),
    ).toThrow('no')
    expect((await group.describe()).floor).toBe(151)
    expect(group.inFlight).toBe(0)
    for (let more = 1; more > 0; ) more = group.poll((value) => seen.push(value))
    expect(seen.sort((a, b) => a - b)).toEqual(numbers(0, 600).filter((n) => n !== 150))
    expect(await handled(group, 1)).toEqual([150])
    await hermes.close()
  })

  it('refuses an acknowledgement that comes too late', async () => {
    const { hermes, topic } = await counts(2)
    const slow = await topic.group('late', { leaseMs: 200, backoffMs: 0 })
    const [job] = (await jobsOf(slow, 1)) as [Job<number>]
    const quick = await topic.group('late')
    // The event loop stands still for longer than the lease: so this member looks hung. (It is the other's process, too, which claims right afterwards.)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
    const values: number[] = []
    while (values.length < 2) quick.poll((value) => values.push(value))
    expect(values.sort()).toEqual([0, 1])
    const error = await failure('LEASE_LOST', () => job.ack())
    expect(error.details).toMatchObject({ topic: 'jobs', group: 'late', sequences: [1] })
    await hermes.close()
  })

  it('says what is wrong with its options', async () => {
    const { hermes, topic } = await counts(1)
    await failure('NOT_FOUND', () => hermes.topic('none', { codec: count }).group('g'))
    await failure('CODEC_MISMATCH', () => hermes.topic('jobs', { codec: text }).group('g'))
    await failure('INVALID_NAME', () => topic.group('../x'))
    const backoff = await failure('INVALID_ARGUMENT', () => topic.group('g', { backoffMs: [50, 10] }))
    expect(backoff.message).toBe("'backoffMs[1]' must be an integer from 50 to 86400000, not 10.")
    for (const backoffMs of [[5], [1, 2, 3]] as unknown as [number, number][]) {
      const count = await failure('INVALID_ARGUMENT', () => topic.group('g', { backoffMs }))
      expect(count.message).toContain("'backoffMs' must be a number or two numbers, [first, most], not")
    }
    for (const options of [
      { kind: 'any' },
      { kind: 'keyed' },
      { kind: 'shared', key: 'a' },
      { key: 5 },
      { maxInFlight: 0 },
      { leaseMs: 1 },
      { backoffMs: [5, 4] },
      { window: 100 },
      { from: new Date(Date.now() + 3_600_000) },
      { deadLetter: 7 },
    ]) {
      const error = await failure('deadLetter' in options ? 'INVALID_NAME' : 'INVALID_ARGUMENT', () =>
        topic.group('g', options as never),
      )
      expect(error.message).not.toContain('undefined')
    }
    const unknown = await failure('UNKNOWN_OPTION', () => topic.group('g', { maxInflight: 5 } as never))
    expect(unknown.message).toContain("'maxInFlight'")
    const circle = await failure('INVALID_ARGUMENT', () => topic.group('g', { deadLetter: topic.name }))
    expect(circle.message).toContain("'deadLetter' of group 'g' is its own topic")
    await topic.group('g', { maxDeliveries: 3 })
    const other = await failure('CONFIG_MISMATCH', () => topic.group('g', { maxDeliveries: 4 }))
    expect(other.message).toContain('maxDeliveries 3')
    await failure('CONFIG_MISMATCH', () => topic.group('g', { kind: 'exclusive' }))
    await using ring = await open(`ring:hermes-group-${process.pid}`)
    await failure('UNSUPPORTED', () => ring.topic('jobs', { codec: count }).group('g'))
    await hermes.close()
  })

  it('begins no handler once run() was told to end', async () => {
    await using hermes = await open(folder())
    const stop = new AbortController()
    const codec = custom<Uint8Array>({
      name: 'stopping',
      fingerprint: '1',
      encode: (value) => value,
      decode: (value) => {
        stop.abort()
        return value
      },
    })
    const topic = hermes.topic('jobs', { codec })
    const publisher = await topic.publisher()
    publisher.publish(Uint8Array.of(1))
    const group = await topic.group('stopped')
    const begun: number[] = []
    await group.run(({ sequence }) => begun.push(sequence), { signal: stop.signal })
    expect([begun, group.inFlight]).toEqual([[], 0])
    await group.close({ timeoutMs: 0 })
    const other = await topic.group('stopped')
    for await (const { deliveries } of other) {
      expect(deliveries).toBe(1)
      break
    }
    await other.close({ timeoutMs: 0 }).catch(() => undefined)
  })

  it('has one listener for all handlers that are under way', async () => {
    const { hermes, topic } = await counts(40)
    const group = await topic.group('many')
    const warnings: string[] = []
    const heard = ({ name }: Error) => void warnings.push(name)
    process.on('warning', heard)
    const stop = new AbortController()
    let now = 0
    let open = () => {}
    const all = new Promise<void>((resolve) => {
      open = resolve
    })
    await group.run(
      async () => {
        if (++now === 40) {
          stop.abort()
          open()
        }
        await all
      },
      { concurrency: 40, signal: stop.signal },
    )
    // (a warning is told in a turn of its own)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', heard)
    expect(warnings).toEqual([])
    await hermes.close()
  })
})

async function jobsOf<T>(group: AsyncIterable<Job<T>>, many: number): Promise<Job<T>[]> {
  const jobs: Job<T>[] = []
  for await (const job of group) {
    jobs.push(job)
    if (jobs.length === many) break
  }
  return jobs
}
