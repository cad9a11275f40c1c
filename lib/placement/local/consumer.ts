import { onAbort } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { defaultRules, type GroupReport, type GroupRules } from '../../model/group.js'
import type { From } from '../../model/topic.js'
import type { NativeLog } from '../../native/types.js'
import { type Group, openGroup } from '../../store/group.js'
import type { ClaimStop, GroupMember } from '../../store/group-member.js'
import { LogCursor } from '../../store/log-cursor.js'
import type { Claim, ConsumerOptions, ConsumerPort, Outcome } from '../consumer-port.js'
import { checkSameGroup, positionLost } from '../group-check.js'
import type { DeadLetters } from './dead-letters.js'

const defaultWindow = 65_536
/** How many messages get their keys at once, where the caller finds them. */
const keyBatch = 256
/** Another member is claiming: how long until the next try. */
const busyMs = 1
/** For so long it sleeps at a time. */
const restMs = 1000

/** What the group's file keeps for the processes that open it. */
interface GroupNotes {
  /** '' = none. */
  readonly deadLetter: string
}

/** Where the files of a topic are, and how new ones are made. */
export interface TopicAt {
  readonly topic: string
  readonly folder: string
  readonly log: NativeLog
  readonly fileMode: number
}

/** One member of a group whose file is at hand. */
export class LocalConsumer implements ConsumerPort {
  readonly rules: GroupRules
  readonly #at: TopicAt
  readonly #group: Group
  readonly #member: GroupMember
  readonly #letters: DeadLetters | undefined
  readonly #hashOf: ConsumerOptions['hashOf']
  /** The log has lost what the group had come to: the first claim tells. */
  #lost: Group['lost']
  #closed = false

  private constructor(
    at: TopicAt,
    group: Group,
    member: GroupMember,
    rules: GroupRules,
    letters: DeadLetters | undefined,
    hashOf: ConsumerOptions['hashOf'],
  ) {
    this.#at = at
    this.#group = group
    this.#member = member
    this.rules = rules
    this.#letters = letters
    this.#hashOf = hashOf
    this.#lost = group.lost
  }

  /**
   * Joins the group, and makes it if it is not there. Owns `at.log` from then on, if it does not throw.
   *
   * @param lettersTo makes what takes the messages that are given up
   * @throws HermesError `CONFIG_MISMATCH` if the group is there with other settings; what opening and joining a group throw
   */
  static async join(
    at: TopicAt,
    name: string,
    options: ConsumerOptions,
    lettersTo: (topic: string) => DeadLetters,
  ): Promise<LocalConsumer> {
    if (options.deadLetter === at.topic) {
      throw new HermesError(
        'INVALID_ARGUMENT',
        `'deadLetter' of group '${name}' is its own topic '${at.topic}': what is given up would come again. Name another topic, or leave it out for '${at.topic}.dead'.`,
        { details: { topic: at.topic, group: name } },
      )
    }
    const notes: GroupNotes = { deadLetter: options.deadLetter ?? `${at.topic}.dead` }
    const group = await openGroup(at.topic, at.folder, at.log, name, {
      ...defaultRules,
      ...options.rules,
      kind: options.kind,
      window: options.window ?? defaultWindow,
      upToSynced: options.upToSynced ?? false,
      start: startOf(at, options.from),
      settings: JSON.stringify(notes),
      fileMode: at.fileMode,
    })
    try {
      const report = group.describe()
      const { deadLetter } = notesOf(report)
      if (!group.made) checkSameGroup(at.topic, name, report, deadLetter, options)
      const member = await group.join(options.member)
      const letters = deadLetter === '' ? undefined : lettersTo(deadLetter)
      const { maxDeliveries, leaseMs, backoffMs, maxBackoffMs, key } = report
      const rules = { maxDeliveries, leaseMs, backoffMs, maxBackoffMs, key }
      return new LocalConsumer(at, group, member, rules, letters, options.hashOf)
    } catch (error) {
      group.close()
      throw error
    }
  }

  get region(): Region {
    return this.#member.region
  }

