import { HermesError } from '../base/errors.js'
import type { Region } from '../codec/codec.js'
import { native } from '../native/addon.js'
import { callNative, fromNative } from '../native/error.js'
import type { NativeMember } from '../native/group-types.js'
import { MemberScratch } from '../native/member-scratch.js'
import { parked } from '../native/parked.js'

/** What a message is settled with: keep the three numbers, and give them back. */
export interface Claim {
  readonly sequence: number
  /** So far, this one included; 255 stands for 255 or more. */
  readonly deliveries: number
  /** Of the claim: tells it from others of the same message. */
  readonly number: number
}

/** What becomes of a message: handled; put aside for good; to be delivered again; as if it had not been delivered. */
export type Outcome = 'done' | 'rejected' | 'returned' | 'released'

/**
 * Why a claim got no more. `more`: there may be more at once. `empty`, `window-full`, `standby`: wait. `busy`: another member is claiming, try again in a
 * millisecond. `no-key`: see `nextUnkeyed`.
 */
export type ClaimStop = 'more' | 'empty' | 'window-full' | 'standby' | 'busy' | 'no-key'

/** Which group, for errors. */
export interface GroupDetails extends Readonly<Record<string, string>> {
  readonly topic: string
  readonly group: string
}

const firstScratchBytes = 128 * 1024

/**
 * One participant of a group. `claim` gets up to 256 messages, with copies of their frames: they stay as they are until the next `claim` or
 * `nextUnkeyed`. Settle each by its three numbers, in any order, one at a time or many; a late one is told, and changes nothing.
 */
export class GroupMember {
  /** Topic and group, for errors. */
  readonly details: GroupDetails
  /** Its number among the group's members. */
  readonly slot: number
  readonly #native: NativeMember
  #scratch: MemberScratch
  #region: Region
  readonly #claim: () => void
  readonly #settle: () => void
  readonly #peek: () => void
  readonly #stops: readonly ClaimStop[]
  readonly #outcomes: Readonly<Record<Outcome, number>>
  #closed = false

  constructor(details: GroupDetails, member: NativeMember) {
    this.details = details
    this.#native = member
    this.#scratch = new MemberScratch(firstScratchBytes)
    this.#region = this.#scratch
    const { claim, settle, peek } = member.attach(this.#scratch.buffer)
    this.#claim = claim
    this.#settle = settle
    this.#peek = peek
    this.slot = member.slot()
    const c = native.constants
    const stops: ClaimStop[] = []
    stops[c.claimLimit] = 'more'
    stops[c.claimEmpty] = 'empty'
    stops[c.claimWindowFull] = 'window-full'
    stops[c.claimStandby] = 'standby'
    stops[c.claimBusy] = 'busy'
    stops[c.claimRoom] = 'more'
    stops[c.claimDamage] = 'more'
    stops[c.claimNoKey] = 'no-key'
    this.#stops = stops
    this.#outcomes = {
      done: c.outcomeDone,
      rejected: c.outcomeRejected,
      returned: c.outcomeReturned,
      released: c.outcomeReleased,
    }
  }

  /** Where payloads lie, at `payloadAt(i)`. Another object once a larger message has come. */
  get region(): Region {
    return this.#region
  }

  /**
   * Claims messages: those to be delivered again first, then new ones. One native call.
   *
   * @param limit 1 to 256
   * @returns how many it got; then `stop` says why there are no more
   * @throws HermesError `POSITION_LOST` once after the log has lost what the group had come to (go on: the next call claims what is there now),
   *   `NOT_FOUND` if the group was deleted, `CORRUPT` with the sequence in `details` if a message is damaged (others go on; `skip` gives it up), `CLOSED`
   */
  claim(limit: number): number {
    return this.#get(this.#claim, limit)
  }

  /** Why the last claim got no more. */
  get stop(): ClaimStop {
    return this.#stops[this.#scratch.stop] as ClaimStop
  }

