import type { GroupKind } from './group.js'

/** Times that were measured, in buckets. */
export interface LatencyMetrics {
  /** How many were measured: a sample. */
  readonly count: number
  readonly sumSeconds: number
  /** Seconds that this share of the samples did not exceed, by buckets of an eighth of an octave. `undefined` without samples. */
  readonly p50: number | undefined
  readonly p90: number | undefined
  readonly p99: number | undefined
  readonly p999: number | undefined
  readonly max: number | undefined
  /** How many samples were in each bucket: [upper bound in seconds, count], those without any left out. */
  readonly buckets: readonly (readonly [number, number])[]
}

/** Totals of publishers: those that are open, and those that are gone. */
export interface PublishedMetrics {
  readonly messages: number
  /** Of frames: headers and padding included. */
  readonly bytes: number
  /** How often an append had to wait for room. */
  readonly waits: number
  /** Appends that failed. */
  readonly failures: number
}

/** Totals of subscribers: those that are open, and those that are gone. */
export interface ReceivedMetrics {
  readonly messages: number
  readonly bytes: number
  /** Looks that found something. */
  readonly batches: number
  /** Sequences without a message. */
  readonly voids: number
  /** How often one came to damage. */
  readonly damageStops: number
  /** From the publisher's time stamp to the subscriber's look. */
  readonly latency: LatencyMetrics
}

/** What is known of a topic. Sequences are as in `TopicInfo`. */
export interface TopicMetrics {
  readonly name: string
  /** False: there are totals, and the topic is gone or can't be read. Then all that follows but totals is 0. */
  readonly isReadable: boolean
  readonly firstSequence: number
  readonly claimedSequence: number
  readonly writtenSequence: number
  readonly syncedSequence: number
  /** Of a topic in a cluster: no quorum of its servers has this one. */
  readonly replicatedSequence?: number
  readonly segments: number
  readonly diskBytes: number
  readonly usedBytes: number
  /** Stretches of damage that were set aside. */
  readonly quarantined: number
  readonly diskAlarm: boolean
  readonly syncFailed: boolean
  readonly publishers: number
  readonly subscribers: number
  readonly published: PublishedMetrics
  readonly received: ReceivedMetrics
}

/** A publisher that is open. */
export interface PublisherMetrics extends PublishedMetrics {
  readonly topic: string
  readonly pid: number
  readonly sinceMs: number
}

/** A subscriber that is open. */
export interface SubscriberMetrics extends Omit<ReceivedMetrics, 'latency'> {
  readonly topic: string
  readonly pid: number
  readonly sinceMs: number
  /** What it will look for next. */
  readonly nextSequence: number
  /** How many sequences of the topic it has not fetched. */
  readonly lag: number
}

export interface GroupMetrics {
  readonly topic: string
  readonly name: string
  readonly kind: GroupKind
  /** Everything before is settled. */
  readonly floor: number
  /** Was never handed out. */
  readonly next: number
  /** Messages that are written and not settled. Never negative; exact while no member works. */
  readonly lag: number
  /** How long ago the message at the floor was published; 0 without lag, `undefined` if that is not known yet. */
  readonly lagSeconds: number | undefined
  readonly inFlight: number
  readonly members: number
  readonly settled: number
  readonly redelivered: number
  readonly late: number
  /** Settled without success: dead letters. */
  readonly rejected: number
  readonly lost: number
  readonly taken: number
  /** The window is full: the message at the floor, or its key, holds up all others. */
  readonly isStalled: boolean
}

export interface ProcessMetrics {
  readonly pid: number
  readonly cpuSeconds: number
  readonly residentBytes: number
}

/** What a broker has counted, and what is so now. */
export interface BrokerMetrics {
  /** A broker serves the place now. */
  readonly isUp: boolean
  readonly counters: Readonly<Record<string, number>>
  readonly states: Readonly<Record<string, number>>
  /** By how much its event loop was late. */
  readonly loopDelay: LatencyMetrics
}

/** All that is counted in a place, by `hermes.metrics()`. */
export interface MetricsReport {
  readonly place: string
  readonly takenMs: number
  /** When counting began; `undefined`: nothing was counted yet. */
  readonly sinceMs: number | undefined
  readonly topics: readonly TopicMetrics[]
  /** Totals of topics beyond the 1,022 that are told apart. */
  readonly other: Pick<TopicMetrics, 'published' | 'received'>
  readonly publishers: readonly PublisherMetrics[]
  readonly subscribers: readonly SubscriberMetrics[]
  readonly groups: readonly GroupMetrics[]
  readonly broker: BrokerMetrics
  readonly processes: readonly ProcessMetrics[]
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number }
  /** Publishers and subscribers that are not counted, since a limit was reached or the file can't be used. */
  readonly unmeasured: number
  /** Those whose topic is counted in `other`. */
  readonly unnamed: number
}
