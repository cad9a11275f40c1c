import { HermesError } from '../errors.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../frame.js'
import { native } from '../native.js'
import type { NativeAppender, NativeLog } from '../native-addon.js'
import { callNative, fromNative } from '../native-error.js'
import { type Directory, topicFolder } from '../transport/log/directory.js'
import { openTopicFile, type TopicFile } from '../transport/log/topic-file.js'
import type { Durability, TopicSettings } from '../transport/transport.js'
import { packetHeaderBytes, protocolError, publishHeadBytes, type Run } from '../wire/packet.js'
import { LogTail } from './log-tail.js'
import { type Producer, Producers } from './producers.js'

// The scratch memory: see native/binding/ingest.cc.
const scratchOffset = 0
const scratchBytes = 1
const scratchCount = 2
const scratchSlot = 3
const scratchStatus = 4
const scratchSequence = 3
const scratchSize = 64

/** After so many bytes from the network the producers' file is brought up to date, which bounds the walk after a crash. */
const saveEveryBytes = 64 * 1024 * 1024
/** Looking for local publishers' messages: by a timer while messages come, asleep in the kernel once there were none for so long. */
const quietMs = 2
const waitMs = 10_000

/** What receives a topic's messages for a remote client. */
export interface Outlet {
  /** Sends what there is and may be sent. Returns whether it was anything. */
  pump(): boolean
}

/** What a remote publisher is to the topic. */
export interface Inlet {
  readonly producer: Producer
  readonly durability: Durability
  /** These have reached the durability. */
  acknowledge(run: Run): void
  /** The publisher's place was taken, or the topic can't take its messages any more. */
  fail(error: HermesError): void
}

interface Unsynced {
  readonly sequence: number
  readonly done: (error: HermesError | undefined) => void
}

/** One topic of the directory, as the broker has it open: one appender for all remote publishers, and a tail for each remote subscriber. */
export class BrokerTopic {
  readonly name: string
  readonly file: TopicFile
  readonly maxBatchBytes: number
  readonly #directory: Directory
  readonly #log: NativeLog
  readonly #spins: boolean
  readonly #report: (error: unknown) => void

  #appender: NativeAppender | undefined
  #ingest: (bytes: Uint8Array) => void = () => {}
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #scratch = new ArrayBuffer(scratchSize)
  #producers: Producers | undefined
  readonly #inlets = new Set<Inlet>()
  #exclusive = false
  /** Publishers come and go one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #bytesSinceSave = 0
  #tail = 0

  #unsynced: Unsynced[] = []
  #syncing = false

  readonly #outlets = new Set<Outlet>()
  #watcher: LogTail | undefined
  #watch: 'off' | 'timer' | 'asleep' = 'off'
  #timer: NodeJS.Timeout | undefined
  #lastNews = 0
  #closed = false

  private constructor(
    directory: Directory,
    file: TopicFile,
    log: NativeLog,
    mostBatch: number,
    spins: boolean,
    report: (error: unknown) => void,
  ) {
    this.name = file.name
    this.file = file
    this.#directory = directory
    this.#log = log
    this.#spins = spins
    this.#report = report
    this.#words = new Int32Array(this.#scratch)
    this.#numbers = new Float64Array(this.#scratch)
    // The core takes half a segment at once.
    this.maxBatchBytes = Math.max(
      Math.min(mostBatch, Math.floor(file.segmentBytes / 16) * 8),
      40 + file.maxPayloadBytes,
    )
  }

  /** @throws HermesError as `openTopicFile` and the core do */
  static async open(
    directory: Directory,
    name: string,
    settings: TopicSettings,
    mostBatch: number,
    spins: boolean,
    report: (error: unknown) => void,
  ): Promise<BrokerTopic> {
    const file = await openTopicFile(directory, name, settings)
    const { segmentBytes, maxPayloadBytes } = file
    const create = { segmentBytes, maxPayloadBytes, fileMode: directory.fileMode }
    const log = callNative(() => new native.openLog(topicFolder(directory, name), create, {}), { topic: name })
    return new BrokerTopic(directory, file, log, mostBatch, spins, report)
  }