  sequenceOf(index: number): number {
    return this.#scratch.sequenceOf(index)
  }

  /** So far, this one included; more than `maxDeliveries`: put it aside (dead letter), then settle it as `rejected`. */
  deliveriesOf(index: number): number {
    return this.#scratch.deliveriesOf(index)
  }

  numberOf(index: number): number {
    return this.#scratch.numberOf(index)
  }

  /** Of a keyed group: 0 to 1,023. */
  bucketOf(index: number): number {
    return this.#scratch.bucketOf(index)
  }

  timestampOf(index: number): bigint {
    return this.#scratch.timestampOf(index)
  }

  /** Where the frame begins in `region.bytes`: 32 bytes of header, then the payload, as on the wire. Frames of one claim lie back to back. */
  frameAt(index: number): number {
    return this.#scratch.frameAt(index)
  }

  payloadAt(index: number): number {
    return this.#scratch.payloadAt(index)
  }

  /** Payload bytes. */
  lengthOf(index: number): number {
    return this.#scratch.lengthOf(index)
  }

  /**
   * Settles one message.
   *
   * @param delayMs with `returned`: until it comes again; below 0: the group's back-off
   * @returns false if it is no longer this member's (`LEASE_LOST`)
   */
  settle(sequence: number, deliveries: number, number: number, outcome: Outcome = 'done', delayMs = 0): boolean {
    const scratch = this.#scratch
    scratch.putSettling(0, sequence, deliveries, number)
    scratch.setSettling(1, this.#outcomes[outcome], delayMs)
    this.#settle()
    return scratch.count === 1
  }

  /** Settles messages `from` to `to` (exclusive) of the last claim, in one native call. Returns how many; `wasLost` tells which not, counted from `from`. */
  settleClaimed(from: number, to: number, outcome: Outcome = 'done', delayMs = 0): number {
    const scratch = this.#scratch
    scratch.putClaimed(from, to)
    scratch.setSettling(to - from, this.#outcomes[outcome], delayMs)
    this.#settle()
    return scratch.count
  }

  /** As `settle`, for any number of messages. Returns those that were this member's no more. */
  settleAll(claims: readonly Claim[], outcome: Outcome = 'done', delayMs = 0): Claim[] {
    const scratch = this.#scratch
    const { maxClaim } = native.constants
    const lost: Claim[] = []
    for (let begin = 0; begin < claims.length; begin += maxClaim) {
      const part = claims.slice(begin, begin + maxClaim)
      part.forEach(({ sequence, deliveries, number }, index) => {
        scratch.putSettling(index, sequence, deliveries, number)
      })
      scratch.setSettling(part.length, this.#outcomes[outcome], delayMs)
      this.#settle()
      if (scratch.count < part.length) lost.push(...part.filter((_, index) => scratch.wasLost(index)))
    }
    return lost
  }

  /**
   * As `settle`, for consecutive sequences of one claim. Calls `late` with each that was this member's no more.
   *
   * @param count at least 1
   */
  settleRange(
    first: number,
    count: number,
    deliveries: number,
    number: number,
    outcome: Outcome,
    delayMs: number,
    late: (sequence: number) => void,
  ): void {
    const scratch = this.#scratch
    const { maxClaim } = native.constants
    for (let begin = 0; begin < count; begin += maxClaim) {
      const many = Math.min(maxClaim, count - begin)
      for (let index = 0; index < many; index++) scratch.putSettling(index, first + begin + index, deliveries, number)
      scratch.setSettling(many, this.#outcomes[outcome], delayMs)
      this.#settle()
      if (scratch.count === many) continue
      for (let index = 0; index < many; index++) if (scratch.wasLost(index)) late(first + begin + index)
    }
  }

  /** Whether message `index` of the last settling was this member's no more. */
  wasLost(index: number): boolean {
    return this.#scratch.wasLost(index)
  }

  /** Gives up a message that is damaged: it counts as lost. False if it does not wait (any more). */
  skip(sequence: number): boolean {
    return callNative(() => this.#native.skip(sequence), this.details)
  }

  /**
   * In a keyed group whose keys the caller finds: the next new messages, to be read like claimed ones, and not claimed. Fill in each one's
   * bucket with `setKey`, then call `enterKeys`. 0: there are none.
   */
  nextUnkeyed(limit: number): number {
    return this.#get(this.#peek, limit)
  }

  /** @param hash of the key; equal keys have equal ones */
  setKey(index: number, hash: number): void {
    this.#scratch.setBucket(index, (hash >>> 0) % native.constants.groupBuckets)
  }

  /** Tells the keys of the first `count` messages of `nextUnkeyed`. Without effect if another member was faster. */
  enterKeys(count: number): void {
    callNative(() => this.#native.enter(count), this.details)
  }

  /** Durable subscription: becomes the active one. @throws HermesError `EXCLUSIVE_HELD` while there is another */
  activate(): void {
    callNative(() => this.#native.activate(), this.details)
  }

  /** Durable subscription: everything before `sequence` is done. @throws HermesError `LEASE_LOST` if another one has taken over, `OUT_OF_RANGE` */
  commit(sequence: number): void {
    callNative(() => this.#native.commit(sequence), this.details)
  }

  /**
   * Durable subscription: looks whether `commit` could still succeed. Cheap.
   *
   * @throws HermesError `LEASE_LOST` if another one has taken over or the position was reset, `NOT_FOUND` if the subscription was deleted
   */
  checkHeld(): void {
    callNative(() => this.#native.checkHeld(), this.details)
  }

  /** Durable subscription: where it goes on. */
  get committed(): number {
    return callNative(() => this.#native.committed(), this.details)
  }

  /** Durable subscription: counts messages that retention had removed. */
  noteLost(count: number): void {
    callNative(() => this.#native.noteLost(count), this.details)
  }

  /** The lease begins anew: for who keeps the event loop busy for longer than it lasts. */
  renew(): void {
    this.#native.renew()
  }

  /** The lease is over: others may have taken what this member holds. */
  get isLate(): boolean {
    return this.#native.isLate()
  }

  /**
   * Resolves once there may be something to claim, or it's this member's turn to be active, or after the time, or `cancelWait`. One at a time. May wake for nothing.
   * Keeps the process alive meanwhile.
   */
  async wait(timeoutMs: number): Promise<void> {
    try {
      await parked(() => this.#native.wait(timeoutMs))
    } catch (error) {
      throw fromNative(error, this.details)
    }
  }

  cancelWait(): void {
    this.#native.cancel()
  }

  /** Returns what it holds to the others, and gives the slot back. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
  }

  #get(call: () => void, limit: number): number {
    const scratch = this.#scratch
    scratch.setLimit(limit)
    call()
    if (scratch.hasFailed) {
      callNative(() => this.#native.lastError(), this.details)
    }
    const { count } = scratch
    if (count > 0) return count
    const { stop } = scratch
    const { claimRoom, claimDamage } = native.constants
    if (stop === claimRoom) {
      // A message larger than any before: room for a few of that size.
      this.#scratch = new MemberScratch(scratch.needed * 2)
      this.#region = this.#scratch
      this.#native.attach(this.#scratch.buffer)
      return this.#get(call, limit)
    }
    if (stop === claimDamage) {
      const { topic } = this.details
      throw new HermesError(
        'CORRUPT',
        `Topic '${topic}' is damaged at sequence ${scratch.sequence}. The other messages go on. Close all publishers and subscribers of the topic, then run \`hermes repair ${topic}\`: it keeps the damaged bytes in \`quarantine/\`.`,
        { details: { ...this.details, sequence: scratch.sequence } },
      )
    }
    return 0
  }
}
