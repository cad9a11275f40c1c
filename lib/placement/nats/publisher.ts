import { abortable } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { pause } from '../../base/pause.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameHeaderBytes } from '../../frame/frame.js'
import type { Durability } from '../../model/topic.js'
import type { PublisherPort, Stamp } from '../port.js'
import { type Batch, type BatchShape, SendBuffer } from '../send-buffer.js'
import { Appender, type Cargo } from './appender.js'
import { mostFrames, type TopicStream } from './stream.js'

const shape: BatchShape = { headBytes: 0, batchBytes: 256 * 1024, mostFrames }
/** Room for headers and subject in what the servers carry at once. */
const headRoom = 1024
/** Between two attempts, at most: after another's append came first, and while the cluster does not answer. */
const mostPauseMs = { refused: 20, unknown: 1000 } as const

const resolved = Promise.resolve()

interface Load {
  readonly batches: readonly Batch[]
  readonly cargo: Cargo
}

interface Waiter {
  readonly upto: number
  readonly deferred: Deferred<Stamp>
}

/**
 * Publishes into a stream. What was accepted lies in the send buffer until a quorum of servers has it. Each append says which message of the stream it
 * follows, so of two attempts one is stored at most, and none overtakes another: nothing is doubled, and order is kept, however often it is tried.
 */
export class NatsPublisher implements PublisherPort {
  readonly payloadOffset = frameHeaderBytes
  readonly batchOffset = 0
  readonly recovery = undefined
  readonly region: Region
  readonly batchLimit: number
  readonly maxPayloadBytes: number
  lastSequence = 0

  readonly #stream: TopicStream
  readonly #buffer: SendBuffer
  readonly #appender: Appender
  #acknowledged = 0
  #lastStamp: Stamp = { sequence: 0, timestampNs: 0n }
  /** What is under way. */
  #loaded: Load | undefined
  #waiters: Waiter[] = []
  #ready: Deferred<void> | undefined
  #failure: HermesError | undefined
  #failureStays = false
  /** Messages that were given up, and why: the newest range. */
  #drop: { readonly upto: number; readonly reason: HermesError } | undefined
  #isClosed = false
  readonly #ending = new AbortController()
  #scheduled = false
  #running = false

  private constructor(stream: TopicStream, appender: Appender, publishBuffer: number, maxMessageBytes: number) {
    this.#stream = stream
    this.#appender = appender
    this.maxPayloadBytes = stream.definition.maxPayloadBytes
    this.#buffer = new SendBuffer(publishBuffer, this.maxPayloadBytes, maxMessageBytes - headRoom, shape)
    this.region = this.#buffer.region
    this.batchLimit = this.#buffer.batchLimit
  }

  /** @throws HermesError what the cluster refuses with */
  static async open(
    stream: TopicStream,
    publishBuffer: number,
    maxMessageBytes: number,
    fence: number | undefined,
  ): Promise<NatsPublisher> {
    return new NatsPublisher(stream, new Appender(stream, await stream.tail(), fence), publishBuffer, maxMessageBytes)
  }

  /** Counts the messages of this publisher. */
  get ticket(): number {
    return this.#buffer.accepted
  }

  get unacknowledged(): number {
    return this.#buffer.accepted - this.#acknowledged
  }

  append(length: number): boolean {
    const buffer = this.#buffer
    if (this.#failure !== undefined || this.#isClosed) this.#refuse()
    if (buffer.isBatchFull(frameBytes(length), 1)) buffer.complete()
    if (!buffer.begin()) throw this.#full()
    buffer.add(length)
    return this.#appended()
  }

  appendBatch(count: number, bytes: number): boolean {
    const buffer = this.#buffer
    if (this.#failure !== undefined || this.#isClosed) this.#refuse()
    if (buffer.isBatchFull(bytes, count)) buffer.complete()
    if (!buffer.begin()) throw this.#full()
    buffer.addFrames(count, bytes)
    return this.#appended()
  }

  #appended(): boolean {
    const buffer = this.#buffer
    if (!this.#scheduled) {
      this.#scheduled = true
      void resolved.then(() => {
        this.#scheduled = false
        this.#start()
      })
    }
    return buffer.used < buffer.size / 2
  }

  #refuse(): never {
    const failure = this.#failure
    if (failure === undefined) throw new HermesError('CLOSED', `The publisher of '${this.#topic}' is closed.`)
    // Told once; the next attempt may succeed.
    if (!this.#failureStays) this.#failure = undefined
    throw failure
  }

  #full(): HermesError {
    const { used } = this.#buffer
    return new HermesError(
      'BACK_PRESSURE',
      `${used} bytes of the publisher of '${this.#topic}' wait to be acknowledged, as many as it may hold. Await ready() when publish() returns false.`,
      { details: { topic: this.#topic, bytes: used } },
    )
  }

  get #topic(): string {
    return this.#stream.topic
  }

  /** What comes while the cluster is busy is sealed with the time at which it came, and goes together afterwards. */
  #start(): void {
    this.#buffer.complete()
    if (!this.#running && !this.#buffer.isEmpty) void this.#run()
  }

  /** Appends until nothing is left. Never rejects. */
  async #run(): Promise<void> {
    this.#running = true
    const { signal } = this.#ending
    let pauseMs = 1
    try {
      while (!this.#isClosed && !this.#buffer.isEmpty) {
        const { batches, cargo } = this.#load()
        const fate = await this.#appender.append(cargo, (sequence) => this.#stored(batches, sequence))
        if (fate === 'stored') pauseMs = 1
        else {
          // Random, so that of several publishers not all come again together.
          await pause(Math.random() * pauseMs, signal)
          pauseMs = Math.min(2 * pauseMs, mostPauseMs[fate])
        }
      }
    } catch (error) {
      this.#fail(error as HermesError)
    } finally {
      this.#running = false
    }
  }

