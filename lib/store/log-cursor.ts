import { HermesError } from '../base/errors.js'
import { nanosecondsOf } from '../base/timestamp.js'
import type { Region } from '../codec/codec.js'
import { frameBytes, frameOffset, frameType } from '../frame/frame.js'
import type { From } from '../model/topic.js'
import { native } from '../native/addon.js'
import { callNative, fromNative } from '../native/error.js'
import type { NativeMetricsCell } from '../native/metrics-types.js'
import { parked } from '../native/parked.js'
import { ScanScratch } from '../native/scratch.js'
import type { NativeLog, NativePosition, NativeReader } from '../native/types.js'

const { segmentHeaderBytes, frameHeaderBytes, stopLimit, stopEmpty, stopClaim, stopSegmentEnd } = native.constants
/** How long a claim may stand in the way before its owner's life is looked into. */
const claimWaitMs = 20
/** A segment's mapping as JavaScript sees it. */
export interface MappedSegment {
  readonly region: Region
  /** The words of the region, for atomic loads. */
  readonly commits: Int32Array<ArrayBuffer>
}

/** Mappings that several cursors share. */
export interface SharedSegments {
  /** The position's segment, until `leave` is called; `undefined` if it can't be shared. */
  enter(at: NativePosition): MappedSegment | undefined
  leave(segment: MappedSegment): void
}

const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/** What stands where a scan found no more: nothing yet, a claim, the end of the segment, or damage. */
export type LogStop = 'nothing' | 'claim' | 'segment-end' | 'damage'

/**
 * A position in a topic's log, and the segment around it, mapped: what reads the log stands on one, in a subscriber of this process as in the
 * broker. The mapping is read-only and never leaves lib/.
 *
 * `offset` and `sequence` say where it is, and the reader may move them forward; `scan` looks what comes from there on.
 */
export class LogCursor {
  /** The segment. Its buffer is detached when the cursor goes to another one: views that the program kept fail instead of reading on. */
  region: Region = noRegion
  offset = segmentHeaderBytes
  /** Behind what the last scan found. */
  end = segmentHeaderBytes
  /** Expected at `offset`. */
  sequence = 1

  readonly topic: string
  readonly #log: NativeLog
  readonly #reader: NativeReader
  readonly #scan: () => void
  readonly #scratch = new ScanScratch()
  readonly #shared: SharedSegments | undefined
  /** What of `#shared` it stands in. */
  #entered: MappedSegment | undefined
  #commits = new Int32Array(0)
  #segment = 0
  #stuckSince = 0
  /** In a topic without segments: the time to go to once there is one. */
  #awaitedNs: bigint | undefined
  #closed = false

  /**
   * @param verify whether checksums are looked at
   * @param shared where mappings are taken from, if many cursors read the topic; then nothing is detached while another one is there
   */
  constructor(topic: string, log: NativeLog, verify: boolean, shared?: SharedSegments) {
    this.topic = topic
    this.#shared = shared
    this.#log = log
    this.#reader = callNative(() => log.openReader(verify), { topic })
    this.#scan = this.#reader.scanFunction(this.#scratch.buffer)
  }

