import { onAbort } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import { nanosecondsOf } from '../../base/timestamp.js'
import type { Region } from '../../codec/codec.js'
import type { From } from '../../model/topic.js'
import { native } from '../../native/addon.js'
import { callNative, fromNative } from '../../native/error.js'
import { parked } from '../../native/parked.js'
import type { NativeLog, NativePosition, NativeReader } from '../../native/types.js'
import type { SubscriberPort } from '../port.js'

// The scratch memory: see native/binding/reader_handle.h.
const scratchOffset = 0
const scratchLimit = 1
const scratchMessages = 2
const scratchEnd = 3
const scratchStop = 4
const scratchSequence = 3
const scratchBeginSequence = 4
const scratchBytes = 64

const { segmentHeaderBytes, frameHeaderBytes, stopLimit, stopEmpty, stopClaim, stopSegmentEnd } = native.constants
/** How long a claim may stand in the way before its owner's life is looked into, in ms. */
const patienceMs = 20
/** A mask: one in 256 fetches that find nothing asks whether the control file is still the one of the topic, and the zeros are no page that was lost. */
const lookEvery = 255
const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/** Reads the mapped log in place. The mapping is read-only and never leaves lib/. */
export class LocalSubscriber implements SubscriberPort {
  region: Region = noRegion
  offset = segmentHeaderBytes
  end = segmentHeaderBytes
  sequence = 1

  readonly #topic: string
  readonly #log: NativeLog
  readonly #reader: NativeReader
  readonly #scan: () => void
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  #commits = new Int32Array(0)
  #segment = 0
  #stuckSince = 0
  #emptyFetches = 0
  /** In a topic without segments: the time to go to once there is one. */
  #awaitedNs: bigint | undefined
  #closed = false

  constructor(topic: string, log: NativeLog, verify: boolean, from: From) {
    this.#topic = topic
    this.#log = log
    this.#reader = log.openReader(verify)
    const scratch = new ArrayBuffer(scratchBytes)
    this.#words = new Int32Array(scratch)
    this.#numbers = new Float64Array(scratch)
    this.#scan = this.#reader.scanFunction(scratch)
    try {
      this.seek(from)
    } catch (error) {
      // Else the topic would count as in use until the collector comes by.
      this.#reader.close()
      throw error
    }
  }

