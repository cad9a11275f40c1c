import { HermesError } from '../base/errors.js'
import { wake } from './eventcount.js'
import { dataOffset, turnOf, word } from './layout.js'
import { participantStates, stateOf } from './participant.js'
import { corrupt, type RingMemory } from './ring-memory.js'

/** As the owner of a full slot: its writer died. As the owner of a free one: the end. */
export const noOwner = 255
const slotHeaderBytes = 8

/**
 * The slots of a ring for many producers and consumers, and who owns each: D. Vyukov's bounded MPMC queue, with an owner in each slot's word, so
 * that the claims of dead participants can be resolved. See docs/ring-layout.md. It knows nothing of values, of closing and of waiting.
 */
export class SlotQueue {
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #mask: number
  readonly #shift: number
  readonly #stride: number
  /** Mask of the turns that positions of 32 bits can have. */
  readonly #turns: number
  #ended = false
  #position = 0
  #written = 0

  constructor(memory: RingMemory) {
    this.#memory = memory
    this.#words = memory.words
    this.#mask = memory.capacity - 1
    this.#shift = Math.log2(memory.capacity)
    this.#stride = memory.slotBytes
    this.#turns = turnOf(-1, this.#shift) + 1
  }

  /** A claim to read has met the end. */
  get ended(): boolean {
    return this.#ended
  }

  /** That the last claim to read won. */
  get position(): number {
    return this.#position
  }

  /** That the newest claim to write won. */
  get written(): number {
    return this.#written
  }

