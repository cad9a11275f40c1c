import { HermesError } from '../base/errors.js'
import { nanosecondsOf } from '../base/timestamp.js'
import { frameBytes, frameHeaderBytes, frameOffset, frameType, sealFrame } from '../frame/frame.js'
import type { From } from '../model/topic.js'
import { native } from '../native/addon.js'
import { callNative, fromNative } from '../native/error.js'
import { parked } from '../native/parked.js'
import type { NativeLog, NativePosition, NativeReader } from '../native/types.js'

// The scratch memory: see native/binding/reader_handle.h.
const scratchOffset = 0
const scratchLimit = 1
const scratchMessages = 2
const scratchEnd = 3
const scratchStop = 4
const scratchSequence = 3
const scratchBeginSequence = 4
const scratchBytes = 64

const { segmentHeaderBytes, stopClaim, stopSegmentEnd, stopDamage } = native.constants
const patienceMs = 20
/** Why a void stands for messages: see docs/wire-protocol.md, DELIVER. */
const voidPassed = 3
/** Looks at an empty word before the core is asked what it is. */
const emptyLooks = 1024
const mostMessages = 65_535

/** `some`: the run [offset, end) can be sent. `pinned`: there may be more once all that was sent has been written. */
export type Found = 'some' | 'none' | 'pinned'

/**
 * Follows a topic's log for one subscription of a remote client, and hands out runs of its bytes. It never looks at the
 * messages themselves.
 *
 * A socket writes the bytes later, straight from the mapping: whoever sends a run calls `pin` before and `unpin` after it was
 * written. The mapping stays where it is until nothing is pinned any more.
 */
export class LogTail {
  /** What the run consists of; valid after `some`. */
  bytes: Uint8Array = new Uint8Array(0)
  messages = 0
  /** Expected at the run's beginning, and behind it. */
  sequence = 1
  endSequence = 1

  readonly #topic: string
  readonly #log: NativeLog
  readonly #reader: NativeReader
  readonly #scan: () => void
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  #region = new Uint8Array(0)
  #commits = new Int32Array(0)
  #segment = 0
  #offset = segmentHeaderBytes
  #end = segmentHeaderBytes
  #averageBytes = 128
  #pins = 0
  #stuckSince = 0
  #looksLeft = 0
  #closed = false

  constructor(topic: string, log: NativeLog) {
    this.#topic = topic
    this.#log = log
    // The client checks: see docs/wire-protocol.md, DELIVER.
    this.#reader = callNative(() => log.openReader(false))
    const scratch = new ArrayBuffer(scratchBytes)
    this.#words = new Int32Array(scratch)
    this.#numbers = new Float64Array(scratch)
    this.#scan = this.#reader.scanFunction(scratch)
  }

  pin(): void {
    this.#pins++
  }

