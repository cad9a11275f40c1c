import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { unref } from '../../base/node.js'
import { pause, turn } from '../../base/pause.js'
import type { GroupReport } from '../../model/group.js'
import type { Claim, ConsumerOptions } from '../consumer-port.js'
import { BatchIndex } from './batch-index.js'
import { Batches, type StoredBatch } from './batches.js'
import { passing } from './errors.js'
import type { GroupEntry } from './group-entry.js'
import { GroupMember } from './group-member.js'
import { reportOf } from './group-report.js'
import { KeyBuckets } from './key-buckets.js'
import {
  claim,
  type Fate,
  floorOf,
  type Ledger,
  passLost,
  type Run,
  remove,
  type Settlement,
  settle,
} from './ledger.js'
import type { Start, TopicStream } from './stream.js'

/** Between two attempts to read what was claimed, while the cluster does not answer. */
const retryMs = 250
/** How long the cluster may take to hear that a member leaves. */
const leaveMs = 5000
/** Of a keyed group: how far ahead keys are looked for. */
const keysAhead = 1024
/** Who is so far behind the others passes over what they have handled. */
const farBehind = 65_536

interface Pending extends Settlement {
  readonly answer: Deferred<readonly Claim[]>
}

/** What becomes of a round. */
interface Done {
  readonly ledger: Ledger
  readonly late: readonly (readonly Claim[])[]
  readonly claimed: readonly Run[]
  /** Others had taken this one for dead: it is a new member. */
  readonly isOut: boolean
  /** Others may have waited for this. */
  readonly concerns: boolean
}

/** Who takes what is claimed. */
export interface RoundsHost {
  /** How many the program asked for last; 0: none are to be claimed for it. */
  readonly wanted: number
  /** Changes when what was claimed ahead is given back: what is on its way then is given back, too. */
  readonly epoch: number
  /** How many more may be claimed now. */
  room(): number
  claimed(runs: readonly Run[]): void
  /** Others have by now what this member had. */
  anew(): void
  failed(): void
}

/** What a member has to say to its group's entry and to hear from it: all of it together, in one change at a time. */
export class GroupRounds {
  readonly member: GroupMember
  readonly keys: KeyBuckets
  failure: HermesError | undefined
  readonly #stream: TopicStream
  readonly #host: RoundsHost
  readonly #index: BatchIndex
  readonly #batches: Batches
  readonly #told: { unsubscribe(): void }
  #settlements: Pending[] = []
  #isDue = false
  #isRenewing = false
  #isRunning: Promise<void> | undefined
  #dueTimer: NodeJS.Timeout | undefined
  #isLeaving = false
  #isClosed = false

