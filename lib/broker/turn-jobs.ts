import { HermesError } from '../base/errors.js'

/** What was begun elsewhere and is to be finished in a turn of the client's. */
export class TurnJobs {
  readonly #jobs: (() => void)[] = []
  readonly #isOpen: () => boolean
  readonly #later: () => void
  #hasEnded = false

  /**
   * @param isOpen whether the client is still there
   * @param later  asks for `run` to be called in a turn of the client's
   */
  constructor(isOpen: () => boolean, later: () => void) {
    this.#isOpen = isOpen
    this.#later = later
  }

  get isEmpty(): boolean {
    return this.#jobs.length === 0
  }

  /** Resolves with what `work` returns, once it was its turn. @throws HermesError `CLOSED` if the client has gone by then */
  add<T>(work: () => T): Promise<T> {
    // There are no more turns, and others may wait for what is to be done in this one.
    if (this.#hasEnded) return Promise.reject(clientGone())
    return new Promise((resolve, reject) => {
      this.#jobs.push(() => {
        try {
          if (!this.#isOpen()) throw clientGone()
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
      this.#later()
    })
  }

  /** Does one after the other, until about `until` (of `performance.now()`). */
  run(until: number): void {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      job()
      if (performance.now() >= until) break
    }
  }

  /** The client has gone: those that are left find that, and release what they hold. */
  end(): void {
    this.#hasEnded = true
    for (const job of this.#jobs.splice(0)) job()
  }
}

function clientGone(): HermesError {
  return new HermesError('CLOSED', 'The client has gone.')
}
