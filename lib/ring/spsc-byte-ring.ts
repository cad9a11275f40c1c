import { lengthOfBatch, valueOfBatch } from '../base/batch.js'
import { HermesError } from '../base/errors.js'
import { refusePromise } from '../base/handler.js'
import { checkInteger, checkOptions, invalid } from '../base/options.js'
import { isUint8Array, lengthOf, plainView } from '../base/plain-bytes.js'
import type { Codec, Reader, Region } from '../codec/codec.js'
import { isOurs } from '../codec/failures.js'
import { checkHandler, checkLabel, checkLimit, checkTarget } from './arguments.js'
import { dataOffset, frameHeaderBytes, paddingFlag } from './layout.js'
import { corrupt, type RingHandle, RingMemory } from './ring-memory.js'
import { checkCommon, checkTag, codecOf, madeBy, type RingCreateOptions, tagOf } from './settings.js'
import { type SpscAttachOptions, SpscSide } from './spsc-side.js'

export interface SpscByteRingOptions<In, Out, View> extends RingCreateOptions, SpscAttachOptions {
  /** Turns values into frames of any size. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
}

export interface SpscByteRingAttachOptions<In, Out, View> extends SpscAttachOptions {
  /** The creator's codec. Another layout is refused. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
}

const attachOptions = ['role', 'takeOver', 'codec'] as const
const createOptions = [...attachOptions, 'capacity', 'parking', 'startIndex', 'name'] as const

/** The bytes of a frame with a payload of `length`. */
function frameBytes(length: number): number {
  return (frameHeaderBytes + length + 7) & ~7
}

function scratchOf(length: number): Region {
  const bytes = new Uint8Array(length)
  return { bytes, data: new DataView(bytes.buffer) }
}

/**
 * A bounded queue of frames of changing size, for one producer and one consumer, in shared memory; otherwise like `SpscRing`.
 * A frame takes 8 bytes more than its payload, rounded up to 8, and half of the capacity at most.
 */
export class SpscByteRing<In, Out = In, View = Out> extends SpscSide {
  readonly #codec: Codec<In, Out, View>
  readonly #reader: Reader<View>
  readonly #region: Region
  readonly #capacity: number
  /** The open claim: where its frame begins (a position), and how many payload bytes it may have; -1 = none. */
  #claimStart = 0
  #claimBytes = -1
  /** Within poll, whose frames are given back together at its end. */
  #holding = false
  /** What `#look` found. */
  #offset = 0
  #length = 0
  #label = 0
  /** The room that the last refused frame would have needed. */
  #wanted = 2 * frameHeaderBytes
  #scratch = scratchOf(0)

  private constructor(memory: RingMemory, codec: Codec<In, Out, View>, options: SpscAttachOptions) {
    super(madeBy('SpscByteRing', memory), options)
    this.#codec = codec
    this.#reader = codec.reader()
    this.#region = memory.region
    this.#capacity = memory.capacity
  }

  /** Makes a ring of `capacity` bytes. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  static create(options: SpscByteRingOptions<Uint8Array, Uint8Array, Uint8Array>): SpscByteRing<Uint8Array>
  static create<In, Out, View>(
    options: SpscByteRingOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): SpscByteRing<In, Out, View>
  static create(options: SpscByteRingOptions<never, unknown, unknown>): unknown {
    checkOptions('SpscByteRing.create()', options, createOptions)
    const codec = codecOf(options)
    const common = checkCommon(options)
    if (common.startIndex % 8 !== 0) throw invalid("'startIndex' of a byte ring must be a multiple of 8.")
    const memory = RingMemory.create({
      ...common,
      kind: 'bytes',
      itemBytes: 0,
      capacity: options.capacity,
      tag: tagOf(codec),
      participants: 2,
    })
    return memory.attempt(() => new SpscByteRing(memory, codec, options))
  }

  /** Joins a ring that another thread or process made. Throws as `SpscRing.attach`. */
  static attach(
    handle: RingHandle | string,
    options: SpscByteRingAttachOptions<Uint8Array, Uint8Array, Uint8Array>,
  ): SpscByteRing<Uint8Array>
  static attach<In, Out, View>(
    handle: RingHandle | string,
    options: SpscByteRingAttachOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): SpscByteRing<In, Out, View>
  static attach(handle: RingHandle | string, options: SpscByteRingAttachOptions<never, unknown, unknown>): unknown {
    checkOptions('SpscByteRing.attach()', options, attachOptions)
    const codec = codecOf(options)
    const memory = RingMemory.attach(handle, 'bytes')
    return memory.attempt(() => {
      checkTag(memory, codec)
      return new SpscByteRing(memory, codec, options)
    })
  }

