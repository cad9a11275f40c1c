import type { Job } from './job.js'

/**
 * Jobs that were handed out and wait for those before them, where order counts: of each lane one is handled at a time. Once one of them was returned, those that wait
 * behind it are given back, too, without a delivery that counts: they come again after it.
 */
export class Lanes<Out> {
  /** What waits, of each lane in which one is being handled. */
  readonly #waiting = new Map<number, Job<Out>[]>()
  #isClosed = false

  /** Whether the job may be handled now; else `after` returns it when its turn has come. */
  enter(job: Job<Out>): boolean {
    const { lane } = job
    if (lane === undefined) return true
    const waiting = this.#waiting.get(lane)
    if (waiting !== undefined) waiting.push(job)
    else this.#waiting.set(lane, [])
    return waiting === undefined
  }

  /** The job that comes after one whose handling has ended, if one waits for it. */
  after(job: Job<Out>): Job<Out> | undefined {
    const { lane } = job
    if (lane === undefined) return undefined
    if (this.#isClosed || job.wasReturned) this.#giveBack(lane)
    const next = this.#waiting.get(lane)?.shift()
    if (next === undefined) this.#waiting.delete(lane)
    return next
  }

  /** Gives back what waits. */
  close(): void {
    this.#isClosed = true
    for (const lane of this.#waiting.keys()) this.#giveBack(lane)
  }

  #giveBack(lane: number): void {
    // One that cannot be given back any more is with another member.
    for (const job of this.#waiting.get(lane)?.splice(0) ?? []) job.release().catch(() => undefined)
  }
}
