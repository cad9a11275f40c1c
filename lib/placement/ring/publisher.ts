import { abortable } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import { WallClock } from '../../base/wall-clock.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../../frame/frame.js'
import type { Overflow } from '../../model/topic.js'
import { pollUntil, wake } from '../../ring/eventcount.js'
import { dataOffset, paddingFlag, word } from '../../ring/layout.js'
import { corrupt, type RingMemory } from '../../ring/ring-memory.js'
import type { PublisherPort, Stamp } from '../port.js'
import {
  consumerEntry,
  dataLabel,
  deathOf,
  extraBytes,
  nextSequenceOf,
  notes,
  peerDied,
  producerEntry,
  takeRole,
} from './topic.js'

const batchOffset = 64
const batchRoomBytes = 256 * 1024
const payloadOffset = batchOffset + frameHeaderBytes
/** Up to here a loop over words copies faster than a call of `set`. */
const loopBytes = 256
const two32 = 0x1_0000_0000

/** Publishes into a byte ring in shared memory: a few stores for a message, and no native call unless the subscriber sleeps. */
export class RingPublisher implements PublisherPort {
  readonly region: Region
  readonly payloadOffset = payloadOffset
  readonly batchOffset = batchOffset
  readonly batchLimit: number
  readonly maxPayloadBytes: number
  readonly recovery = undefined

  readonly #topic: string
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #target: Uint8Array
  readonly #scratch: Int32Array
  readonly #capacity: number
  readonly #mask: number
  readonly #dropsNewest: boolean
  readonly #clock = new WallClock()
  /** Our position, and where our room ends as far as we know. */
  #at: number
  #limit: number
  /** Of the next message. */
  #next: number
  #note = 0
  /** `publish` answers true while this much room is left. */
  #ample: number
  #last = 0
  #lastLow = 0
  #lastHigh = 0
  #dropped = false
  #reportedDeath = 0
  #closed = false
  #roomy: Promise<void> | undefined

  constructor(topic: string, memory: RingMemory, maxPayloadBytes: number, overflow: Overflow) {
    takeRole(memory, topic, producerEntry)
    this.#topic = topic
    this.#memory = memory
    this.#words = memory.words
    this.#target = memory.region.bytes
    this.#capacity = memory.capacity
    this.#mask = memory.capacity - 1
    this.maxPayloadBytes = maxPayloadBytes
    this.#dropsNewest = overflow === 'drop-newest'
    this.#at = Atomics.load(memory.words, word.producerIndex)
    this.#limit = this.#at
    this.#next = nextSequenceOf(memory.words)
    // The note that tells our position now stays until the next one is true.
    this.#note = memory.words[notes[0]] === this.#at ? 1 : 0
    const largest = frameBytes(maxPayloadBytes)
    const most = Math.max(largest, Math.min(batchRoomBytes, memory.capacity / 4))
    const scratch = new ArrayBuffer(Math.ceil((batchOffset + most) / 8) * 8)
    this.region = { bytes: new Uint8Array(scratch), data: new DataView(scratch) }
    this.#scratch = new Int32Array(scratch)
    this.batchLimit = batchOffset + most
    // The largest message, and what is lost before it if it doesn't fit behind the last one.
    this.#ample = Math.min(2 * largest, memory.capacity / 2)
  }

  get lastSequence(): number {
    return this.#last
  }

  get ticket(): number {
    return this.#last
  }

