/** What would destroy an acknowledged message. `written`: the end of the machine's memory. `synced`: the loss of its disk. */
export type Durability = 'written' | 'synced'
export const durabilities: readonly Durability[] = ['written', 'synced']
/** What a publisher can ask for. `replicated`: the loss of the disks of a majority of the servers that have the topic. In a cluster only. */
export type PublisherDurability = Durability | 'replicated'
export const publisherDurabilities: readonly PublisherDurability[] = [...durabilities, 'replicated']

/** `bytes` and `ageMs` limit what is kept, by whole segments, oldest first. Unlimited where absent. */
export interface Retention {
  readonly bytes?: number
  readonly ageMs?: number
  /**
   * Keep what groups and durable subscriptions have not settled, although the limits above say otherwise, as long as the topic takes no more than so many
   * bytes in all. Default: they are not waited for.
   */
  readonly waitForGroups?: number
}

/** As the log takes them: 0 = without limit. */
export function retentionLimits(retention: Retention): [bytes: number, ageMs: number, waitBytes: number] {
  return [retention.bytes ?? 0, retention.ageMs ?? 0, retention.waitForGroups ?? 0]
}

export interface TopicSettings {
  readonly codec: { readonly name: string; readonly fingerprint: string; readonly schema: unknown }
  readonly segmentBytes: number | undefined
  readonly maxPayloadBytes: number | undefined
  readonly retention: Retention | undefined
  readonly lowWaterBytes: number | undefined
  /** False: a topic that doesn't exist is an error. */
  readonly create: boolean
  /**
   * What to do if the codec has grown from the topic's. A publisher makes it the topic's (`allowed`), or is refused (`denied`). A subscriber (absent) reads
   * older messages, and leaves the topic as it is.
   */
  readonly growth?: 'allowed' | 'denied'
}

/** What is known of a topic. Sequences are those of messages: dense, from 1. */
export interface TopicInfo {
  readonly name: string
  /** That of the newest publisher, where the layout has grown. */
  readonly codec: { readonly name: string; readonly fingerprint: string; readonly schema: unknown }
  /** The codecs that the topic had before, from the oldest on. Absent where its layout has not grown. */
  readonly history?: readonly { readonly name: string; readonly fingerprint: string; readonly schema: unknown }[]
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
  /** Of a topic in a cluster: the first sequence that no quorum of servers has. */
  readonly replicated?: number
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

/** What a broker says of itself: see `hermes.health()`. */
export interface BrokerHealth {
  /** False if publishers are refused, or topics failed within the last minute. */
  readonly canPublish: boolean
  /** A sentence for each reason; in full only for tokens that may administer. */
  readonly problems: readonly string[]
  /** What all publishers are refused with: `DISK_FULL` below the low-water mark. Absent if it's only some topics that failed. */
  readonly code?: string
}
