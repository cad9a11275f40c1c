import { HermesError } from '../base/errors.js'
import { fromNative } from '../native/error.js'

/** Called once what was waited for is on stable storage, or with the reason why it is not. */
export type Synced = (error: HermesError | undefined) => void

interface Waiter {
  readonly sequence: number
  readonly done: Synced
}

/** Those who wait until messages of a topic are on stable storage. One sync serves all who wait when it begins; the next, who come meanwhile. */
export class SyncQueue {
  readonly #topic: string
  readonly #sync: (upto: number) => Promise<number>
  readonly #failed: (error: HermesError) => void
  #waiters: Waiter[] = []
  #running = false

  /**
   * @param sync   makes everything up to a sequence safe, and resolves with the one before which everything is
   * @param failed told before those who wait are
   */
  constructor(topic: string, sync: (upto: number) => Promise<number>, failed: (error: HermesError) => void) {
    this.#topic = topic
    this.#sync = sync
    this.#failed = failed
  }

  get isEmpty(): boolean {
    return this.#waiters.length === 0 && !this.#running
  }

  /** REQUIRES: `upto` exists, or is 0. Such a sync would fail, and with it all others that it serves. */
  add(upto: number, done: Synced): void {
    this.#waiters.push({ sequence: upto, done })
    if (!this.#running) void this.#run()
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiters.length > 0) {
      // All who wait now, in one pass: a list that is searched for each of them took 18 s for a flood.
      const waiting = this.#waiters
      this.#waiters = []
      const furthest = waiting.reduce((most, one) => Math.max(most, one.sequence), 0)
      let synced = 0
      let failure: HermesError | undefined
      try {
        synced = await this.#sync(furthest)
      } catch (error) {
        const known = fromNative(error, { topic: this.#topic })
        failure = known instanceof HermesError ? known : new HermesError('IO_FAILED', String(error), { cause: error })
        this.#failed(failure)
      }
      for (const one of waiting) {
        if (failure !== undefined || one.sequence < synced) one.done(failure)
        else this.#waiters.push(one)
      }
    }
    this.#running = false
  }
}