  fetch(limit: number): number {
    const { offset } = this
    // Nothing committed here? One atomic load says so, without a native call.
    if (offset + frameHeaderBytes <= this.region.bytes.length && Atomics.load(this.#commits, offset >> 2) === 0) {
      if ((++this.#emptyFetches & lookEvery) !== 0) return 0
      this.#lookAtControl()
    }
    return this.#fetchNative(limit)
  }

  /** Who polls and never parks learns this way, too, that nothing more will come. */
  #lookAtControl(): void {
    callNative(() => this.#reader.check(), { topic: this.#topic })
  }

  #fetchNative(limit: number): number {
    this.#store()
    this.#words[scratchLimit] = limit
    try {
      this.#scan()
    } catch (error) {
      throw fromNative(error, { topic: this.#topic, sequence: this.sequence })
    }
    const begin = this.#words[scratchOffset] as number
    if (begin !== this.offset) {
      // A message from a time on is awaited, and earlier ones were passed over.
      this.offset = begin
      this.sequence = this.#numbers[scratchBeginSequence] as number
    }
    const messages = this.#words[scratchMessages] as number
    this.end = this.#words[scratchEnd] as number
    if (messages > 0) return messages
    return this.#withoutMessages(limit)
  }

  /** What to do when there was none: follow the log to its next segment, or find out why it does not go on. */
  #withoutMessages(limit: number): number {
    const stop = this.#words[scratchStop] as number
    const voidsEnd = this.end
    if (voidsEnd > this.offset) {
      // Only voids so far: take them as read.
      this.offset = voidsEnd
      this.sequence = this.#numbers[scratchSequence] as number
      this.#store()
    }
    if (stop === stopEmpty || stop === stopLimit) {
      this.#stuckSince = 0
      if (this.region !== noRegion) return 0
    }
    if (this.region === noRegion || stop === stopSegmentEnd) {
      // Before the topic's first segment the position is a mere number: whether it is still there shows when there are segments.
      const { sequence } = this
      const next = this.#call(
        () => (this.region === noRegion ? this.#reader.seek(this.#awaitedNs ?? sequence) : this.#reader.nextSegment()),
        sequence,
      )
      if (next === null) return 0
      this.#enter(next)
      return this.fetch(limit)
    }
    if (stop === stopClaim) return this.#stuck()
    throw new HermesError(
      'CORRUPT',
      `Topic '${this.#topic}' is damaged at sequence ${this.sequence}. Go on behind it with seek(), or subscribe with onDamage: 'skip'.`,
      { details: { topic: this.#topic, sequence: this.sequence, offset: this.offset } },
    )
  }

  /** A claim stands here: its owner is writing, or dead. */
  #stuck(): number {
    const now = performance.now()
    if (this.#stuckSince === 0) this.#stuckSince = now
    if (now - this.#stuckSince >= patienceMs) {
      this.#stuckSince = 0
      this.#call(() => this.#reader.repair(), this.sequence)
    }
    return 0
  }

  #store(): void {
    this.#words[scratchOffset] = this.offset
    this.#numbers[scratchSequence] = this.sequence
  }

  #enter(at: NativePosition): void {
    if (at.segment !== this.#segment) {
      // The old segment's buffer is detached by this: views of it that somebody kept fail instead of reading on.
      const buffer = callNative(() => this.#reader.region())
      if (buffer === null) return
      this.region = { bytes: new Uint8Array(buffer), data: new DataView(buffer) }
      this.#commits = new Int32Array(buffer)
      this.#segment = at.segment
    }
    this.offset = at.offset
    this.end = at.offset
    this.sequence = at.sequence
    this.#stuckSince = 0
    this.#store()
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed) return
    this.#store()
    const forget = signal && onAbort(signal, () => this.#reader.cancel())
    try {
      await parked(() => this.#reader.wait(timeoutMs))
      if (!this.#closed) this.#reader.check()
    } catch (error) {
      throw fromNative(error, { topic: this.#topic })
    } finally {
      forget?.()
      this.#emptyFetches = lookEvery // the next one looks closely
    }
  }

  seek(target: From): void {
    const native = target instanceof Date ? nanosecondsOf(target) : target
    this.#store()
    const at = this.#call(() => this.#reader.seek(native), typeof native === 'number' ? native : this.sequence)
    this.#awaitedNs = typeof native === 'bigint' && at === null ? native : undefined
    // The first sequence of a topic exists before its first segment does.
    if (at !== null) {
      this.#enter(at)
      // Who sleeps at the old position is to look at the new one.
      this.#reader.cancel()
    } else if (typeof native === 'number' && native > 1) {
      throw new HermesError('OUT_OF_RANGE', `Topic '${this.#topic}' is empty: there is no sequence ${native} yet.`, {
        details: { topic: this.#topic, sequence: native, nextSequence: 1 },
      })
    }
  }

  /** Calls the addon. Its failure tells where the log begins and ends now, so that the caller can choose where to go. */
  #call<T>(work: () => T, sequence: number): T {
    try {
      return work()
    } catch (error) {
      const failed = fromNative(error, { topic: this.#topic, sequence })
      if (!(failed instanceof HermesError) || (failed.code !== 'BEHIND_RETENTION' && failed.code !== 'OUT_OF_RANGE'))
        throw failed
      const { firstSequence, nextSequence } = callNative(() => this.#log.info(), { topic: this.#topic })
      throw new HermesError(failed.code, failed.message, {
        cause: error,
        details: { ...failed.details, firstSequence, nextSequence },
      })
    }
  }

  skipDamage(): number {
    this.#store()
    callNative(() => this.#reader.check(), { topic: this.#topic })
    const before = this.sequence
    const at = callNative(() => this.#reader.skipDamage(), { topic: this.#topic })
    if (at === null) return 0
    this.#enter(at)
    return at.sequence - before
  }

  nextSequence(): number {
    return callNative(() => this.#log.nextSequence(), { topic: this.#topic })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#reader.close()
    this.#log.close()
    this.region = noRegion
    this.#commits = new Int32Array(0)
  }
}
