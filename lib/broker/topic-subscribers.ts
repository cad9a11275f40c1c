import type { HermesError } from '../base/errors.js'
import type { LogTail } from './log-tail.js'

/** Looking for local publishers' messages: by a timer while messages come, asleep in the kernel once there were none for so long. */
const quietMs = 2
const waitMs = 60_000
/** After a look that failed. */
const pauseMs = 100

/** Who sends for one or more subscribers. */
export interface SubscriberSender {
  /** Sends, now or in its turn, what there is for its subscribers. Returns false if there was nothing. */
  deliver(): boolean
}

/** What receives a topic's messages for a remote client. */
export interface TopicSubscriber {
  /** There may be something for it. Returns who sends it. */
  note(): SubscriberSender
  /** The topic can't serve it any more. */
  fail(error: HermesError): void
}

/** The remote subscribers of a topic, and what finds out that there is something for them. */
export class TopicSubscribers<One extends TopicSubscriber> {
  readonly #all = new Set<One>()
  readonly #spins: boolean
  readonly #makeTail: () => LogTail
  readonly #report: (error: unknown) => void
  #watcher: LogTail | undefined
  #watch: 'off' | 'timer' | 'asleep' = 'off'
  #timer: NodeJS.Timeout | undefined
  #lastNews = 0
  #closed = false

  /** @param spins the broker's own loop looks */
  constructor(spins: boolean, makeTail: () => LogTail, report: (error: unknown) => void) {
    this.#spins = spins
    this.#makeTail = makeTail
    this.#report = report
  }

  get size(): number {
    return this.#all.size
  }

  *[Symbol.iterator](): Iterator<One> {
    yield* this.#all
  }

  add(subscriber: One): void {
    this.#all.add(subscriber)
    if (this.#watch === 'off') this.#look()
  }

  remove(subscriber: One): void {
    this.#all.delete(subscriber)
    if (this.#all.size === 0) this.#stopWatching()
  }

  /** Something was appended by this broker: whatever may be sent of it is sent now, with no need to be woken for it. */
  noteNews(): void {
    this.#lastNews = performance.now()
  }

  /** Sends to all what there is for them. Called when this broker has appended, and when others may have. */
  pump(): boolean {
    const news = this.#all.size > 1 ? this.#pumpMany() : this.#pumpOne()
    if (news) this.#lastNews = performance.now()
    return news
  }

  #pumpOne(): boolean {
    for (const subscriber of this.#all) return subscriber.note().deliver()
    return false
  }

  #pumpMany(): boolean {
    // Each of them once, for all its subscribers here.
    const hosts = new Set<SubscriberSender>()
    for (const subscriber of this.#all) hosts.add(subscriber.note())
    let news = false
    for (const host of hosts) if (host.deliver()) news = true
    return news
  }

  /** Looks for what local publishers append. */
  #look(): void {
    if (this.#closed || this.#all.size === 0 || this.#spins) return
    if (this.pump() || performance.now() - this.#lastNews < quietMs) {
      this.#watch = 'timer'
      this.#timer = setTimeout(() => this.#look(), 1)
      this.#timer.unref()
      return
    }
    void this.#sleep()
  }

  async #sleep(): Promise<void> {
    this.#watch = 'asleep'
    try {
      this.#watcher ??= this.#makeTail()
      this.#watcher.seek('latest')
      // What came before the watcher's position is sent now, and what comes behind it wakes us.
      this.pump()
      await this.#watcher.wait(waitMs)
    } catch (error) {
      if (!this.#closed) this.#report(error)
      await new Promise((resolve) => setTimeout(resolve, pauseMs).unref())
    }
    this.#watch = 'off'
    if (this.#closed) this.#watcher?.close()
    else this.#look()
  }

  #stopWatching(): void {
    if (this.#watch === 'timer') {
      clearTimeout(this.#timer)
      this.#watch = 'off'
    }
    if (this.#watch === 'asleep') this.#watcher?.cancel()
  }

  close(): void {
    this.#closed = true
    this.#all.clear()
    this.#stopWatching()
    if (this.#watch !== 'asleep') this.#watcher?.close()
  }
}