  append(length: number): boolean {
    const size = (frameHeaderBytes + length + 7) & ~7
    const at = this.#at
    const tail = this.#capacity - (at & this.#mask)
    const need = size <= tail ? size : tail + size
    if (((this.#limit - at) | 0) < need && this.#refresh() < need) return this.#full(1)
    const start = size <= tail ? at : this.#pad(at, tail)
    this.#clock.read()
    this.#put(start, batchOffset, length, this.#clock.low, this.#clock.high)
    this.#publish((start + size) | 0)
    return ((this.#limit - this.#at) | 0) >= this.#ample || this.#mayGoOn()
  }

  appendBatch(count: number, bytes: number): boolean {
    const { data } = this.region
    // What a wrap costs: the frame that doesn't fit behind the last one leaves less than its size unused.
    let need = bytes
    const tail = this.#capacity - (this.#at & this.#mask)
    if (bytes > tail) {
      let from = 0
      for (let left = count; left > 0; left--) {
        const size = frameBytes(data.getUint32(batchOffset + from + frameOffset.payloadLength, true))
        if (from + size > tail) break
        from += size
      }
      need += tail - from
    }
    // So that a caller that heeds the answer always finds room for another batch of this size.
    if (need + bytes > this.#ample) this.#ample = Math.min(need + bytes, this.#capacity / 2)
    if (((this.#limit - this.#at) | 0) < need && this.#refresh() < need) return this.#full(count)
    this.#clock.read()
    const { low, high } = this.#clock
    let at = this.#at
    let from = batchOffset
    for (let left = count; left > 0; left--) {
      const length = data.getUint32(from + frameOffset.payloadLength, true)
      const size = (frameHeaderBytes + length + 7) & ~7
      const room = this.#capacity - (at & this.#mask)
      if (size > room) at = this.#pad(at, room)
      this.#put(at, from, length, low, high)
      at = (at + size) | 0
      from += size
    }
    this.#publish(at)
    return ((this.#limit - at) | 0) >= this.#ample || this.#mayGoOn()
  }

  /** The answer where little room is known of. Who drops what finds no room never has to wait: there, false means dropped and nothing else. */
  #mayGoOn(): boolean {
    return this.#dropsNewest || this.#refresh() >= this.#ample
  }

  /** Fills the room before the end of the data. Becomes visible with the frame behind it. */
  #pad(at: number, tail: number): number {
    const head = (dataOffset + (at & this.#mask)) >> 2
    this.#words[head] = paddingFlag | (tail - 8)
    this.#words[head + 1] = 0
    return (at + tail) | 0
  }

  /** Writes the frame whose payload stands 32 bytes behind `from` of the scratch memory. */
  #put(at: number, from: number, length: number, low: number, high: number): void {
    const words = this.#words
    const offset = dataOffset + (at & this.#mask)
    const head = offset >> 2
    const sequence = this.#next++
    words[head] = extraBytes + length
    words[head + 1] = dataLabel
    words[head + 2] = sequence | 0
    words[head + 3] = (sequence / two32) | 0
    words[head + 4] = low
    words[head + 5] = high
    words[head + 6] = length
    words[head + 7] = 0 // no checksum: the index publishes frames whole
    const source = from + frameHeaderBytes
    if (length <= loopBytes) {
      const scratch = this.#scratch
      const first = source >> 2
      const count = (length + 3) >> 2
      for (let i = 0; i < count; i++) words[head + 8 + i] = scratch[first + i] as number
    } else {
      this.#target.set(this.region.bytes.subarray(source, source + length), offset + frameHeaderBytes)
    }
    this.#last = sequence
    this.#lastLow = low
    this.#lastHigh = high
  }

  #publish(end: number): void {
    const words = this.#words
    const note = notes[this.#note] as number
    words[note] = end
    words[note + 1] = this.#next | 0
    words[note + 2] = (this.#next / two32) | 0
    this.#note ^= 1
    this.#at = end
    this.#dropped = false
    // Publishes the frames, and the note of them, to the consumer and to our successor.
    Atomics.store(words, word.producerIndex, end)
    if (Atomics.load(words, word.consumersWaiting) !== 0) wake(this.#memory, false)
  }

  /** Looks again how much room there is. */
  #refresh(): number {
    const used = (this.#at - Atomics.load(this.#words, word.consumerIndex)) >>> 0
    if (used > this.#capacity) throw corrupt('the consumer is ahead of the producer')
    this.#limit = (this.#at + this.#capacity - used) | 0
    return this.#capacity - used
  }

  /** There is no room: drops the new messages if that was asked for, else refuses. */
  #full(count: number): false {
    this.#memory.watch()
    if (this.#dropsNewest) {
      Atomics.add(this.#words, word.droppedNewest, count)
      this.#dropped = true
      return false
    }
    if (deathOf(this.#memory, consumerEntry).dead) throw peerDied(this.#topic, 'subscriber')
    throw this.#backPressure()
  }

  #backPressure(): HermesError {
    return new HermesError(
      'BACK_PRESSURE',
      `Topic '${this.#topic}' is a ring and full: its subscriber has to go on first. Await ready() whenever publish() returns false.`,
      { details: { topic: this.#topic, capacity: this.#capacity } },
    )
  }

  receipt(signal: AbortSignal | undefined): Stamp | Promise<Stamp> {
    const timestampNs = (BigInt(this.#lastHigh) << 32n) | BigInt(this.#lastLow)
    const receipt = { sequence: this.#last, timestampNs }
    if (this.#dropped) return Promise.reject(this.#backPressure())
    if (this.#dropsNewest) return signal?.aborted ? Promise.reject(aborted(signal)) : receipt
    return this.#refresh() >= this.#ample ? receipt : this.ready(signal).then(() => receipt)
  }

  ready(signal: AbortSignal | undefined): Promise<void> {
    // One wait for all who call: only one may sleep on the eventcount.
    this.#roomy ??= pollUntil(this.#memory, true, () => this.#hasAmpleRoom(), undefined).finally(() => {
      this.#roomy = undefined
    })
    return abortable(this.#roomy, signal)
  }

  /** True also when waiting makes no sense any more. Tells of each death of the subscriber once. */
  #hasAmpleRoom(): boolean {
    if (this.#closed || this.#refresh() >= this.#ample) return true
    this.#memory.watch()
    const { dead, mark } = deathOf(this.#memory, consumerEntry)
    if (!dead || mark === this.#reportedDeath) return false
    this.#reportedDeath = mark
    throw peerDied(this.#topic, 'subscriber')
  }

  /** Whatever was accepted is `written`; there is nothing more. */
  reached(): Promise<void> {
    return Promise.resolve()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#memory.close()
  }
}
