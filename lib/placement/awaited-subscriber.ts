import { onAbort } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import type { Region } from '../codec/codec.js'
import type { From } from '../model/topic.js'
import type { SubscriberPort } from './port.js'

/** Between two looks for the topic: at first, and at most while few are awaited. */
const firstLookMs = 5
const mostLookMs = 100
/** While the topic is empty, its description is looked at so often: an empty topic may still get another codec. */
const recheckMs = 100
/** All who wait in this process look so often together: a look costs some system calls, and thousands may wait. */
const looksPerSecond = 500

/** A mask: one in 256 fetches that find nothing reads the clock. */
const lookEvery = 255

const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/** How an awaited topic is opened. */
export interface Awaited {
  /** The topic, the same for all subscribers of this process that wait for it. */
  readonly key: string
  readonly topic: string
  /** Opens the subscriber. Rejects with `NOT_FOUND`, or `TOPIC_DELETED`, while there is nothing to open. */
  open(from: From): Promise<SubscriberPort>
  /**
   * Opens the subscriber at once: who polls without a pause leaves the event loop no turn in which `open` could come to its end. `undefined` while there
   * is nothing to open, or no message in it.
   */
  openNow(from: From): SubscriberPort | undefined
  /** Changes whenever the topic is defined anew. */
  revision(): string
  /** Whether the subscriber reads what the topic holds by now. @throws HermesError `CODEC_MISMATCH` */
  check(): void
}

/** Subscribers of this process that wait, by topic: a publisher that makes the topic tells them, so that they miss nothing of what it does next. */
const waiting = new Map<string, Set<AwaitedSubscriber>>()

/** How long one of them leaves the files alone, if he would do so for `ms` alone. Who publishes in this process tells him in any case. */
function restMs(ms: number): number {
  return Math.max(ms, (waiting.size * 1000) / looksPerSecond)
}

/** Has all who wait for the topic in this process look for it, and waits until they have. */
export async function topicDefined(key: string): Promise<void> {
  await Promise.all([...(waiting.get(key) ?? [])].map((one) => one.look()))
}

/**
 * Stands in for a subscriber while its topic does not exist or is empty: only then may its codec still change. Once the first message is
 * there, `opened` takes its place.
 */
export class AwaitedSubscriber implements SubscriberPort {
  readonly region = noRegion
  readonly offset = 0
  readonly end = 0
  opened: SubscriberPort | undefined

  readonly #awaited: Awaited
  #from: From
  /** Of an empty topic. */
  #candidate: SubscriberPort | undefined
  #revision = ''
  #checked = 0
  #failure: unknown
  #emptyFetches = 0
  #looking: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #delayMs = firstLookMs
  #wake: Deferred<void> | undefined
  #closed = false

  private constructor(awaited: Awaited, from: From) {
    this.#awaited = awaited
    this.#from = from
  }

  /** @throws HermesError what opening it throws, but for `NOT_FOUND`; `OUT_OF_RANGE` for a sequence in a topic that is not there */
  static async open(awaited: Awaited, from: From): Promise<SubscriberPort> {
    const port = new AwaitedSubscriber(awaited, from)
    await port.look()
    if (port.#failure !== undefined) {
      port.close()
      throw port.#failure
    }
    if (port.opened !== undefined) return port.opened
    // What comes first of all is published from now on.
    if (port.#candidate === undefined) port.#startAt(from)
    return port
  }

  get sequence(): number {
    return (this.opened ?? this.#candidate)?.sequence ?? 1
  }

  get arrivesByTurn(): boolean {
    const port = this.opened ?? this.#candidate
    return port === undefined || port.arrivesByTurn === true
  }

  #startAt(from: From): void {
    if (typeof from === 'number' && from > 1) {
      const { topic } = this.#awaited
      throw new HermesError(
        'OUT_OF_RANGE',
        `Sequence ${from} of topic '${topic}' does not exist yet: nothing was published there.`,
        { details: { topic, sequence: from, nextSequence: 1 } },
      )
    }
    this.#from = from === 'latest' ? 'earliest' : from
  }

  /** A look that is under way may find out that another one was faster. */
  get #isFound(): boolean {
    return this.opened !== undefined || this.#failure !== undefined
  }

