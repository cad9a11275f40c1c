import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import type { From } from '../../model/topic.js'
import { park, wake } from '../../ring/eventcount.js'
import { dataOffset, word } from '../../ring/layout.js'
import { corrupt, type RingMemory } from '../../ring/ring-memory.js'
import type { SubscriberPort } from '../port.js'
import {
  consumerEntry,
  deathOf,
  extraBytes,
  nextSequenceOf,
  peerDied,
  producerEntry,
  sequenceAt,
  takeRole,
  unsupported,
} from './topic.js'

/** A dead publisher wakes no subscriber: the time until the next look. */
const deathLookMs = 1000
const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/** Consumes a byte ring in shared memory in place. What was walked over is given back to the publisher. */
export class RingSubscriber implements SubscriberPort {
  region: Region
  offset = dataOffset
  end = dataOffset
  sequence = 1

  readonly #topic: string
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #capacity: number
  readonly #mask: number
  /** What we gave back: the ring's own index. `offset` was `#runOffset` there. */
  #consumed: number
  #runOffset = dataOffset
  /** Where the frames end as far as we know. */
  #limit: number
  #reportedDeath = 0
  #closed = false

  constructor(topic: string, memory: RingMemory, from: From) {
    takeRole(memory, topic, consumerEntry)
    this.#topic = topic
    this.#memory = memory
    this.#words = memory.words
    this.#capacity = memory.capacity
    this.#mask = memory.capacity - 1
    this.region = memory.region
    this.#consumed = Atomics.load(memory.words, word.consumerIndex)
    this.#limit = this.#consumed
    this.#runTo(this.#consumed, 0)
    this.#begin(from)
  }

  /** Goes to where the subscriber wants to begin: further on, since nothing stays behind. */
  #begin(from: From): void {
    const next = nextSequenceOf(this.#words)
    const first = this.fetch(1) > 0 ? this.sequence : next
    this.sequence = first
    this.end = this.offset // a look, no more
    if (from === 'earliest') return
    if (from instanceof Date) throw unsupported(this.#topic, "it can't be searched for a time. Use a log to replay.")
    const target = from === 'latest' ? next : from
    const details = { topic: this.#topic, sequence: target, firstSequence: first, nextSequence: next }
    if (target < first) {
      throw new HermesError(
        'UNSUPPORTED',
        `Topic '${this.#topic}' is a ring: sequence ${target} was consumed and is gone, the oldest left is ${first}. Use a log to replay.`,
        { details },
      )
    }
    if (target > next) {
      const text = `Topic '${this.#topic}' has no sequence ${target} yet; the next one is ${next}.`
      throw new HermesError('OUT_OF_RANGE', text, { details })
    }
    while (this.sequence < target && this.fetch(1) > 0) {
      this.offset = this.end
      this.sequence++
    }
    this.release()
  }

  fetch(limit: number): number {
    this.release()
    for (;;) {
      const at = this.#consumed
      const known = (this.#limit - at) >>> 0
      const available = known > 0 ? known : this.#look(at)
      if (available === 0) return this.#nothing(at)
      const inRing = at & this.#mask
      const tail = this.#capacity - inRing
      const room = Math.min(available, tail)
      const head = (dataOffset + inRing) >> 2
      if ((this.#words[head] as number) < 0) {
        if (((this.#words[head] as number) & 0x7fff_ffff) !== tail - 8 || available < tail) {
          throw corrupt('a padding frame has a wrong length')
        }
        this.#giveBack((at + tail) | 0)
        this.#runTo(this.#consumed, 0)
        continue
      }
      const { bytes, messages } = this.#measure(head, room, limit)
      this.#runTo(at, bytes)
      this.sequence = sequenceAt(this.#words, head + 2)
      return messages
    }
  }

  readonly #run = { bytes: 0, messages: 0 }

  /** How many frames lie side by side from `head` on, up to `limit` and within `room` bytes, and how long they are. Trusts no length. */
  #measure(head: number, room: number, limit: number): { readonly bytes: number; readonly messages: number } {
    const words = this.#words
    let bytes = 0
    let messages = 0
    while (messages < limit && bytes < room) {
      const at = head + (bytes >> 2)
      const length = words[at] as number
      if (length < 0) break // padding: the next run begins behind it
      const size = (8 + length + 7) & ~7
      if (length < extraBytes || size > room - bytes || (words[at + 6] as number) !== length - extraBytes) {
        throw corrupt('a frame has a length beyond the end of the ring')
      }
      bytes += size
      messages++
    }
    this.#run.bytes = bytes
    this.#run.messages = messages
    return this.#run
  }

  #look(at: number): number {
    const count = (Atomics.load(this.#words, word.producerIndex) - at) >>> 0
    if (count > this.#capacity) throw corrupt('the producer is further ahead than the capacity')
    this.#limit = (at + count) | 0
    return count
  }

  /** There is nothing: perhaps because the publisher died, which is told once for each death. */
  #nothing(at: number): 0 {
    this.#memory.watch()
    const { dead, mark } = deathOf(this.#memory, producerEntry)
    // The verdict is newer than our look at the index: look again, or the last messages would be missed.
    if (!dead || mark === this.#reportedDeath || this.#look(at) > 0) return 0
    this.#reportedDeath = mark
    throw peerDied(this.#topic, 'publisher')
  }

  #runTo(position: number, bytes: number): void {
    this.#runOffset = this.offset = dataOffset + (position & this.#mask)
    this.end = this.offset + bytes
  }

  /** Gives everything before `offset` back to the publisher. */
  release(): void {
    if (this.#closed || this.offset === this.#runOffset) return
    this.#giveBack((this.#consumed + this.offset - this.#runOffset) | 0)
    this.#runOffset = this.offset
  }

  #giveBack(position: number): void {
    this.#consumed = position
    // Our reads of it are done.
    Atomics.store(this.#words, word.consumerIndex, position)
    if (Atomics.load(this.#words, word.producersWaiting) !== 0) wake(this.#memory, true)
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed) return
    const seen = this.#consumed
    const ready = () => this.#closed || Atomics.load(this.#words, word.producerIndex) !== seen || this.#hasNewDeath()
    await park(this.#memory, false, ready, Math.min(timeoutMs, deathLookMs), signal)
  }

  #hasNewDeath(): boolean {
    const { dead, mark } = deathOf(this.#memory, producerEntry)
    return dead && mark !== this.#reportedDeath
  }

  seek(): void {
    throw unsupported(this.#topic, "what was consumed is gone, so a subscriber can't go elsewhere. Use a log.")
  }

  skipDamage(): number {
    return 0
  }

  nextSequence(): number {
    return nextSequenceOf(this.#words)
  }

  close(): void {
    if (this.#closed) return
    this.release()
    this.#closed = true
    this.#memory.close()
    this.region = noRegion
  }
}
