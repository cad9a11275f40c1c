import { onAbort } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { aborted } from '../base/options.js'
import { fromNative } from '../native/error.js'

/** Called once what was waited for is on stable storage, or with the reason why it is not. */
export type Synced = (error: HermesError | undefined) => void

/** A call that waits. */
export interface SyncWaiter {
  readonly sequence: number
  readonly done: Synced
}

/** Those who wait until messages of a topic are on stable storage. One sync serves all who wait when it begins; the next, who come meanwhile. */
export class SyncQueue {
  readonly #topic: string
  readonly #sync: (upto: number) => Promise<number>
  readonly #failed: (error: HermesError) => void
  /** Those who have come since the present sync began, and those whom it serves. */
  #waiting = new Set<SyncWaiter>()
  #served = new Set<SyncWaiter>()
  #running = false
  #end: Promise<void> = Promise.resolve()
  #syncedBefore = 0

  /**
   * @param sync   makes everything up to a sequence safe, and resolves with the one before which everything is
   * @param failed told before those who wait are
   */
  constructor(topic: string, sync: (upto: number) => Promise<number>, failed: (error: HermesError) => void = () => {}) {
    this.#topic = topic
    this.#sync = sync
    this.#failed = failed
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && !this.#running
  }

  /** Everything before this sequence was made safe by a sync of this queue. */
  get syncedBefore(): number {
    return this.#syncedBefore
  }

  /** REQUIRES: `upto` exists, or is 0. Such a sync would fail, and with it all others that it serves. */
  add(upto: number, done: Synced): SyncWaiter {
    const waiter = { sequence: upto, done }
    this.#waiting.add(waiter)
    if (!this.#running) this.#end = this.#run()
    return waiter
  }

  /** It waits no more, and is told nothing. */
  remove(waiter: SyncWaiter): void {
    this.#waiting.delete(waiter)
    this.#served.delete(waiter)
  }

  /** As `add`, for who awaits it. Rejects with `ABORTED` once the signal fires. */
  reached(upto: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(aborted(signal))
    return new Promise((resolve, reject) => {
      let forget = () => {}
      const waiter = this.add(upto, (error) => {
        forget()
        if (error === undefined) resolve()
        else reject(error)
      })
      if (signal === undefined) return
      forget = onAbort(signal, () => {
        this.remove(waiter)
        reject(aborted(signal))
      })
    })
  }

  /** Resolves when no call waits and no sync is under way, or after so many milliseconds. */
  async drained(timeoutMs: number): Promise<void> {
    const over = new Deferred<void>()
    const timer = setTimeout(over.resolve, timeoutMs)
    await Promise.race([this.#end, over.promise])
    clearTimeout(timer)
  }

  /** Rejects all waiting calls: none will be served. */
  giveUp(error: HermesError): void {
    const left = [...this.#served, ...this.#waiting]
    this.#served.clear()
    this.#waiting.clear()
    for (const { done } of left) done(error)
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.size > 0) {
      // All who wait now, in one pass: a list that is searched for each of them took 18 s for a flood.
      const served = this.#waiting
      this.#served = served
      this.#waiting = new Set()
      let furthest = 0
      for (const { sequence } of served) if (sequence > furthest) furthest = sequence
      let failure: HermesError | undefined
      try {
        this.#syncedBefore = await this.#sync(furthest)
      } catch (error) {
        const known = fromNative(error, { topic: this.#topic })
        failure = known instanceof HermesError ? known : new HermesError('IO_FAILED', String(error), { cause: error })
        this.#failed(failure)
      }
      for (const one of served) {
        served.delete(one)
        if (failure !== undefined || one.sequence < this.#syncedBefore) one.done(failure)
        else this.#waiting.add(one)
      }
    }
    this.#running = false
  }
}