  /** The largest payload in bytes. */
  get maxPayload(): number {
    return this.#capacity / 2 - frameHeaderBytes
  }

  /** Bytes in the ring, frame headers and padding included, as of some moment during the call. */
  get size(): number {
    return this.distance()
  }

  /** The ring's memory, for those who fill frames in place with `claim`. */
  get region(): Region {
    return this.#region
  }

  /** The label of the frame that was taken last, or that the handler of `poll` is looking at: an unsigned 32-bit number. */
  get label(): number {
    return this.#label
  }

  /**
   * Producer: appends one value, or returns false if there is no room. `label` is any unsigned 32-bit number that goes with it.
   *
   * @throws HermesError `PAYLOAD_TOO_LARGE`, `ENCODE_FAILED`; `CLOSED` or `PEER_DEAD` if the consumer is gone and the ring full;
   *   `BUSY` from code that the encoding runs, such as a getter of the value
   */
  tryPush(value: In, label = 0): boolean {
    if (this.producing) throw this.busy()
    checkLabel(label)
    this.producing = true
    let length: number
    // (`finally` would cost more)
    try {
      length = this.#encode(value)
    } catch (error) {
      this.stopProducing()
      throw error
    }
    this.producing = false
    if (this.closed) this.stopProducing()
    if (length < 0) return false
    this.#commitFrame(length, label)
    return true
  }

