import { setTimeout as sleep } from 'node:timers/promises'

/** A timer wakes about this much late; what is due sooner is due now. In ms. */
const timerGrainMs = 0.5
/** The longest wait of one timer: a shorter look-up now and then costs nothing, and no overflow is near. */
const longestSleepMs = 60_000

/** Resolves at `due` by performance.now(), or when `signal` fires. Up to about a millisecond late: timers are. */
export async function sleepUntil(due: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const left = due - performance.now()
    if (left <= timerGrainMs || signal.aborted) return
    await sleep(Math.min(left, longestSleepMs), undefined, { signal }).catch(() => undefined)
  }
}

/** Holds a row of messages to their times. Works from the beginning of the row, so that being late once does not add up. */
export class Pacer {
  /** The most that a message was behind its time, in ms. */
  latestMs = 0
  readonly #signal: AbortSignal
  #begin: number | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** True if the message of `offsetMs` behind the first is not due yet: finish what is at hand, then `await until`. */
  early(offsetMs: number): boolean {
    const now = performance.now()
    this.#begin ??= now - offsetMs
    const late = now - (this.#begin + offsetMs)
    if (late > this.latestMs) this.latestMs = late
    return late < -timerGrainMs
  }

  until(offsetMs: number): Promise<void> {
    return sleepUntil((this.#begin ?? performance.now()) + offsetMs, this.#signal)
  }
}
