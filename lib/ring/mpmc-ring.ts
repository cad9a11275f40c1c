import type { WaitOptions } from '../base/abort.js'
import { lengthOfBatch, valueOfBatch } from '../base/batch.js'
import { refusePromise } from '../base/handler.js'
import { checkInteger, checkOptions, invalid } from '../base/options.js'
import type { Codec, Reader, Region } from '../codec/codec.js'
import { checkHandler, checkLimit, checkTarget } from './arguments.js'
import { sleepUntil, waitUntil, wake } from './eventcount.js'
import { word } from './layout.js'
import { createMpmc, type MpmcRingAttachOptions, type MpmcRingOptions } from './mpmc-options.js'
import { closeEntry, joinRing, markDead, participantStates, stateOf } from './participant.js'
import { type RingHandle, RingMemory } from './ring-memory.js'
import { busy, checkItemBytes, checkTag, closed, codecOf, madeBy, wrongSize } from './settings.js'
import { noOwner, SlotQueue } from './slot-queue.js'

/**
 * A bounded queue of items of one size, for many producers and consumers, in shared memory. Every object made by `create` or `attach` is one
 * participant, and may push and pop. The algorithm is in slot-queue.ts; see docs/ring-layout.md.
 *
 * An item that was pushed is delivered to one consumer. Each producer's items leave in its order.
 */
export class MpmcRing<In, Out = In, View = Out> {
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #slots: SlotQueue
  readonly #codec: Codec<In, Out, View>
  readonly #reader: Reader<View>
  readonly #region: Region
  readonly #itemBytes: number
  /** Our number as an owner of slots; 0 = closed. */
  #me = 0
  #writing = false
  /** Set while a value is encoded, which may run the caller's code: the claim is not that code's to finish. */
  #encoding = false
  /** How many decodes and handlers run: the caller's code, nested if it pops within. */
  #reading = 0
  /** Set while a handler of poll runs. */
  #polling = false
  /** What a `close` by such code gives back when the last of it has returned; -1 = nothing. */
  #leaving = -1
  /** Why the item behind those that the last batch returned could not be decoded. The next call throws it. */
  #failure: unknown
  #failed = false

  private constructor(memory: RingMemory, codec: Codec<In, Out, View>) {
    this.#memory = madeBy('MpmcRing', memory)
    this.#words = memory.words
    this.#slots = new SlotQueue(memory)
    this.#codec = codec
    this.#reader = codec.reader()
    this.#region = memory.region
    this.#itemBytes = memory.itemBytes
    const { entry, unclean } = joinRing(memory)
    this.#me = entry + 1
    // Before our own first claim: the predecessor's would look like ours.
    if (unclean) this.#slots.resolveAllOf(this.#me)
  }

  /** Makes a ring in a SharedArrayBuffer. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  static create(options: MpmcRingOptions<Uint8Array, Uint8Array, Uint8Array>): MpmcRing<Uint8Array>
  static create<In, Out, View>(
    options: MpmcRingOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): MpmcRing<In, Out, View>
  static create(options: MpmcRingOptions<never, unknown, unknown>): unknown {
    const { memory, codec } = createMpmc(options)
    return memory.attempt(() => new MpmcRing(memory, codec))
  }

  /** Joins a ring. Throws as `SpscRing.attach`, and `TOO_MANY_PUBLISHERS` if all participants' entries are taken. */
  static attach(
    handle: RingHandle | string,
    options?: MpmcRingAttachOptions<Uint8Array, Uint8Array, Uint8Array>,
  ): MpmcRing<Uint8Array>
  static attach<In, Out, View>(
    handle: RingHandle | string,
    options: MpmcRingAttachOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): MpmcRing<In, Out, View>
  static attach(handle: RingHandle | string, options: MpmcRingAttachOptions<never, unknown, unknown> = {}): unknown {
    checkOptions('MpmcRing.attach()', options, ['codec', 'itemBytes'])
    const codec = codecOf(options)
    const memory = RingMemory.attach(handle, 'mpmc')
    return memory.attempt(() => {
      checkTag(memory, codec)
      checkItemBytes(memory, codec, options.itemBytes)
      return new MpmcRing(memory, codec)
    })
  }

  /** For a worker to `attach` to. A named ring is attached to by its name instead: `UNSUPPORTED`. */
  get handle(): RingHandle {
    return this.#memory.transferable()
  }

  /** The ring's name, if it has one. */
  get name(): string | undefined {
    return this.#memory.name
  }

  get capacity(): number {
    return this.#memory.capacity
  }

  get itemBytes(): number {
    return this.#itemBytes
  }

  /** Our number among the participants, for `evict` by others. */
  get participant(): number {
    return this.#me - 1
  }

  get closed(): boolean {
    return this.#me === 0
  }

