/** Given up, and not begun here: most of them are with other responders. Beyond so many the oldest is forgotten, and runs to its end for nothing if it comes. */
const mostEarly = 4096

/** Which requests a responder is answering, and which were given up. That one was given up may be known before its handler begins, and closing may come between. */
export class Cancellations {
  /** More than one of a request if it was lost by its lease and came here again. */
  readonly #running = new Map<string, AbortController[]>()
  readonly #early = new Set<string>()
  #count = 0
  #isStopped = false

  get running(): number {
    return this.#count
  }

  /** What tells its handler to stop, until `end`. `undefined`: it is not to begin: it was given up, or all are stopped. */
  begin(request: string): AbortController | undefined {
    if (this.#isStopped || this.#early.has(request)) return undefined
    const controller = new AbortController()
    const running = this.#running.get(request)
    if (running === undefined) this.#running.set(request, [controller])
    else running.push(controller)
    this.#count++
    return controller
  }

  end(request: string, controller: AbortController): void {
    const running = (this.#running.get(request) ?? []).filter((one) => one !== controller)
    if (running.length > 0) this.#running.set(request, running)
    else this.#running.delete(request)
    this.#count--
  }

  /** Nobody waits for its reply any more. */
  cancel(request: string): void {
    this.#early.add(request)
    if (this.#early.size > mostEarly) this.#early.delete(this.#early.keys().next().value as string)
    for (const one of this.#running.get(request) ?? []) one.abort()
  }

  /** Tells all handlers; none begins any more. */
  stop(): void {
    this.#isStopped = true
    for (const running of this.#running.values()) for (const one of running) one.abort()
  }
}
