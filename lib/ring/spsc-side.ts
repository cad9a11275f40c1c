import type { WaitOptions } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkChoice } from '../base/options.js'
import { sleepUntil, waitUntil, wake } from './eventcount.js'
import { word } from './layout.js'
import { attachEntry, closeEntry, markDead, participantStates, stateOf } from './participant.js'
import { corrupt, type RingHandle, type RingMemory } from './ring-memory.js'
import { closed, peerDead } from './settings.js'

/** Which side of a single-producer single-consumer ring an object is. */
export type RingRole = 'producer' | 'consumer'

export interface SpscAttachOptions {
  /** Without a role the object can only look: `size`, `handle`, `evict`. */
  readonly role?: RingRole
  /** Take the role from its holder, whose thread is known to have ended. Default false: a held role is refused. Of a named ring the kernel knows who lives: it makes no difference there. */
  readonly takeOver?: boolean
}

const entries = { producer: 0, consumer: 1 } as const

/**
 * What the two SPSC rings have in common: roles, close, death, and the positions of one side.
 *
 * A producer goes on without looking at the consumer while `produced` differs from `produceLimit`, and a consumer likewise. So
 * for a side that is neither, or has closed, both are equal: every operation then takes the slow path, which
 * knows what to say. These positions are here rather than in shared memory: no other participant needs them.
 */
export abstract class SpscSide {
  protected readonly memory: RingMemory
  protected readonly words: Int32Array
  protected readonly mask: number
  /** The producer's own index, and where its room ends as far as it knows. */
  protected produced = 0
  protected produceLimit = 0
  /** The consumer's own index, and where its items end as far as it knows. */
  protected consumed = 0
  protected consumeLimit = 0
  /**
   * Set while a value is encoded, or decoded or handed to a handler: both may run the caller's code. That code must not use the
   * same end of the ring, which would write to the place, or read from it, that is in use: `BUSY`. A `close` by it takes
   * effect when it has returned.
   */
  protected producing = false
  protected consuming = false
  #role: RingRole | undefined
  #closed = false
  #ended = false

  protected constructor(memory: RingMemory, options: SpscAttachOptions) {
    this.memory = memory
    this.words = memory.words
    this.mask = memory.capacity - 1
    const { role, takeOver = false } = options
    checkBoolean('takeOver', takeOver)
    this.#role = role
    if (role === undefined) return
    checkChoice('role', role, ['producer', 'consumer'])
    if (memory.file !== undefined) {
      const { file } = memory
      memory.call(() => file.attach(entries[role]))
    } else if (takeOver) markDead(this.words, entries[role])
    if (memory.file === undefined && attachEntry(this.words, entries[role]) < 0) {
      throw new HermesError(
        'EXCLUSIVE_HELD',
        `The ring has a ${role} already, and can have only one. Close it first, or pass takeOver: true if its thread has ended.`,
        { details: { role } },
      )
    }
    if (role === 'producer') this.produced = this.produceLimit = Atomics.load(this.words, word.producerIndex)
    else this.consumed = this.consumeLimit = Atomics.load(this.words, word.consumerIndex)
  }

  /** Pass this to a worker, and `attach` to it there. A named ring is attached to by its name instead: `UNSUPPORTED`. */
  get handle(): RingHandle {
    return this.memory.transferable()
  }

  /** The ring's name, if it has one. */
  get name(): string | undefined {
    return this.memory.name
  }

  get role(): RingRole | undefined {
    return this.#role
  }

  get capacity(): number {
    return this.memory.capacity
  }

  /** Consumer: the producer closed, and everything was read. */
  get ended(): boolean {
    return this.#ended
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Gives the role up. The other side gets an end; this one, errors with `CLOSED`. May be called again. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (!this.producing && !this.consuming) this.finishClose()
  }

  /** For a call by code that an encode, a decode or a handler runs. */
  protected busy(): HermesError {
    return new HermesError(
      'BUSY',
      `The ring's ${this.#role ?? 'view'} is in use: it is encoding a value, decoding one, or running a handler of poll. Call this afterwards.`,
    )
  }