  /** What goes next: all batches that fit into one message of the stream. The same again until it is stored. */
  #load(): Load {
    if (this.#loaded !== undefined) return this.#loaded
    const buffer = this.#buffer
    buffer.complete()
    const [first] = buffer.batches as [Batch]
    const batches: Batch[] = []
    let count = 0
    let size = 0
    for (const batch of buffer.batches) {
      if (count > 0 && (count + batch.count > mostFrames || size + batch.size > this.batchLimit)) break
      batches.push(batch)
      count += batch.count
      size += batch.size
    }
    // (a copy: the client may hold it while there is no connection, longer than the batches are kept)
    const bytes = new Uint8Array(size)
    let at = 0
    for (const batch of batches) {
      bytes.set(buffer.packet(batch), at)
      at += batch.size
    }
    this.#loaded = { batches, cargo: { before: first.before, count, bytes } }
    return this.#loaded
  }

  #stored(batches: readonly Batch[], sequence: number): void {
    this.#loaded = undefined
    let from = sequence
    for (const batch of batches) {
      this.#acknowledge(batch, from)
      from += batch.count
    }
    this.#relieve()
  }

  #acknowledge(batch: Batch, sequence: number): void {
    const { before, count, first } = batch
    this.#acknowledged = before + count
    this.lastSequence = sequence + count - 1
    this.#lastStamp = { sequence: this.lastSequence, timestampNs: first + BigInt(count - 1) }
    let served = 0
    for (const { upto, deferred } of this.#waiters) {
      if (upto > this.#acknowledged) break
      served++
      const index = upto - before - 1
      deferred.resolve({ sequence: sequence + index, timestampNs: first + BigInt(index) })
    }
    if (served > 0) this.#waiters.splice(0, served)
    this.#buffer.release(first + BigInt(count) - 1n, () => {})
  }

  #relieve(): void {
    if (this.#ready === undefined || this.#isFilling) return
    this.#ready.resolve()
    this.#ready = undefined
  }

  get #isFilling(): boolean {
    return this.#buffer.used >= this.#buffer.size / 4
  }

  async ready(signal: AbortSignal | undefined): Promise<void> {
    while (!this.#isClosed && this.#failure === undefined && this.#isFilling) {
      this.#start()
      this.#ready ??= new Deferred<void>()
      await abortable(this.#ready.promise, signal)
    }
  }

  receipt(signal: AbortSignal | undefined): Promise<Stamp> {
    return this.#wait(this.ticket, signal)
  }

  async reached(ticket: number, _durability: Durability, signal: AbortSignal | undefined): Promise<void> {
    if (this.#drop !== undefined && ticket > this.#acknowledged && ticket <= this.#drop.upto) throw this.#drop.reason
    await this.#wait(ticket, signal)
  }

  async #wait(upto: number, signal: AbortSignal | undefined): Promise<Stamp> {
    if (upto <= this.#acknowledged) return this.#lastStamp
    if (this.#failure !== undefined) throw this.#failure
    if (this.#isClosed) throw this.#closedError()
    const deferred = new Deferred<Stamp>()
    deferred.promise.catch(() => {})
    let at = this.#waiters.length
    while (at > 0 && (this.#waiters[at - 1] as Waiter).upto > upto) at--
    this.#waiters.splice(at, 0, { upto, deferred })
    this.#start()
    return abortable(deferred.promise, signal)
  }

  #fail(error: HermesError): void {
    // Messages for which there is no room may find some later; anything else will not get better by itself.
    this.#failureStays = error.code !== 'DISK_FULL'
    this.#failure = error
    this.#drop = { upto: this.ticket, reason: error }
    this.#buffer.clear()
    this.#loaded = undefined
    this.#failAll(error)
  }

  #failAll(error: HermesError): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const { deferred } of waiters) deferred.reject(error)
    this.#ready?.resolve()
    this.#ready = undefined
  }

  #closedError(): HermesError {
    return new HermesError('CLOSED', `The publisher of '${this.#topic}' was closed during the wait.`)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ending.abort()
    this.#failAll(this.#closedError())
  }
}
