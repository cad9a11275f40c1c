import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { ascii, custom, type Hermes, type Job, json, msgpack, struct, type Topic, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { numbers, publishMany, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

async function counts(hermes: Hermes, messages: number): Promise<{ topic: Topic<number> }> {
  const topic = hermes.topic('jobs', { codec: count, segmentBytes: 1 << 22 })
  await publishMany(await topic.publisher(), 0, messages)
  return { topic }
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

export function groupsCase({ it }: Suite): void {
  it(
    'shares the messages of a topic among its members, and goes on where it was',
    ['groups'],
    async ({ hermes }) => {
      const { topic } = await counts(hermes, 1000)
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
      // (the other one's last acknowledgement may still be under way)
      await expect
        .poll(() => one.describe(), { timeout: 10_000 })
        .toMatchObject({ kind: 'shared', floor: 1001, next: 1001, end: 1001 })
      const report = await one.describe()
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
    },
    120_000,
  )

  it('delivers a returned message again, after its delay, and counts', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 3)
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
  })

  it('gives a message up that is never handled, and one that is rejected', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 3)
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
  })

  it('says how often a message was delivered, also if it was once', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 1)
    await using group = await topic.group('single', { maxDeliveries: 1, backoffMs: 1 })
    for await (const job of group) {
      await job.nack()
      break
    }
    const letters = await hermes.topic('jobs.dead', { codec: msgpack<Letter>() }).subscriber({ from: 'earliest' })
    const stop = new AbortController()
    const running = group.run(() => {}, { signal: stop.signal })
    expect((await take(letters, 1)).map(({ value }) => value.reason)).toEqual([
      'delivered 1 time without being handled',
    ])
    stop.abort()
    await running
  })

  it('refuses a member without a name', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 1)
    const error = await failure('INVALID_ARGUMENT', () => topic.group('named', { member: '' }))
    expect(error.message).toContain("'member' must be a name")
  })

  it('settles a job once', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 2)
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
  })

  it('leaves what it had not settled to the others', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 10)
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
  })

  it('takes no more than it may hold', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 100)
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
  })

  it(
    'runs handlers side by side, returns what they fail at, and ends them in order',
    ['groups'],
    async ({ hermes }) => {
      const { topic } = await counts(hermes, 40)
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
    },
  )

  it(
    'keeps the order of each key across its members',
    ['groups'],
    async ({ hermes }) => {
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
      const jobs = await jobsOf(own, 3)
      expect(jobs.map(({ value }) => value.number)).toEqual([0, 1, 2])
      await own.ack(jobs)
    },
    120_000,
  )

  it('is exclusive if told so: one member has all, and another takes over', ['groups'], async ({ hermes }) => {
    const { topic } = await counts(hermes, 20)
    const active = await topic.group('single', { kind: 'exclusive' })
    expect(await handled(active, 5)).toEqual(numbers(0, 5))
    const standby = await topic.group('single', { kind: 'exclusive' })
    await active.close()
    expect(await handled(standby, 15)).toEqual(numbers(5, 15))
  })

  it('returns what can not be decoded, and gives it up in the end', ['groups'], async ({ hermes }) => {
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
  })
}

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
