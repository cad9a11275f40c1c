import type { Job } from './job.js'

/**
 * Jobs that were handed out and wait for those before them, where order counts: of each lane one is handled at a time. Once one of them was returned, those that wait
 * behind it are given back, too, without a delivery that counts: they come again after it.
 */
export class Lanes<Out> {
  /** What waits, of each lane in which one is being handled. */
  readonly #waiting = new Map<number, Job<Out>[]>()
  /** When one of a lane was returned last, and its sequence, until nothing can come that was taken before. */
  readonly #returned = new Map<number, { readonly turn: number; readonly sequence: number }>()
  #isClosed = false
  #turn = 0

  /** Moves on with each job that was returned. */
  get turn(): number {
    return this.#turn
  }

  /**
   * Whether the job may be handled now; else `after` returns it when its turn has come.
   *
   * @param turn that before it was taken: one that was taken before another one of its lane was returned, and enters after that, belongs behind it
   */
  enter(job: Job<Out>, turn: number): boolean {
    const { lane } = job
    if (lane === undefined) return true
    const returned = this.#returned.get(lane)
    for (const [one, last] of this.#returned) if (last.turn <= turn) this.#returned.delete(one)
    const waiting = this.#waiting.get(lane)
    if (waiting === undefined && returned !== undefined && returned.turn > turn && returned.sequence < job.sequence) {
      job.release().catch(() => undefined)
      return false
    }
    if (waiting !== undefined) waiting.push(job)
    else this.#waiting.set(lane, [])
    return waiting === undefined
  }

  /** The job that comes after one whose handling has ended, if one waits for it. */
  after(job: Job<Out>): Job<Out> | undefined {
    const { lane } = job
    if (lane === undefined) return undefined
    if (job.wasReturned) this.#returned.set(lane, { turn: ++this.#turn, sequence: job.sequence })
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
