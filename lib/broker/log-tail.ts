import { frameBytes, frameHeaderBytes, frameOffset, frameType, sealFrame } from '../frame/frame.js'
import type { From } from '../model/topic.js'
import type { LogCursor } from '../store/log-cursor.js'
import type { TopicLog } from '../store/topic-log.js'
import type { SegmentRegions } from './segment-regions.js'

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
 * A socket writes the bytes later, straight from the mapping: the sender of a run calls `pin` before and `unpin` after it was
 * written. The mapping stays where it is until nothing is pinned any more.
 */
export class LogTail {
  /** What the run consists of; valid after `some`. */
  bytes: Uint8Array = new Uint8Array(0)
  messages = 0
  /** Expected at the run's beginning, and behind it. */
  sequence = 1
  endSequence = 1

  readonly #cursor: LogCursor
  #end = 0
  #averageBytes = 128
  #pins = 0
  #looksLeft = 0
  #closed = false

  /** Nothing from here on is handed out yet; set where only what is synced is. */
  #synced: number | undefined
  #awaitsSync = false

  constructor(log: TopicLog, regions: SegmentRegions, upToSynced = false) {
    if (upToSynced) this.#synced = 1
    // The client checks: see docs/wire-protocol.md, DELIVER.
    this.#cursor = log.cursor(false, regions)
  }

  pin(): void {
    this.#pins++
  }

