import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import type { TopicSettings } from '../model/topic.js'
import type { Directory } from '../store/directory.js'
import type { PlaceMetrics } from '../store/place-metrics.js'
import { RetryError } from '../wire/retry.js'
import { openFilesLimit } from './descriptors.js'
import type { Health } from './health.js'
import type { BrokerSettings } from './options.js'
import { BrokerTopic, type TopicHost } from './topic.js'

/** Bytes of one message in the largest topic that is served; a packet may hold one such. */
export const mostPayloadBytes = 16 * 1024 * 1024
/** Open files of a topic with publishers and subscribers. */
const filesPerTopic = 5
/** Open files that are neither a client's nor a topic's. */
const otherFiles = 64
/** After a failure, those who used the topic try again by themselves; if it fails again so soon, they are told. */
const failsAgainMs = 10_000
const sweepEveryMs = 1000
/**
 * Each round checks the folders of at most so many topics, all in turn. (Before an acknowledgement, and when a client
 * opens a topic, it is looked in any case.)
 */
const mostLooks = 256
/** What a client did wrong, or can't have; anything else is for the operator. */
const clientsOwn: ReadonlySet<string> = new Set([
  'NOT_FOUND',
  'CODEC_MISMATCH',
  'CONFIG_MISMATCH',
  'INVALID_ARGUMENT',
  'INVALID_NAME',
  'CLOSED',
  'PROTOCOL',
  'FENCED',
  'EXCLUSIVE_HELD',
  'BEHIND_RETENTION',
  'OUT_OF_RANGE',
  'TOPIC_DELETED',
])

type Report = (level: 'error', event: string, facts: Readonly<Record<string, unknown>>) => void

interface Entry {
  readonly opening: Promise<BrokerTopic>
  topic: BrokerTopic | undefined
  /** Resolves, whatever happens, once it's closed wholly. */
  closing: Promise<void> | undefined
}

/** The topics that a broker has open. An unused topic is closed after a while, or earlier if there are as many as may be open. */
export class TopicTable {
  readonly #entries = new Map<string, Entry>()
  /** Topics that are being deleted: clients that open them wait until that is over. */
  readonly #removing = new Map<string, Promise<void>>()
  readonly #host: TopicHost
  readonly #settings: BrokerSettings
  readonly #health: Health
  readonly #report: Report
  /** When topics failed last, and not a sync of them succeeded since. */
  readonly #failures = new Map<string, number>()
  readonly #most: number
  #sweptAt = 0
  #looking = false
  /** Of so many, in the order of the entries, it was looked whether their folder is there. */
  #looked = 0
  #closed = false

  constructor(directory: Directory, settings: BrokerSettings, health: Health, metrics: PlaceMetrics, report: Report) {
    this.#settings = settings
    this.#health = health
    this.#report = report
    const { limits, idle } = settings
    const fit = Math.floor((openFilesLimit() - limits.maxConnections - otherFiles) / filesPerTopic)
    this.#most = Math.min(limits.maxTopics, Math.max(fit, 16))
    this.#host = {
      directory,
      metrics,
      maxBatchBytes: limits.maxBatchBytes,
      spins: idle === 'spin',
      producers: { most: limits.maxProducers, memoryMs: limits.producerMemoryMs, startedMs: performance.now() },
      report: (topic, error) => this.#failed(topic, error),
      retired: (topic, error) => this.#retired(topic, error),
      mayRetry: (topic) => this.#mayRetry(topic),
      synced: (topic) => {
        if (this.#failures.size > 0) this.#failures.delete(topic)
      },
    }
  }

  /** How many may be open: `limits.maxTopics`, or fewer if the system allows too few open files. */
  get mostOpen(): number {
    return this.#most
  }

  get size(): number {
    return this.#entries.size
  }

  /** The topic, if it is open. */
  find(name: string): BrokerTopic | undefined {
    const topic = this.#entries.get(name)?.topic
    return topic?.hasEnded === false ? topic : undefined
  }

