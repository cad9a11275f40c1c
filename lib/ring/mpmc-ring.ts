import { lengthOfBatch, valueOfBatch } from '../base/batch.js'
import { HermesError } from '../base/errors.js'
import { checkInteger, checkOptions, checkSignal, invalid } from '../base/options.js'
import type { Codec, Reader, Region } from '../codec/codec.js'
import type { NativeRingFile } from '../native/types.js'
import { checkHandler, checkLimit, checkTarget } from './arguments.js'
import { pollUntil, sleepUntil, wake } from './bell.js'
import { corrupt, type RingHandle, RingImage } from './image.js'
import { dataOffset, maxParticipants, turnOf, word } from './layout.js'
import { attachEntry, closeEntry, markDead, participantStates, stateOf } from './participant.js'
import {
  checkCommon,
  checkItemBytes,
  checkTag,
  closed,
  codecOf,
  itemBytesOf,
  type RingCreateOptions,
  tagOf,
  wrongSize,
} from './settings.js'

export interface MpmcRingOptions<In, Out, View> extends RingCreateOptions {
  /** Turns values into items. Every value must take the same number of bytes. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** The size of an item in bytes. Default: the codec's. */
  readonly itemBytes?: number
  /** How many objects may be attached at once, in all threads and processes: 2 to 254. Default 64. */
  readonly participants?: number
}

export interface MpmcRingAttachOptions<In, Out, View> {
  /** The creator's codec. Another layout is refused. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** Refuse a ring whose items have another size in bytes. Default: the codec's, if it has one. */
  readonly itemBytes?: number
}

const createOptions = ['codec', 'itemBytes', 'participants', 'capacity', 'parking', 'startIndex', 'name'] as const

/** As the owner of a full slot: its writer died. As the owner of a free one: the end. */
const nobody = 255
const slotHeaderBytes = 8

/**
 * A bounded queue of items of one size, for many producers and consumers, in shared memory. Every object made by `create` or `attach` is one
 * participant, and may push and pop. The algorithm follows D. Vyukov's bounded MPMC queue; see docs/ring-layout.md.
 *
 * An item that was pushed is delivered to one consumer. Each producer's items leave in its order.
 */
export class MpmcRing<In, Out = In, View = Out> {
  readonly #image: RingImage
  readonly #words: Int32Array
  readonly #codec: Codec<In, Out, View>
  readonly #reader: Reader<View>
  readonly #region: Region
  readonly #itemBytes: number
  readonly #mask: number
  readonly #shift: number
  readonly #stride: number
  /** Mask of the turns that positions of 32 bits can have. */
  readonly #turns: number
  /** Our number as an owner of slots; 0 = closed. */
  #me = 0
  #ended = false
  /** The position that the last claim to read won. */
  #position = 0
  /** The position of the newest claim to write. */
  #written = 0
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

  private constructor(image: RingImage, codec: Codec<In, Out, View>) {
    this.#image = image
    this.#words = image.words
    this.#codec = codec
    this.#reader = codec.reader()
    this.#region = image.region
    this.#itemBytes = image.itemBytes
    this.#mask = image.capacity - 1
    this.#shift = Math.log2(image.capacity)
    this.#stride = image.slotBytes
    this.#turns = turnOf(-1, this.#shift) + 1
    if (image.file !== undefined) {
      const { entry, unclean } = image.call(() => (image.file as NativeRingFile).join())
      this.#me = entry + 1
      if (unclean) this.#resolveAllOf(this.#me)
      return
    }
    for (let entry = 0; entry < image.participants; entry++) {
      const before = attachEntry(this.#words, entry)
      if (before < 0) continue
      this.#me = entry + 1
      // Before our own first claim: the predecessor's would look like ours.
      if (before === participantStates.dead) this.#resolveAllOf(this.#me)
      return
    }
    throw new HermesError(
      'TOO_MANY_PUBLISHERS',
      `All ${image.participants} participants of the ring are attached. Close one, evict one that died, or create the ring with more.`,
      { details: { participants: image.participants } },
    )
  }

  /** Makes a ring in a SharedArrayBuffer. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  static create(options: MpmcRingOptions<Uint8Array, Uint8Array, Uint8Array>): MpmcRing<Uint8Array>
  static create<In, Out, View>(
    options: MpmcRingOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): MpmcRing<In, Out, View>
  static create(options: MpmcRingOptions<never, unknown, unknown>): unknown {
    checkOptions('MpmcRing.create()', options, createOptions)
    const codec = codecOf(options)
    const { participants = 64 } = options
    checkInteger('participants', participants, 2, maxParticipants)
    const image = RingImage.create({
      ...checkCommon(options),
      kind: 'mpmc',
      itemBytes: itemBytesOf(codec, options.itemBytes),
      capacity: options.capacity,
      tag: tagOf(codec),
      participants,
    })
    return image.attempt(() => new MpmcRing(image, codec))
  }

  /** Joins a ring. Throws as `SpscRing.attach`, and `TOO_MANY_PUBLISHERS` if every participant's place is taken. */
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
    const image = RingImage.attach(handle, 'mpmc')
    return image.attempt(() => {
      checkTag(image, codec)
      checkItemBytes(image, codec, options.itemBytes)
      return new MpmcRing(image, codec)
    })
  }

