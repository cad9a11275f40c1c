import { type ErrorCode, HermesError } from '../base/errors.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../frame/frame.js'
import type { Durability, From, TopicSettings } from '../model/topic.js'
import { fromNative } from '../native/error.js'
import { defineTopic, grownTopic } from '../store/definition.js'
import { type Directory, topicFolder } from '../store/directory.js'
import { type Synced, SyncQueue } from '../store/sync-queue.js'
import type { TopicFile } from '../store/topic-file.js'
import { TopicLog } from '../store/topic-log.js'
import { packetHeaderBytes, protocolError, publishHeadBytes, type Run } from '../wire/packet.js'
import { RetryError } from '../wire/retry.js'
import { LogTail } from './log-tail.js'
import { type Outlet, Outlets } from './outlets.js'
import { PlaceMark } from './place-mark.js'
import { type Producer, Producers, type ProducersOptions } from './producers.js'
import { SeekQueue } from './seek-queue.js'
import { SegmentRegions } from './segment-regions.js'
import { TopicAppender } from './topic-appender.js'

/** After so many bytes from the network the producers' file is brought up to date, which bounds the walk after a crash. */
const saveEveryBytes = 64 * 1024 * 1024
/** Of those who hold a topic so many are named. */
const mostShown = 4
/** Numbers of messages, which are times, may be so far ahead of the broker's clock. */
const mostAheadMs = 86_400_000

/** Whose a publisher is. */
export interface Holder {
  /** The name of the client's access entry. */
  readonly identity: string
  readonly address: string
}

/** What a remote publisher is to the topic. */
export interface Inlet {
  readonly holder: Holder
  readonly producer: Producer
  readonly durability: Durability
  /** The publisher's place was taken, or the topic can't take its messages any more. */
  fail(error: HermesError): void
}

/** What a topic needs of its broker. */
export interface TopicHost {
  readonly directory: Directory
  readonly maxBatchBytes: number
  /** The broker's own loop looks for local publishers' messages. */
  readonly spins: boolean
  readonly producers: ProducersOptions
  report(topic: string, error: unknown): void
  /** The topic can't be used any more, and was not closed in order. It is to be closed, and opened anew for whoever comes. */
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
])

/** One topic of the directory, as the broker has it open: one appender for all remote publishers, and a tail for each remote subscriber. */
export class BrokerTopic {
  readonly name: string
  readonly file: TopicFile
  readonly maxBatchBytes: number
  readonly #host: TopicHost
  readonly #folder: string
  readonly #log: TopicLog
  readonly #mark: PlaceMark
  readonly #syncs: SyncQueue
  readonly #outlets: Outlets<Outlet>

