import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { frameHeaderBytes } from '../../frame/frame.js'
import type { GroupReport, GroupRules } from '../../model/group.js'
import type { Claim, ConsumerOptions, ConsumerPort, Outcome } from '../consumer-port.js'
import { positionLost } from '../group-check.js'
import { Parking } from '../parking.js'
import type { DeadLetters } from './dead-letters.js'
import type { GroupEntry } from './group-entry.js'
import { GroupRounds, type RoundsHost } from './group-rounds.js'
import { whereToBegin } from './group-start.js'
import { Inbox } from './inbox.js'
import { cutOff, type Ledger, passLost, type Run, runAt } from './ledger.js'
import { RunReader } from './run-reader.js'
import type { Start, TopicStream } from './stream.js'

/** Runs that are read side by side. */
const readsAtOnce = 32

const countOf = (runs: readonly Run[]): number => runs.reduce((sum, { count }) => sum + count, 0)

/** One member of a group in a cluster. It claims ahead of its asking, and reads what it has claimed. */
export class NatsConsumer implements ConsumerPort, RoundsHost {
  readonly rules: GroupRules
  readonly arrivesByTurn = true
  wanted = 0
  epoch = 0
  readonly #rounds: GroupRounds
  readonly #options: ConsumerOptions
  readonly #letters: DeadLetters | undefined
  readonly #inbox = new Inbox()
  readonly #parking = new Parking()
  readonly #errors: HermesError[] = []
  readonly #reader: RunReader
  /** Claimed, and being read; and how many messages that are. */
  #unread: readonly Run[] = []
  #reading = 0
  #readings: Promise<void> = Promise.resolve()
  /** Handed out and not settled. */
  #held = 0
  /** The turn in which this membership began: claims of earlier ones are of no account. */
  #since = 0
  #isClosed = false

  private constructor(
    stream: TopicStream,
    entry: GroupEntry,
    start: Start,
    options: ConsumerOptions,
    letters: DeadLetters | undefined,
  ) {
    this.rules = (entry.ledger as Ledger).rules
    this.#options = options
    this.#letters = letters
    this.#rounds = new GroupRounds(stream, entry, start, options, this)
    this.#reader = new RunReader(stream, (sequence, at) => this.#rounds.holding(sequence, at))
  }

  /** REQUIRES: the entry was read, and is a group. Owns the letters from then on, if it does not throw. @throws HermesError */
  static async join(
    stream: TopicStream,
    entry: GroupEntry,
    options: ConsumerOptions,
    letters: DeadLetters | undefined,
  ): Promise<NatsConsumer> {
    const { start, isCut, isBehind } = await whereToBegin(stream, (entry.ledger as Ledger).next)
    const consumer = new NatsConsumer(stream, entry, start, options, letters)
    const { member } = consumer.#rounds
    try {
      await member.change((draft) => {
        const cut = isCut ? cutOff(draft, start.next, start.last + 1) : undefined
        if (cut !== undefined) consumer.#errors.splice(0, 1, positionLost(stream.topic, entry.name, cut))
        if (isBehind) passLost(draft, start.sequence, start.at, true)
        member.enter(draft)
        return true
      })
    } catch (error) {
      await consumer.close()
      throw error
    }
    return consumer
  }

  get region(): Region {
    return this.#inbox.region
  }

  get ahead(): number {
    return this.#inbox.left + this.#reading
  }

  /* ---- what comes of rounds ---- */

