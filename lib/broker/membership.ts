import { HermesError } from '../base/errors.js'
import type { GroupKind, GroupRules } from '../model/group.js'
import type { LocalConsumer } from '../placement/local/consumer.js'
import type { LocalPosition } from '../placement/local/position.js'
import { readSettle, type SettleEntry } from '../wire/group-packets.js'
import { protocolError } from '../wire/packet.js'
import { LateSettlements } from './late-settlements.js'

/** Answers that the client has not seen, of one membership. */
const mostAnswers = 1024
/** Late messages that the client was not told of, or has not said that it was. */
const mostLate = 65_536

/** Who a membership is for. */
export interface MembershipOf {
  readonly token: string
  readonly identity: string
  readonly topic: string
  readonly group: string
  readonly kind: GroupKind
  readonly graceMs: number
}

/** What serves a membership while its client is connected. */
export interface Attached {
  /** When something was last heard of the client, of `performance.now()`. */
  readonly heardAt: number
  /** The membership ends, or goes on elsewhere. */
  fail(error: HermesError): void
}

/** Messages of one claim that were sent and perhaps not begun. */
interface SentRun {
  readonly ordinal: number
  readonly deliveries: number
  readonly number: number
  readonly sequences: readonly number[]
}

/**
 * A remote member of a group: one slot of the group's, which outlives the connection for a while. It knows what the client was sent and may not have
 * begun, and what was done of what the client has asked for, so that nothing is done twice when it asks again over another connection.
 */