  unpin(): void {
    this.#pins--
    if (this.#closed) this.#release()
  }

  /** The segment that is mapped; 0 = none. */
  get segment(): number {
    return this.#segment
  }

  get isPinned(): boolean {
    return this.#pins > 0
  }

  /** Goes there. REQUIRES: nothing is pinned. */
  seek(target: From | 'damage'): void {
    if (target === 'damage') {
      this.#store()
      const at = callNative(() => this.#reader.skipDamage(), { topic: this.#topic })
      if (at === null) throw this.#damaged()
      this.#enter(at)
      return
    }
    const where = target instanceof Date ? nanosecondsOf(target) : target
    const sequence = typeof where === 'number' ? where : this.sequence
    let at: NativePosition | null
    try {
      at = this.#reader.seek(where)
    } catch (error) {
      throw this.#where(fromNative(error, { topic: this.#topic, sequence }))
    }
    if (at !== null) {
      this.#enter(at)
    } else if (typeof where === 'number' && where > 1) {
      throw new HermesError('OUT_OF_RANGE', `Topic '${this.#topic}' is empty: there is no sequence ${where} yet.`, {
        details: { topic: this.#topic, sequence: where, nextSequence: 1 },
      })
    }
  }

  /** Adds where the log begins and ends now, so that the client can choose where to go. */
  #where(error: unknown): unknown {
    if (!(error instanceof HermesError) || (error.code !== 'BEHIND_RETENTION' && error.code !== 'OUT_OF_RANGE'))
      return error
    const { firstSequence, nextSequence } = callNative(() => this.#log.info(), { topic: this.#topic })
    return new HermesError(error.code, error.message, {
      cause: error,
      details: { ...error.details, firstSequence, nextSequence },
    })
  }

  /**
   * Looks for more, up to `most` bytes. A frame that is larger is not found.
   *
   * @throws HermesError `CORRUPT`, `BEHIND_RETENTION`, …
   */
  read(most: number): Found {
    for (;;) {
      const offset = this.#offset
      // Now and then the core is asked all the same: zeros may be a page that was lost.
      if (
        offset + frameHeaderBytes <= this.#region.length &&
        Atomics.load(this.#commits, offset >> 2) === 0 &&
        --this.#looksLeft > 0
      )
        return 'none'
      this.#looksLeft = emptyLooks
      this.#look(Math.min(mostMessages, Math.max(1, Math.floor(most / this.#averageBytes))))
      if ((this.#words[scratchOffset] as number) !== offset) {
        this.#takePassed()
        return 'some'
      }
      while (this.#end - offset > most && this.messages > 1) {
        this.#look(Math.max(1, Math.floor((this.messages * most * 0.9) / (this.#end - offset))))
      }
      if (this.#end > offset) {
        if (this.#end - offset > most && !this.#takeOneVoid(most)) return 'none'
        if (this.messages > 0) this.#averageBytes = Math.max(frameHeaderBytes, this.bytes.length / this.messages)
        return 'some'
      }
      const stop = this.#words[scratchStop] as number
      if (stop === stopDamage) throw this.#damaged()
      if (stop === stopClaim) {
        this.#stuck()
        return 'none'
      }
      const empty = this.#region.length === 0
      if (!empty && stop !== stopSegmentEnd) return 'none'
      if (this.#pins > 0) return 'pinned'
      let next: NativePosition | null
      try {
        next = this.#reader.nextSegment()
      } catch (error) {
        throw this.#where(fromNative(error, { topic: this.#topic, sequence: this.sequence }))
      }
      if (next === null) return 'none'
      this.#enter(next)
    }
  }

  /** Takes the run as sent. */
  advance(): void {
    this.#offset = this.#end
    this.sequence = this.endSequence
    this.#stuckSince = 0
  }

  /** Resolves when there may be more than at the position, or after `timeoutMs`. One at a time. */
  async wait(timeoutMs: number): Promise<void> {
    this.#store()
    await parked(() => this.#reader.wait(timeoutMs))
    if (!this.#closed) callNative(() => this.#reader.check(), { topic: this.#topic })
    this.#looksLeft = 0
  }

  cancel(): void {
    this.#reader.cancel()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#release()
  }

  #release(): void {
    if (this.#pins > 0) return
    this.#reader.close()
    this.#region = new Uint8Array(0)
    this.#commits = new Int32Array(0)
  }

  #look(limit: number): void {
    this.#store()
    this.#words[scratchLimit] = limit
    this.#scan()
    this.messages = this.#words[scratchMessages] as number
    this.#end = this.#words[scratchEnd] as number
    this.endSequence = this.#numbers[scratchSequence] as number
    this.bytes = this.#region.subarray(this.#offset, this.#end)
  }

  /** The first frame alone, if it is a void; one that is too large is sent as a small one that says the same. */
  #takeOneVoid(most: number): boolean {
    const data = new DataView(this.#region.buffer)
    const at = this.#offset
    if (data.getUint8(at + frameOffset.type) !== frameType.void) return false
    const length = data.getUint32(at + frameOffset.payloadLength, true)
    const count = length >= 8 ? data.getUint32(at + frameOffset.payload, true) : 1
    this.#end = at + frameBytes(length)
    this.messages = 0
    this.endSequence = this.sequence + count
    this.bytes = this.#region.subarray(at, this.#end)
    if (this.bytes.length > most) {
      const short = new Uint8Array(frameBytes(8))
      short.set(this.#region.subarray(at, at + short.length))
      const low = data.getUint32(at + frameOffset.timestampNs, true)
      const high = data.getUint32(at + frameOffset.timestampNs + 4, true)
      sealFrame(short, new DataView(short.buffer), 0, frameType.void, 0, this.sequence, low, high, 8)
      this.bytes = short
    }
    return true
  }

  /** A message from a time on is awaited, and earlier ones were passed over: a void in their place keeps the sequences dense. */
  #takePassed(): void {
    this.#end = this.#words[scratchOffset] as number
    this.endSequence = this.#numbers[scratchBeginSequence] as number
    this.messages = 0
    this.bytes = new Uint8Array(frameBytes(8))
    const data = new DataView(this.bytes.buffer)
    data.setUint32(frameOffset.payload, this.endSequence - this.sequence, true)
    data.setUint32(frameOffset.payload + 4, voidPassed, true)
    sealFrame(this.bytes, data, 0, frameType.void, 0, this.sequence, 0, 0, 8)
  }

  /** A claim stands here: its owner is writing, or dead. */
  #stuck(): void {
    const now = performance.now()
    if (this.#stuckSince === 0) this.#stuckSince = now
    if (now - this.#stuckSince < patienceMs) return
    this.#stuckSince = 0
    try {
      this.#reader.repair()
    } catch (error) {
      throw this.#where(fromNative(error, { topic: this.#topic, sequence: this.sequence }))
    }
  }

  #store(): void {
    this.#words[scratchOffset] = this.#offset
    this.#numbers[scratchSequence] = this.sequence
  }

  #enter(at: NativePosition): void {
    if (at.segment !== this.#segment) {
      // Detaches the old segment's buffer.
      const buffer = callNative(() => this.#reader.region())
      if (buffer === null) return
      this.#region = new Uint8Array(buffer)
      this.#commits = new Int32Array(buffer)
      this.#segment = at.segment
    }
    this.#offset = at.offset
    this.#end = at.offset
    this.sequence = at.sequence
    this.endSequence = at.sequence
    this.#stuckSince = 0
    this.#store()
  }

  #damaged(): HermesError {
    return new HermesError('CORRUPT', `Topic '${this.#topic}' is damaged at sequence ${this.sequence}.`, {
      details: { topic: this.#topic, sequence: this.sequence },
    })
  }
}
