import { onAbort } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { aborted } from '../base/options.js'

/** Then it looks again by itself. */
const longestWaitMs = 1000

/** Counts the jobs that a member has handed out and that are not settled, and tells when there are fewer. */
export class InFlight {
  #count = 0
  /** Resolves when something is settled. */
  #settled: Deferred<void> | undefined

  get count(): number {
    return this.#count
  }

  add(): void {
    this.#count++
  }

  /** So many are settled. Who waits is woken separately, by `wake`. */
  remove(jobs: number): void {
    this.#count -= jobs
  }

  wake(): void {
    this.#settled?.resolve()
  }

  /** Resolves once there are fewer than `most`, or `isOver` says that it does not matter any more. @throws HermesError `ABORTED` */
  async below(most: number, signal: AbortSignal | undefined, isOver: () => boolean): Promise<void> {
    while (this.#count >= most && !isOver()) {
      if (signal?.aborted) throw aborted(signal)
      await this.#change(longestWaitMs, signal)
    }
  }

  /** Resolves when there are none, the signal has fired, or after the time. Returns how many are left. */
  async none(timeoutMs: number, signal: AbortSignal | undefined): Promise<number> {
    const until = performance.now() + timeoutMs
    while (this.#count > 0 && !signal?.aborted && performance.now() < until)
      await this.#change(until - performance.now(), signal)
    return this.#count
  }

  /** Resolves when something is settled, the signal fires, or after the time. */
  async #change(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    this.#settled ??= new Deferred<void>()
    const { promise, resolve } = this.#settled
    const timer = setTimeout(resolve, timeoutMs)
    const forget = signal && !signal.aborted ? onAbort(signal, resolve) : undefined
    await promise
    clearTimeout(timer)
    forget?.()
    this.#settled = undefined
  }
}
