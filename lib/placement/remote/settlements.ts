import { Deferred } from '../../base/deferred.js'
import type { HermesError } from '../../base/errors.js'
import {
  type Late,
  mostSettled,
  mostSettleEntries,
  type SettleEntry,
  settlePacket,
  type WireOutcome,
} from '../../wire/group-packets.js'
import { protocolError } from '../../wire/packet.js'
import type { Claim } from '../consumer-port.js'

/** A claim's number has the membership in its upper part: what one before has claimed is told from what this one has. */
export const membershipStep = 2 ** 32

/** One SETTLE: what several calls of one turn have settled. */
interface Batch {
  readonly number: number
  readonly entries: SettleEntry[]
  messages: number
  isSent: boolean
  /** Sequences that came too late; `all`: each of them did. */
  readonly late: Deferred<ReadonlySet<number> | 'all'>
}

const noneLate: ReadonlySet<number> = new Set()

/** What a member has settled and has no answer to yet. Settlements of one turn travel together, consecutive messages as one entry. */
export class Settlements {
  readonly #waiting: Batch[] = []
  #open: Batch | undefined
  #next = 1
  #answered = 0
  readonly #schedule: () => void

  /** @param schedule asks for `flush` at the end of this turn */
  constructor(schedule: () => void) {
    this.#schedule = schedule
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#open === undefined
  }

  /** The highest number whose answer has come. */
  get answered(): number {
    return this.#answered
  }

  /** Resolves with those that came too late. REQUIRES: all are of the present membership. */
  add(claims: readonly Claim[], outcome: WireOutcome, delayMs: number): Promise<readonly Claim[]> {
    let result: Promise<Claim[]> | undefined
    let batch: Batch | undefined
    let from = 0
    for (let index = 0; index < claims.length; index++) {
      const current = this.#batch()
      if (batch !== undefined && current !== batch) {
        result = joined(result, batch, claims.slice(from, index))
        from = index
      }
      batch = current
      put(batch, claims[index] as Claim, outcome, delayMs)
    }
    if (batch === undefined) return Promise.resolve([])
    return joined(result, batch, from === 0 ? claims : claims.slice(from))
  }

  #batch(): Batch {
    const open = this.#open
    if (open !== undefined && open.entries.length < mostSettleEntries && open.messages < mostSettled) return open
    if (open !== undefined) this.#waiting.push(open)
    else this.#schedule()
    const late = new Deferred<ReadonlySet<number> | 'all'>()
    late.promise.catch(() => {})
    this.#open = { number: this.#next++, entries: [], messages: 0, isSent: false, late }
    return this.#open
  }

  /** Sends what was not sent. */
  flush(channel: number, send: (packet: Buffer) => void): void {
    this.close()
    for (const batch of this.#waiting) {
      if (batch.isSent) continue
      batch.isSent = true
      send(settlePacket(channel, batch.number, this.#answered, batch.entries))
    }
  }

  /** Nothing is added to the present SETTLE any more. */
  close(): void {
    if (this.#open === undefined) return
    this.#waiting.push(this.#open)
    this.#open = undefined
  }

  /** @throws HermesError `PROTOCOL` */
  settled(number: number, late: readonly Late[]): void {
    if (number < this.#answered || number >= this.#next)
      throw protocolError('The broker has settled what it was not asked to.')
    this.#answered = number
    while (this.#waiting.length > 0) {
      const batch = this.#waiting[0] as Batch
      if (batch.number > number) break
      this.#waiting.shift()
      const own =
        late.length === 0 ? noneLate : new Set(late.flatMap(([settle, one]) => (settle === batch.number ? [one] : [])))
      batch.late.resolve(own)
    }
  }

  /** The same membership over another connection: what was not answered is to be sent again. */
  again(settled: number, late: readonly Late[]): void {
    this.settled(Math.max(settled, this.#answered), late)
    for (const batch of this.#waiting) batch.isSent = false
  }

  /**
   * The membership is over.
   *
   * @param uncertain of what was sent: it may have been carried out. `undefined`: it was not
   */
  over(uncertain: HermesError | undefined): void {
    this.close()
    for (const { isSent, late } of this.#waiting.splice(0)) {
      if (isSent && uncertain !== undefined) late.reject(uncertain)
      else late.resolve('all')
    }
    this.#next = 1
    this.#answered = 0
  }

  fail(error: HermesError): void {
    this.close()
    for (const { late } of this.#waiting.splice(0)) late.reject(error)
  }
}

function put(batch: Batch, claim: Claim, outcome: WireOutcome, delayMs: number): void {
  const { sequence, deliveries } = claim
  const number = claim.number % membershipStep
  batch.messages++
  const last = batch.entries.at(-1)
  if (
    last !== undefined &&
    last.first + last.count === sequence &&
    last.deliveries === deliveries &&
    last.number === number &&
    last.outcome === outcome &&
    last.delayMs === delayMs
  ) {
    last.count++
    return
  }
  batch.entries.push({ first: sequence, count: 1, deliveries, number, outcome, delayMs })
}

function joined(before: Promise<Claim[]> | undefined, batch: Batch, claims: readonly Claim[]): Promise<Claim[]> {
  const own = batch.late.promise.then((late) =>
    late === 'all' ? [...claims] : late.size === 0 ? [] : claims.filter(({ sequence }) => late.has(sequence)),
  )
  const result =
    before === undefined ? own : Promise.all([before, own]).then(([first, second]) => [...first, ...second])
  // (some callers do not wait)
  result.catch(() => {})
  return result
}
