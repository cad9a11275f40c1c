import { join } from 'node:path'
import { type ErrorCode, HermesError } from '../base/errors.js'
import { type From, retentionLimits, type TopicSettings } from '../model/topic.js'
import { fromNative } from '../native/error.js'
import type { NativeIntake } from '../native/intake-types.js'
import { defineTopic, grownTopic } from '../store/definition.js'
import { type Directory, topicFolder } from '../store/directory.js'
import type { PlaceMetrics } from '../store/place-metrics.js'
import { type Synced, SyncQueue } from '../store/sync-queue.js'
import { readTopicFile, type TopicFile } from '../store/topic-file.js'
import { TopicLog } from '../store/topic-log.js'
import type { Run } from '../wire/packet.js'
import { RetryError } from '../wire/retry.js'
import { FolderMark } from './folder-mark.js'
import type { Holder } from './holder.js'
import { KnownDescription } from './known-description.js'
import { LogTail } from './log-tail.js'
import type { Producer } from './producer.js'
import type { ProducersOptions } from './producers.js'
import { SeekQueue } from './seek-queue.js'
import { SegmentRegions } from './segment-regions.js'
import { type PublishersTopic, type TopicPublisher, TopicPublishers } from './topic-publishers.js'
import { type TopicSubscriber, TopicSubscribers } from './topic-subscribers.js'

/** What a topic needs of its broker. */
export interface TopicHost {
  readonly directory: Directory
  /** Where its publishers are counted. */
  readonly metrics: PlaceMetrics
  readonly maxBatchBytes: number
  /** The broker's own loop looks for local publishers' messages. */
  readonly spins: boolean
  readonly producers: ProducersOptions
  report(topic: string, error: unknown): void
  /** The topic can't be used any more, and was not closed in order. It is to be closed, and opened again for the next client. */
  retired(topic: BrokerTopic, error: HermesError): void
  /** Whether those who used a topic that failed are to try again by themselves. */
  mayRetry(topic: string): boolean
  /** A sync has succeeded. */
  synced(topic: string): void
}

/** After these, what was not synced is uncertain, and this log's marks with it: only a new one, which recovers, may go on. */
const fatal: ReadonlySet<string> = new Set<ErrorCode>([
  'IO_FAILED',
  'DISK_FULL',
  'ACCESS_DENIED',
  'CORRUPT',
  'NOT_FOUND',
  'TOPIC_DELETED',
])

/** One topic of the directory, as the broker has it open: one appender for all remote publishers, and a tail for each remote subscriber. */
export class BrokerTopic {
  readonly name: string
  readonly file: TopicFile
  readonly maxBatchBytes: number
  readonly #host: TopicHost
  readonly #log: TopicLog
  readonly #mark: FolderMark
  readonly #syncs: SyncQueue
  readonly #publishers: TopicPublishers
  readonly #subscribers: TopicSubscribers<TopicSubscriber>
  readonly #regions: SegmentRegions
  readonly #seeks: SeekQueue
  readonly #description: KnownDescription
  #tail = 0
  /** Those who are about to use it. */
  #holds = 0
  #usedAt = performance.now()
  #retired: HermesError | undefined
  #closing: Promise<void> | undefined