  /** Looks for the topic now. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    if (this.#closed || this.#isFound) return
    clearTimeout(this.#timer)
    this.#dropIfRedefined()
    if (this.#candidate !== undefined) return
    const { key } = this.#awaited
    try {
      const revision = this.#awaited.revision()
      const from = this.#from
      const port = await this.#awaited.open(from)
      if (this.#closed || this.#isFound) {
        port.close()
        return
      }
      // A seek that came meanwhile had no port.
      if (from !== this.#from) this.#seekIn(port)
      if (!isEmpty(port)) {
        this.#become(port)
      } else {
        this.#candidate = port
        // All that any topic of this name gets from now on is later than now.
        if (this.#from === 'latest') this.#from = 'earliest'
        this.#revision = revision
        this.#checked = performance.now()
        this.#note(key)
      }
      this.#rouse()
    } catch (error) {
      if (this.#closed || this.#isFound) return
      if (isAbsent(error)) {
        this.#note(key)
        this.#timer = setTimeout(() => void this.look(), this.#delayMs)
        // A waiting call keeps the process alive by its own timer.
        this.#timer.unref()
        this.#delayMs = Math.min(this.#delayMs * 1.5, restMs(mostLookMs))
      } else {
        this.#failure = error
        this.#forget()
        this.#rouse()
      }
    }
  }

  #seekIn(port: SubscriberPort): void {
    try {
      port.seek(this.#from)
    } catch (error) {
      port.close()
      throw error
    }
  }

  #become(port: SubscriberPort): void {
    this.opened = port
    this.#candidate = undefined
    this.#forget()
  }

  /** A topic that was defined anew while it was empty is another one. */
  #dropIfRedefined(): void {
    if (this.#candidate === undefined || this.#awaited.revision() === this.#revision) return
    this.#candidate.close()
    this.#candidate = undefined
  }

  fetch(limit: number): number {
    if (this.opened !== undefined) return this.opened.fetch(limit)
    if (this.#failure !== undefined) throw this.#failure
    const candidate = this.#candidate
    if (candidate === undefined) return (++this.#emptyFetches & lookEvery) === 0 ? this.#openNow(limit) : 0
    const found = this.#fetchFrom(candidate, limit)
    if (found > 0) {
      this.#become(candidate)
      return found
    }
    const now = performance.now()
    if (now - this.#checked > restMs(recheckMs)) {
      this.#checked = now
      void this.look()
    }
    return 0
  }

  /** What `look` does in turns of the event loop, for who polls and gives it none. */
  #openNow(limit: number): number {
    const now = performance.now()
    if (now - this.#checked < restMs(firstLookMs)) return 0
    this.#checked = now
    let port: SubscriberPort | undefined
    try {
      port = this.#awaited.openNow(this.#from)
    } catch (error) {
      if (isAbsent(error)) return 0
      this.#failure = error
      this.#forget()
      this.#rouse()
      throw error
    }
    if (port === undefined) return 0
    this.#become(port)
    this.#rouse()
    return port.fetch(limit)
  }

  /** A subscriber that has received nothing of a deleted topic waits for the next one of its name. */
  #fetchFrom(candidate: SubscriberPort, limit: number): number {
    try {
      const found = candidate.fetch(limit)
      if (found > 0) this.#awaited.check()
      return found
    } catch (error) {
      if (!isAbsent(error)) throw error
      candidate.close()
      this.#candidate = undefined
      void this.look()
      return 0
    }
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.opened !== undefined) return this.opened.park(timeoutMs, signal)
    if (this.#candidate !== undefined) {
      await this.#candidate.park(Math.min(timeoutMs, restMs(recheckMs)), signal).catch((error: unknown) => {
        if (!isDeleted(error)) throw error
      })
      return
    }
    if (this.#closed || this.#failure !== undefined || signal?.aborted) return
    const wake = new Deferred<void>()
    this.#wake = wake
    const timer = setTimeout(() => wake.resolve(), timeoutMs)
    const forget = signal && onAbort(signal, () => wake.resolve())
    await wake.promise
    clearTimeout(timer)
    forget?.()
  }

  cancel(): void {
    this.#rouse()
    const port = this.opened ?? this.#candidate
    port?.cancel?.()
  }

  seek(target: From): void {
    if (this.opened !== undefined) this.opened.seek(target)
    else if (this.#candidate !== undefined) {
      this.#candidate.seek(target)
      // (it may give way to one of a topic that is made anew)
      this.#from = target === 'latest' ? 'earliest' : target
    } else this.#startAt(target)
  }

  skipDamage(): number {
    return (this.opened ?? this.#candidate)?.skipDamage() ?? 0
  }

  nextSequence(): number {
    return (this.opened ?? this.#candidate)?.nextSequence() ?? 1
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#forget()
    this.#candidate?.close()
    this.opened?.close()
    this.#rouse()
  }

  #rouse(): void {
    this.#wake?.resolve()
    this.#wake = undefined
  }

  #note(key: string): void {
    const others = waiting.get(key)
    if (others === undefined) waiting.set(key, new Set([this]))
    else others.add(this)
  }

  #forget(): void {
    const { key } = this.#awaited
    const all = waiting.get(key)
    if (all?.delete(this) && all.size === 0) waiting.delete(key)
  }
}

/** Whether there is nothing to open; in a topic that is being deleted there is not for long. */
function isAbsent(error: unknown): boolean {
  return isDeleted(error) || (error instanceof HermesError && error.code === 'NOT_FOUND')
}

function isDeleted(error: unknown): boolean {
  return error instanceof HermesError && error.code === 'TOPIC_DELETED'
}

/** What can't be told is not taken for empty: the port itself will say what is wrong. */
function isEmpty(port: SubscriberPort): boolean {
  try {
    return port.nextSequence() === 1
  } catch {
    return false
  }
}
