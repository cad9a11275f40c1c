import type { ErrorCode } from '../../base/errors.js'
import type { Wait } from '../../client/wait.js'
import type { Durability } from '../../model/topic.js'
import type { Plan } from './event.js'

/** What a process of a battle is told at its start, as the JSON argument of worker.js. */
export type Task =
  | { readonly role: 'broker'; readonly dir: string }
  | (Place & { readonly role: 'subscriber'; readonly wait: Wait; readonly retainBytes: number })
  | (Place & { readonly role: 'injector'; readonly durability: Durability })

interface Place {
  readonly place: string
  readonly topic: string
  readonly plan: Plan
}

/**
 * What it is told later. `begin`: at this time of the monotonic clock. `end`: the injector stops publishing; the subscriber waits for the
 * messages up to this count; the broker leaves. `stop`: no waiting any more.
 */
export type Order = { readonly begin: number } | { readonly end: number } | { readonly stop: true }

/** What it answers over the channel to its parent. */
export type Answer<Outcome = unknown> =
  | { readonly ready: true; readonly url?: string }
  | { readonly progress: number }
  | { readonly outcome: Outcome }
  | { readonly error: Failure }

export interface Failure {
  readonly code?: ErrorCode
  readonly message: string
}

export interface InjectorOutcome {
  readonly sent: number
  /** All of them reached the durability. */
  readonly acknowledged: boolean
  /** So many were published more than a millisecond after they were due. */
  readonly late: number
  /** From the first to the last. */
  readonly seconds: number
  readonly failure?: Failure
}

export interface SubscriberOutcome {
  readonly received: number
  readonly duplicates: number
  readonly outOfOrder: number
  /** With a content that was not published. */
  readonly wrong: number
  /** Of other runs and publishers in the same topic. */
  readonly foreign: number
  readonly latencyNs: BattleLatency | null
  readonly failure?: Failure
}

/** Nanoseconds, from when a message was due to when the subscriber's handler had it. */
export interface BattleLatency {
  readonly count: number
  readonly min: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export interface BrokerOutcome {
  /** Of one core, during the run. */
  readonly cpuPercent: number
  /** Memory of its own at the end; the mapped log is the page cache's. */
  readonly memoryBytes: number
}
