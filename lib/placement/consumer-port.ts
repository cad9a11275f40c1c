import type { HermesError } from '../base/errors.js'
import type { Region } from '../codec/codec.js'
import type { GroupKind, GroupReport, GroupRules } from '../model/group.js'
import type { From } from '../model/topic.js'

/*
 * The contract between the public Group and the placements. A placement hands out claimed payloads and settles them; codecs, jobs and handlers are
 * the same over all of them.
 */

/** What tells one claim of a message from others. */
export interface Claim {
  readonly sequence: number
  /** So far, this one included; 255 stands for 255 or more. */
  readonly deliveries: number
  readonly number: number
}

/** What becomes of a message: handled; to be delivered again; as if it had not been delivered. */
export type Outcome = 'done' | 'returned' | 'released'

/** What a placement is told when a member joins. */
export interface ConsumerOptions {
  readonly kind: GroupKind
  /** Where a group begins that is made now. */
  readonly from: From
  /** Those that were named: of a group that is there already, they have to be its own. */
  readonly rules: Partial<GroupRules>
  readonly window: number | undefined
  /** `undefined`: as the group was made, or false. */
  readonly upToSynced: boolean | undefined
  /** Messages that this member may hold, not settled: those that travel ahead of it count. */
  readonly maxInFlight: number
  /** The topic for messages that are given up; '' = none. `undefined`: that of the group, or `<topic>.dead`. */
  readonly deadLetter: string | undefined
  /** Of the member, for people. */
  readonly member: string
  /** Make the topic if there is none. */
  readonly create: boolean
  /** A hash of the key of the payload at this place, where no field of the payload is the key. */
  readonly hashOf: ((region: Region, offset: number, length: number) => number) | undefined
  readonly signal?: AbortSignal | undefined
}

/** One member's way in, and back. All methods throw HermesErrors. */
export interface ConsumerPort {
  /** What the group goes by. */
  readonly rules: GroupRules
  /** Where claimed payloads lie. Another object after each claim, perhaps. */
  readonly region: Region
  /** True where messages arrive only between turns of the event loop. */
  readonly arrivesByTurn?: boolean

  /** Of messages that were claimed for this member and not handed out yet by `claim`. */
  readonly ahead?: number
  /** Gives those back: they do not count as delivered. */
  releaseAhead?(): void

  /**
   * Claims up to `limit` messages: those to be delivered again first. What the methods below tell of them holds until the next claim.
   *
   * @throws HermesError `POSITION_LOST` once after the log has lost what the group had come to; `NOT_FOUND` if the group was deleted; `CORRUPT` with
   *   the sequence in `details` if a message is damaged (the others go on)
   */
  claim(limit: number): number
  sequenceOf(index: number): number
  deliveriesOf(index: number): number
  numberOf(index: number): number
  timestampOf(index: number): bigint
  payloadAt(index: number): number
  lengthOf(index: number): number
  /** The bucket of its key, in a keyed group: 0 to 1,023. */
  bucketOf(index: number): number

  /** Settles messages `from` to `to` (exclusive) of the last claim. Returns how many were still this member's. */
  settleClaimed(from: number, to: number, outcome: Outcome, delayMs: number): number | Promise<number>
  /** Settles any claims. Returns those that were this member's no more. */
  settle(claims: readonly Claim[], outcome: Outcome, delayMs: number): readonly Claim[] | Promise<readonly Claim[]>
  /**
   * Puts a message into the dead-letter topic and settles it. False if it was this member's no more.
   *
   * @param deliveries how often it was handed out, for the letter: a claim that only puts the message aside is none
   */
  reject(claim: Claim, reason: string, deliveries: number): Promise<boolean>
  /** Gives up a message that is damaged: it counts as lost. */
  skip(sequence: number): boolean | Promise<boolean>
  /** Resolves when `claim` may find something, the signal fires, or after the time. */
  park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void>
  /** Ends the wait that is under way, if one is. */
  cancel(): void
  /** The lease begins anew. */
  renew(): void
  describe(): Promise<GroupReport>
  /** Resolves once what was settled is on stable storage. */
  sync(signal: AbortSignal | undefined): Promise<void>
  /** Gives what is held back to the others. */
  close(): Promise<void>
}

/** What a placement is told when a named subscription is opened. */
export interface PositionOptions {
  /** Where it begins if the name is new. */
  readonly from: From
  readonly leaseMs: number | undefined
  /** Of the subscriber, for people. */
  readonly member: string
  readonly create: boolean
  readonly signal?: AbortSignal | undefined
}

/** Of a position that was this subscriber's: that it was reset or taken over, and that it was deleted. */
export const positionEnds: ReadonlySet<string> = new Set(['LEASE_LOST', 'NOT_FOUND'])

/** The position of a named subscription, which one subscriber at a time holds. All methods throw HermesErrors. */
export interface PositionPort {
  /** Everything before this sequence is done. */
  readonly committed: number
  /** Why the position is no longer this subscriber's: it was reset, deleted or taken over. Known within a second; reading it costs nothing. */
  readonly lost: HermesError | undefined
  /** Called once when `lost` is set. */
  onLost: (() => void) | undefined
  /** @throws HermesError `LEASE_LOST` if another subscriber has taken over or the position was reset; `NOT_FOUND` if it was deleted; `OUT_OF_RANGE` for what does not exist yet */
  commit(sequence: number): void | Promise<void>
  /** Where nothing can be brought to stable storage from here. @throws HermesError `UNSUPPORTED` */
  checkSync?(): void
  /** Resolves once what was committed is on stable storage. */
  sync(signal: AbortSignal | undefined): Promise<void>
  /** Counts messages that retention had removed before they were read. */
  noteLost(messages: number): void
  close(): Promise<void>
}