  /** Sends to all remote subscribers what there is for them. */
  pump(): void {
    for (const { topic } of this.#entries.values()) if (topic?.hasEnded === false) topic.pump()
  }

  /**
   * Opens the topic, or checks the settings against one that is open. It stays open until `release()` is called on it.
   *
   * @throws HermesError `LIMIT`, and what opening a topic throws
   */
  async hold(name: string, settings: TopicSettings): Promise<BrokerTopic> {
    checkPayload(name, settings.maxPayloadBytes ?? 0)
    for (;;) {
      if (this.#closed) throw new HermesError('CLOSED', 'The broker is shutting down.')
      const removing = this.#removing.get(name)
      if (removing !== undefined) {
        await removing
        continue
      }
      const entry = this.#entries.get(name)
      if (entry === undefined) return this.#open(name, settings)
      if (entry.closing !== undefined) {
        await entry.closing
        continue
      }
      let topic: BrokerTopic
      try {
        topic = await entry.opening
      } catch {
        // Another client's settings may have been the reason.
        continue
      }
      if (topic.hasEnded || !topic.checkFolder()) {
        this.#close(entry, topic, false)
        continue
      }
      topic.hold()
      try {
        await topic.check(settings)
        return topic
      } catch (error) {
        topic.release()
        throw error
      }
    }
  }

  /**
   * Closes the topic, and has `work` delete it; no client opens it meanwhile.
   *
   * @param force also if clients use it: they are told
   * @throws HermesError `BUSY`, and what `work` throws
   */
  async remove(name: string, force: boolean, work: () => Promise<void>): Promise<void> {
    for (let other = this.#removing.get(name); other !== undefined; other = this.#removing.get(name)) await other
    const removing = new Deferred<void>()
    this.#removing.set(name, removing.promise)
    try {
      await this.#leave(name, force)
      await work()
    } finally {
      this.#removing.delete(name)
      removing.resolve()
    }
  }

  async #leave(name: string, force: boolean): Promise<void> {
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    const topic = await entry.opening.catch(() => undefined)
    if (topic !== undefined && entry.closing === undefined) {
      if (force) topic.deleted()
      else if (topic.isInUse) {
        throw new HermesError(
          'BUSY',
          `Topic '${name}' is in use by clients of this broker. Close them first, or delete it by force: they get TOPIC_DELETED then.`,
          { details: { topic: name } },
        )
      }
      this.#close(entry, topic, false)
    }
    await entry.closing
  }

  async #open(name: string, settings: TopicSettings): Promise<BrokerTopic> {
    const entry: Entry = { opening: this.#openOne(name, settings), topic: undefined, closing: undefined }
    this.#entries.set(name, entry)
    try {
      const topic = await entry.opening
      entry.topic = topic
      topic.hold()
      return topic
    } catch (error) {
      // What could not be opened may be possible later, or with other settings.
      this.#entries.delete(name)
      this.#failed(name, error)
      throw error
    }
  }

  async #openOne(name: string, settings: TopicSettings): Promise<BrokerTopic> {
    if (this.#entries.size >= this.#most && !(await this.#closeIdle())) {
      const { maxTopics } = this.#settings.limits
      const why =
        this.#most < maxTopics ? 'as many as the limit of open files allows (ulimit -n)' : 'as many as it may have'
      throw new HermesError(
        'LIMIT',
        `This broker has ${this.#most} topics in use, ${why}. Try again later, or have it raised.`,
        {
          details: { topic: name, limit: this.#most },
        },
      )
    }
    let topic: BrokerTopic
    try {
      topic = await BrokerTopic.open(this.#host, name, settings)
    } catch (error) {
      if (!isShort(error) || !(await this.#closeIdle())) throw error
      topic = await BrokerTopic.open(this.#host, name, settings)
    }
    try {
      checkPayload(name, topic.file.maxPayloadBytes)
      return topic
    } catch (error) {
      await topic.close()
      throw error
    }
  }

  /** Closes the topic that has been unused for the longest time. False if all are in use. */
  async #closeIdle(): Promise<boolean> {
    const now = performance.now()
    let found: Entry | undefined
    let longest = 0
    for (const entry of this.#entries.values()) {
      const idleMs = entry.topic === undefined || entry.closing !== undefined ? 0 : entry.topic.idleMs(now)
      if (idleMs <= longest) continue
      longest = idleMs
      found = entry
    }
    if (found?.topic === undefined) return false
    this.#close(found, found.topic, true)
    await found.closing
    return true
  }

  #close(entry: Entry, topic: BrokerTopic, tidy: boolean): void {
    entry.closing ??= topic
      .close(tidy)
      .catch((error: unknown) => this.#report('error', 'close-failed', { topic: topic.name, message: String(error) }))
      .then(() => {
        if (this.#entries.get(topic.name) === entry) this.#entries.delete(topic.name)
      })
  }

  #retired(topic: BrokerTopic, error: HermesError): void {
    const { code, message } = error
    this.#report('error', 'topic-retired', { topic: topic.name, code, message })
    // Its name is free at once for another one; that its folder is gone is not an error.
    if (code !== 'NOT_FOUND' && code !== 'TOPIC_DELETED') this.#health.failed(topic.name, error)
    const entry = this.#entries.get(topic.name)
    if (entry?.topic === topic) this.#close(entry, topic, false)
  }

  #mayRetry(topic: string): boolean {
    const now = performance.now()
    const before = this.#failures.get(topic) ?? Number.NEGATIVE_INFINITY
    this.#failures.set(topic, now)
    return now - before > failsAgainMs
  }

  /** A failure that the operator should know of. */
  #failed(topic: string, error: unknown): void {
    const known = error instanceof HermesError ? error : undefined
    // (of a topic that was retired there was a line)
    if (known !== undefined && (known instanceof RetryError || clientsOwn.has(known.code))) return
    const code = known?.code ?? 'IO_FAILED'
    const { cause } = (error ?? {}) as Error
    this.#report('error', 'topic-failed', {
      topic,
      code,
      message: known?.message ?? String((error as Error)?.stack ?? error),
      ...(cause instanceof Error && cause.message !== known?.message ? { cause: cause.message } : {}),
    })
    this.#health.failed(topic, known ?? new HermesError('IO_FAILED', String(error)))
  }

  /** A publisher or subscriber could not be opened in the topic, or could. */
  noteOpening(topic: string, error: unknown): void {
    if (error === undefined) this.#health.works(topic)
    else this.#failed(topic, error)
  }

  /** To be called often: closes unused topics, and checks that the open ones still exist. */
  sweep(now: number): void {
    if (now - this.#sweptAt < Math.min(sweepEveryMs, this.#settings.limits.idleTopicMs)) return
    this.#sweptAt = now
    for (const entry of this.#entries.values()) {
      const { topic, closing } = entry
      if (topic === undefined || closing !== undefined) continue
      if (topic.idleMs(now) >= this.#settings.limits.idleTopicMs) this.#close(entry, topic, true)
    }
    if (!this.#looking) void this.#lookAfter()
  }

  async #lookAfter(): Promise<void> {
    this.#looking = true
    const topics: BrokerTopic[] = []
    for (const { topic } of this.#entries.values()) if (topic?.hasEnded === false) topics.push(topic)
    for (const topic of topics) {
      try {
        topic.tick()
      } catch (error) {
        this.#failed(topic.name, error)
      }
    }
    const begin = this.#looked < topics.length ? this.#looked : 0
    const some = topics.slice(begin, begin + mostLooks)
    this.#looked = begin + some.length
    await Promise.all(some.map((topic) => topic.lookAtFolder()))
    this.#looking = false
  }

  async close(): Promise<void> {
    this.#closed = true
    const entries = [...this.#entries.values()]
    await Promise.allSettled(entries.map(({ opening }) => opening))
    for (const entry of entries) {
      const { topic } = entry
      if (topic !== undefined) this.#close(entry, topic, false)
    }
    await Promise.all(entries.map(({ closing }) => closing))
    this.#entries.clear()
  }
}

/** Whether it failed for want of file descriptors or threads. */
function isShort(error: unknown): boolean {
  if (!(error instanceof HermesError)) return false
  const { errno, system } = error.details
  return error.code === 'LIMIT' || errno === 24 || errno === 23 || system === 'EMFILE' || system === 'ENFILE'
}

function checkPayload(topic: string, maxPayloadBytes: number): void {
  if (maxPayloadBytes <= mostPayloadBytes) return
  throw new HermesError(
    'LIMIT',
    `Topic '${topic}' takes messages of ${maxPayloadBytes} bytes; a broker carries ${mostPayloadBytes}. ` +
      'Use it on its own machine, or make the topic with a smaller maxPayloadBytes.',
    { details: { topic, limit: 'maxPayloadBytes', most: mostPayloadBytes, found: maxPayloadBytes } },
  )
}
