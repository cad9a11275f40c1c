import { setTimeout as sleep } from 'node:timers/promises'
import { HermesError } from '../base/errors.js'
import type { Group } from '../client/group.js'
import type { GroupOptions } from '../client/group-options.js'
import type { Hermes } from '../client/hermes.js'
import type { Job } from '../client/job.js'
import type { Subscriber } from '../client/subscriber.js'
import { raw } from '../codec/raw.js'
import { readPayload } from './message.js'
import type { Seen } from './oracle.js'
import type { Random } from './random.js'
import type { SettlementOracle } from './settlement-oracle.js'

/** The topic that is worked on, and the one for what is rejected. */
export const topicName = 'power'
export const lettersName = 'power.dead'

export type Manner = 'shared' | 'exclusive' | 'keyed' | 'durable'

/** A group, or a durable subscription: `manner` is its name too. */
export interface Plan {
  readonly manner: Manner
  readonly window: number
}

/** The messages of a lane come in their order. */
export function laneOf(manner: Manner): { readonly laneOf?: (message: Seen) => unknown } {
  if (manner === 'shared') return {}
  return { laneOf: manner === 'keyed' ? ({ id }) => keyOf(id?.number ?? -1) : () => 0 }
}

const keyOf = (number: number) => number % 7

/** Messages that a member holds on to, at most. */
const mostHeld = 4
/** How long a wait for what is on its way through a broker takes at most, each time. */
const glanceMs = 20
const mostDrainMs = 30_000

/** One who takes messages and settles them. */
export interface Worker {
  /** Takes some of what is there, and settles most of it. */
  work(random: Random, oracle: SettlementOracle): Promise<void>
  /** Takes and settles all that is there before the sequence `end`. Returns what came; `stuck` if something is left that does not come. */
  drain(end: number): Promise<{ readonly delivered: readonly Seen[]; readonly stuck: string | undefined }>
  /** What it has settled is on the disk; tell so by what this returns. */
  sync(oracle: SettlementOracle): Promise<() => void>
  close(): Promise<void>
  /** How often it was told that the topic has lost what it had come to. */
  readonly positionsLost: number
}

export async function join(hermes: Hermes, plan: Plan): Promise<Worker> {
  const topic = hermes.topic(topicName, { codec: raw, create: false })
  const { manner, window } = plan
  if (manner === 'durable') {
    const subscribe = () => topic.subscriber({ name: manner, from: 'earliest', wait: 'park' })
    const subscriber = await subscribe().catch((error: unknown) => {
      // It tells once, and goes on.
      if (codeOf(error) !== 'POSITION_LOST') throw error
      return subscribe()
    })
    return new Following(subscriber)
  }
  const key = (value: Uint8Array) => keyOf(readPayload(value)?.number ?? -1)
  const options: GroupOptions<Uint8Array> = manner === 'keyed' ? { key } : { kind: manner }
  const group = await topic.group(manner, {
    ...options,
    window,
    maxDeliveries: 0,
    backoffMs: 1,
    leaseMs: 60_000,
    deadLetter: lettersName,
    wait: 'park',
  })
  return new Handling(group)
}

const seen = (job: Job<Uint8Array>): Seen => ({ sequence: job.sequence, id: readPayload(job.value) })
const codeOf = (error: unknown) => (error instanceof HermesError ? error.code : undefined)

/** A member of a group. */
class Handling implements Worker {
  positionsLost = 0
  readonly #group: Group<Uint8Array, Uint8Array>
  #batches: AsyncIterator<Job<Uint8Array>[]>
  /** Asked for, and not there yet. */
  #next: Promise<Job<Uint8Array>[] | undefined> | undefined
  readonly #held: Job<Uint8Array>[] = []

  constructor(group: Group<Uint8Array, Uint8Array>) {
    this.#group = group
    this.#batches = group.batches(40)
  }

