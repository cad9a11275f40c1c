import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  ascii,
  custom,
  type Hermes,
  type Job,
  json,
  msgpack,
  open,
  struct,
  type Topic,
  text,
  u32,
} from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { numbers, publishMany, take } from '../helpers/receive.js'

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
  it('shares the messages of a topic among its members, and goes on where it was', async () => {
    const { hermes, topic } = await counts(1000)
    const one = await topic.group('workers', { member: 'one' })
    const two = await topic.group('workers')
    const seen: number[] = []
    const work = async (group: typeof one) => {
      for await (const job of group) {
        seen.push(job.value)
        expect(job.deliveries).toBe(1)
        await job.ack()
        if (seen.length === 1000) break
      }
    }
    const first = work(one)
    const second = work(two)
    await Promise.race([first, second])
    const report = await one.describe()
    expect(report).toMatchObject({ kind: 'shared', floor: 1001, next: 1001, end: 1001 })
    expect(report.members.map(({ name }) => name)).toContain('one')
    await Promise.all([one.close(), two.close(), first, second])
    expect(seen.sort((a, b) => a - b)).toEqual(numbers(0, 1000))
    await publishMany(await topic.publisher(), 1000, 3)
    const later = await topic.group('workers')
    expect(await handled(later, 3)).toEqual([1000, 1001, 1002])
    // Another group has all of it for itself, or what comes from now on.
    expect(await handled(await topic.group('others'), 2)).toEqual([0, 1])
    const fresh = await topic.group('fresh', { from: 'latest' })
    await publishMany(await topic.publisher(), 7, 1)
    expect(await handled(fresh, 1)).toEqual([7])
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

  it('delivers a returned message again, after its delay, and counts', async () => {
    const { hermes, topic } = await counts(3)
    const group = await topic.group('retries', { backoffMs: [20, 40] })
    const seen: [number, number][] = []
    for await (const job of group) {
      seen.push([job.value, job.deliveries])
      if (job.value === 1 && job.deliveries < 3) await job.nack(job.deliveries === 1 ? { delayMs: 0 } : {})
      else await job.ack()
      if (seen.length === 5) break
    }
    expect(seen.filter(([value]) => value === 1)).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
    ])
    expect((await group.describe()).totals).toMatchObject({ redelivered: 2, settled: 3 })
    await hermes.close()
  })

  it('gives a message up that is never handled, and one that is rejected', async () => {
    const { hermes, topic } = await counts(3)
    const group = await topic.group('givers', { maxDeliveries: 2, backoffMs: 1 })
    let last = 0
    for await (const job of group) {
      if (job.value === 0) await job.nack()
      else if (job.value === 1) await job.reject('not a number that we like')
      else {
        await job.nack({ delayMs: 50 })
        if (++last === 2) break
      }
    }
    const letters = await hermes.topic('jobs.dead', { codec: msgpack<Letter>() }).subscriber({ from: 'earliest' })
    const pump = (async () => {
      for await (const job of group) await job.ack()
    })()
    const found = (await take(letters, 3)).map(({ value }) => value)
    await group.close()
    await pump
    const bySequence = found.sort((a, b) => Number(a.sequence) - Number(b.sequence))
    expect(bySequence.map(({ topic, group, sequence }) => [topic, group, Number(sequence)])).toEqual([
      ['jobs', 'givers', 1],
      ['jobs', 'givers', 2],
      ['jobs', 'givers', 3],
    ])
    expect(bySequence.map(({ reason }) => reason)).toEqual([
      'delivered 2 times without being handled',
      'not a number that we like',
      'delivered 2 times without being handled',
    ])
    expect(bySequence.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['0', '1', '2'])
    await hermes.close()
  })

  it('settles a job once', async () => {
    const { hermes, topic } = await counts(2)
    const group = await topic.group('once')
    const [job] = (await jobsOf(group, 1)) as [Job<number>]
    await job.ack()
    await failure('INVALID_ARGUMENT', () => job.ack())
    await failure('INVALID_ARGUMENT', () => job.nack())
    await failure('INVALID_ARGUMENT', () => job.reject('x'))
    await failure('INVALID_ARGUMENT', () => job.extend())
    const [other] = (await jobsOf(group, 1)) as [Job<number>]
    await failure('INVALID_ARGUMENT', () => group.ack([other, other]))
    await group.ack([other])
    await group.close()
    await failure('CLOSED', () => group.describe())
    await hermes.close()
  })

  it('leaves what it had not settled to the others', async () => {
    const { hermes, topic } = await counts(10)
    const one = await topic.group('leavers')
    const [job] = (await jobsOf(one, 1)) as [Job<number>]
    const error = await failure('TIMED_OUT', () => one.close({ timeoutMs: 10 }))
    expect(error.details).toMatchObject({ group: 'leavers', unsettled: 1 })
    await failure('CLOSED', () => job.ack())
    const two = await topic.group('leavers')
    const seen = await jobsOf(two, 10)
    await two.ack(seen)
    expect(seen.map(({ value, deliveries }) => [value, deliveries]).sort()).toEqual(
      numbers(0, 10).map((n) => [n, n === 0 ? 2 : 1]),
    )
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

  it('takes no more than it may hold', async () => {
    const { hermes, topic } = await counts(100)
    const group = await topic.group('bounded', { maxInFlight: 3 })
    const held: Job<number>[] = []
    const reading = (async () => {
      for await (const job of group) held.push(job)
    })()
    while (held.length < 3) await sleep(1)
    await sleep(30)
    expect([held.length, group.inFlight]).toEqual([3, 3])
    await held[1]?.ack()
    while (held.length < 4) await sleep(1)
    await group.ack(held.filter((job) => !job.isSettled))
    const closing = group.close({ timeoutMs: 0 }).catch(() => undefined)
    await Promise.all([closing, reading])
    await hermes.close()
  })

  it('runs handlers side by side, returns what they fail at, and ends them in order', async () => {
    const { hermes, topic } = await counts(40)
    const group = await topic.group('runners', { backoffMs: 1 })
    const stop = new AbortController()
    const done: number[] = []
    const failures: [number, string][] = []
    let most = 0
    let now = 0
    await group.run(
      async (job, { signal }) => {
        most = Math.max(most, ++now)
        await sleep(2)
        now--
        if (job.value === 7 && job.deliveries === 1) throw new Error('at first')
        if (job.value === 9 && job.deliveries === 1) {
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          return
        }
        done.push(job.value)
        if (done.length === 40) stop.abort()
      },
      {
        concurrency: 8,
        handlerTimeoutMs: 300,
        signal: stop.signal,
        onError: (error, job) => failures.push([job.value, (error as Error).message]),
      },
    )
    expect(done.sort((a, b) => a - b)).toEqual(numbers(0, 40))
    expect(most).toBeGreaterThan(4)
    expect(failures.sort()).toEqual([
      [7, 'at first'],
      [9, 'The handler of message 10 took longer than 300 ms.'],
    ])
    const report = await group.describe()
    expect([report.floor, report.totals.settled]).toEqual([41, 40])
    await hermes.close()
  })

  it('keeps the order of each key across its members', async () => {
    const hermes = await open(folder())
    const Order = struct({ account: ascii(4), number: u32 })
    const topic = hermes.topic('orders', { codec: Order, segmentBytes: 1 << 22 })
    const publisher = await topic.publisher()
    for (let n = 0; n < 400; n++) publisher.publish({ account: `a${n % 7}`, number: n })
    const members = await Promise.all(numbers(0, 3).map(() => topic.group('keyed', { key: 'account', backoffMs: 1 })))
    const seen = new Map<string, number[]>()
    let left = 400
    await Promise.all(
      members.map(async (member, index) => {
        for await (const job of member) {
          await sleep(job.value.number % 3)
          // Some come again; nothing of their key goes before them.
          if (job.value.number % 50 === index && job.deliveries === 1) {
            await job.nack()
            continue
          }
          const list = seen.get(job.value.account) ?? []
          seen.set(job.value.account, list)
          list.push(job.value.number)
          await job.ack()
          if (--left === 0) for (const one of members) void one.close({ timeoutMs: 1000 })
        }
      }),
    )
    expect([...seen.values()].flat()).toHaveLength(400)
    for (const list of seen.values()) expect(list).toEqual([...list].sort((a, b) => a - b))
    // A key of the program's own makes another group.
    const own = await topic.group('own', { key: ({ account }) => account })
    expect((await jobsOf(own, 3)).map(({ value }) => value.number)).toHaveLength(3)
    await hermes.close().catch(() => undefined)
  })

  it('is exclusive if told so: one member has all, and another takes over', async () => {
    const { hermes, topic } = await counts(20)
    const active = await topic.group('single', { kind: 'exclusive' })
    expect(await handled(active, 5)).toEqual(numbers(0, 5))
    const standby = await topic.group('single', { kind: 'exclusive' })
    expect(standby.poll(() => {})).toBe(0)
    await active.close()
    expect(await handled(standby, 15)).toEqual(numbers(5, 15))
    await hermes.close()
  })

  it('returns what can not be decoded, and gives it up in the end', async () => {
    const hermes = await open(folder())
    const strict = custom<number>({
      name: 'strict',
      fingerprint: 'strict',
      encode: (value) => Buffer.from(JSON.stringify(value)),
      decode: (bytes) => {
        const { good } = JSON.parse(Buffer.from(bytes).toString()) as { good: number }
        if (good === 1) throw new Error('bad')
        return good
      },
    })
    const errors: string[] = []
    const publisher = await hermes.topic('jobs', { codec: strict }).publisher()
    publisher.publish({ good: 1 } as never)
    publisher.publish({ good: 2 } as never)
    const group = await hermes
      .topic('jobs', { codec: strict })
      .group('strict', { maxDeliveries: 1, backoffMs: 1, onError: (error) => errors.push(error.message) })
    const reading = (async () => {
      for await (const job of group) await job.ack()
    })()
    const letters = await hermes.topic('jobs.dead', { codec: msgpack<Letter>() }).subscriber({ from: 'earliest' })
    const [letter] = await take(letters, 1)
    expect(Number(letter?.value.sequence)).toBe(1)
    await group.close()
    await reading
    expect(errors).toHaveLength(1)
    await hermes.close()
  })

  it('says what is wrong with its options', async () => {
    const { hermes, topic } = await counts(1)
    await failure('NOT_FOUND', () => hermes.topic('none', { codec: count }).group('g'))
    await failure('CODEC_MISMATCH', () => hermes.topic('jobs', { codec: text }).group('g'))
    await failure('INVALID_NAME', () => topic.group('../x'))
    const backoff = await failure('INVALID_ARGUMENT', () => topic.group('g', { backoffMs: [50, 10] }))
    expect(backoff.message).toBe("'backoffMs[1]' must be an integer from 50 to 86400000, not 10.")
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
    await topic.group('g', { maxDeliveries: 3 })
    const other = await failure('CONFIG_MISMATCH', () => topic.group('g', { maxDeliveries: 4 }))
    expect(other.message).toContain('maxDeliveries 3')
    await failure('CONFIG_MISMATCH', () => topic.group('g', { kind: 'exclusive' }))
    await using ring = await open(`ring:hermes-group-${process.pid}`)
    await failure('UNSUPPORTED', () => ring.topic('jobs', { codec: count }).group('g'))
    await hermes.close()
  })
})

interface Letter {
  readonly topic: string
  readonly group: string
  readonly sequence: number | bigint
  readonly reason: string
  readonly payload: Uint8Array
}

async function jobsOf<T>(group: AsyncIterable<Job<T>>, many: number): Promise<Job<T>[]> {
  const jobs: Job<T>[] = []
  for await (const job of group) {
    jobs.push(job)
    if (jobs.length === many) break
  }
  return jobs
}
