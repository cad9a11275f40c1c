import type { Region } from '../codec/codec.js'
import type { Maintenance } from '../maintenance.js'
import type { RecoveryReport } from '../native-addon.js'

/*
 * The contract between the public classes and the placements (local log, shared memory, ring, TCP). A placement moves
 * payload bytes; codecs, handlers and iterators are the same over all of them. test/contract/ is run against each.
 */

/** What would destroy an acknowledged message. `written`: the end of the machine's memory. `synced`: the loss of its disk. */
export type Durability = 'written' | 'synced'
export const durabilities: readonly Durability[] = ['written', 'synced']

/** `bytes` and `ageMs` limit what is kept, by whole segments, oldest first. Unlimited where absent. */
export interface Retention {
  readonly bytes?: number
  readonly ageMs?: number
}

export interface TopicSettings {
  readonly codec: { readonly name: string; readonly fingerprint: string; readonly schema: unknown }
  readonly segmentBytes: number | undefined
  readonly maxPayloadBytes: number | undefined
  readonly retention: Retention | undefined
  readonly lowWaterBytes: number | undefined
  /** False: a topic that doesn't exist is an error. */
  readonly create: boolean
}

/** What is known of a topic. Sequences are those of messages: dense, from 1. */
export interface TopicInfo {
  readonly name: string
  readonly codec: { readonly name: string; readonly fingerprint: string; readonly schema: unknown }
  readonly createdMs: number
  /** The first message that is still there (or would be, if the topic is empty). */
  readonly firstSequence: number
  /** What the next message will get: everything before is committed. */
  readonly nextSequence: number
  /** Everything before is on stable storage. */
  readonly syncedSequence: number
  /** How far the topic is, by what a message has behind it. */
  readonly watermarks: Watermarks
  readonly segments: number
  /** Bytes in files, the unused rest of the newest segment included. */
  readonly bytes: number
  /** Of them, those that messages and headers take. (A broker of version 0.1.0 doesn't tell: then as `bytes`.) */
  readonly usedBytes: number
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  readonly retention: Retention
  /** Publishers that are open now, in all processes. */
  readonly publishers: number
  /** Publishing is refused for want of disk room. */
  readonly diskAlarm: boolean
  /**
   * A sync of the topic failed with this errno (`ENOSPC`, `EIO`), and nothing more can be synced until all its publishers have been closed: the next
   * one to open it checks the topic and writes it to disk anew.
   */
  readonly syncFailure?: string
  /** Of a topic in a `ring:` place. */
  readonly ring?: RingInfo
}

/** Sequences: of each, everything before has come so far. `synced` ≤ `written` ≤ `claimed`. */
export interface Watermarks {
  /** Behind the last message for which a publisher has taken room, whether it has put the message there yet or not. */
  readonly claimed: number
  /** The first sequence that is not committed: readers come this far. The same as `nextSequence`. */
  readonly written: number
  /** The first sequence that is not known to be on stable storage. The same as `syncedSequence`; 1 where there is none. */
  readonly synced: number
}

/** What is known of a ring besides. */
export interface RingInfo {
  /** Bytes of messages that wait to be consumed, their headers included. */
  readonly usedBytes: number
  /** Subscribers that are open now, in all processes: 0 or 1. */
  readonly subscribers: number
  /** Messages that were given up because the ring was full, since it was made: those that came (`overflow: 'drop-newest'`) … */
  readonly droppedNewest: number
  /** … and those that waited. */
  readonly droppedOldest: number
}

/** What a publisher does when a ring is full: refuse (`BACK_PRESSURE`), or give up a message and count it. */
export type Overflow = 'block' | 'drop-newest' | 'drop-oldest'
export const overflows: readonly Overflow[] = ['block', 'drop-newest', 'drop-oldest']

/** Where a subscriber begins, or goes to. A number is a sequence; a Date, the first message stamped then or later. */
export type From = 'earliest' | 'latest' | number | Date