  async #take(): Promise<readonly Job<Uint8Array>[]> {
    this.#next ??= this.#batches.next().then(
      ({ done, value }) => (done === true ? undefined : value),
      (error: unknown) => {
        if (codeOf(error) !== 'POSITION_LOST') throw error
        this.positionsLost++
        this.#batches = this.#group.batches(40)
        return []
      },
    )
    const jobs = await Promise.race([this.#next, sleep(glanceMs, 'nothing' as const)])
    if (jobs === 'nothing') return []
    this.#next = undefined
    return jobs ?? []
  }

  async work(random: Random, oracle: SettlementOracle): Promise<void> {
    const done: Job<Uint8Array>[] = []
    for (const job of [...this.#held.splice(0, random.below(mostHeld)), ...(await this.#take())]) {
      const what = random.next() / 2 ** 32
      if (what < 0.05 && this.#held.length < mostHeld) this.#held.push(job)
      else if (what < 0.12) await job.nack({ delayMs: random.pick([0, 0, 20]) })
      else if (what < 0.15) {
        oracle.attempt(seen(job))
        await job.reject('of no use')
        oracle.settled(seen(job), true)
      } else done.push(job)
    }
    for (const job of done) oracle.attempt(seen(job))
    await this.#group.ack(done)
    for (const job of done) oracle.settled(seen(job))
  }

  async drain(): Promise<{ readonly delivered: readonly Seen[]; readonly stuck: string | undefined }> {
    const delivered: Seen[] = []
    for (const until = performance.now() + mostDrainMs; performance.now() < until; ) {
      const jobs = await this.#take()
      delivered.push(...jobs.map(seen))
      if (jobs.length > 0) {
        await this.#group.ack(jobs)
        continue
      }
      const { floor, end } = await this.#group.describe()
      if (floor === end) return { delivered, stuck: undefined }
    }
    return { delivered, stuck: JSON.stringify(await this.#group.describe()) }
  }

  async sync(oracle: SettlementOracle): Promise<() => void> {
    const tell = oracle.syncing()
    await this.#group.sync()
    return tell
  }

  async close(): Promise<void> {
    // (what is held on to comes again)
    await this.#group.close({ timeoutMs: 0 }).catch((error: unknown) => {
      if (codeOf(error) !== 'TIMED_OUT') throw error
    })
    await this.#next?.catch(() => undefined)
  }
}

/** A durable subscription. */
class Following implements Worker {
  readonly positionsLost = 0
  readonly #subscriber: Subscriber<Uint8Array, Uint8Array>
  #uncommitted: Seen[] = []

  constructor(subscriber: Subscriber<Uint8Array, Uint8Array>) {
    this.#subscriber = subscriber
  }

  async #take(limit: number): Promise<Seen[]> {
    const got: Seen[] = []
    const take = () =>
      this.#subscriber.poll((payload, { sequence }) => got.push({ sequence, id: readPayload(payload) }), limit)
    for (const until = performance.now() + glanceMs; take() === 0 && performance.now() < until; ) await sleep(1)
    return got
  }

  async work(random: Random, oracle: SettlementOracle): Promise<void> {
    this.#uncommitted.push(...(await this.#take(1 + random.below(60))))
    const done = this.#uncommitted.splice(0, random.below(this.#uncommitted.length + 1))
    const last = done.at(-1)
    if (last === undefined) return
    for (const one of done) oracle.attempt(one)
    await this.#subscriber.commit(last.sequence)
    for (const one of done) oracle.settled(one)
  }

  async drain(end: number): Promise<{ readonly delivered: readonly Seen[]; readonly stuck: string | undefined }> {
    const delivered: Seen[] = []
    const until = performance.now() + mostDrainMs
    while (this.#subscriber.position < end && performance.now() < until) delivered.push(...(await this.#take(4096)))
    await this.#subscriber.commit()
    const { position } = this.#subscriber
    return { delivered, stuck: position < end ? `at ${position}` : undefined }
  }

  async sync(oracle: SettlementOracle): Promise<() => void> {
    // (whatever was handed out is committed with it)
    const done = this.#uncommitted.splice(0)
    for (const one of done) oracle.attempt(one)
    const earlier = oracle.syncing()
    await this.#subscriber.commit(undefined, { durability: 'synced' })
    for (const one of done) oracle.settled(one)
    const now = oracle.syncing()
    return () => {
      earlier()
      now()
    }
  }

  close(): Promise<void> {
    return this.#subscriber.close()
  }
}
