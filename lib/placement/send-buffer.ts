import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import type { Region } from '../codec/codec.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../frame/frame.js'
import { SealScratch } from '../frame/run-scratch.js'
import { frameSealer } from '../native/runs.js'

/** How a placement lays out what it sends. */
export interface BatchShape {
  /** What stands in front of a batch's frames, and is written when it is sent. A multiple of 8. */
  readonly headBytes: number
  /** Frames of one batch, in bytes, unless one message is larger. */
  readonly batchBytes: number
  readonly mostFrames: number
}

/** Up to here a loop over words copies faster than a call of `set`. */
const loopBytes = 256

/** A batch that is complete and not acknowledged: a head that is written when it is sent, and frames. */
export interface Batch {
  readonly offset: number
  /** With its head. */
  readonly size: number
  /** Bytes of the buffer that it holds: also what was left free in front of it at a wrap. */
  readonly held: number
  readonly frameBytes: number
  readonly count: number
  /** The number of its first message; the others follow without a gap. */
  readonly first: bigint
  /** How many messages of this publisher came before. */
  readonly before: number
}

/** The number of a batch's last message. */
export function lastNumber(batch: Batch): bigint {
  return batch.first + BigInt(batch.count) - 1n
}

/**
 * What a publisher has accepted, in the form in which it is sent, until it is acknowledged: one buffer, used in a circle. At most one batch is being
 * filled; the others are complete.
 *
 * Invariants: complete batches lie one behind the other, the oldest first, with a gap only where the circle closes; the batch that is being filled has
 * room for `batchLimit` bytes of frames behind them.
 */
export class SendBuffer {
  /** Memory to encode into: a single message's payload behind the room for its header, or the frames of a batch. */
  readonly region: Region
  /** A batch's frames have so many bytes at most. */
  readonly batchLimit: number
  /** Bytes in all. */
  readonly size: number
  /** Messages that were ever added. */
  accepted = 0
  /** Bytes that complete batches hold. */
  used = 0
  /** Complete batches, the oldest first. */
  batches: Batch[] = []

  readonly #bytes: Buffer
  readonly #data: DataView
  readonly #words: Int32Array
  readonly #regionWords: Int32Array
  readonly #seal: () => void
  readonly #scratch = new SealScratch()
  readonly #headBytes: number
  readonly #mostFrames: number
  /** The batch that is being filled: where it begins (-1 = none), its bytes of frames and their number. */
  #start = -1
  #skipped = 0
  #filled = 0
  #count = 0
  /** Where the next batch may begin. */
  #tail = 0

  /**
   * @param wantedBytes   at least 16 batches, whatever is wanted
   * @param maxBatchBytes what the other end takes at once
   */
  constructor(wantedBytes: number, maxPayloadBytes: number, maxBatchBytes: number, shape: BatchShape) {
    const { headBytes, batchBytes, mostFrames } = shape
    this.#headBytes = headBytes
    this.#mostFrames = mostFrames
    const largest = frameBytes(maxPayloadBytes)
    this.batchLimit = Math.max(Math.min(batchBytes, maxBatchBytes - (maxBatchBytes % 8)), largest)
    const region = new ArrayBuffer(this.batchLimit)
    this.region = { bytes: new Uint8Array(region), data: new DataView(region) }
    this.#regionWords = new Int32Array(region)
    this.size = Math.max(wantedBytes - (wantedBytes % 8), 16 * (this.batchLimit + headBytes))
    const buffer = new ArrayBuffer(this.size)
    this.#bytes = Buffer.from(buffer)
    this.#data = new DataView(buffer)
    this.#words = new Int32Array(buffer)
    this.#seal = frameSealer(buffer, this.#scratch.buffer)
  }

  /** Bytes of frames in the batch that is being filled. */
  get filledBytes(): number {
    return this.#filled
  }

