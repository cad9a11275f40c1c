import type { Region } from '../codec/codec.js'
import type { MetricsReport } from '../model/metrics.js'
import type { RecoveryReport } from '../model/recovery.js'
import type { Maintenance } from '../model/reports.js'
import type { BrokerHealth, Durability, From, Overflow, TopicInfo, TopicSettings } from '../model/topic.js'
import type { AdminPort } from './admin-port.js'
import type { Capabilities } from './capabilities.js'
import type { ConsumerOptions, ConsumerPort, PositionOptions, PositionPort } from './consumer-port.js'

/*
 * The contract between the public classes and the placements (local log, shared memory, ring, TCP). A placement moves
 * payload bytes; codecs, handlers and iterators are the same over all of them. test/contract/ is run against each.
 */

/** What a publisher's port is told. */
export interface PortOptions {
  /** Gives the opening up. */
  readonly signal?: AbortSignal | undefined
  readonly exclusive: boolean
  readonly durability?: Durability
  /** Where there is `replication`: refuse a topic that has no replicas. */
  readonly replicated?: boolean
  readonly overflow?: Overflow
  /** Sync what was written so long after it was, unasked. */
  readonly syncIntervalMs?: number | undefined
  /** Where there are `leases`: refuse to append behind what was fenced with a higher revision. */
  readonly fence?: number | undefined
}

/** What a subscriber's port is told. */
export interface SubscriberPortOptions {
  readonly from: From
  readonly verify: boolean
  /** Hand out only what no loss of power can take back. */
  readonly upToSynced?: boolean
  /** Make the topic with the settings given if there is none. Else it is waited for, unless the settings say not to create it: then `NOT_FOUND`. */
  readonly create?: boolean
  /** Gives the opening up. */
  readonly signal?: AbortSignal | undefined
}

export interface Placement {
  /** Where a subscriber begins that was not told; `latest` unless given. */
  readonly defaultFrom?: From
  readonly capabilities: Capabilities
  /** There if it has `files`. */
  readonly maintenance?: Maintenance
  /** There if it has `administration`. */
  readonly administration?: AdminPort
  /** The names of all topics, sorted. */
  topics(signal?: AbortSignal): Promise<string[]>
  /** What is known of a topic. Rejects with `NOT_FOUND` if there is none of this name. */
  info(name: string, signal?: AbortSignal): Promise<TopicInfo>
  /** There if it has `metrics`. */
  metrics?(signal?: AbortSignal): Promise<MetricsReport>
  /** There if it has `health`. */
  health?(signal?: AbortSignal): Promise<BrokerHealth>
  publisher(topic: string, settings: TopicSettings, options: PortOptions): Promise<PublisherPort>
  subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<SubscriberPort>
  close(): Promise<void>
}

/** One with the capability `groups`. */
export interface GroupPlacement extends Placement {
  /** Joins a group of the topic. */
  consumer(topic: string, settings: TopicSettings, group: string, options: ConsumerOptions): Promise<ConsumerPort>
  /** Takes the position of a named subscription. */
  position(topic: string, settings: TopicSettings, name: string, options: PositionOptions): Promise<PositionPort>
}

/** A place that was opened, under the name by which it is known from now on. */
export interface Opened {
  readonly name: string
  readonly placement: Placement
}

/** Options of `open()` for places on this host. */
export interface LocalOptions {
  /** False: a directory that does not exist is an error (`NOT_FOUND`). Default true: it's made. */
  readonly create?: boolean
  /** Permission bits of new files. Default: as those of the place that is there, 0o600 for one that is made; 0o660 admits a group. Folders get the right to enter besides. */
  readonly mode?: number
}

/** What a message got when it was published. */
export interface Stamp {
  /** Dense per topic, from 1. */
  readonly sequence: number
  /** Nanoseconds since 1970. */
  readonly timestampNs: bigint
}

/** One publisher's way out. All methods throw HermesErrors. */
export interface PublisherPort {
  /** Memory to encode into. */
  readonly region: Region
  /** Where the payload of a single message is encoded. */
  readonly payloadOffset: number
  /** Where the frames of a batch begin; each is a 32-byte header, of which only the length matters, the payload, and zeros up to 8 bytes. */
  readonly batchOffset: number
  /** No batch goes beyond. */
  readonly batchLimit: number
  readonly maxPayloadBytes: number
  readonly recovery: RecoveryReport | undefined
  /** The sequence of the newest message of which it is known; 0 before the first. */
  readonly lastSequence: number
  /**
   * The ticket of the newest message that was accepted; 0 before the first. Tickets grow with each message; what they count is the port's affair (sequences
   * where those are given out here, else messages). Only this port takes them.
   */
  readonly ticket: number
  /** Where others acknowledge: how many messages were accepted and are not acknowledged. */
  readonly unacknowledged?: number

  /** Accepts the payload of `length` bytes at `payloadOffset`, or throws. False: rather await `ready` before more. */
  append(length: number): boolean
  /** Accepts `count` frames of `bytes` in all, which become visible together. */
  appendBatch(count: number, bytes: number): boolean
  ready(signal: AbortSignal | undefined): Promise<void>
  /**
   * What the newest accepted message got, once it's `written` (where others acknowledge: once it has reached the publisher's durability) and more may be
   * accepted. Rejects if it was dropped. A promise only if there is something to wait for.
   */
  receipt(signal: AbortSignal | undefined): Stamp | Promise<Stamp>
  /** Resolves once everything up to this ticket has reached `durability`. */
  reached(ticket: number, durability: Durability, signal: AbortSignal | undefined): Promise<void>
  /** Gives the publisher's slot back. Once the signal fires, without waiting for anyone's confirmation. */
  close(signal?: AbortSignal): Promise<void>
}

/**
 * One subscriber's way in. `fetch` makes a run of whole, checked frames readable at [`offset`, `end`) of `region`; the caller walks it, moving `offset`
 * and `sequence` forward, and fetches again when it has reached `end`.
 */
export interface SubscriberPort {
  readonly region: Region
  offset: number
  end: number
  /** Expected at `offset`. */
  sequence: number
  /** The port to be used instead of this one from now on, where the topic had to be waited for. */
  readonly opened?: SubscriberPort | undefined
  /** True where messages arrive only between turns of the event loop (TCP): to spin in place would wait in vain. */
  readonly arrivesByTurn?: boolean

  /** Looks for up to `limit` more messages. Returns how many there are now in [`offset`, `end`). Throws `CORRUPT`, `BEHIND_RETENTION`, … */
  fetch(limit: number): number
  /** Where space is given back: the caller is done with everything before `offset`. Called after each poll. */
  release?(): void
  /** Resolves when `fetch` may find something, the signal fires, or after `timeoutMs`. Sleeps in the kernel. */
  park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void>
  /** Ends the `park` that is under way, if one is. Where there are durable subscriptions. */
  cancel?(): void
  seek(target: From): void
  /** Goes behind damage at the position, to the next message that is whole. Returns how many sequences were skipped. */
  skipDamage(): number
  /** What the next message of the topic will get. */
  nextSequence(): number
  close(): void
}
