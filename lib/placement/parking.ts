import { onAbort } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'

/** Where one waits for what arrives. */
export class Parking {
  #wake: Deferred<void> | undefined
  #wakeDue = 0
  #timer: NodeJS.Timeout | undefined
  #timerDue = 0

  /** Whether a call waits. */
  get isTaken(): boolean {
    return this.#wake !== undefined
  }

  /** Resolves with `rouse`, when the signal fires, or after `timeoutMs`. REQUIRES: no other call waits, and the signal has not fired. */
  async wait(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const wake = new Deferred<void>()
    this.#wake = wake
    const { promise, resolve } = wake
    this.#wakeBy(performance.now() + timeoutMs)
    const forget = signal && onAbort(signal, () => resolve())
    try {
      await promise
    } finally {
      // A wait that is over must not stand in for the next one.
      if (this.#wake === wake) this.#wake = undefined
      forget?.()
    }
  }

  rouse(): void {
    this.#wake?.resolve()
    this.#wake = undefined
  }

  /** Wakes who waits, and holds the process no longer. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.rouse()
  }

  /**
   * Ends the wait at this time, if nothing does before. Most waits end long before: so one timer serves many, and looks when it
   * fires whether a call waits and until when. A timer for each wait costs 4 µs of a parked message's 40.
   */
  #wakeBy(due: number): void {
    this.#wakeDue = due
    if (this.#timer !== undefined && this.#timerDue <= due) return
    clearTimeout(this.#timer)
    this.#timerDue = due
    this.#timer = setTimeout(() => this.#timeUp(), Math.ceil(due - performance.now()))
  }

  #timeUp(): void {
    this.#timer = undefined
    if (this.#wake === undefined) return
    if (performance.now() < this.#wakeDue) this.#wakeBy(this.#wakeDue)
    else this.rouse()
  }
}