  room(): number {
    if (this.wanted === 0 || this.ahead > this.wanted / 2) return 0
    return Math.min(2 * this.wanted, this.#options.maxInFlight - this.#held) - this.ahead
  }

  anew(): void {
    this.#inbox.clear()
    this.#unread = []
    this.epoch++
    this.#held = 0
    this.#since = this.#rounds.member.turn - 1
  }

  failed(): void {
    this.#parking.rouse()
  }

  claimed(runs: readonly Run[]): void {
    const { epoch } = this
    this.#unread = [...this.#unread, ...runs]
    this.#reading += countOf(runs)
    this.#readings = this.#readings
      .then(() => this.#read(runs, epoch))
      .catch((error: unknown) => this.#rounds.fail(error as HermesError))
  }

  async #read(runs: readonly Run[], epoch: number): Promise<void> {
    for (let at = 0; at < runs.length; at += readsAtOnce) {
      const some = runs.slice(at, at + readsAtOnce)
      const read = epoch === this.epoch ? await Promise.all(some.map((run) => this.#reader.read(run))) : []
      this.#reading -= countOf(some)
      if (epoch !== this.epoch) continue
      this.#unread = this.#unread.filter((run) => !some.includes(run))
      for (const { found, wrong } of read) {
        this.#inbox.add(found)
        for (const { claim, outcome, error } of wrong) {
          if (error !== undefined) this.#errors.push(error)
          void this.#rounds.settle([claim], outcome, -1).catch(() => undefined)
        }
      }
      this.#parking.rouse()
    }
    this.#rounds.kick()
  }

  /* ---- claiming ---- */

  claim(limit: number): number {
    const told = this.#errors.shift()
    if (told !== undefined) throw told
    const count = this.#inbox.take(limit)
    this.#held += count
    if (count === 0 && this.#rounds.failure !== undefined) throw this.#rounds.failure
    const before = this.wanted
    this.wanted = limit
    if (this.ahead <= limit / 2 && (count > 0 || before === 0)) this.#rounds.kick()
    return count
  }

  sequenceOf(index: number): number {
    return this.#inbox.at(index).sequence
  }

  deliveriesOf(index: number): number {
    return this.#inbox.at(index).run.deliveries
  }

  numberOf(index: number): number {
    return this.#inbox.at(index).run.number
  }

  timestampOf(index: number): bigint {
    const { batch, sequence } = this.#inbox.at(index)
    return batch.timestampOf(sequence)
  }

  payloadAt(index: number): number {
    return this.#inbox.offsetOf(index) + frameHeaderBytes
  }

  lengthOf(index: number): number {
    const { batch, sequence } = this.#inbox.at(index)
    return batch.lengthOf(sequence)
  }

  bucketOf(index: number): number {
    const { run } = this.#inbox.at(index)
    if (run.bucket >= 0) return run.bucket
    return this.#rounds.keys.of(this.region, this.payloadAt(index), this.lengthOf(index))
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const isReady = this.#inbox.left > 0 || this.#errors.length > 0 || this.#rounds.failure !== undefined
    if (this.#isClosed || isReady || signal?.aborted) return
    await this.#parking.wait(timeoutMs, signal)
  }

  cancel(): void {
    this.#parking.rouse()
  }

  releaseAhead(): void {
    this.wanted = 0
    this.epoch++
    const claims = this.#inbox.clear()
    if (claims.length > 0) void this.#rounds.settle(claims, 'released', 0).catch(() => undefined)
    this.#rounds.release(this.#unread)
    this.#unread = []
  }

  /* ---- settling ---- */

  settleClaimed(from: number, to: number, outcome: Outcome, delayMs: number): Promise<number> {
    const claims = this.#inbox.claims(from, to)
    const settled = this.settle(claims, outcome, delayMs).then((late) => claims.length - late.length)
    settled.catch(() => {})
    return settled
  }

  settle(claims: readonly Claim[], outcome: Outcome, delayMs: number): Promise<readonly Claim[]> {
    this.#letGo(claims)
    const settled = this.#rounds.settle(claims, outcome, delayMs)
    settled.catch(() => {})
    return settled
  }

  #letGo(claims: readonly Claim[]): void {
    const own = claims.filter(({ number }) => number > this.#since).length
    this.#held = Math.max(0, this.#held - own)
  }

  async reject(claim: Claim, reason: string, delivered: number): Promise<boolean> {
    // First the letter: who dies in between leaves one that another member writes again, and loses no message.
    if (this.#letters !== undefined) {
      const run = this.#runOf(claim.sequence)
      if (run === undefined || run.number !== claim.number) return false
      const batch = await this.#rounds.holding(claim.sequence, run.at)
      await this.#letters.put(claim.sequence, batch, delivered, reason)
    }
    const late = await this.#rounds.settle([claim], 'rejected', 0)
    this.#letGo([claim])
    return late.length === 0
  }

  async skip(sequence: number): Promise<boolean> {
    const run = this.#runOf(sequence)
    if (run === undefined) return false
    const { deliveries, number } = run
    return (await this.#rounds.settle([{ sequence, deliveries, number }], 'lost', 0)).length === 0
  }

  /** What this member has of a sequence, as of the last look. */
  #runOf(sequence: number): Run | undefined {
    const { entry, id } = this.#rounds.member
    const { ledger } = entry
    const run = ledger?.runs[runAt(ledger, sequence)]
    return run?.member === id ? run : undefined
  }

  renew(): void {
    this.#rounds.renew()
  }

  describe(): Promise<GroupReport> {
    return this.#rounds.describe()
  }

  async sync(): Promise<void> {
    throw new HermesError(
      'UNSUPPORTED',
      `Group '${this.#rounds.member.entry.name}': what is acknowledged is on a quorum of servers, which sync by their own setting 'sync_interval'. Leave sync() out, and set 'sync_interval: always' there.`,
    )
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.releaseAhead()
    this.#parking.close()
    await this.#rounds.leave(() => this.#readings)
    await this.#letters?.close()
  }
}