  /** Has what it finds counted. */
  countIn(cell: NativeMetricsCell): void {
    callNative(() => this.#reader.countIn(cell), { topic: this.topic })
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** The number of the mapped segment; 0 = none. */
  get segment(): number {
    return this.#segment
  }

  /**
   * Half the word at the position, by one atomic load without a native call: 0 while nothing is there (or in a page that was lost), a claim's
   * in the lowest byte, `undefined` at the segment's end.
   */
  get word(): number | undefined {
    const { offset } = this
    return offset + frameHeaderBytes <= this.region.bytes.length ? Atomics.load(this.#commits, offset >> 2) : undefined
  }

  /**
   * Looks for up to `limit` messages from the position on: they lie in [`begin`, `end`).
   *
   * @returns how many there are
   * @throws HermesError `CORRUPT`, `IO_FAILED`, …
   */
  scan(limit: number): number {
    this.#store()
    this.#scratch.setLimit(limit)
    try {
      this.#scan()
    } catch (error) {
      throw fromNative(error, { topic: this.topic, sequence: this.sequence })
    }
    this.end = this.#scratch.end
    return this.#scratch.messages
  }

  /**
   * As `scan`, where `send` also sends what it finds. It works on the same memory.
   *
   * @returns whether anything was found, and sent
   */
  sendBy(send: (reader: NativeReader) => boolean): boolean {
    this.#store()
    if (!send(this.#reader)) return false
    this.end = this.#scratch.end
    return true
  }

  /** Messages that were found last. */
  get messages(): number {
    return this.#scratch.messages
  }

  /** Where the last scan began: further on than the position if messages were passed over that are earlier than the time asked for. */
  get begin(): number {
    return this.#scratch.offset
  }

  /** Expected at `begin`, if that is further on than the position. */
  get beginSequence(): number {
    return this.#scratch.beginSequence
  }

  /** Expected at `end`. */
  get endSequence(): number {
    return this.#scratch.endSequence
  }

  /** Takes everything up to `end` as read. */
  advance(): void {
    this.offset = this.end
    this.sequence = this.#scratch.endSequence
    this.#store()
  }

  /** Why the last scan ended. A claim's owner is writing, or dead: call `lookIntoClaim` each time that one is met. */
  get stop(): LogStop {
    const { stop } = this.#scratch
    if (this.region === noRegion || stop === stopSegmentEnd) return 'segment-end'
    if (stop === stopEmpty || stop === stopLimit) {
      this.#stuckSince = 0
      return 'nothing'
    }
    return stop === stopClaim ? 'claim' : 'damage'
  }

  /** What is got on from is no claim that stands in the way. */
  noteProgress(): void {
    this.#stuckSince = 0
  }

  /** A claim has stood here for longer than a publisher needs: has it looked into whether its owner lives. */
  lookIntoClaim(): void {
    const now = performance.now()
    if (this.#stuckSince === 0) this.#stuckSince = now
    if (now - this.#stuckSince < claimWaitMs) return
    this.#stuckSince = 0
    this.#call(() => this.#reader.repair(), this.sequence)
  }

  /** Goes to the next segment, or to the first one. False if there is none yet. @throws HermesError `BEHIND_RETENTION`, … */
  enterNext(): boolean {
    const { sequence } = this
    // Before the topic's first segment the position is a mere number: whether it is still there shows when there are segments.
    const next = this.#call(
      () => (this.region === noRegion ? this.#reader.seek(this.#awaitedNs ?? sequence) : this.#reader.nextSegment()),
      sequence,
    )
    if (next === null) return false
    this.#enter(next)
    return true
  }

  /** @throws HermesError `OUT_OF_RANGE`, `BEHIND_RETENTION`, …; the position is the old one then */
  seek(target: From): void {
    const where = target instanceof Date ? nanosecondsOf(target) : target
    this.#store()
    const at = this.#call(() => this.#reader.seek(where), typeof where === 'number' ? where : this.sequence)
    this.#awaitedNs = typeof where === 'bigint' && at === null ? where : undefined
    // The first sequence of a topic exists before its first segment does.
    if (at !== null) {
      this.#enter(at)
      // Who sleeps at the old position is to look at the new one.
      this.#reader.cancel()
    } else if (typeof where === 'number' && where > 1) {
      throw new HermesError('OUT_OF_RANGE', `Topic '${this.topic}' is empty: there is no sequence ${where} yet.`, {
        details: { topic: this.topic, sequence: where, nextSequence: 1 },
      })
    }
  }

  /** When the next message was published, in ns since 1970; `undefined` if there is none. Goes there. */
  firstTimestamp(): bigint | undefined {
    for (;;) {
      if (this.scan(1) > 0) {
        const at = this.#firstData()
        return at === undefined ? undefined : this.region.data.getBigUint64(at + frameOffset.timestampNs, true)
      }
      if (this.end > this.offset) this.advance()
      if (this.stop !== 'segment-end' || !this.enterNext()) return undefined
    }
  }

  /** Of the frames that the last scan found. */
  #firstData(): number | undefined {
    const { data } = this.region
    for (let at = this.begin; at < this.end; at += frameBytes(data.getUint32(at + frameOffset.payloadLength, true))) {
      if (data.getUint8(at + frameOffset.type) === frameType.data) return at
    }
    return undefined
  }

  /** Goes behind damage at the position, to the next message that is whole. False if there is none yet. */
  passDamage(): boolean {
    this.#store()
    this.check()
    const at = callNative(() => this.#reader.skipDamage(), { topic: this.topic })
    if (at === null) return false
    this.#enter(at)
    return true
  }

  /** What a reader is told that has come to damage. */
  damaged(): HermesError {
    return new HermesError(
      'CORRUPT',
      `Topic '${this.topic}' is damaged at sequence ${this.sequence}. Go on behind it with seek(), or subscribe with onDamage: 'skip'.`,
      { details: { topic: this.topic, sequence: this.sequence, offset: this.offset } },
    )
  }

  /** @throws HermesError `CORRUPT` if nothing will ever come here, since the topic's control file was made anew */
  check(): void {
    callNative(() => this.#reader.check(), { topic: this.topic })
  }

  /** Resolves when there may be more than at the position, after `timeoutMs`, or by `cancel`. Sleeps in the kernel. One at a time. */
  async wait(timeoutMs: number): Promise<void> {
    if (this.#closed) return
    this.#store()
    try {
      await parked(() => this.#reader.wait(timeoutMs))
    } catch (error) {
      throw fromNative(error, { topic: this.topic })
    }
    if (!this.#closed) this.check()
  }

  /** Ends the wait that is under way, if one is. */
  cancel(): void {
    this.#reader.cancel()
  }

  /** What the next message of the topic will get. */
  nextSequence(): number {
    return callNative(() => this.#log.nextSequence(), { topic: this.topic })
  }

  /** Everything before is known to be on stable storage. Cheap. */
  syncedSequence(): number {
    return callNative(() => this.#log.syncedSequence(), { topic: this.topic })
  }

  /** Gives the mapping back. The log stays open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#leave()
    this.#reader.close()
  }

  /** Calls the addon. Its failure tells where the log begins and ends now, so that the caller can choose where to go. */
  #call<T>(work: () => T, sequence: number): T {
    try {
      return work()
    } catch (error) {
      const failed = fromNative(error, { topic: this.topic, sequence })
      if (!(failed instanceof HermesError) || (failed.code !== 'BEHIND_RETENTION' && failed.code !== 'OUT_OF_RANGE'))
        throw failed
      const { firstSequence, nextSequence } = callNative(() => this.#log.info(), { topic: this.topic })
      const hint = failed.code === 'OUT_OF_RANGE' ? " Use a sequence up to that one, or 'latest'." : ''
      throw new HermesError(failed.code, `${failed.message}${hint}`, {
        cause: error,
        details: { ...failed.details, firstSequence, nextSequence },
      })
    }
  }

  /** Calls that begin at the position look for it in scratch memory. */
  #store(): void {
    this.#scratch.setPosition(this.offset, this.sequence)
  }

  #enter(at: NativePosition): void {
    if (at.segment !== this.#segment) {
      const shared = this.#shared?.enter(at)
      // The old segment's buffer is detached by this.
      const mapped = shared ?? this.#map()
      if (mapped === undefined) return
      this.#leave()
      this.#entered = shared
      this.region = mapped.region
      this.#commits = mapped.commits
      this.#segment = at.segment
    }
    this.offset = at.offset
    this.end = at.offset
    this.sequence = at.sequence
    this.#stuckSince = 0
    this.#store()
  }

  #map(): MappedSegment | undefined {
    const buffer = callNative(() => this.#reader.region())
    if (buffer === null) return undefined
    return {
      region: { bytes: new Uint8Array(buffer), data: new DataView(buffer) },
      commits: new Int32Array(buffer),
    }
  }

  #leave(): void {
    if (this.#entered !== undefined) this.#shared?.leave(this.#entered)
    this.#entered = undefined
    this.region = noRegion
    this.#commits = new Int32Array(0)
    this.#segment = 0
  }
}