  unpin(): void {
    this.#pins--
    if (this.#closed) this.#release()
  }

  /** There was something at the last look, and it is not synced. */
  get awaitsSync(): boolean {
    return this.#awaitsSync
  }

  /** The segment that is mapped; 0 = none. */
  get segment(): number {
    return this.#cursor.segment
  }

  /** Whether it has come to where nothing more was committed: one atomic load. */
  get isAtEnd(): boolean {
    return this.#cursor.word === 0
  }

  get isPinned(): boolean {
    return this.#pins > 0
  }

  /** Goes there. REQUIRES: nothing is pinned. @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE`, … */
  seek(target: From | 'damage'): void {
    if (target !== 'damage') this.#cursor.seek(target)
    else if (!this.#cursor.passDamage()) throw this.#cursor.damaged()
    this.#entered()
  }

  #entered(): void {
    this.#end = this.#cursor.offset
    this.sequence = this.#cursor.sequence
    this.endSequence = this.#cursor.sequence
  }

  /**
   * Looks for more, up to `most` bytes. A frame that is larger is not found.
   *
   * @throws HermesError `CORRUPT`, `BEHIND_RETENTION`, …
   */
  read(most: number): Found {
    const cursor = this.#cursor
    for (;;) {
      const { offset } = cursor
      // Now and then the core is asked all the same: zeros may be a page that was lost.
      if (cursor.word === 0 && --this.#looksLeft > 0) return 'none'
      this.#looksLeft = emptyLooks
      this.#look(Math.min(mostMessages, Math.max(1, Math.floor(most / this.#averageBytes))))
      if (cursor.begin !== offset) {
        this.#takePassed()
        return 'some'
      }
      if (this.#synced !== undefined && this.#end > offset && !this.#cutToSynced()) return 'none'
      while (this.#end - offset > most && this.messages > 1) {
        this.#look(Math.max(1, Math.floor((this.messages * most * 0.9) / (this.#end - offset))))
      }
      if (this.#end > offset) {
        if (this.#end - offset > most && !this.#takeOneVoid(most)) return 'none'
        if (this.messages > 0) this.#averageBytes = Math.max(frameHeaderBytes, this.bytes.length / this.messages)
        return 'some'
      }
      switch (cursor.stop) {
        case 'damage':
          throw this.#cursor.damaged()
        case 'claim':
          cursor.lookIntoClaim()
          return 'none'
        case 'nothing':
          return 'none'
        case 'segment-end':
          if (this.#pins > 0) return 'pinned'
          if (!cursor.enterNext()) return 'none'
          this.#entered()
      }
    }
  }

  /**
   * As `read`, where `send` also sends what it finds: no byte of it need stay for that.
   *
   * @param send gets the cursor, and how many messages it may take; returns whether anything was sent
   * @returns false if nothing was: `read` finds out why
   */
  sendBy(most: number, send: (cursor: LogCursor, mostMessages: number) => boolean): boolean {
    const cursor = this.#cursor
    // What is synced is asked for elsewhere.
    if (this.#synced !== undefined || cursor.word === 0) return false
    const { offset } = cursor
    const limit = Math.min(mostMessages, Math.max(1, Math.floor(most / this.#averageBytes)))
    if (!send(cursor, limit)) return false
    this.messages = cursor.messages
    this.#end = cursor.end
    this.endSequence = cursor.endSequence
    if (this.messages > 0) this.#averageBytes = Math.max(frameHeaderBytes, (this.#end - offset) / this.messages)
    return true
  }

  /** Leaves of the run what is synced. False if nothing is. */
  #cutToSynced(): boolean {
    if (this.endSequence > (this.#synced ?? 0)) this.#synced = this.#cursor.syncedSequence()
    const synced = this.#synced ?? 0
    // (voids take sequences, too)
    while (this.endSequence > synced && this.messages > 1)
      this.#look(Math.max(1, this.messages - (this.endSequence - synced)))
    this.#awaitsSync = this.endSequence > synced
    return !this.#awaitsSync
  }

  /** Takes the run as sent. */
  advance(): void {
    this.#cursor.offset = this.#end
    this.#cursor.sequence = this.endSequence
    this.#cursor.noteProgress()
    this.sequence = this.endSequence
  }

  /** Resolves when there may be more than at the position, or after `timeoutMs`. One at a time. */
  async wait(timeoutMs: number): Promise<void> {
    await this.#cursor.wait(timeoutMs)
    this.#looksLeft = 0
  }

  cancel(): void {
    this.#cursor.cancel()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#release()
  }

  #release(): void {
    if (this.#pins === 0) this.#cursor.close()
  }

  #look(limit: number): void {
    const cursor = this.#cursor
    this.messages = cursor.scan(limit)
    this.#end = cursor.end
    this.endSequence = cursor.endSequence
    this.bytes = cursor.region.bytes.subarray(cursor.offset, this.#end)
  }

  /** The first frame alone, if it is a void; one that is too large is sent as a small one that says the same. */
  #takeOneVoid(most: number): boolean {
    const { region, offset: at } = this.#cursor
    const { bytes, data } = region
    if (data.getUint8(at + frameOffset.type) !== frameType.void) return false
    const length = data.getUint32(at + frameOffset.payloadLength, true)
    const count = length >= 8 ? data.getUint32(at + frameOffset.payload, true) : 1
    this.#end = at + frameBytes(length)
    this.messages = 0
    this.endSequence = this.sequence + count
    this.bytes = bytes.subarray(at, this.#end)
    if (this.bytes.length > most) {
      const short = new Uint8Array(frameBytes(8))
      short.set(bytes.subarray(at, at + short.length))
      const low = data.getUint32(at + frameOffset.timestampNs, true)
      const high = data.getUint32(at + frameOffset.timestampNs + 4, true)
      sealFrame(short, new DataView(short.buffer), 0, frameType.void, 0, this.sequence, low, high, 8)
      this.bytes = short
    }
    return true
  }

  /** A message from a time on is awaited, and earlier ones were passed over: a void in their place keeps the sequences dense. */
  #takePassed(): void {
    this.#end = this.#cursor.begin
    this.endSequence = this.#cursor.beginSequence
    this.messages = 0
    this.bytes = new Uint8Array(frameBytes(8))
    const data = new DataView(this.bytes.buffer)
    data.setUint32(frameOffset.payload, this.endSequence - this.sequence, true)
    data.setUint32(frameOffset.payload + 4, voidPassed, true)
    sealFrame(this.bytes, data, 0, frameType.void, 0, this.sequence, 0, 0, 8)
  }
}