  /** After the caller's code ran for the producer: carries out a `close` by it. Then what was encoded is not in the ring. */
  protected stopProducing(): void {
    this.producing = false
    if (!this.#closed) return
    this.finishClose()
    throw closed('producer')
  }

  /** After the caller's code ran for the consumer, and what it saw was given back. */
  protected stopConsuming(): void {
    this.consuming = false
    if (this.#closed) this.finishClose()
  }

  protected finishClose(): void {
    this.produceLimit = this.produced
    this.consumeLimit = this.consumed
    if (this.memory.file !== undefined) {
      this.memory.close()
      return
    }
    if (this.#role === undefined) return
    closeEntry(this.words, entries[this.#role])
    this.#wakeOther(this.#role)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** For console.log: what tells rings apart, not their memory. */
  [Symbol.for('nodejs.util.inspect.custom')](
    _depth: number,
    options: object,
    inspect: (value: unknown, options: object) => string,
  ): string {
    const { name, role, capacity, closed } = this
    return `${this.constructor.name} ${inspect({ name, role, capacity, closed }, options)}`
  }

  /**
   * Declares the holder of a role dead, for example when its worker has exited without closing. The other side then gets
   * `PEER_DEAD` instead of waiting for ever. Returns whether a participant held it. A named ring does not need this: the kernel reports the death. There
   * it asks the kernel, and returns whether the holder is dead.
   */
  evict(role: RingRole): boolean {
    checkChoice('role', role, ['producer', 'consumer'])
    const { file } = this.memory
    if (file !== undefined) {
      if (this.#closed) throw closed(this.#role ?? 'view')
      file.probe()
      return stateOf(this.words, entries[role]) === participantStates.dead
    }
    const was = markDead(this.words, entries[role])
    this.#wakeOther(role)
    return was
  }

  /**
   * Consumer: blocks this thread until there is an item, the end, or `timeoutMs` have passed. Returns false for the last.
   *
   * @throws HermesError `CLOSED`, `PEER_DEAD`, `UNSUPPORTED`
   */
  waitForItems(timeoutMs: number): boolean {
    return sleepUntil(this.memory, false, () => this.#itemsOrEnd(), timeoutMs)
  }

  /** Producer: blocks this thread until there is room for an item. As `waitForItems`. */
  waitForRoom(timeoutMs: number): boolean {
    return sleepUntil(this.memory, true, () => this.hasRoom(), timeoutMs)
  }

  /** As `waitForItems`, without blocking the event loop. @throws HermesError also `ABORTED`, `TIMED_OUT` */
  async items(options: WaitOptions = {}): Promise<void> {
    await waitUntil('items()', this.memory, false, () => this.#itemsOrEnd(), options)
  }

  /** As `waitForRoom`, without blocking the event loop. @throws HermesError also `ABORTED`, `TIMED_OUT` */
  async room(options: WaitOptions = {}): Promise<void> {
    await waitUntil('room()', this.memory, true, () => this.hasRoom(), options)
  }

  /** Room for one more item (of any size). */
  protected abstract hasRoom(): boolean

  #itemsOrEnd(): boolean {
    return this.consumed !== this.consumeLimit || this.refreshItems() > 0 || this.#ended
  }

  /** Positions between the indices. */
  protected distance(): number {
    if (this.#closed && this.memory.file !== undefined) throw closed(this.#role ?? 'view')
    const consumed = Atomics.load(this.words, word.consumerIndex)
    const produced = Atomics.load(this.words, word.producerIndex)
    return Math.min((produced - consumed) >>> 0, this.memory.capacity)
  }

  /**
   * Producer, when it knows of too little room: looks again. Returns the room in positions. If there is less than `needed`, it throws in case
   * there never will be.
   */
  protected refreshRoom(needed: number): number {
    if (this.#closed) throw closed(this.#role ?? 'view')
    if (this.#role !== 'producer')
      throw new HermesError('INVALID_ARGUMENT', "Only the producer can push. Attach with role: 'producer'.")
    const used = (this.produced - Atomics.load(this.words, word.consumerIndex)) >>> 0
    if (used > this.memory.capacity) throw corrupt('the consumer is ahead of the producer')
    const room = this.memory.capacity - used
    this.produceLimit = (this.produced + room) | 0
    if (room < needed) {
      this.memory.watch()
      const state = stateOf(this.words, entries.consumer)
      if (state === participantStates.closed) throw closed('consumer')
      if (state === participantStates.dead) throw peerDead('consumer')
    }
    return room
  }

  /** Consumer, when it knows of too few items: looks again. Returns the number of positions; 0 may be the end. */
  protected refreshItems(): number {
    if (this.#closed) throw closed(this.#role ?? 'view')
    if (this.#role !== 'consumer')
      throw new HermesError('INVALID_ARGUMENT', "Only the consumer can pop. Attach with role: 'consumer'.")
    let count = this.#look()
    if (count === 0) {
      this.memory.watch()
      const state = stateOf(this.words, entries.producer)
      if (state !== participantStates.closed && state !== participantStates.dead) return 0
      // The verdict is newer than our look at the index: look again, or the last items would be missed.
      count = this.#look()
      if (count === 0 && state === participantStates.dead) throw peerDead('producer')
      this.#ended = count === 0
      return count
    }
    this.#ended = false // a successor of the producer went on
    return count
  }

  #look(): number {
    const count = (Atomics.load(this.words, word.producerIndex) - this.consumed) >>> 0
    if (count > this.memory.capacity) throw corrupt('the producer is further ahead than the capacity')
    this.consumeLimit = (this.consumed + count) | 0
    return count
  }

  /** Publishes everything before `end` to the consumer. */
  protected publish(end: number): void {
    this.produced = end
    Atomics.store(this.words, word.producerIndex, end)
    if (this.memory.parking && Atomics.load(this.words, word.consumersWaiting) !== 0) this.#wakeOther('producer')
  }

  /** Gives everything before `end` back to the producer. */
  protected release(end: number): void {
    this.consumed = end
    Atomics.store(this.words, word.consumerIndex, end)
    if (this.memory.parking && Atomics.load(this.words, word.producersWaiting) !== 0) this.#wakeOther('consumer')
  }

  #wakeOther(side: RingRole): void {
    wake(this.memory, side === 'consumer')
  }
}