  readonly #appender: TopicAppender
  readonly #regions: SegmentRegions
  readonly #seeks: SeekQueue
  #producers: Producers | undefined
  readonly #inlets = new Set<Inlet>()
  /** Publishers come and go one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #bytesSinceSave = 0
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
    this.#folder = folder
    this.#log = log
    this.#mark = new PlaceMark(folder)
    this.#syncs = new SyncQueue(
      file.name,
      (upto) => this.#sync(upto),
      (error) => this.#syncFailed(error),
    )
    this.#outlets = new Outlets(
      host.spins,
      () => this.tail(),
      (error) => this.#report(error),
    )
    this.#appender = new TopicAppender(log)
    this.#regions = new SegmentRegions(log)
    this.#seeks = new SeekQueue(log)
    // The core takes half a segment at once.
    this.maxBatchBytes = Math.max(
      Math.min(host.maxBatchBytes, Math.floor(file.segmentBytes / 16) * 8),
      40 + file.maxPayloadBytes,
    )
  }

  /** @throws HermesError as `openTopicFile` and the core do */
  static async open(host: TopicHost, name: string, settings: TopicSettings): Promise<BrokerTopic> {
    const { directory } = host
    const file = await defineTopic(directory, name, settings, true)
    const { segmentBytes, maxPayloadBytes } = file
    const create = { segmentBytes, maxPayloadBytes, fileMode: directory.fileMode }
    const folder = topicFolder(directory, name)
    const log = await TopicLog.open(folder, name, create)
    return new BrokerTopic(host, file, log, folder)
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

  /** For how long nobody has used it, in milliseconds; 0 while somebody does. */
  idleMs(now: number): number {
    const inUse = this.#holds > 0 || this.#inlets.size > 0 || this.#outlets.size > 0 || !this.#syncs.isEmpty
    return inUse ? 0 : now - this.#usedAt
  }

  get hasEnded(): boolean {
    return this.#retired !== undefined || this.#closing !== undefined
  }

  /** Whether its folder is the one that was opened. Ends those who use it, if not. */
  checkPlace(): boolean {
    return this.#mark.isSame || this.#leavePlace()
  }

  /** As `checkPlace`, off the event loop and for looking at many topics. */
  async lookAtPlace(): Promise<void> {
    if (!(await this.#mark.stillSame())) this.#leavePlace()
  }

  #leavePlace(): boolean {
    const found = this.#mark.whereabouts()
    if (found === 'same') return true
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
    // A publisher goes on in the new topic with what was not acknowledged in the old one. A subscriber's place is gone.
    this.#retire(new RetryError('NOT_FOUND', message, { details }), new HermesError('NOT_FOUND', message, { details }))
    return false
  }

  /** Ends all who use it, and has it closed. */
  #retire(error: HermesError, forSubscribers: HermesError = error): void {
    if (this.hasEnded) return
    this.#retired = error
    this.#host.retired(this, error)
    for (const inlet of [...this.#inlets]) inlet.fail(error)
    for (const outlet of this.#outlets) outlet.fail(forSubscribers)
  }

  /** Checks another client's settings against the topic's, whose layout may grow by them. */
  async check(settings: TopicSettings): Promise<void> {
    await grownTopic(this.#host.directory, this.name, settings)
  }

  async setRetention(settings: TopicSettings): Promise<void> {
    const { retention } = settings
    if (retention !== undefined) await this.#log.setRetention(retention.bytes ?? 0, retention.ageMs ?? 0)
  }

  nextSequence(): number {
    return this.#log.nextSequence()
  }

  /** Where the log begins and ends, if retention has removed the segment; else `undefined`. */
  removedBefore(segment: number): { readonly firstSequence: number; readonly nextSequence: number } | undefined {
    const { firstSegment, firstSequence, nextSequence } = this.#log.info()
    return segment < firstSegment ? { firstSequence, nextSequence } : undefined
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

  /**
   * Lets a remote publisher in. A publisher of the same id that is still there loses its place: its connection is dead or will be.
   *
   * @param shown what it may know of those who hold the topic, if it can't be let in
   * @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `CORRUPT`, `LIMIT`, …
   */
  async enter<One extends Inlet>(
    id: string,
    exclusive: boolean,
    shown: (holder: Holder) => string,
    make: (producer: Producer) => One,
  ): Promise<One> {
    const inlet = await this.#inTurn(async () => {
      this.#checkOpen()
      for (const other of this.#inlets) {
        if (other.producer.id !== id) continue
        this.#inlets.delete(other)
        other.fail(new HermesError('FENCED', 'This publisher was opened anew by another connection.'))
      }
      if (this.#inlets.size > 0 && (exclusive || this.#appender.isExclusive)) {
        throw this.#held(shown)
      }
      try {
        if (this.#inlets.size === 0 && this.#appender.isExclusive !== exclusive) await this.#closeAppender()
        if (!this.#appender.isOpen) await this.#appender.open(exclusive)
        this.#producers ??= await Producers.load(this.#folder, this.#log, this.#host.producers)
        // (the topic may have been retired meanwhile)
        this.#checkOpen()
        const made = make(this.#producers.enter(id, this.nextSequence()))
        this.#inlets.add(made)
        return made
      } catch (error) {
        // Else the topic would be held by nobody.
        if (this.#inlets.size === 0) await this.#closeAppender()
        throw error
      }
    })
    try {
      // Behind the turn, so that many who come at once share one write.
      await this.#producers?.saved(inlet.producer)
    } catch (error) {
      await this.leave(inlet, false)
      throw error
    }
    return inlet
  }

  #held(shown: (holder: Holder) => string): HermesError {
    const all = [...this.#inlets].map((inlet) => shown(inlet.holder))
    const holders = [...new Set(all)].slice(0, mostShown)
    const what = this.#appender.isExclusive
      ? 'an exclusive publisher'
      : all.length === 1
        ? 'a publisher'
        : `${all.length} publishers`
    const others = new Set(all).size > holders.length ? ', …' : ''
    return new HermesError(
      'EXCLUSIVE_HELD',
      `Topic '${this.name}' has ${what} through this broker: ${holders.join(', ')}${others}. Close what is there first.`,
      { details: { topic: this.name, holders } },
    )
  }

  #checkOpen(): void {
    if (this.#retired !== undefined) throw this.#retired
    if (this.#closing !== undefined) throw new HermesError('CLOSED', 'The broker is shutting down.')
  }

  /** @param forGood it closed in order: whatever it sent has been answered, and it will not come back */
  leave(inlet: Inlet, forGood: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#inlets.delete(inlet)) {
        if (forGood) this.#producers?.forget(inlet.producer)
        else this.#producers?.leave(inlet.producer)
      }
      this.#usedAt = performance.now()
      // A local publisher may want the topic for itself.
      if (this.#inlets.size === 0) await this.#closeAppender()
    })
  }

  /**
   * Stores a batch, or finds that it is stored already: `bytes[start, end)` is the body of a PUBLISH. One native call.
   *
   * @returns where its messages stand
   * @throws HermesError `PROTOCOL`, `PAYLOAD_TOO_LARGE`, `DISK_FULL`, …
   */
  ingest(producer: Producer, bytes: Buffer, start: number, end: number): Run {
    const frames = start + publishHeadBytes
    const count = bytes.readUInt32LE(start + 8)
    if (end - frames < 32 || end - frames > this.maxBatchBytes || count === 0)
      throw protocolError('A batch has no frames, or too many bytes.')
    producer.trim(bytes.readBigUInt64LE(start))
    const first = bytes.readBigUInt64LE(frames + 16)
    const last = first + BigInt(count) - 1n
    if (first <= producer.stored) {
      if (last > producer.stored || countFrames(bytes, frames, end) !== count)
        throw protocolError('A batch was sent again, but not as it was.')
      return producer.find(first, count)
    }
    const run = { first, count, sequence: this.#append(bytes, frames, end, count, producer.slot) }
    producer.add(run)
    if (this.#producers !== undefined) this.#producers.isDirty = true
    this.#outlets.noteNews()
    this.noteTail(run.sequence + count)
    this.#bytesSinceSave += end - start + packetHeaderBytes
    if (this.#bytesSinceSave > saveEveryBytes) this.#saveProducers()
    return run
  }

  #append(bytes: Buffer, start: number, end: number, count: number, slot: number): number {
    try {
      return this.#appender.append(bytes, start, end, count, slot)
    } catch (error) {
      // The first number is the publisher's time.
      const aheadMs = Number(bytes.readBigUInt64LE(start + frameOffset.timestampNs) / 1_000_000n) - Date.now()
      if (error instanceof HermesError && error.code === 'PROTOCOL' && aheadMs > mostAheadMs)
        throw clockAhead(this.name, aheadMs)
      if (!(error instanceof HermesError) || error.code !== 'IO_FAILED') throw error
      // This log takes nothing more, from nobody.
      this.#retire(this.#failureOf(error))
      throw this.#retired ?? error
    }
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
    const synced = upto === 0 ? 1 : await this.#appender.sync(upto)
    // What lies in a folder that was removed is not kept, whatever the disk says.
    if (!this.checkPlace()) throw this.#retired ?? new HermesError('CLOSED', 'The topic was closed.')
    if (upto > 0) this.#host.synced(this.name)
    return synced
  }

  #syncFailed(error: HermesError): void {
    if (fatal.has(error.code)) this.#retire(this.#failureOf(error))
  }

  /** Once, those who wait open the topic anew by themselves. If that was of no use, they are told. */
  #failureOf(error: HermesError): HermesError {
    return this.#host.mayRetry(this.name) ? RetryError.of(error) : error
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #closeAppender(): Promise<void> {
    try {
      await this.#appender.close()
    } catch (error) {
      this.#report(error)
    }
  }

  #saveProducers(): void {
    this.#bytesSinceSave = 0
    this.#producers?.save().catch((error) => this.#report(error))
  }

  /** Once per second. */
  tick(): void {
    this.#regions.sweep(performance.now())
    if (this.hasEnded || this.#producers?.isDirty !== true) return
    // Without retention the log itself tells everything.
    const { retentionBytes, retentionAgeMs } = this.#log.info()
    if (retentionBytes > 0 || retentionAgeMs > 0) this.#saveProducers()
  }

  /* ---- subscribers ---- */

  tail(): LogTail {
    this.#checkOpen()
    return new LogTail(this.#log, this.#regions)
  }

  /** Calls `seek`, which takes a tail to this place, once that will not take long. */
  whenFindable<T>(target: From | 'damage', seek: () => T): T | Promise<T> {
    return this.#seeks.run(target, seek)
  }

  addOutlet(outlet: Outlet): void {
    this.#outlets.add(outlet)
  }

  removeOutlet(outlet: Outlet): void {
    this.#outlets.remove(outlet)
    this.#usedAt = performance.now()
  }

  /** Sends to all remote subscribers what there is for them. */
  pump(): boolean {
    return this.#outlets.pump()
  }

  /** Everything that was acknowledged stays. @param tidy nobody waits, so what the next opening would have to look at is put in order */
  close(tidy = false): Promise<void> {
    this.#closing ??= this.#close(tidy)
    return this.#closing
  }

  async #close(tidy: boolean): Promise<void> {
    for (const inlet of this.#inlets) this.#producers?.leave(inlet.producer)
    try {
      await this.#inTurn(async () => {
        this.#inlets.clear()
        try {
          // In another topic's folder this one's producers have no business.
          if (this.#mark.isSame) {
            if (tidy) await this.#makeSafe()
            await this.#producers?.save()
          }
        } finally {
          await this.#closeAppender()
        }
      })
    } finally {
      this.#outlets.close()
      this.#regions.close()
      this.#log.close()
    }
  }

  /** So that what the producers have stored need not be looked for in the log. */
  async #makeSafe(): Promise<void> {
    const producers = this.#producers
    const next = this.nextSequence()
    if (producers === undefined || producers.since >= next) return
    try {
      if (!this.#appender.isOpen) await this.#appender.open(false)
      await this.#appender.sync(next - 1)
      producers.allSafeBefore(next)
    } catch (error) {
      // A local publisher has the topic to itself, say. Then the log is walked when it is opened again.
      if (!(fromNative(error) instanceof HermesError)) throw error
    }
  }
}

function clockAhead(topic: string, aheadMs: number): HermesError {
  const hours = (aheadMs / 3_600_000).toFixed(1)
  return new HermesError(
    'INVALID_ARGUMENT',
    `The publisher's clock is ${hours} h ahead of the broker's; 24 h are allowed. Set the clocks of both, then open the publisher again.`,
    { details: { topic, aheadMs, mostMs: mostAheadMs } },
  )
}

/** How many frames lie back to back in `bytes[start, end)`; -1 if they do not end where they should. Only for batches that come again. */
function countFrames(bytes: Buffer, start: number, end: number): number {
  let count = 0
  let at = start
  while (at + frameHeaderBytes <= end) {
    at += frameBytes(bytes.readUInt32LE(at + frameOffset.payloadLength))
    count++
  }
  return at === end ? count : -1
}