  /** How many participants are attached now, this one included. */
  get attached(): number {
    if (this.#me === 0) throw closed('participant')
    this.#memory.file?.probe()
    let count = 0
    for (let entry = 0; entry < this.#memory.participants; entry++) {
      if (stateOf(this.#words, entry) === participantStates.attached) count++
    }
    return count
  }

  /** A consumer reached the end: everything was read, and nothing can be pushed any more. */
  get ended(): boolean {
    return this.#slots.ended
  }

  /** How many claims of dead participants were resolved so far. */
  get voided(): number {
    if (this.#me === 0) throw closed('participant')
    return Atomics.load(this.#words, word.voided) >>> 0
  }

  /** Items in the ring, also those just being written, as of some moment during the call. */
  get size(): number {
    if (this.#me === 0) throw closed('participant')
    const consumed = Atomics.load(this.#words, word.consumerIndex)
    const produced = Atomics.load(this.#words, word.producerIndex)
    return Math.max(0, Math.min((produced - consumed) | 0, this.#memory.capacity))
  }

  /** The ring's memory, for those who fill items in place with `claim`. */
  get region(): Region {
    return this.#region
  }

  /** Appends one item, or returns false if the ring is full. @throws HermesError `CLOSED` after `end` or `close`, `ENCODE_FAILED`, … */
  tryPush(value: In): boolean {
    if (this.#encoding) throw busy()
    if (!this.#claimWrite(this.#me)) return false
    // Ours as long as it is open, and that no pop within the encoding changes.
    const position = this.#slots.written
    const offset = this.claimOffset
    this.#encoding = true
    try {
      const length = this.#codec.encode(value, this.#region, offset, offset + this.#itemBytes)
      if (length !== this.#itemBytes) throw wrongSize(this.#codec.name, length, this.#itemBytes)
      if (this.#me === 0) throw closed('participant')
    } catch (error) {
      this.#encoding = false
      this.#finishWrite(position, noOwner)
      this.#leaveIfIdle()
      throw error
    }
    this.#encoding = false
    this.#finishWrite(position, 0)
    return true
  }

  /** Appends as many values as fit and returns how many. Items of others may come between. Values before one that throws stay in the ring. */
  pushBatch(values: readonly In[]): number {
    const count = lengthOfBatch('pushBatch()', values)
    let done = 0
    while (done < count && this.tryPush(valueOfBatch('pushBatch()', values, done))) done++
    return done
  }

  /** Reserves the next item, to be written in `region` from `claimOffset` on, or returns false if the ring is full. Later items wait for it: commit soon. */
  claim(): boolean {
    if (this.#encoding) throw busy()
    return this.#claimWrite(this.#me)
  }

  get claimOffset(): number {
    return this.#slots.offsetOf(this.#slots.written)
  }

  /** Publishes the claimed item. */
  commit(): void {
    if (this.#encoding) throw busy()
    if (!this.#writing) throw invalid('commit() without an open claim.')
    this.#finishWrite(this.#slots.written, 0)
  }

  /** Gives the claim up. Its slot is skipped by consumers. */
  abort(): void {
    if (this.#encoding) throw busy()
    if (this.#writing) this.#finishWrite(this.#slots.written, noOwner)
  }

  /** Takes the oldest item, or returns undefined if there is none; `ended` tells whether more can come. */
  tryPop(): Out | undefined {
    if (this.#failed) throw this.#takeFailure()
    if (!this.#claimRead()) return undefined
    return this.#take()
  }

  /** Decodes the claimed item and gives its slot back. */
  #take(): Out {
    const { position } = this.#slots
    const offset = this.#slots.offsetOf(position)
    this.#reading++
    try {
      return this.#codec.decode(this.#region, offset, this.#itemBytes)
    } finally {
      this.#reading--
      this.#slots.finishRead(position)
      this.#leaveIfIdle()
    }
  }

  #takeFailure(): unknown {
    const failure = this.#failure
    this.#failed = false
    this.#failure = undefined
    return failure
  }

  /** Copies the oldest item's bytes to `target` at `offset`. False if there is none. */
  popInto(target: Uint8Array, offset = 0): boolean {
    const bytes = this.#itemBytes
    checkTarget(target, offset, bytes)
    if (this.#failed) throw this.#takeFailure()
    if (!this.#claimRead()) return false
    const { position } = this.#slots
    const from = this.#slots.offsetOf(position)
    for (let i = 0; i < bytes; i++) target[offset + i] = this.#region.bytes[from + i] as number
    this.#slots.finishRead(position)
    return true
  }

  /**
   * Takes up to `limit` items. If one can't be decoded, those before it are returned, and the next call that takes items throws what was
   * wrong with it.
   */
  popBatch(limit = 256): Out[] {
    checkLimit(limit)
    if (this.#failed) throw this.#takeFailure()
    const values: Out[] = []
    while (values.length < limit && (values.length === 0 || this.#me !== 0) && this.#claimRead()) {
      try {
        values.push(this.#take())
      } catch (error) {
        if (values.length === 0) throw error
        this.#failed = true
        this.#failure = error
        break
      }
    }
    return values
  }

  /** Calls `handler` for up to `limit` items and returns for how many. A view is valid until the handler returns. */
  poll(handler: (view: View) => void, limit = 256): number {
    if (this.#polling) throw busy()
    checkHandler(handler)
    checkLimit(limit)
    if (this.#failed) throw this.#takeFailure()
    let done = 0
    while (done < limit && (done === 0 || this.#me !== 0) && this.#claimRead()) {
      const { position } = this.#slots
      const offset = this.#slots.offsetOf(position)
      done++
      this.#polling = true
      this.#reading++
      try {
        const answer: unknown = handler(this.#reader.read(this.#region, offset, this.#itemBytes))
        if (typeof answer === 'object') refusePromise('poll()', answer)
      } finally {
        this.#polling = false
        this.#reading--
        this.#slots.finishRead(position)
        this.#leaveIfIdle()
      }
    }
    return done
  }

  /**
   * Ends the ring for all participants: nothing is pushed after this, what is in it is still delivered, then consumers get `ended`. Closing all
   * producers does not end the ring. Needs a free slot, like a push: false if the ring is full; wait for room and call again.
   *
   * @throws HermesError `CLOSED` if the ring has ended or this participant has closed, `BUSY` from code that an encode runs
   */
  end(): boolean {
    if (this.#encoding) throw busy()
    if (this.#me === 0) throw closed('participant')
    if (!this.#claimWrite(noOwner)) return false
    wake(this.#memory, false)
    return true
  }

  /** Detaches this participant; others go on. An open claim is given up. May be called again. */
  close(): void {
    if (this.#me === 0) return
    // The claim of an encoding is given up when that has returned.
    if (!this.#encoding) this.abort()
    this.#leaving = this.#me - 1
    this.#me = 0
    this.#leaveIfIdle()
  }

  /** Carries out a `close` once no code of the caller looks at an item any more. */
  #leaveIfIdle(): void {
    const entry = this.#leaving
    if (entry < 0 || this.#encoding || this.#reading > 0) return
    this.#leaving = -1
    if (this.#memory.file === undefined) closeEntry(this.#words, entry)
    else this.#memory.close()
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
    const { name, capacity, closed } = this
    return `MpmcRing ${inspect({ name, capacity, closed }, options)}`
  }

  /** Declares a participant dead, for example when its worker has exited without closing. Returns whether it was attached. Of a named ring the kernel knows who lives: this asks it, and returns whether the participant is dead. */
  evict(participant: number): boolean {
    checkInteger('participant', participant, 0, this.#memory.participants - 1)
    if (this.#me === 0) throw closed('participant')
    const { file } = this.#memory
    if (file !== undefined) {
      file.probe()
      return stateOf(this.#words, participant) === participantStates.dead
    }
    const was = markDead(this.#words, participant)
    wake(this.#memory, false)
    wake(this.#memory, true)
    return was
  }

  /** Blocks this thread until there is an item, the end, or `timeoutMs` have passed. Returns false for the last. */
  waitForItems(timeoutMs: number): boolean {
    return sleepUntil(this.#memory, false, () => this.#open.hasItem(), timeoutMs)
  }

  /** Blocks this thread until there is room. As `waitForItems`. */
  waitForRoom(timeoutMs: number): boolean {
    return sleepUntil(this.#memory, true, () => this.#open.hasRoom(), timeoutMs)
  }

  /** As `waitForItems`, without blocking the event loop. @throws HermesError also `ABORTED`, `TIMED_OUT` */
  async items(options: WaitOptions = {}): Promise<void> {
    await waitUntil('items()', this.#memory, false, () => this.#open.hasItem(), options)
  }

  /** As `waitForRoom`, without blocking the event loop. @throws HermesError also `ABORTED`, `TIMED_OUT` */
  async room(options: WaitOptions = {}): Promise<void> {
    await waitUntil('room()', this.#memory, true, () => this.#open.hasRoom(), options)
  }

  #claimWrite(owner: number): boolean {
    if (this.#me === 0) throw closed('participant')
    if (this.#writing) throw invalid('A claim is open. Commit or abort it first.')
    if (!this.#slots.claimWrite(owner)) return false
    this.#writing = owner !== noOwner
    return true
  }

  #finishWrite(position: number, owner: number): void {
    this.#writing = false
    this.#slots.finishWrite(position, owner)
  }

  #claimRead(): boolean {
    if (this.#me === 0) throw closed('participant')
    return this.#slots.claimRead(this.#me)
  }

  get #open(): SlotQueue {
    if (this.#me === 0) throw closed('participant')
    return this.#slots
  }
}