  /** Writes the value behind `#claimStart` and returns its length; -1 if there is no room. */
  #encode(value: In): number {
    if (this.#claimBytes >= 0) throw invalid('A claim is open. Commit or abort it first.')
    // Encode in place if the size is known, or if the largest value fits where we are. Otherwise the size must be learnt
    // first: padding before a value that turns out small would waste room.
    const known = isUint8Array(value) && this.#codec.name === 'raw' ? lengthOf(value) : this.#codec.maxBytes
    const most = known ?? this.maxPayload
    if (most <= this.maxPayload && (known === undefined ? this.#fitsHere(most) : this.#reserve(most))) {
      if (known === undefined) this.#claimStart = this.produced
      const start = dataOffset + (this.#claimStart & this.mask) + frameHeaderBytes
      return this.#codec.encode(value, this.#region, start, start + most)
    }
    return this.#encodeCopied(value)
  }

  /** Whether the largest value fits behind the last frame without padding. */
  #fitsHere(length: number): boolean {
    const size = frameBytes(length)
    if (this.#capacity - (this.produced & this.mask) < size) return false
    return ((this.produceLimit - this.produced) | 0) >= size || this.refreshRoom(0) >= size
  }

  /** When there is not room for the largest value: encodes aside, to learn the size. */
  #encodeCopied(value: In): number {
    const length = this.#encodeAside(value)
    if (!this.#reserve(length)) return -1
    const start = dataOffset + (this.#claimStart & this.mask) + frameHeaderBytes
    this.#region.bytes.set(this.#scratch.bytes.subarray(0, length), start)
    return length
  }

  #encodeAside(value: In): number {
    for (;;) {
      const room = this.#scratch.bytes.length
      try {
        return this.#codec.encode(value, this.#scratch, 0, room)
      } catch (error) {
        const tooLarge = isOurs(error) && error.code === 'PAYLOAD_TOO_LARGE'
        if (!tooLarge || room === this.maxPayload) throw error
        this.#scratch = scratchOf(Math.min(this.maxPayload, Math.max(4096, room * 4)))
      }
    }
  }

  /** Producer: appends as many values as fit, one by one, and returns how many. Values before one that throws stay in the ring. */
  pushBatch(values: readonly In[]): number {
    const count = lengthOfBatch('pushBatch()', values)
    let done = 0
    while (done < count && this.tryPush(valueOfBatch('pushBatch()', values, done))) done++
    return done
  }

  /**
   * Producer: reserves room for a payload of up to `length` bytes, to be written in `region` from `claimOffset` on. False if there is
   * no room. Nothing is visible before `commit`. One claim is open at a time.
   *
   * @throws HermesError `PAYLOAD_TOO_LARGE`; as `tryPush`
   */
  claim(length: number): boolean {
    if (this.producing) throw this.busy()
    checkInteger('length', length, 0, 2 ** 31)
    if (this.#claimBytes >= 0) throw invalid('A claim is open. Commit or abort it first.')
    if (length > this.maxPayload) throw this.#tooLarge(length)
    if (!this.#reserve(length)) return false
    this.#claimBytes = length
    return true
  }

  /** Where the payload of the open claim begins in `region`: a multiple of 8. */
  get claimOffset(): number {
    return dataOffset + (this.#claimStart & this.mask) + frameHeaderBytes
  }

  /** Producer: publishes the open claim with its first `length` bytes. */
  commit(length: number, label = 0): void {
    if (this.producing) throw this.busy()
    if (this.closed) throw new HermesError('CLOSED', "The ring's producer was closed. Attach again to go on.")
    if (this.#claimBytes < 0) throw invalid('commit() without an open claim.')
    checkInteger('length', length, 0, this.#claimBytes)
    checkLabel(label)
    this.#claimBytes = -1
    this.#commitFrame(length, label)
  }

  /** Producer: forgets the open claim, if any. Nothing was visible, so nothing is left behind. */
  abort(): void {
    this.#claimBytes = -1
  }

  /** Consumer: takes the oldest frame, or returns undefined if there is none; `ended` tells whether more can come. */
  tryPop(): Out | undefined {
    if (this.consuming) throw this.busy()
    const next = this.#look(true)
    if (next === undefined) return undefined
    this.consuming = true
    try {
      return this.#codec.decode(this.#region, this.#offset, this.#length)
    } finally {
      this.release(next)
      this.stopConsuming()
    }
  }

  /** Consumer: copies the oldest frame's payload to `target` and returns its length, or -1 if there is none. */
  popInto(target: Uint8Array, offset = 0): number {
    if (this.consuming) throw this.busy()
    const next = this.#look(true)
    if (next === undefined) return -1
    const length = this.#length
    checkTarget(target, offset, length)
    if (length > 0)
      plainView(target, offset, offset + length).set(this.#region.bytes.subarray(this.#offset, this.#offset + length))
    this.release(next)
    return length
  }

  /** Consumer: takes up to `limit` frames. One that can't be decoded is left for the next call, which throws and takes it. */
  popBatch(limit = 256): Out[] {
    if (this.consuming) throw this.busy()
    checkLimit(limit)
    const values: Out[] = []
    while (values.length < limit && !this.closed) {
      const next = this.#look(values.length === 0)
      if (next === undefined) break
      this.consuming = true
      let taken = true
      try {
        values.push(this.#codec.decode(this.#region, this.#offset, this.#length))
      } catch (error) {
        taken = values.length === 0
        if (taken) throw error
        break // the next call throws, and takes it
      } finally {
        if (taken) this.release(next)
        this.stopConsuming()
      }
    }
    return values
  }

  /**
   * Consumer: calls `handler` for up to `limit` frames and returns for how many. A view is valid until the handler returns.
   * If the handler throws, its frame counts as taken, the later ones don't. `label` is the frame's. The handler may not take frames itself.
   *
   * @throws HermesError as `tryPop`; `BUSY` from a handler
   */
  poll(handler: (view: View, label: number) => void, limit = 256): number {
    if (this.consuming) throw this.busy()
    checkHandler(handler)
    checkLimit(limit)
    let done = 0
    let next = this.#look(true)
    if (next === undefined) return 0
    const first = this.consumed
    this.consuming = true
    this.#holding = true
    try {
      while (next !== undefined && done < limit && !this.closed) {
        // Given back together at the end; meanwhile this is only our own position.
        this.consumed = next
        done++
        const answer: unknown = handler(this.#reader.read(this.#region, this.#offset, this.#length), this.#label)
        if (typeof answer === 'object') refusePromise('poll()', answer)
        if (done < limit && !this.closed) next = this.#look(false)
      }
    } finally {
      this.#holding = false
      if (this.consumed !== first) this.release(this.consumed)
      this.stopConsuming()
    }
    return done
  }

  protected override hasRoom(): boolean {
    return this.refreshRoom(this.#wanted) >= this.#wanted
  }

  /** Finds room for a frame of `length` bytes behind the last one, and writes the padding before it if it must wrap. */
  #reserve(length: number): boolean {
    const at = this.produced
    const size = frameBytes(length)
    const tail = this.#capacity - (at & this.mask)
    const need = size <= tail ? size : tail + size
    if (((this.produceLimit - at) | 0) < need && this.refreshRoom(need) < need) {
      this.#wanted = need
      return false
    }
    if (size > tail) {
      this.#writeHeader(at, paddingFlag | (tail - frameHeaderBytes), 0)
      this.#claimStart = (at + tail) | 0
    } else {
      this.#claimStart = at
    }
    return true
  }

  #commitFrame(length: number, label: number): void {
    this.#writeHeader(this.#claimStart, length, label)
    this.publish((this.#claimStart + frameBytes(length)) | 0)
  }

  #writeHeader(position: number, length: number, label: number): void {
    const at = (dataOffset + (position & this.mask)) >> 2
    // Plain stores: the index publishes them.
    this.words[at] = length
    this.words[at + 1] = label
  }

  /** Finds the oldest frame and returns the position behind it. `refresh`: ask the producer if no more is known of. */
  #look(refresh: boolean): number | undefined {
    for (;;) {
      const at = this.consumed
      if (at === this.consumeLimit && (!refresh || this.refreshItems() === 0)) return undefined
      const available = (this.consumeLimit - at) | 0
      const inRing = at & this.mask
      const tail = this.#capacity - inRing
      const word = (dataOffset + inRing) >> 2
      if (available < frameHeaderBytes) throw corrupt('a frame is cut off')
      const length = this.words[word] as number
      if (length < 0) {
        if ((length & 0x7fff_ffff) !== tail - frameHeaderBytes || available < tail)
          throw corrupt('a padding frame has a wrong length')
        // Our own position only while a handler runs: what it sees is given back at the end of poll.
        if (this.#holding) this.consumed = (at + tail) | 0
        else this.release((at + tail) | 0)
        continue
      }
      const size = frameBytes(length)
      if (length > this.maxPayload || size > available || size > tail)
        throw corrupt('a frame has a length beyond the end of the ring')
      this.#offset = dataOffset + inRing + frameHeaderBytes
      this.#length = length
      this.#label = (this.words[word + 1] as number) >>> 0
      return (at + size) | 0
    }
  }

  #tooLarge(length: number): HermesError {
    const limit = this.maxPayload
    return new HermesError(
      'PAYLOAD_TOO_LARGE',
      `A frame of ${length} bytes is over this ring's limit of ${limit}: half of its capacity. Make the ring larger.`,
      { details: { limit, needed: length } },
    )
  }
}
