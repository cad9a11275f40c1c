import type { Claim, ConsumerPort } from '../placement/consumer-port.js'
import { backOff } from './job.js'

/** Messages that a member is putting into the dead-letter topic because they were delivered too often. */
export class DeadLetters {
  readonly #port: ConsumerPort
  readonly #underway = new Set<Promise<unknown>>()
  #failure: unknown
  #isClosed = false

  constructor(port: ConsumerPort) {
    this.#port = port
  }

  /** Puts one there. If that fails it stays claimed, and comes again with the lease or the member's end. */
  add(claim: Claim): void {
    // This claim only moves it: it was not handed to a handler.
    const times = claim.deliveries - 1
    const reason = `delivered ${times} ${times === 1 ? 'time' : 'times'} without being handled`
    const moving = Promise.resolve(this.#port.reject(claim, reason, times))
      .catch(async (error: unknown) => {
        this.#failure = error
        if (!this.#isClosed) await this.#port.settle([claim], 'returned', backOff)
      })
      .catch(() => undefined)
      .finally(() => this.#underway.delete(moving))
    this.#underway.add(moving)
  }

  /** @throws what the last one that could not be put there has met, once */
  checkFailure(): void {
    if (this.#failure === undefined) return
    const failure = this.#failure
    this.#failure = undefined
    throw failure
  }

  /** Those that can't be put there from now on are left to the member's end. */
  close(): void {
    this.#isClosed = true
  }

  /** Resolves once none is under way. */
  async done(): Promise<void> {
    await Promise.allSettled(this.#underway)
  }
}