  /** Checks another client's settings against the topic's. */
  async check(settings: TopicSettings): Promise<void> {
    await openTopicFile(this.#directory, this.name, settings)
  }

  setRetention(settings: TopicSettings): void {
    const { retention } = settings
    if (retention !== undefined)
      callNative(() => this.#log.setRetention(retention.bytes ?? 0, retention.ageMs ?? 0), { topic: this.name })
  }

  nextSequence(): number {
    return callNative(() => this.#log.nextSequence(), { topic: this.name })
  }

  /** Where the log begins and ends, if retention has removed the segment; else `undefined`. */
  removedBefore(segment: number): { readonly firstSequence: number; readonly nextSequence: number } | undefined {
    const { firstSegment, firstSequence, nextSequence } = callNative(() => this.#log.info(), { topic: this.name })
    return segment < firstSegment ? { firstSequence, nextSequence } : undefined
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
   * @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `CORRUPT`, …
   */
  enter(id: string, exclusive: boolean, make: (producer: Producer) => Inlet): Promise<Inlet> {
    return this.#inTurn(async () => {
      if (this.#closed) throw new HermesError('CLOSED', 'The broker is shutting down.')
      for (const inlet of this.#inlets) {
        if (inlet.producer.id !== id) continue
        this.#inlets.delete(inlet)
        inlet.fail(new HermesError('FENCED', 'This publisher was opened anew by another connection.'))
      }
      if (this.#inlets.size > 0 && (exclusive || this.#exclusive)) {
        throw new HermesError(
          'EXCLUSIVE_HELD',
          `Topic '${this.name}' has ${this.#exclusive ? 'an exclusive publisher' : 'other publishers'}.`,
        )
      }
      if (this.#inlets.size === 0 && this.#exclusive !== exclusive) await this.#closeAppender()
      if (this.#appender === undefined) await this.#openAppender(exclusive)
      this.#producers ??= await Producers.load(topicFolder(this.#directory, this.name), this.#log)
      const producer = await this.#producers.enter(id, this.nextSequence())
      const inlet = make(producer)
      this.#inlets.add(inlet)
      return inlet
    })
  }

  /** @param forGood it closed in order: whatever it sent has been answered, and it will not come back */
  leave(inlet: Inlet, forGood: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#inlets.delete(inlet)) {
        if (forGood) this.#producers?.forget(inlet.producer)
        else this.#producers?.leave(inlet.producer)
      }
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
    this.#words[scratchOffset] = frames
    this.#words[scratchBytes] = end - frames
    this.#words[scratchCount] = count
    this.#words[scratchSlot] = producer.slot
    this.#ingest(bytes)
    if ((this.#words[scratchStatus] as number) < 0) this.#throwIngestError()
    const run = { first, count, sequence: this.#numbers[scratchSequence] as number }
    producer.add(run)
    // Whatever may be sent of it is sent now: no need to be woken for it.
    this.#lastNews = performance.now()
    this.noteTail(run.sequence + count)
    this.#bytesSinceSave += end - start + packetHeaderBytes
    if (this.#bytesSinceSave > saveEveryBytes) this.#saveProducers()
    return run
  }

  #throwIngestError(): never {
    try {
      this.#appender?.lastError()
    } catch (error) {
      const known = fromNative(error, { topic: this.name })
      if (known instanceof HermesError && known.code === 'INVALID_ARGUMENT') {
        throw protocolError(
          'The frames of a batch are not as the protocol wants them: lengths, numbers or checksums are wrong.',
        )
      }
      throw known
    }
    throw new HermesError('CLOSED', 'The broker is shutting down.')
  }

  /** Calls back once everything up to `sequence` is on stable storage; 0 stands for all there is. One sync serves all who wait. */
  whenSynced(sequence: number, done: (error: HermesError | undefined) => void): void {
    // Nobody waits for what is not there: such a sync would fail, and with it all others that it serves.
    const known = sequence > 0 && sequence < this.#tail
    const upto = known ? sequence : Math.min(sequence || Number.MAX_SAFE_INTEGER, this.nextSequence() - 1)
    this.#unsynced.push({ sequence: upto, done })
    if (!this.#syncing) void this.#sync()
  }

  async #sync(): Promise<void> {
    this.#syncing = true
    while (this.#unsynced.length > 0) {
      // All who wait now, in one pass: a list that is searched for each of them took 18 s for a flood.
      const waiting = this.#unsynced
      this.#unsynced = []
      const furthest = waiting.reduce((most, one) => Math.max(most, one.sequence), 0)
      let synced = 0
      let failure: HermesError | undefined
      try {
        if (this.#appender === undefined) throw new HermesError('CLOSED', 'The publisher was closed.')
        synced = furthest === 0 ? 1 : await this.#appender.sync(furthest)
      } catch (error) {
        const known = fromNative(error, { topic: this.name })
        failure = known instanceof HermesError ? known : new HermesError('IO_FAILED', String(error), { cause: error })
      }
      for (const one of waiting) {
        if (failure !== undefined || one.sequence < synced) one.done(failure)
        else this.#unsynced.push(one)
      }
    }
    this.#syncing = false
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #openAppender(exclusive: boolean): Promise<void> {
    try {
      this.#appender = await this.#log.openAppender(exclusive)
    } catch (error) {
      throw fromNative(error, { topic: this.name })
    }
    this.#exclusive = exclusive
    this.#ingest = this.#appender.ingestFunction(this.#scratch)
  }

  async #closeAppender(): Promise<void> {
    const appender = this.#appender
    if (appender === undefined) return
    this.#appender = undefined
    this.#ingest = () => {
      throw new HermesError('CLOSED', 'The publisher is closed.')
    }
    try {
      try {
        await appender.settle()
      } finally {
        appender.close()
      }
    } catch (error) {
      this.#report(fromNative(error, { topic: this.name }))
    }
  }

  #saveProducers(): void {
    this.#bytesSinceSave = 0
    void this.#inTurn(async () => this.#producers?.save()).catch((error) => this.#report(error))
  }

  /* ---- subscribers ---- */

  tail(): LogTail {
    return new LogTail(this.name, this.#log)
  }

  addOutlet(outlet: Outlet): void {
    this.#outlets.add(outlet)
    if (this.#watch === 'off') this.#look()
  }

  removeOutlet(outlet: Outlet): void {
    this.#outlets.delete(outlet)
    if (this.#outlets.size === 0) this.#stopWatching()
  }

  /** Sends to all remote subscribers what there is for them. Called when this broker has appended, and when others may have. */
  pump(): boolean {
    let news = false
    for (const outlet of this.#outlets) if (outlet.pump()) news = true
    if (news) this.#lastNews = performance.now()
    return news
  }

  /** Looks for what local publishers append. With `spin`, the broker's own loop does it. */
  #look(): void {
    if (this.#closed || this.#outlets.size === 0 || this.#spins) return
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
      this.#watcher ??= new LogTail(this.name, this.#log)
      this.#watcher.seek('latest')
      // What came before the watcher's place is sent now, and what comes behind it wakes us.
      this.pump()
      await this.#watcher.wait(waitMs)
    } catch (error) {
      if (!this.#closed) this.#report(error)
      await new Promise((resolve) => setTimeout(resolve, 100).unref())
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

  /** Everything that was acknowledged stays; whoever is still there is told. */
  async close(): Promise<void> {
    if (this.#closed) return
    for (const inlet of this.#inlets) this.#producers?.leave(inlet.producer)
    await this.#inTurn(async () => {
      this.#closed = true
      this.#inlets.clear()
      await this.#producers?.save()
      await this.#closeAppender()
    })
    this.#outlets.clear()
    this.#stopWatching()
    if (this.#watch !== 'asleep') this.#watcher?.close()
    this.#log.close()
  }
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