  /** Whether nothing is in it that is not acknowledged. */
  get isEmpty(): boolean {
    return this.batches.length === 0 && (this.#start < 0 || this.#count === 0)
  }

  /** Whether so many frames of so many bytes in all have to wait for the next batch. */
  isBatchFull(bytes: number, count: number): boolean {
    return this.#start >= 0 && (this.#filled + bytes > this.batchLimit || this.#count + count > this.#mostFrames)
  }

  /** Sees to it that there is a batch to fill. @returns false if there is no room for one */
  begin(): boolean {
    return this.#start >= 0 || this.#beginBatch()
  }

  #beginBatch(): boolean {
    const need = this.#headBytes + this.batchLimit
    const head = this.batches[0]
    let start = this.#tail
    this.#skipped = 0
    if (head === undefined) {
      start = 0
    } else if (head.offset < start) {
      // Free: from the tail to the end, and from 0 to the head.
      if (start + need > this.size) {
        if (need > head.offset) return false
        this.#skipped = this.size - start
        start = 0
      }
    } else if (start + need > head.offset) {
      return false
    }
    this.#start = start
    this.#filled = 0
    this.#count = 0
    return true
  }

  /** Adds the message whose payload of `length` bytes stands in the region. REQUIRES: `begin`, and the batch is not full. */
  add(length: number): void {
    const bytes = frameBytes(length)
    const at = this.#start + this.#headBytes + this.#filled
    this.#data.setUint32(at + frameOffset.payloadLength, length, true)
    const to = at + frameHeaderBytes
    const target = this.#bytes
    if (length <= loopBytes) {
      // Word by word: for a small message any call costs more. What lies behind the payload in the region is not sent.
      const words = this.#words
      const source = this.#regionWords
      const whole = length >> 2
      let word = to >> 2
      let from = frameHeaderBytes >> 2
      for (let left = whole; left > 0; left--) words[word++] = source[from++] as number
      const { bytes: given } = this.region
      for (let byte = whole << 2; byte < length; byte++) target[to + byte] = given[frameHeaderBytes + byte] as number
    } else {
      target.set(this.region.bytes.subarray(frameHeaderBytes, frameHeaderBytes + length), to)
    }
    for (let byte = to + length; byte < at + bytes; byte++) target[byte] = 0
    this.#added(bytes, 1)
  }

  /** Adds `count` frames of `bytes` in all, which stand at the region's beginning. REQUIRES: as `add`. */
  addFrames(count: number, bytes: number): void {
    this.#bytes.set(this.region.bytes.subarray(0, bytes), this.#start + this.#headBytes + this.#filled)
    this.#added(bytes, count)
  }

  #added(bytes: number, count: number): void {
    this.#filled += bytes
    this.#count += count
    this.accepted += count
  }

  /** Completes the batch that is being filled. @returns `undefined` if there is nothing in it */
  complete(): Batch | undefined {
    const start = this.#start
    if (start < 0 || this.#count === 0) return undefined
    const scratch = this.#scratch
    scratch.setFrames(start + this.#headBytes, this.#filled, this.#count)
    this.#seal()
    if (!scratch.isDone)
      throw new HermesError('INVALID_ARGUMENT', 'The frames of the batch are not laid out as they should be.')
    const first = scratch.timestampNs
    // The next batch's numbers begin behind this one's, whatever the clock does.
    scratch.timestampNs = first + BigInt(this.#count)
    const size = this.#headBytes + this.#filled
    const held = size + this.#skipped
    const { accepted } = this
    const batch: Batch = {
      offset: start,
      size,
      held,
      frameBytes: this.#filled,
      count: this.#count,
      first,
      before: accepted - this.#count,
    }
    this.batches.push(batch)
    this.#tail = start + size
    this.used += held
    this.#start = -1
    return batch
  }

  /** The memory of a batch. It stays as it is until the batch is released. */
  packet({ offset, size }: Batch): Buffer {
    return this.#bytes.subarray(offset, offset + size)
  }

  /** Gives back the room of all batches up to this number, telling each. */
  release(upto: bigint, each: (batch: Batch) => void): void {
    let released = 0
    for (const batch of this.batches) {
      if (lastNumber(batch) > upto) break
      released++
      this.used -= batch.held
      each(batch)
    }
    if (released > 0) this.batches.splice(0, released)
  }

  /** Gives up all that is in it. */
  clear(): void {
    this.batches = []
    this.#start = -1
    this.#tail = 0
    this.used = 0
  }
}