  claim(limit: number): number {
    const lost = this.#lost
    if (lost !== undefined) {
      this.#lost = undefined
      throw positionLost(this.#at.topic, this.#group.name, lost)
    }
    const member = this.#member
    const count = member.claim(limit)
    if (count > 0 || member.stop !== 'no-key' || this.#hashOf === undefined) return count
    this.#enterKeys(this.#hashOf)
    return member.claim(limit)
  }

  #enterKeys(hashOf: (region: Region, offset: number, length: number) => number): void {
    const member = this.#member
    const count = member.nextUnkeyed(keyBatch)
    for (let index = 0; index < count; index++) {
      member.setKey(index, hashOf(member.region, member.payloadAt(index), member.lengthOf(index)))
    }
    member.enterKeys(count)
  }

  get stop(): ClaimStop {
    return this.#member.stop
  }

  /** Where the last claim's frames lie in `region`, back to back: 32 bytes of header, then the payload. */
  frameAt(index: number): number {
    return this.#member.frameAt(index)
  }

  /** Of messages whose keys the caller finds and enters later: how many there are, to be read like claimed ones. */
  nextUnkeyed(limit: number): number {
    return this.#member.nextUnkeyed(limit)
  }

  /** The hashes of the keys of the first of them. Nothing may have been claimed in between. */
  enterHashes(hashes: readonly number[]): void {
    hashes.forEach((hash, index) => {
      this.#member.setKey(index, hash)
    })
    this.#member.enterKeys(hashes.length)
  }

  /** Settles consecutive sequences of one claim; calls `late` with those that were this member's no more. */
  settleRange(
    first: number,
    count: number,
    deliveries: number,
    number: number,
    outcome: Outcome,
    delayMs: number,
    late: (sequence: number) => void,
  ): void {
    this.#member.settleRange(first, count, deliveries, number, outcome, delayMs, late)
  }

  sequenceOf(index: number): number {
    return this.#member.sequenceOf(index)
  }

  deliveriesOf(index: number): number {
    return this.#member.deliveriesOf(index)
  }

  numberOf(index: number): number {
    return this.#member.numberOf(index)
  }

  timestampOf(index: number): bigint {
    return this.#member.timestampOf(index)
  }

  payloadAt(index: number): number {
    return this.#member.payloadAt(index)
  }

  lengthOf(index: number): number {
    return this.#member.lengthOf(index)
  }

  bucketOf(index: number): number {
    return this.#member.bucketOf(index)
  }

  settleClaimed(from: number, to: number, outcome: Outcome, delayMs: number): number {
    return this.#member.settleClaimed(from, to, outcome, delayMs)
  }

  settle(claims: readonly Claim[], outcome: Outcome, delayMs: number): readonly Claim[] {
    const [first] = claims
    if (first === undefined || claims.length > 1) return this.#member.settleAll(claims, outcome, delayMs)
    const { sequence, deliveries, number } = first
    return this.#member.settle(sequence, deliveries, number, outcome, delayMs) ? none : claims
  }

  async reject({ sequence, deliveries, number }: Claim, reason: string, delivered: number): Promise<boolean> {
    // First the letter: who dies in between leaves one that another member writes again, and loses no message.
    await this.#letters?.put(sequence, delivered, reason)
    return !this.#closed && this.#member.settle(sequence, deliveries, number, 'rejected', 0)
  }

  skip(sequence: number): boolean {
    return this.#member.skip(sequence)
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed || signal?.aborted) return
    const forget = signal && onAbort(signal, () => this.#member.cancelWait())
    try {
      await this.#member.wait(Math.min(this.stop === 'busy' ? busyMs : restMs, timeoutMs))
    } finally {
      forget?.()
    }
  }

  cancel(): void {
    this.#member.cancelWait()
  }

  renew(): void {
    this.#member.renew()
  }

  async describe(): Promise<GroupReport> {
    return this.#group.describe()
  }

  sync(signal: AbortSignal | undefined): Promise<void> {
    return this.#group.sync(signal)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#member.cancelWait()
    this.#member.close()
    try {
      await this.#letters?.close()
    } finally {
      this.#group.close()
      this.#at.log.close()
    }
  }
}

const none: readonly Claim[] = []

/** The sequence at which a group begins that is made now. */
export function startOf({ topic, log }: TopicAt, from: From): number {
  const cursor = new LogCursor(topic, log, false)
  try {
    cursor.seek(from)
    return cursor.sequence
  } finally {
    cursor.close()
  }
}

function notesOf({ settings }: GroupReport): GroupNotes {
  try {
    const { deadLetter } = JSON.parse(settings) as Partial<GroupNotes>
    if (typeof deadLetter === 'string') return { deadLetter }
  } catch {
    // Another program's, or damaged: then there is no dead-letter topic to be had from it.
  }
  return { deadLetter: '' }
}
