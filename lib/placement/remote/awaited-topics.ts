import type { LinkUser } from './channels.js'

/** Between two looks for topics that do not exist yet: at first, and at most. */
const firstLookMs = 20
const mostLookMs = 500
/** So few ask for their topics themselves: the broker may have thousands, and a list of them would be more work. */
const few = 8
/** After a list that took long it is asked for less often: it takes the broker one part of so many of the time. */
const restTimes = 10

/** What gives its users channels. */
export interface AwaitingLink {
  /** Whether there is a connection on which may be asked. */
  readonly ready: boolean
  /** Gives the user a channel anew, unless it has one. */
  renewIdle(user: LinkUser): void
}

/**
 * Those of one connection that wait for topics which are not there. Thousands may: so they share one question for the list of topics, and only those that are in
 * it ask for theirs. A client is told of all topics that it may subscribe to.
 */
export class AwaitedTopics {
  readonly #link: AwaitingLink
  readonly #list: () => Promise<readonly string[]>
  readonly #waiting = new Map<LinkUser, string>()
  #timer: NodeJS.Timeout | undefined
  /** When the timer fires, and when a look may come, of `performance.now()`. */
  #due = 0
  #notBefore = 0
  #delayMs = firstLookMs
  #isLooking = false

  /** @param list asks for the names of all topics */
  constructor(link: AwaitingLink, list: () => Promise<readonly string[]>) {
    this.#link = link
    this.#list = list
  }

  /**
   * Gives the user a channel anew once there may be a topic of this name.
   *
   * @param isNew it has not waited before
   */
  add(user: LinkUser, topic: string, isNew: boolean): void {
    this.#waiting.set(user, topic)
    if (isNew) this.#delayMs = firstLookMs
    this.#arm()
  }

  remove(user: LinkUser): void {
    this.#waiting.delete(user)
  }

  /** Another connection begins, on which all have asked anew; or none will. */
  clear(): void {
    this.#waiting.clear()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#delayMs = firstLookMs
  }

  #arm(): void {
    if (this.#isLooking || this.#waiting.size === 0) return
    const now = performance.now()
    const due = Math.max(now + this.#delayMs, this.#notBefore)
    if (this.#timer !== undefined && this.#due <= due) return
    clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(() => void this.#look(), due - now)
  }

  async #look(): Promise<void> {
    this.#timer = undefined
    this.#delayMs = Math.min(this.#delayMs * 1.5, mostLookMs)
    this.#isLooking = true
    try {
      // (on the next connection they ask anyway)
      if (!this.#link.ready) return
      if (this.#waiting.size <= few) this.#renew(() => true)
      else await this.#lookAtList()
    } finally {
      this.#isLooking = false
      this.#arm()
    }
  }

  async #lookAtList(): Promise<void> {
    const asked = [...this.#waiting]
    const begin = performance.now()
    // Without a list each asks for itself: who is refused then is told why.
    const topics = await this.#list().then(
      (names) => new Set(names),
      () => undefined,
    )
    this.#notBefore = performance.now() + restTimes * (performance.now() - begin)
    const known = new Map(asked)
    this.#renew((user, topic) => known.get(user) === topic && topics?.has(topic) !== false)
  }

  #renew(isDue: (user: LinkUser, topic: string) => boolean): void {
    if (!this.#link.ready) return
    for (const [user, topic] of [...this.#waiting]) {
      if (!isDue(user, topic)) continue
      this.#waiting.delete(user)
      this.#link.renewIdle(user)
    }
  }
}