  /** Where the item of a position lies, in bytes. */
  offsetOf(position: number): number {
    return dataOffset + (position & this.#mask) * this.#stride + slotHeaderBytes
  }

  #slot(position: number): number {
    return (dataOffset + (position & this.#mask) * this.#stride) >> 2
  }

  /** Helps an index past a claimed position. A failure means that another participant did. */
  #pass(index: number, position: number): void {
    Atomics.compareExchange(this.#words, index, position, (position + 1) | 0)
  }

  /**
   * Claims the next position to write: `written` from then on. False if the ring is full. `noOwner` claims the end: the index stays there, and
   * no participant goes past it.
   *
   * @throws HermesError `CLOSED` if the ring has ended, `CORRUPT`
   */
  claimWrite(owner: number): boolean {
    const words = this.#words
    for (;;) {
      const position = Atomics.load(words, word.producerIndex)
      const slot = this.#slot(position)
      const seen = Atomics.load(words, slot)
      const free = turnOf(position, this.#shift)
      if (seen === free << 8) {
        if (Atomics.compareExchange(words, slot, seen, (free << 8) | owner) !== seen) continue
        if (owner === noOwner) return true
        this.#pass(word.producerIndex, position)
        this.#written = position
        return true
      }
      if (seen === ((free << 8) | noOwner)) {
        if (owner === noOwner) return true
        throw new HermesError('CLOSED', 'The ring has ended: nothing can be pushed any more.')
      }
      const turn = seen >>> 8
      if (turn === free || turn === free + 1) {
        this.#pass(word.producerIndex, position)
        continue
      }
      const lap = (free - turn) & this.#turns
      if (lap === 1 || lap === 2) {
        // The last lap is still there.
        if (this.#resolve(slot, position & this.#mask, seen)) continue
        if (Atomics.load(words, word.producerIndex) === position) {
          this.#memory.watch()
          return false
        }
      } else if (Atomics.load(words, word.producerIndex) === position) {
        throw corrupt('a slot has an impossible state')
      }
    }
  }

  /** Claims the oldest item to read: at `position` from then on. False if there is none, or the end was reached. @throws HermesError `CORRUPT` */
  claimRead(me: number): boolean {
    const words = this.#words
    for (;;) {
      const position = Atomics.load(words, word.consumerIndex)
      const slot = this.#slot(position)
      const seen = Atomics.load(words, slot)
      const free = turnOf(position, this.#shift)
      const turn = seen >>> 8
      const owner = seen & 255
      if (turn === free + 1) {
        if (owner !== 0 && owner !== noOwner) {
          this.#pass(word.consumerIndex, position)
          continue
        }
        if (Atomics.compareExchange(words, slot, seen, (turn << 8) | me) !== seen) continue
        this.#pass(word.consumerIndex, position)
        if (owner === noOwner) {
          this.finishRead(position)
          continue
        }
        this.#position = position
        return true
      }
      if (turn === free) {
        if (owner === noOwner) {
          this.#ended = true
          return false
        }
        if (this.#resolve(slot, position & this.#mask, seen)) continue
        this.#memory.watch()
        return false
      }
      if (turn === ((free - 1) & this.#turns) && owner !== 0 && owner !== noOwner) {
        // The last lap's reader is at it.
        if (this.#resolve(slot, position & this.#mask, seen)) continue
        if (Atomics.load(words, word.consumerIndex) === position) {
          this.#memory.watch()
          return false
        }
        continue
      }
      if (Atomics.load(words, word.consumerIndex) === position) throw corrupt('a slot has an impossible state')
    }
  }

  /** Publishes the item at a position that was claimed to write; as `noOwner`'s, gives the claim up: consumers skip it. */
  finishWrite(position: number, owner: number): void {
    Atomics.store(this.#words, this.#slot(position), ((turnOf(position, this.#shift) + 1) << 8) | owner)
    if (this.#memory.parking && Atomics.load(this.#words, word.consumersWaiting) !== 0) wake(this.#memory, false)
  }

  /** Gives the slot to the producer of the next lap. */
  finishRead(position: number): void {
    Atomics.store(this.#words, this.#slot(position), turnOf((position + this.#memory.capacity) | 0, this.#shift) << 8)
    if (this.#memory.parking && Atomics.load(this.#words, word.producersWaiting) !== 0) {
      wake(this.#memory, true)
    }
  }

  /** Resolves the claim in `seen` if its owner is dead. True if the slot may have changed. */
  #resolve(slot: number, at: number, seen: number): boolean {
    const owner = seen & 255
    if (owner === 0 || owner > this.#memory.participants) return false
    if (stateOf(this.#words, owner - 1) !== participantStates.dead) return false
    this.#resolveClaim(slot, at, seen)
    return true
  }

  #resolveClaim(slot: number, at: number, seen: number): void {
    const turn = seen >>> 8
    const reading = (turn & 1) !== 0
    const index = reading ? word.consumerIndex : word.producerIndex
    const position = Atomics.load(this.#words, index)
    // The index must be past a position before the position's word goes on.
    if ((position & this.#mask) === at && turnOf(position, this.#shift) === (turn & ~1)) this.#pass(index, position)
    const next = reading ? ((turn + 1) & this.#turns) << 8 : ((turn + 1) << 8) | noOwner
    if (Atomics.compareExchange(this.#words, slot, seen, next) === seen) Atomics.add(this.#words, word.voided, 1)
  }

  /** Resolves what a dead participant left, whose number another one takes over. */
  resolveAllOf(owner: number): void {
    for (let at = 0; at <= this.#mask; at++) {
      const slot = this.#slot(at)
      const seen = Atomics.load(this.#words, slot)
      if ((seen & 255) === owner) this.#resolveClaim(slot, at, seen)
    }
  }

  /** Whether `claimRead` would find something, or the end. */
  hasItem(): boolean {
    const position = Atomics.load(this.#words, word.consumerIndex)
    const seen = Atomics.load(this.#words, this.#slot(position))
    const free = turnOf(position, this.#shift)
    if (seen >>> 8 !== free) return seen >>> 8 === free + 1
    const owner = seen & 255
    return owner === noOwner || (owner !== 0 && stateOf(this.#words, owner - 1) === participantStates.dead)
  }

  /** Whether `claimWrite` would find room, or the end. */
  hasRoom(): boolean {
    const position = Atomics.load(this.#words, word.producerIndex)
    const seen = Atomics.load(this.#words, this.#slot(position))
    const lap = (turnOf(position, this.#shift) - (seen >>> 8)) & this.#turns
    if (lap !== 1 && lap !== 2) return true
    const owner = seen & 255
    return owner !== 0 && owner !== noOwner && stateOf(this.#words, owner - 1) === participantStates.dead
  }
}