export class Membership {
  readonly of: MembershipOf
  readonly rules: GroupRules
  readonly consumer: LocalConsumer | undefined
  readonly position: LocalPosition | undefined
  readonly maxPayloadBytes: number
  attached: Attached | undefined
  /** Without a connection it is kept until then, of `performance.now()`. */
  keptUntil = 0
  /** Of the messages that were sent: how many in all, how many were begun, and how many may be. */
  #sent = 0
  #taken = 0
  #limit = 0
  readonly #runs: SentRun[] = []
  #settled = 0
  readonly #late = new LateSettlements()
  /** By id; `undefined` while the work is under way. */
  readonly #answers = new Map<number, Promise<unknown>>()
  #asked = 0
  #waiting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(
    of: MembershipOf,
    held: { readonly consumer: LocalConsumer } | { readonly position: LocalPosition },
    maxPayloadBytes: number,
    rules: GroupRules,
  ) {
    this.of = of
    this.rules = rules
    this.maxPayloadBytes = maxPayloadBytes
    this.consumer = 'consumer' in held ? held.consumer : undefined
    this.position = 'position' in held ? held.position : undefined
  }

  get hasEnded(): boolean {
    return this.#closing !== undefined
  }

  /** How many messages more the client wants. */
  get room(): number {
    return this.#limit - this.#sent
  }

  /** The place of the next message to be sent. */
  get nextOrdinal(): number {
    return this.#sent + 1
  }

  /** Messages `from` to `to` of the last claim are being sent; they have the same deliveries and number. */
  noteSent(from: number, to: number): void {
    const consumer = this.#consuming()
    const sequences: number[] = []
    for (let index = from; index < to; index++) sequences.push(consumer.sequenceOf(index))
    this.#runs.push({
      ordinal: this.nextOrdinal,
      deliveries: consumer.deliveriesOf(from),
      number: consumer.numberOf(from),
      sequences,
    })
    this.#sent += to - from
  }

  /**
   * The client has begun `taken` messages, and may be sent `limit` in all.
   *
   * @param flush what was sent and not begun goes back to the group: it does not count as delivered
   * @throws HermesError `PROTOCOL`
   */
  demand(taken: number, limit: number, flush: boolean): void {
    if (taken < this.#taken || taken > this.#sent)
      throw protocolError(`A member says that it has taken ${taken} messages; it was sent ${this.#sent}.`)
    this.#taken = taken
    this.#limit = limit
    while (this.#runs.length > 0) {
      const { ordinal, sequences } = this.#runs[0] as SentRun
      if (ordinal + sequences.length - 1 > taken) break
      this.#runs.shift()
    }
    if (flush) this.#flush()
  }

  #flush(): void {
    const consumer = this.#consuming()
    for (const { ordinal, deliveries, number, sequences } of this.#runs.splice(0)) {
      const left = sequences.slice(Math.max(0, this.#taken + 1 - ordinal))
      for (const { first, count } of rangesOf(left))
        consumer.settleRange(first, count, deliveries, number, 'released', 0, () => {})
    }
    this.#sent = this.#taken
  }

  /** Carries a SETTLE out, unless it was before. @throws HermesError `PROTOCOL`, `LIMIT` */
  settle(bytes: Buffer, start: number, end: number): void {
    const consumer = this.#consuming()
    const { number, answered, entries } = readSettle(bytes, start, end)
    this.answered(answered)
    if (number <= this.#settled) return
    if (number !== this.#settled + 1) throw protocolError(`SETTLE ${number} came behind ${this.#settled}.`)
    this.#settled = number
    for (const entry of entries) this.#settleOne(consumer, number, entry)
    if (this.#late.size > mostLate)
      throw new HermesError(
        'LIMIT',
        `A member has ${mostLate} late settlements, and does not say that it has heard of them.`,
      )
  }

  #settleOne(consumer: LocalConsumer, settle: number, entry: SettleEntry): void {
    const { first, count, deliveries, number, outcome, delayMs } = entry
    consumer.settleRange(first, count, deliveries, number, outcome, delayMs, (sequence) => {
      this.#late.add(settle, sequence)
    })
  }

  /** The client has seen the answers to SETTLEs up to this number. */
  answered(number: number): void {
    this.#late.forget(number)
  }

  /** The number of the last SETTLE that was carried out. */
  get settled(): number {
    return this.#settled
  }

  /** What came too late of SETTLEs behind this number: pairs of the SETTLE's number and the message's sequence, one behind the other. Valid in this turn. */
  lateBehind(number: number): Float64Array {
    return this.#late.behind(number)
  }

  /**
   * Does the work once for each id. The answer is kept until the client has seen it.
   *
   * @param done the answers of all ids up to it were seen
   * @throws HermesError `LIMIT`, `PROTOCOL`
   */
  once(id: number, done: number, work: () => Promise<unknown>): Promise<unknown> {
    for (const known of this.#answers.keys()) {
      if (known > done) break
      this.#answers.delete(known)
    }
    const known = this.#answers.get(id)
    if (known !== undefined) return known
    if (id <= this.#asked) throw protocolError(`ASK ${id} was answered, and the answer seen.`)
    if (this.#answers.size >= mostAnswers)
      throw new HermesError('LIMIT', `A member has asked for ${mostAnswers} things at a time, as many as it may.`)
    this.#asked = id
    const answer = work()
    answer.catch(() => {})
    this.#answers.set(id, answer)
    return answer
  }

  /** Resolves when there may be something to claim, or after the time. All who wait share one wait: the group takes one at a time. */
  wait(timeoutMs: number): Promise<void> {
    this.#waiting ??= this.#consuming()
      .park(timeoutMs, undefined)
      .finally(() => {
        this.#waiting = undefined
      })
    return this.#waiting
  }

  #consuming(): LocalConsumer {
    if (this.consumer === undefined) throw protocolError('A durable subscription has no messages of its own.')
    return this.consumer
  }

  /** For how long it is kept without a connection. */
  get graceMs(): number {
    return Math.min(this.of.graceMs, this.rules.leaseMs)
  }

  /** Gives what it holds back to the group, and its slot. Idempotent. */
  close(): Promise<void> {
    this.consumer?.cancel()
    this.#closing ??= (this.consumer ?? this.position)?.close() ?? Promise.resolve()
    return this.#closing
  }
}

/** Consecutive sequences among growing ones. */
export function rangesOf(sequences: readonly number[]): { first: number; count: number }[] {
  const ranges: { first: number; count: number }[] = []
  for (const sequence of sequences) {
    const last = ranges.at(-1)
    if (last !== undefined && last.first + last.count === sequence) last.count++
    else ranges.push({ first: sequence, count: 1 })
  }
  return ranges
}