/** What a publisher's port is told. */
export interface PortOptions {
  /** Gives the opening up. */
  readonly signal?: AbortSignal | undefined
  readonly exclusive: boolean
  readonly durability?: Durability
  readonly overflow?: Overflow
  /** Sync what was written so long after it was, unasked. */
  readonly syncIntervalMs?: number | undefined
}

/** What a subscriber's port is told. */
export interface SubscriberPortOptions {
  readonly from: From
  readonly verify: boolean
  /** Make the topic with the settings given if there is none. Else it is waited for, unless the settings say not to create it: then `NOT_FOUND`. */
  readonly create?: boolean
  /** Gives the opening up. */
  readonly signal?: AbortSignal | undefined
}

/** What a broker says of itself: see `hermes.health()`. */
export interface BrokerHealth {
  /** False if publishers are refused, or topics failed within the last minute. */
  readonly canPublish: boolean
  /** A sentence for each reason; in full only for tokens that may administer. */
  readonly problems: readonly string[]
}

export interface Transport {
  /** Where a subscriber begins that was not told; `latest` unless given. */
  readonly defaultFrom?: From
  /** Topics can be full, and take an `overflow`. */
  readonly isBounded?: boolean
  /** Where the files are at hand. */
  readonly maintenance?: Maintenance
  /** The names of all topics, sorted. */
  topics(signal?: AbortSignal): Promise<string[]>
  /** What is known of a topic. Rejects with `NOT_FOUND` if there is none of this name. */
  info(name: string, signal?: AbortSignal): Promise<TopicInfo>
  /** Of a broker only. */
  health?(signal?: AbortSignal): Promise<BrokerHealth>
  publisher(topic: string, settings: TopicSettings, options: PortOptions): Promise<PublisherPort>
  subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<SubscriberPort>
  close(): Promise<void>
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
  /** Of the newest message that was accepted; 0 before the first. */
  readonly lastSequence: number
  /** Its time, in nanoseconds since 1970. */
  readonly lastTimestampNs: bigint
  /**
   * Only where sequences are given out elsewhere (TCP), so that `lastSequence` is of the newest message that was acknowledged: how many messages
   * this port has accepted. `reached` is then asked for that number in place of a sequence.
   */
  readonly accepted?: number
  /** There too: how many of them are not acknowledged. */
  readonly unacknowledged?: number
  /** What `reached` can be asked for. */
  readonly durabilities: readonly Durability[]
  /** There too: resolves once the newest accepted message has reached the publisher's durability, and says what it got. */
  receipt?(signal: AbortSignal | undefined): Promise<{ readonly sequence: number; readonly timestampNs: bigint }>

  /** Accepts the payload of `length` bytes at `payloadOffset`, or throws. False: rather await `ready` before more. */
  append(length: number): boolean
  /** Accepts `count` frames of `bytes` in all, which become visible together. */
  appendBatch(count: number, bytes: number): boolean
  ready(signal: AbortSignal | undefined): Promise<void>
  /** Resolves once everything up to `sequence` has reached `durability`. */
  reached(sequence: number, durability: Durability, signal: AbortSignal | undefined): Promise<void>
  /** Gives the publisher's place back. Once the signal fires, without waiting for anyone's confirmation. */
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
  /** The port that takes this one's place from now on, where the topic had to be waited for. */
  readonly opened?: SubscriberPort | undefined
  /** True where messages arrive only between turns of the event loop (TCP): to spin in place would wait in vain. */
  readonly arrivesByTurn?: boolean

  /** Looks for up to `limit` more messages. Returns how many there are now in [`offset`, `end`). Throws `CORRUPT`, `BEHIND_RETENTION`, … */
  fetch(limit: number): number
  /** Where space is given back: the caller is done with everything before `offset`. Called after each poll. */
  release?(): void
  /** Resolves when `fetch` may find something, the signal fires, or after `timeoutMs`. Sleeps in the kernel. */
  park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void>
  seek(target: From): void
  /** Goes behind damage at the position, to the next message that is whole. Returns how many sequences were skipped. */
  skipDamage(): number
  /** What the next message of the topic will get. */
  nextSequence(): number
  close(): void
}