  /** REQUIRES: the entry was read, and is a group. */
  constructor(stream: TopicStream, entry: GroupEntry, start: Start, options: ConsumerOptions, host: RoundsHost) {
    const { rules, next, nextAt } = entry.ledger as Ledger
    this.#stream = stream
    this.#host = host
    this.#batches = new Batches(stream)
    this.keys = new KeyBuckets(rules.key, options.hashOf)
    this.member = new GroupMember(entry, options.member, rules.leaseMs, () => this.#tick())
    const at = start.sequence === next && nextAt > 0 ? Math.min(nextAt, start.at) : start.at
    this.#index = new BatchIndex(stream, start.sequence, at, () => {
      if (this.#index.failure !== undefined || host.room() > 0) this.kick()
    })
    this.#told = entry.told(() => {
      entry.stale()
      this.kick()
    })
  }

  #tick(): void {
    if (this.#host.room() > 0) this.member.entry.stale()
    this.kick()
  }

  /** There may be something to say, or to claim. */
  kick(): void {
    this.#isDue = true
    this.#isRunning ??= this.#run().finally(() => {
      this.#isRunning = undefined
      if (this.#isDue && this.failure === undefined) this.kick()
    })
  }

  renew(): void {
    this.#isRenewing = true
    this.kick()
  }

  async #run(): Promise<void> {
    // (what a turn of the event loop brings is said together)
    await turn()
    while (this.#isDue && this.failure === undefined) {
      this.#isDue = false
      try {
        if (this.#index.failure !== undefined) throw this.#index.failure
        await this.#findKeys()
        await this.#round()
      } catch (error) {
        if (this.#isClosed) return
        this.fail(error as HermesError)
      }
    }
  }

  async #round(): Promise<void> {
    const { member } = this
    const { id, entry } = member
    const { epoch } = this.#host
    const pending = this.#settlements.splice(0)
    try {
      const done = await member.change((draft) => this.#build(draft, pending, id))
      if (done !== undefined) {
        for (const [index, { answer }] of pending.entries()) answer.resolve(done.late[index] ?? [])
        this.#after(done, epoch)
      } else if (entry.ledger !== undefined) this.#wakeForDue(entry.ledger)
    } catch (error) {
      for (const { answer } of pending) answer.reject(error as HermesError)
      throw error
    }
  }

  /** @param id of the membership in which the settlements were made */
  #build(draft: Ledger, pending: readonly Pending[], id: string): Done | undefined {
    const { member } = this
    const nowMs = Date.now()
    const isOut = !member.isIn(draft)
    const lostBefore = draft.totals.lost + draft.next
    const late = pending.map((one) => settle(draft, id, one, nowMs))
    const isReturned = pending.some(({ outcome }) => outcome === 'returned' || outcome === 'released')
    const over = member.over(draft)
    for (const one of over) remove(draft, one, true)
    if (isOut && !this.#isLeaving) member.enter(draft)
    const { lost } = this.#index
    if (lost !== undefined && lost.first > floorOf(draft)) passLost(draft, lost.first, lost.at, lost.isCounted)
    const hasLost = draft.totals.lost + draft.next !== lostBefore
    const claimed = isOut ? [] : this.#claim(draft, nowMs)
    const isOver = over.length > 0
    const isChanged = pending.length > 0 || claimed.length > 0 || isOut || isOver || hasLost
    if (!isChanged && !member.isDue && !this.#isRenewing) return undefined
    return { ledger: draft, late, claimed, isOut, concerns: isReturned || isOver }
  }

  #claim(draft: Ledger, nowMs: number): Run[] {
    const limit = this.#isLeaving ? 0 : this.#host.room()
    if (limit <= 0) return []
    const { id, turn: number } = this.member
    const batchOf = (sequence: number) => this.#index.find(sequence)
    return claim(draft, { id, limit, number, nowMs, batchOf, bucketOf: (sequence) => this.keys.get(sequence) })
  }

  #after({ ledger, claimed, isOut, concerns }: Done, epoch: number): void {
    this.#isRenewing = false
    if (isOut) this.#host.anew()
    if (concerns) this.member.entry.tell()
    const { next, nextAt } = ledger
    // (a group that was set back begins before what this member knows)
    if (next - this.#index.end > farBehind || next < this.#index.begin) this.#index.restart(next, nextAt)
    this.#index.forget(next)
    this.keys.forget(next)
    if (epoch !== this.#host.epoch) this.release(claimed)
    else if (claimed.length > 0) this.#host.claimed(claimed)
    else this.#wakeForDue(ledger)
    if (isOut) this.kick()
  }

  /** What is to be delivered again later, and by nobody's telling. */
  #wakeForDue({ runs }: Ledger): void {
    clearTimeout(this.#dueTimer)
    if (this.#host.wanted === 0 || this.#isLeaving) return
    let due = Number.POSITIVE_INFINITY
    for (const run of runs) if (run.member === '' && run.due > 0) due = Math.min(due, run.due)
    if (due === Number.POSITIVE_INFINITY) return
    this.#dueTimer = setTimeout(() => this.kick(), Math.min(Math.max(1, due - Date.now()), 0x7fff_ffff))
    unref(this.#dueTimer)
  }

  /** Of a keyed group: the keys of what may be claimed next. */
  async #findKeys(): Promise<void> {
    const { ledger } = this.member.entry
    const { wanted } = this.#host
    if (ledger?.kind !== 'keyed' || wanted === 0 || this.#isLeaving) return
    const end = Math.min(this.#index.end, ledger.next + Math.min(keysAhead, 4 * wanted))
    for (let sequence = ledger.next; sequence < end; ) {
      const from = sequence
      const known = this.#index.find(from)
      const batch = known && (await this.holding(from, known.at))
      if (batch === undefined) return
      sequence = this.keys.learn(batch, from, end)
    }
  }

  fail(error: HermesError): void {
    this.failure ??= error
    for (const { answer } of this.#settlements.splice(0)) answer.reject(this.failure)
    this.#host.failed()
  }

  /** @returns those that are this member's no more */
  settle(claims: readonly Claim[], outcome: Fate, delayMs: number): Promise<readonly Claim[]> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    const answer = new Deferred<readonly Claim[]>()
    // (jobs are given as claims: what is needed of them is kept, and nothing else)
    const kept = claims.map(({ sequence, deliveries, number }) => ({ sequence, deliveries, number }))
    this.#settlements.push({ claims: kept, outcome, delayMs, answer })
    this.kick()
    return answer.promise.then((late) => {
      if (late.length === 0) return late
      const lost = new Set(late.map(({ sequence }) => sequence))
      return claims.filter(({ sequence }) => lost.has(sequence))
    })
  }

  /** Gives back what was not begun. */
  release(runs: readonly Run[]): void {
    const claims = runs.flatMap(({ from, count, deliveries, number }) =>
      Array.from({ length: count }, (_, n) => ({ sequence: from + n, deliveries, number })),
    )
    if (claims.length > 0) void this.settle(claims, 'released', 0).catch(() => undefined)
  }

  /** The batch that holds a sequence; `undefined`: retention has removed it. Tried until the cluster answers. @throws HermesError */
  holding(sequence: number, at: number): Promise<StoredBatch | undefined> {
    return this.#persist(() => this.#batches.holding(sequence, at))
  }

  async #persist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        const isPassing = error instanceof HermesError && passing.has(error.code)
        if (!isPassing || this.#isClosed || !this.member.entry.isConnected) throw error
      }
      await pause(retryMs)
    }
  }

  async describe(): Promise<GroupReport> {
    const { entry } = this.member
    // (what was settled before this call is in it)
    await this.#idle()
    await this.#persist(() => entry.read())
    if (entry.ledger === undefined) throw this.member.gone()
    const { next } = await this.#persist(() => this.#stream.tail())
    return reportOf(entry.ledger, next, new Set(this.member.over(entry.ledger)))
  }

  async #idle(): Promise<void> {
    while (this.#isRunning !== undefined) await this.#isRunning
  }

  /** What was settled is said first; `readings` are waited for, which may have something to say. Then the member leaves. Never rejects. */
  async leave(readings: () => Promise<void>): Promise<void> {
    this.#isLeaving = true
    clearTimeout(this.#dueTimer)
    this.#told.unsubscribe()
    const begun = performance.now()
    const over = new AbortController()
    await Promise.race([this.#quiet(readings, over.signal), pause(leaveMs, over.signal)])
    over.abort()
    this.#isClosed = true
    this.#index.close()
    await this.member.leave(Math.max(leaveMs / 5, leaveMs - (performance.now() - begun)))
    this.fail(new HermesError('CLOSED', `This member of group '${this.member.entry.name}' has left.`))
  }

  /** Resolves once nothing is under way. */
  async #quiet(readings: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.failure === undefined) {
      await readings()
      await this.#idle()
      if (this.#settlements.length === 0 && this.#isRunning === undefined) return
    }
  }
}
