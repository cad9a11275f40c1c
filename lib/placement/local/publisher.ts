import { setTimeout as sleep } from 'node:timers/promises'
import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import type { Region } from '../../codec/codec.js'
import { frameHeaderBytes } from '../../frame/frame.js'
import type { RecoveryReport } from '../../model/recovery.js'
import type { Durability } from '../../model/topic.js'
import { callNative, fromNative } from '../../native/error.js'
import { AppendScratch } from '../../native/scratch.js'
import type { NativeAppender, NativeLog } from '../../native/types.js'
import { closeAppender } from '../../store/native-log.js'
import { SyncQueue } from '../../store/sync-queue.js'
import type { PublisherPort, Stamp } from '../port.js'

/** How long a closing publisher waits for the sync of another process, or for a slow disk. */
const syncDrainMs = 1000
/** Room for a batch, in bytes, besides the largest payload. */
const batchRoomBytes = 256 * 1024
const { framesAt } = AppendScratch
const payloadAt = framesAt + frameHeaderBytes

/** Publishes by appending to the mapped log: one native call for a message or a batch. */
export class LocalPublisher implements PublisherPort {
  readonly region: Region
  readonly payloadOffset = payloadAt
  readonly batchOffset = framesAt
  readonly batchLimit: number
  readonly maxPayloadBytes: number
  readonly recovery: RecoveryReport

  readonly #log: NativeLog
  readonly #appender: NativeAppender
  readonly #append: () => void
  readonly #appendBatch: () => void
  readonly #scratch: AppendScratch
  readonly #topic: string
  readonly #syncsByItself: boolean
  readonly #syncs: SyncQueue
  #closed = false

  constructor(
    topic: string,
    log: NativeLog,
    appender: NativeAppender,
    sizes: { readonly segmentBytes: number; readonly maxPayloadBytes: number },
    syncsByItself: boolean,
  ) {
    const { segmentBytes, maxPayloadBytes } = sizes
    this.#topic = topic
    this.#syncsByItself = syncsByItself
    this.#log = log
    this.#appender = appender
    this.#syncs = new SyncQueue(topic, (upto) => appender.sync(upto))
    this.maxPayloadBytes = maxPayloadBytes
    this.recovery = appender.recovery
    this.#scratch = new AppendScratch(payloadAt + maxPayloadBytes + batchRoomBytes)
    const { buffer } = this.#scratch
    this.region = { bytes: new Uint8Array(buffer), data: new DataView(buffer) }
    // A batch lies in one segment; half of one, at most, so that the padding before it stays small.
    this.batchLimit = Math.min(buffer.byteLength, framesAt + segmentBytes / 2)
    const { append, appendBatch } = appender.attach(buffer)
    this.#append = append
    this.#appendBatch = appendBatch
  }

  get lastSequence(): number {
    return this.#scratch.sequence
  }

  get ticket(): number {
    return this.#scratch.sequence
  }

  append(length: number): boolean {
    this.#scratch.setMessage(length)
    this.#append()
    const { status } = this.#scratch
    return status === 0 || this.#afterwards(status)
  }

  appendBatch(count: number, bytes: number): boolean {
    this.#scratch.setBatch(count, bytes)
    this.#appendBatch()
    const { status } = this.#scratch
    return status === 0 || this.#afterwards(status)
  }

  /** The rare outcomes: accepted under pressure, or refused. */
  #afterwards(status: number): boolean {
    if (status < 0) callNative(() => this.#appender.lastError(), { topic: this.#topic })
    return false
  }

  async ready(signal: AbortSignal | undefined): Promise<void> {
    while (!this.#closed && !this.#appender.hasRoom()) {
      if (signal?.aborted) throw aborted(signal)
      // The preparer works in chunks of a few megabytes, which take it about a millisecond each.
      await sleep(1)
    }
  }

  receipt(signal: AbortSignal | undefined): Stamp | Promise<Stamp> {
    const { sequence, timestampNs, status } = this.#scratch
    const receipt = { sequence, timestampNs }
    return status === 0 ? receipt : this.ready(signal).then(() => receipt)
  }

  reached(ticket: number, durability: Durability, signal: AbortSignal | undefined): Promise<void> {
    // What ended interval syncing is told wherever the publisher is asked.
    if (this.#syncsByItself && !this.#closed) {
      try {
        callNative(() => this.#appender.checkInterval(), { topic: this.#topic })
      } catch (error) {
        return Promise.reject(error)
      }
    }
    if (durability === 'written' || ticket < this.#syncs.syncedBefore || ticket === 0) return Promise.resolve()
    return this.#syncs.reached(ticket, signal)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      // A sync that is under way ends first, or keeps the event loop from going on in the middle of closing.
      await this.#syncs.drained(syncDrainMs)
      await closeAppender(this.#appender)
    } catch (error) {
      throw fromNative(error, { topic: this.#topic })
    } finally {
      this.#log.close()
      this.#syncs.giveUp(new HermesError('CLOSED', `The publisher of '${this.#topic}' was closed during the wait.`))
    }
  }
}