  /** For a worker to `attach` to. A named ring is attached to by its name instead: `UNSUPPORTED`. */
  get handle(): RingHandle {
    return this.#image.transferable()
  }

  /** The ring's name, if it has one. */
  get name(): string | undefined {
    return this.#image.name
  }

  get capacity(): number {
    return this.#image.capacity
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
    this.#image.file?.probe()
    let count = 0
    for (let entry = 0; entry < this.#image.participants; entry++) {
      if (stateOf(this.#words, entry) === participantStates.attached) count++
    }
    return count
  }

  /** A consumer reached the end: everything was read, and nothing can be pushed any more. */
  get ended(): boolean {
    return this.#ended
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
    return Math.max(0, Math.min((produced - consumed) | 0, this.#image.capacity))
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
    const position = this.#written
    const offset = this.claimOffset
    this.#encoding = true
    try {
      const length = this.#codec.encode(value, this.#region, offset, offset + this.#itemBytes)
      if (length !== this.#itemBytes) throw wrongSize(this.#codec.name, length, this.#itemBytes)
      if (this.#me === 0) throw closed('participant')
    } catch (error) {
      this.#encoding = false
      this.#finishWrite(position, nobody)
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
    return dataOffset + (this.#written & this.#mask) * this.#stride + slotHeaderBytes
  }

  /** Publishes the claimed item. */
  commit(): void {
    if (this.#encoding) throw busy()
    if (!this.#writing) throw invalid('commit() without an open claim.')
    this.#finishWrite(this.#written, 0)
  }

  /** Gives the claim up. Its place is skipped by consumers. */
  abort(): void {
    if (this.#encoding) throw busy()
    if (this.#writing) this.#finishWrite(this.#written, nobody)
  }

  #finishWrite(position: number, owner: number): void {
    this.#writing = false
    Atomics.store(this.#words, this.#slot(position), ((turnOf(position, this.#shift) + 1) << 8) | owner)
    if (this.#image.parking && Atomics.load(this.#words, word.consumersWaiting) !== 0) this.#wakeConsumers()
  }

  /** Takes the oldest item, or returns undefined if there is none; `ended` tells whether more can come. */
  tryPop(): Out | undefined {
    if (this.#failed) throw this.#takeFailure()
    if (!this.#claimRead()) return undefined
    return this.#take()
  }

  /** Decodes the claimed item and gives its slot back. */
  #take(): Out {
    const position = this.#position
    const offset = dataOffset + (position & this.#mask) * this.#stride + slotHeaderBytes
    this.#reading++
    try {
      return this.#codec.decode(this.#region, offset, this.#itemBytes)
    } finally {
      this.#reading--
      this.#finishRead(position)
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
    const position = this.#position
    const from = dataOffset + (position & this.#mask) * this.#stride + slotHeaderBytes
    for (let i = 0; i < bytes; i++) target[offset + i] = this.#region.bytes[from + i] as number
    this.#finishRead(position)
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
      const position = this.#position
      const offset = dataOffset + (position & this.#mask) * this.#stride + slotHeaderBytes
      done++
      this.#polling = true
      this.#reading++
      try {
        handler(this.#reader.read(this.#region, offset, this.#itemBytes))
      } finally {
        this.#polling = false
        this.#reading--
        this.#finishRead(position)
        this.#leaveIfIdle()
      }
    }
    return done
  }

  /**
   * Ends the ring for everybody: nothing is pushed after this, what is in it is still delivered, then consumers get `ended`. Closing all
   * producers does not end the ring. Needs a free place, like a push: false if the ring is full; wait for room and call again.
   *
   * @throws HermesError `CLOSED` if the ring has ended or this participant has closed, `BUSY` from code that an encode runs
   */
  end(): boolean {
    if (this.#encoding) throw busy()
    if (this.#me === 0) throw closed('participant')
    if (!this.#claimWrite(nobody)) return false
    this.#wakeConsumers()
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
    if (this.#image.file === undefined) closeEntry(this.#words, entry)
    else this.#image.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Declares a participant dead, for example when its worker has exited without closing. Returns whether it was attached. Of a named ring the kernel knows who lives: this asks it, and returns whether the participant is dead. */
  evict(participant: number): boolean {
    checkInteger('participant', participant, 0, this.#image.participants - 1)
    if (this.#me === 0) throw closed('participant')
    const { file } = this.#image
    if (file !== undefined) {
      file.probe()
      return stateOf(this.#words, participant) === participantStates.dead
    }
    const was = markDead(this.#words, participant)
    this.#wakeConsumers()
    wake(this.#image, true)
    return was
  }

  /** Blocks this thread until there is an item, the end, or `timeoutMs` have passed. Returns false for the last. */
  waitForItems(timeoutMs: number): boolean {
    return sleepUntil(this.#image, false, () => this.#hasItem(), timeoutMs)
  }

  /** Blocks this thread until there is room. As `waitForItems`. */
  waitForRoom(timeoutMs: number): boolean {
    return sleepUntil(this.#image, true, () => this.#hasRoom(), timeoutMs)
  }

  /** As `waitForItems`, without blocking the event loop. @throws HermesError also `ABORTED` */
  async items(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkSignal(options.signal)
    await pollUntil(this.#image, false, () => this.#hasItem(), options.signal)
  }

  /** As `waitForRoom`, without blocking the event loop. @throws HermesError also `ABORTED` */
  async room(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkSignal(options.signal)
    await pollUntil(this.#image, true, () => this.#hasRoom(), options.signal)
  }

  #slot(position: number): number {
    return (dataOffset + (position & this.#mask) * this.#stride) >> 2
  }

  /** Helps an index past a claimed position. A failure means that somebody else did. */
  #pass(index: number, position: number): void {
    Atomics.compareExchange(this.#words, index, position, (position + 1) | 0)
  }

  /** Claims the next position to write. For the end the index stays: nobody goes past it. */
  #claimWrite(owner: number): boolean {
    if (this.#me === 0) throw closed('participant')
    if (this.#writing) throw invalid('A claim is open. Commit or abort it first.')
    const words = this.#words
    for (;;) {
      const position = Atomics.load(words, word.producerIndex)
      const slot = this.#slot(position)
      const seen = Atomics.load(words, slot)
      const free = turnOf(position, this.#shift)
      if (seen === free << 8) {
        if (Atomics.compareExchange(words, slot, seen, (free << 8) | owner) !== seen) continue
        if (owner === nobody) return true
        this.#pass(word.producerIndex, position)
        this.#written = position
        this.#writing = true
        return true
      }
      if (seen === ((free << 8) | nobody)) {
        if (owner === nobody) return true
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
          this.#image.watch()
          return false
        }
      } else if (Atomics.load(words, word.producerIndex) === position) {
        throw corrupt('a slot has an impossible state')
      }
    }
  }

  /** Claims the oldest item to read. */
  #claimRead(): boolean {
    if (this.#me === 0) throw closed('participant')
    const words = this.#words
    for (;;) {
      const position = Atomics.load(words, word.consumerIndex)
      const slot = this.#slot(position)
      const seen = Atomics.load(words, slot)
      const free = turnOf(position, this.#shift)
      const turn = seen >>> 8
      const owner = seen & 255
      if (turn === free + 1) {
        if (owner !== 0 && owner !== nobody) {
          this.#pass(word.consumerIndex, position)
          continue
        }
        if (Atomics.compareExchange(words, slot, seen, (turn << 8) | this.#me) !== seen) continue
        this.#pass(word.consumerIndex, position)
        if (owner === nobody) {
          this.#finishRead(position)
          continue
        }
        this.#position = position
        return true
      }
      if (turn === free) {
        if (owner === nobody) {
          this.#ended = true
          return false
        }
        if (this.#resolve(slot, position & this.#mask, seen)) continue
        this.#image.watch()
        return false
      }
      if (turn === ((free - 1) & this.#turns) && owner !== 0 && owner !== nobody) {
        // The last lap's reader is at it.
        if (this.#resolve(slot, position & this.#mask, seen)) continue
        if (Atomics.load(words, word.consumerIndex) === position) {
          this.#image.watch()
          return false
        }
        continue
      }
      if (Atomics.load(words, word.consumerIndex) === position) throw corrupt('a slot has an impossible state')
    }
  }

  /** Gives the slot to the producer of the next lap. */
  #finishRead(position: number): void {
    Atomics.store(this.#words, this.#slot(position), turnOf((position + this.#image.capacity) | 0, this.#shift) << 8)
    if (this.#image.parking && Atomics.load(this.#words, word.producersWaiting) !== 0) {
      wake(this.#image, true)
    }
  }

  /** Resolves the claim in `seen` if its owner is dead. True if the slot may have changed. */
  #resolve(slot: number, place: number, seen: number): boolean {
    const owner = seen & 255
    if (owner === 0 || owner > this.#image.participants) return false
    if (stateOf(this.#words, owner - 1) !== participantStates.dead) return false
    this.#resolveClaim(slot, place, seen)
    return true
  }

  #resolveClaim(slot: number, place: number, seen: number): void {
    const turn = seen >>> 8
    const reading = (turn & 1) !== 0
    const index = reading ? word.consumerIndex : word.producerIndex
    const position = Atomics.load(this.#words, index)
    // The index must be past a position before the position's word goes on.
    if ((position & this.#mask) === place && turnOf(position, this.#shift) === (turn & ~1)) this.#pass(index, position)
    const next = reading ? ((turn + 1) & this.#turns) << 8 : ((turn + 1) << 8) | nobody
    if (Atomics.compareExchange(this.#words, slot, seen, next) === seen) Atomics.add(this.#words, word.voided, 1)
  }

  #resolveAllOf(owner: number): void {
    for (let place = 0; place <= this.#mask; place++) {
      const slot = this.#slot(place)
      const seen = Atomics.load(this.#words, slot)
      if ((seen & 255) === owner) this.#resolveClaim(slot, place, seen)
    }
  }

  #hasItem(): boolean {
    if (this.#me === 0) throw closed('participant')
    const position = Atomics.load(this.#words, word.consumerIndex)
    const seen = Atomics.load(this.#words, this.#slot(position))
    const free = turnOf(position, this.#shift)
    if (seen >>> 8 !== free) return seen >>> 8 === free + 1
    const owner = seen & 255
    return owner === nobody || (owner !== 0 && stateOf(this.#words, owner - 1) === participantStates.dead)
  }

  #hasRoom(): boolean {
    if (this.#me === 0) throw closed('participant')
    const position = Atomics.load(this.#words, word.producerIndex)
    const seen = Atomics.load(this.#words, this.#slot(position))
    const lap = (turnOf(position, this.#shift) - (seen >>> 8)) & this.#turns
    if (lap !== 1 && lap !== 2) return true
    const owner = seen & 255
    return owner !== 0 && owner !== nobody && stateOf(this.#words, owner - 1) === participantStates.dead
  }

  #wakeConsumers(): void {
    wake(this.#image, false)
  }
}

/** For a call by code that an encode or a handler runs. */
function busy(): HermesError {
  return new HermesError(
    'BUSY',
    'This participant of the ring is in use: it is encoding a value, or running a handler of poll. Call this afterwards, or attach another one.',
  )
}