  private constructor(host: TopicHost, file: TopicFile, log: TopicLog, folder: string) {
    this.name = file.name
    this.file = file
    this.#host = host
    this.#log = log
    this.#mark = new FolderMark(folder)
    this.#syncs = new SyncQueue(
      file.name,
      (upto) => this.#sync(upto),
      (error) => this.#syncFailed(error),
    )
    this.#subscribers = new TopicSubscribers(
      host.spins,
      () => this.tail(),
      (error) => this.#report(error),
    )
    this.#regions = new SegmentRegions(log)
    this.#seeks = new SeekQueue(log)
    this.#description = new KnownDescription(join(folder, 'topic.json'))
    // The core takes half a segment at once.
    this.maxBatchBytes = Math.max(
      Math.min(host.maxBatchBytes, Math.floor(file.segmentBytes / 16) * 8),
      40 + file.maxPayloadBytes,
    )
    this.#publishers = new TopicPublishers(this.#forPublishers(), folder, log, host.producers)
  }

  /** @throws HermesError as `openTopicFile` and the core do */
  static async open(host: TopicHost, name: string, settings: TopicSettings): Promise<BrokerTopic> {
    const { directory } = host
    const file = await defineTopic(directory, name, settings, true)
    const { segmentBytes, maxPayloadBytes } = file
    const create = { segmentBytes, maxPayloadBytes, fileMode: directory.fileMode }
    const folder = topicFolder(directory, name)
    const log = await TopicLog.open(folder, name, create, host.metrics)
    return new BrokerTopic(host, file, log, folder)
  }

  #forPublishers(): PublishersTopic {
    const { name, maxBatchBytes } = this
    return {
      name,
      maxBatchBytes,
      checkOpen: () => this.#checkOpen(),
      report: (error) => this.#report(error),
      appended: (next) => {
        this.#subscribers.noteNews()
        this.noteTail(next)
      },
      left: () => {
        this.#usedAt = performance.now()
      },
      broken: (error) => {
        this.#retire(this.#failureOf(error))
        return this.#retired ?? error
      },
    }
  }

  #report(error: unknown): void {
    this.#host.report(this.name, fromNative(error, { topic: this.name }))
  }

  /* ---- whether it is in use, and still there ---- */

  /** It is not closed for want of users until `release` is called as often. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
    this.#usedAt = performance.now()
  }

  /** For how long it has been unused, in milliseconds; 0 while it is in use. */
  idleMs(now: number): number {
    return this.isInUse ? 0 : now - this.#usedAt
  }

  get isInUse(): boolean {
    return this.#holds > 0 || this.#publishers.size > 0 || this.#subscribers.size > 0 || !this.#syncs.isEmpty
  }

  /** Ends all who use it: the topic is about to be deleted, or was. */
  deleted(): void {
    const message = `Topic '${this.name}' was deleted. Nothing more comes of it, and nothing can be published there.`
    this.#retire(new HermesError('TOPIC_DELETED', message, { details: { topic: this.name } }))
  }

  get hasEnded(): boolean {
    return this.#retired !== undefined || this.#closing !== undefined
  }

  /** Whether its folder is the one that was opened. Ends those who use it, if not. */
  checkFolder(): boolean {
    return this.#mark.isSame || this.#retireIfReplaced()
  }

  /** As `checkFolder`, off the event loop and for looking at many topics. */
  async lookAtFolder(): Promise<void> {
    // (closed meanwhile, it has nothing more to look at)
    if (!(await this.#mark.stillSame()) && !this.hasEnded) this.#retireIfReplaced()
  }

  #retireIfReplaced(): boolean {
    const found = this.#mark.whereabouts()
    if (found === 'same') return true
    if (this.#log.isDeleted()) {
      this.deleted()
      return false
    }
    const details = { topic: this.name }
    if (found === 'control-replaced') {
      this.#retire(
        new RetryError(
          'IO_FAILED',
          `The control file of topic '${this.name}' was removed or replaced while it was open.`,
          {
            details,
          },
        ),
      )
      return false
    }
    const message = `The folder of topic '${this.name}' was removed or replaced while it was open.`
    // A publisher goes on in the new topic with what was not acknowledged in the old one. A subscriber's position is gone.
    this.#retire(new RetryError('NOT_FOUND', message, { details }), new HermesError('NOT_FOUND', message, { details }))
    return false
  }

  /** Ends all who use it, and has it closed. */
  #retire(error: HermesError, forSubscribers: HermesError = error): void {
    if (this.hasEnded) return
    this.#retired = error
    this.#host.retired(this, error)
    this.#publishers.fail(error)
    for (const subscriber of this.#subscribers) subscriber.fail(forSubscribers)
  }

  /** Checks another client's settings against the topic's, whose layout may grow by them. */
  async check(settings: TopicSettings): Promise<void> {
    const { directory } = this.#host
    const known = this.#description.current ?? (await this.#description.read(() => readTopicFile(directory, this.name)))
    await grownTopic(directory, this.name, settings, known)
  }

  async setRetention(settings: TopicSettings): Promise<void> {
    const { retention } = settings
    if (retention !== undefined) await this.#log.setRetention(...retentionLimits(retention))
  }

  /** Whether the topic has the retention that was named, or none was. */
  hasRetention({ retention }: TopicSettings): boolean {
    if (retention === undefined) return true
    const { retentionBytes, retentionAgeMs } = this.#log.info()
    return retentionBytes === (retention.bytes ?? 0) && retentionAgeMs === (retention.ageMs ?? 0)
  }

  nextSequence(): number {
    return this.#log.nextSequence()
  }

  /** Where the log begins and ends, if retention has removed the segment; else `undefined`. */
  removedBefore(segment: number): { readonly firstSequence: number; readonly nextSequence: number } | undefined {
    if (segment >= this.#log.control().firstSegment) return undefined
    const { firstSequence, nextSequence } = this.#log.info()
    return { firstSequence, nextSequence }
  }

  /** In its segments now, in bytes. */
  storedBytes(): number {
    const { firstSegment, activeSegment, segmentBytes, tailOffset } = this.#log.info()
    return activeSegment === 0 ? 0 : (activeSegment - firstSegment) * segmentBytes + tailOffset
  }

  /** The same without a look at the log: at least what this broker has appended or sent. */
  get knownTail(): number {
    return this.#tail
  }

  noteTail(sequence: number): void {
    if (sequence > this.#tail) this.#tail = sequence
  }

  #checkOpen(): void {
    if (this.#retired !== undefined) throw this.#retired
    if (this.#closing !== undefined) throw new HermesError('CLOSED', 'The broker is shutting down.')
  }

  /** Calls back once everything up to `sequence` is on stable storage; 0 stands for all there is. One sync serves all who wait. */
  whenSynced(sequence: number, done: Synced): void {
    if (this.#retired !== undefined) {
      done(this.#retired)
      return
    }
    let upto = sequence
    // What a client says may be there need not be.
    if (sequence === 0 || sequence >= this.#tail) {
      try {
        upto = Math.min(sequence || Number.MAX_SAFE_INTEGER, this.nextSequence() - 1)
      } catch (error) {
        done(error as HermesError)
        return
      }
    }
    this.#syncs.add(upto, done)
  }

  async #sync(upto: number): Promise<number> {
    if (this.#retired !== undefined) throw this.#retired
    const synced = upto === 0 ? 1 : await this.#publishers.sync(upto)
    // What lies in a folder that was removed is not kept, whatever the disk says.
    if (!this.checkFolder()) throw this.#retired ?? new HermesError('CLOSED', 'The topic was closed.')
    if (upto > 0) this.#host.synced(this.name)
    return synced
  }

  #syncFailed(error: HermesError): void {
    if (fatal.has(error.code)) this.#retire(this.#failureOf(error))
  }

  /** Once, those who wait open the topic anew by themselves. If that was of no use, they are told. */
  #failureOf(error: HermesError): HermesError {
    if (error.code === 'TOPIC_DELETED') return error
    return this.#host.mayRetry(this.name) ? RetryError.of(error) : error
  }

  /** Once per second. */
  tick(): void {
    this.#regions.sweep(performance.now())
    if (!this.hasEnded) this.#publishers.tick(() => this.checkFolder())
  }

  /* ---- publishers ---- */

  /** Lets a remote publisher in, as `TopicPublishers.enter`. */
  enter<One extends TopicPublisher>(
    id: string,
    exclusive: boolean,
    identity: string | undefined,
    shown: (holder: Holder) => string,
    make: (producer: Producer) => One,
  ): Promise<One> {
    return this.#publishers.enter(id, exclusive, identity, shown, make)
  }

  leave(publisher: TopicPublisher, forGood: boolean): Promise<void> {
    return this.#publishers.leave(publisher, forGood)
  }

  /** Stores a batch, as `TopicPublishers.ingest`. */
  ingest(producer: Producer, bytes: Buffer, start: number, end: number): Run {
    return this.#publishers.ingest(producer, bytes, start, end)
  }

  /** As `TopicPublishers.attachTo`. */
  attachTo(intake: NativeIntake, channel: number, producer: Producer): void {
    this.#publishers.attachTo(intake, channel, producer)
  }

  /** As `TopicPublishers.took`. */
  took(producer: Producer, acked: bigint, run: Run, bytes: number): void {
    this.#publishers.took(producer, acked, run, bytes)
  }

  /* ---- subscribers ---- */

  tail(upToSynced = false): LogTail {
    this.#checkOpen()
    return new LogTail(this.#log, this.#regions, upToSynced)
  }

  /** Calls `seek`, which takes a tail to this position, once that will not take long. @param party whose seek it is */
  whenFindable<T>(target: From | 'damage', party: string, seek: () => T | Promise<T>): T | Promise<T> {
    return this.#seeks.run(target, party, seek)
  }

  addSubscriber(subscriber: TopicSubscriber): void {
    this.#subscribers.add(subscriber)
  }

  removeSubscriber(subscriber: TopicSubscriber): void {
    this.#subscribers.remove(subscriber)
    this.#usedAt = performance.now()
  }

  /** Sends to all remote subscribers what there is for them. */
  pump(): boolean {
    return this.#subscribers.pump()
  }

  /** Everything that was acknowledged stays. @param tidy no client waits, so what the next opening would have to look at is put in order */
  close(tidy = false): Promise<void> {
    this.#closing ??= this.#close(tidy)
    return this.#closing
  }

  async #close(tidy: boolean): Promise<void> {
    try {
      await this.#publishers.close(() => this.#mark.isSame, tidy)
    } finally {
      this.#subscribers.close()
      this.#regions.close()
      this.#log.close()
    }
  }
}
