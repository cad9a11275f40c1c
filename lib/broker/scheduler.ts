/** One client's work may take so long before it is another's turn. */
const turnMs = 1
/** What arrives is worked on at once for so long per round of the event loop; then it waits in line. */
const directMs = 2
/** The line is served for so long before the event loop looks at the sockets again. */
const roundMs = 3
/** Below this, the time spent is not worth a callback of its own to forget it. */
const noticedMs = 0.25

/** Somebody whose work may have to be done in parts. */
export interface Worker {
  /** Does what there is until about `until` (of `performance.now()`), at least one step. Returns whether more is left. */
  turn(until: number): boolean
}

/**
 * Shares the broker's only thread among its clients. Who has little to do is served when it arrives; what exceeds a turn waits in line
 * and the line is served round-robin, those first that have not used up a turn yet. So the wait of a well-behaved client is bounded by a
 * few turns, whatever others send.
 */
export class Scheduler {
  /** Waiting for their first turn, and those that have used one up. */
  readonly #light = new Set<Worker>()
  readonly #heavy = new Set<Worker>()
  #direct = 0
  #armed = false
  #running = false

  /** Whether nobody waits. */
  get isIdle(): boolean {
    return this.#light.size === 0 && this.#heavy.size === 0
  }

  /** Lets the worker work now if there is time for it, else puts it in line. */
  offer(worker: Worker): void {
    if (this.#light.has(worker) || this.#heavy.has(worker)) return
    if (this.#direct >= directMs || this.#running) {
      this.#light.add(worker)
      this.#arm()
      return
    }
    const begin = performance.now()
    const more = worker.turn(begin + turnMs)
    this.#direct += performance.now() - begin
    if (more) this.#heavy.add(worker)
    if (more || this.#direct > noticedMs) this.#arm()
  }

  /** Puts the worker in line behind those that wait. */
  queue(worker: Worker): void {
    if (this.#light.has(worker) || this.#heavy.has(worker)) return
    this.#heavy.add(worker)
    this.#arm()
  }

  remove(worker: Worker): void {
    this.#light.delete(worker)
    this.#heavy.delete(worker)
  }

  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    setImmediate(() => {
      this.#armed = false
      this.#round()
    })
  }

  #round(): void {
    this.#direct = 0
    this.#running = true
    const end = performance.now() + roundMs
    let heavy = 0
    try {
      for (let now = performance.now(); !this.isIdle; now = performance.now()) {
        // Those with much to do get on as well, a turn per round at least.
        if (now >= end && (heavy > 0 || this.#heavy.size === 0)) break
        const line = this.#light.size > 0 && now < end ? this.#light : this.#heavy
        if (line === this.#heavy) heavy++
        const worker = line.values().next().value as Worker
        line.delete(worker)
        if (worker.turn(now + turnMs)) this.#heavy.add(worker)
      }
    } finally {
      this.#running = false
    }
    if (!this.isIdle) this.#arm()
  }
}
