import { setTimeout as sleep } from 'node:timers/promises'
import { onAbort } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import type { Region } from '../../codec/codec.js'
import type { RecoveryReport } from '../../model/recovery.js'
import { type Durability, durabilities } from '../../model/topic.js'
import { callNative, fromNative } from '../../native/error.js'
import type { NativeAppender, NativeLog } from '../../native/types.js'
import type { PublisherPort } from '../port.js'

/** Room for a batch, in bytes, besides the largest payload. */
const batchRoom = 256 * 1024
// The scratch memory: see native/binding/appender_handle.h.
const scratchLength = 0
const scratchBytes = 1
const scratchStatus = 2
const scratchSequence = 2
const scratchTimestamp = 3
const framesAt = 64
const payloadAt = framesAt + 32

/** A wait for a sequence to be synced. */
interface Waiter {
  readonly sequence: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Publishes by appending to the mapped log: one native call for a message or a batch. */
export class LocalPublisher implements PublisherPort {
  readonly region: Region
  readonly payloadOffset = payloadAt
  readonly batchOffset = framesAt
  readonly batchLimit: number
  readonly maxPayloadBytes: number
  readonly recovery: RecoveryReport
  readonly durabilities = durabilities

  readonly #log: NativeLog
  readonly #appender: NativeAppender
  readonly #append: () => void
  readonly #appendBatch: () => void
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #timestamps: BigUint64Array
  readonly #topic: string
  readonly #syncsByItself: boolean
  #waiters: Waiter[] = []
  #syncing = false
  #synced = 0
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
    this.maxPayloadBytes = maxPayloadBytes
    this.recovery = appender.recovery
    const scratch = new ArrayBuffer(Math.ceil((payloadAt + maxPayloadBytes + batchRoom) / 8) * 8)
    this.region = { bytes: new Uint8Array(scratch), data: new DataView(scratch) }
    // A batch lies in one segment; half of one, at most, so that the padding before it stays small.
    this.batchLimit = Math.min(scratch.byteLength, framesAt + segmentBytes / 2)
    this.#words = new Int32Array(scratch)
    this.#numbers = new Float64Array(scratch)
    this.#timestamps = new BigUint64Array(scratch)
    const { append, appendBatch } = appender.attach(scratch)
    this.#append = append
    this.#appendBatch = appendBatch
  }

  get lastSequence(): number {
    return this.#numbers[scratchSequence] as number
  }

  get lastTimestampNs(): bigint {
    return this.#timestamps[scratchTimestamp] as bigint
  }

  append(length: number): boolean {
    this.#words[scratchLength] = length
    this.#append()
    const status = this.#words[scratchStatus] as number
    return status === 0 || this.#afterwards(status)
  }

  appendBatch(count: number, bytes: number): boolean {
    this.#words[scratchLength] = count
    this.#words[scratchBytes] = bytes
    this.#appendBatch()
    const status = this.#words[scratchStatus] as number
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

  reached(sequence: number, durability: Durability, signal: AbortSignal | undefined): Promise<void> {
    // What ended interval syncing is told wherever the publisher is asked.
    if (this.#syncsByItself && !this.#closed) {
      try {
        callNative(() => this.#appender.checkInterval(), { topic: this.#topic })
      } catch (error) {
        return Promise.reject(error)
      }
    }
    if (durability === 'written' || sequence < this.#synced || sequence === 0) return Promise.resolve()
    if (signal?.aborted) return Promise.reject(aborted(signal))
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { sequence, resolve, reject }
      if (signal !== undefined) {
        const stop = () => {
          this.#waiters = this.#waiters.filter((one) => one !== waiter)
          reject(aborted(signal))
        }
        waiterSignals.set(waiter, onAbort(signal, stop))
      }
      this.#waiters.push(waiter)
      if (!this.#syncing) void this.#sync()
    })
  }

  /** One sync at a time; it serves all who wait when it begins, and those who come meanwhile are served by the next. */
  async #sync(): Promise<void> {
    this.#syncing = true
    try {
      while (this.#waiters.length > 0) {
        const furthest = this.#waiters.reduce((most, one) => Math.max(most, one.sequence), 0)
        this.#synced = await this.#appender.sync(furthest)
        const served = this.#waiters.filter((one) => one.sequence < this.#synced)
        this.#waiters = this.#waiters.filter((one) => one.sequence >= this.#synced)
        for (const one of served) settle(one, one.resolve)
      }
    } catch (error) {
      const failed = this.#waiters
      this.#waiters = []
      for (const one of failed) settle(one, () => one.reject(fromNative(error, { topic: this.#topic })))
    } finally {
      this.#syncing = false
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#appender.settle()
    } catch (error) {
      throw fromNative(error, { topic: this.#topic })
    } finally {
      callNative(() => this.#appender.close(), { topic: this.#topic })
      this.#log.close()
      this.#giveUpWaits()
    }
  }

  #giveUpWaits(): void {
    const error = new HermesError('CLOSED', `The publisher of '${this.#topic}' was closed during the wait.`)
    const left = this.#waiters
    this.#waiters = []
    for (const one of left) settle(one, () => one.reject(error))
  }
}

/** What makes a waiter's signal forget it. */
const waiterSignals = new WeakMap<Waiter, () => void>()

function settle(waiter: Waiter, how: () => void): void {
  waiterSignals.get(waiter)?.()
  how()
}
