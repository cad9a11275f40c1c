import { lengthOfBatch, valueOfBatch } from '../base/batch.js'
import { refusePromise } from '../base/handler.js'
import { checkInteger, checkOptions, invalid, show } from '../base/options.js'
import { plainView } from '../base/plain-bytes.js'
import type { Codec, Reader, Region } from '../codec/codec.js'
import { checkHandler, checkLimit, checkTarget } from './arguments.js'
import { dataOffset } from './layout.js'
import { type RingHandle, RingMemory } from './ring-memory.js'
import {
  checkCommon,
  checkItemBytes,
  checkTag,
  codecOf,
  itemBytesOf,
  madeBy,
  type RingCreateOptions,
  tagOf,
  wrongSize,
} from './settings.js'
import { type SpscAttachOptions, SpscSide } from './spsc-side.js'

export interface SpscRingOptions<In, Out, View> extends RingCreateOptions, SpscAttachOptions {
  /** Turns values into items. Every value must take the same number of bytes. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** The size of an item in bytes. Default: the codec's. */
  readonly itemBytes?: number
}

export interface SpscRingAttachOptions<In, Out, View> extends SpscAttachOptions {
  /** The creator's codec. Another layout is refused. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** Refuse a ring whose items have another size in bytes. Default: the codec's, if it has one. */
  readonly itemBytes?: number
}

const attachOptions = ['role', 'takeOver', 'codec', 'itemBytes'] as const
const createOptions = [...attachOptions, 'capacity', 'parking', 'startIndex', 'name'] as const

/**
 * A bounded queue of items of one size, for one producer and one consumer, in shared memory. Push and pop are a few
 * memory accesses; no message passing and no native call is involved. C++ shares the ring: see docs/ring-layout.md.
 *
 * An item that was pushed is delivered once, in order. A full ring refuses (`tryPush` returns false); nothing is ever dropped.
 *
 * ```ts
 * const ring = SpscRing.create({ capacity: 4096, codec: Trade, role: 'producer' })
 * const worker = new Worker(file, { workerData: ring.handle })
 * // in the worker: SpscRing.attach(workerData, { codec: Trade, role: 'consumer' })
 * ```
 */
export class SpscRing<In, Out = In, View = Out> extends SpscSide {
  readonly #codec: Codec<In, Out, View>
  readonly #reader: Reader<View>
  readonly #region: Region
  readonly #itemBytes: number
  readonly #capacity: number

  private constructor(memory: RingMemory, codec: Codec<In, Out, View>, options: SpscAttachOptions) {
    super(madeBy('SpscRing', memory), options)
    this.#codec = codec
    this.#reader = codec.reader()
    this.#region = memory.region
    this.#itemBytes = memory.itemBytes
    this.#capacity = memory.capacity
  }

  /**
   * Makes a ring in a SharedArrayBuffer, or with `name` in shared memory for other processes.
   *
   * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; with `name` also `INVALID_NAME`, `CONFIG_MISMATCH`, `EXCLUSIVE_HELD`,
   *   `DISK_FULL`, `ACCESS_DENIED`, `NOT_HERMES`, `UNSUPPORTED`
   */
  static create(options: SpscRingOptions<Uint8Array, Uint8Array, Uint8Array>): SpscRing<Uint8Array>
  static create<In, Out, View>(
    options: SpscRingOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): SpscRing<In, Out, View>
  static create(options: SpscRingOptions<never, unknown, unknown>): unknown {
    checkOptions('SpscRing.create()', options, createOptions)
    const codec = codecOf(options)
    const itemBytes = itemBytesOf(codec, options.itemBytes)
    const memory = RingMemory.create({
      ...checkCommon(options),
      kind: 'spsc',
      itemBytes,
      capacity: options.capacity,
      tag: tagOf(codec),
      participants: 2,
    })
    return memory.attempt(() => new SpscRing(memory, codec, options))
  }

  /**
   * Joins a ring that another thread (by its `handle`) or process (by its name) made.
   *
   * @throws HermesError `NOT_FOUND` if there is no ring of this name,
   *   `EXCLUSIVE_HELD` if the role is taken, `NOT_HERMES`, `VERSION_MISMATCH`, `CONFIG_MISMATCH`,
   *   `CODEC_MISMATCH`, `CORRUPT`, `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
   */
  static attach(
    handle: RingHandle | string,
    options: SpscRingAttachOptions<Uint8Array, Uint8Array, Uint8Array>,
  ): SpscRing<Uint8Array>
  static attach<In, Out, View>(
    handle: RingHandle | string,
    options: SpscRingAttachOptions<In, Out, View> & { readonly codec: Codec<In, Out, View> },
  ): SpscRing<In, Out, View>
  static attach(handle: RingHandle | string, options: SpscRingAttachOptions<never, unknown, unknown>): unknown {
    checkOptions('SpscRing.attach()', options, attachOptions)
    const codec = codecOf(options)
    const memory = RingMemory.attach(handle, 'spsc')
    return memory.attempt(() => {
      checkTag(memory, codec)
      checkItemBytes(memory, codec, options.itemBytes)
      return new SpscRing(memory, codec, options)
    })
  }

  /** The size of an item in bytes. */
  get itemBytes(): number {
    return this.#itemBytes
  }

  /** Items in the ring, as of some moment during the call. */
  get size(): number {
    return this.distance()
  }

  /** The ring's memory, for those who fill or read items in place with `claim` and `peek`. */
  get region(): Region {
    return this.#region
  }

  /**
   * Producer: appends one item, or returns false if the ring is full. A value that can't be encoded leaves nothing behind.
   *
   * @throws HermesError `CLOSED` or `PEER_DEAD` if the ring is full and the consumer is gone, `ENCODE_FAILED`, …;
   *   `BUSY` from code that the encoding runs, such as a getter of the value
   */
  tryPush(value: In): boolean {
    if (this.producing) throw this.busy()
    const at = this.produced
    if (at === this.produceLimit && this.refreshRoom(1) === 0) return false
    this.producing = true
    // (`finally` would cost more)
    try {
      this.#encode(value, at)
    } catch (error) {
      this.stopProducing()
      throw error
    }
    this.producing = false
    if (this.closed) this.stopProducing()
    this.publish((at + 1) | 0)
    return true
  }

  /**
   * Producer: appends as many values as fit, which become visible together. Returns how many. After an error nothing was appended.
   *
   * @throws HermesError as `tryPush`
   */
  pushBatch(values: readonly In[]): number {
    if (this.producing) throw this.busy()
    this.producing = true
    let begin = 0
    let count = 0
    try {
      count = this.#claimable(lengthOfBatch('pushBatch()', values))
      begin = this.produced
      for (let i = 0; i < count; i++) this.#encode(valueOfBatch('pushBatch()', values, i), begin + i)
    } finally {
      this.stopProducing()
    }
    if (count > 0) this.publish((begin + count) | 0)
    return count
  }

  #encode(value: In, position: number): void {
    const offset = dataOffset + (position & this.mask) * this.#itemBytes
    const length = this.#codec.encode(value, this.#region, offset, offset + this.#itemBytes)
    if (length !== this.#itemBytes) throw wrongSize(this.#codec.name, length, this.#itemBytes)
  }

  /**
   * Producer: reserves up to `count` items that lie side by side, and returns how many; 0 if the ring is full. Fill them in
   * `region` from `claimOffset` on, then `commit`. To forget a claim, don't commit it.
   */
  claim(count = 1): number {
    if (this.producing) throw this.busy()
    if (count === 1) return this.produced !== this.produceLimit || this.refreshRoom(1) > 0 ? 1 : 0
    checkInteger('count', count, 1, this.#capacity)
    return Math.min(this.#claimable(count), this.#capacity - (this.produced & this.mask))
  }

  /** Where the claimed items begin in `region`. */
  get claimOffset(): number {
    return dataOffset + (this.produced & this.mask) * this.#itemBytes
  }

  /** Producer: publishes the first `count` of the claimed items. */
  commit(count = 1): void {
    if (this.producing) throw this.busy()
    const room = (this.produceLimit - this.produced) | 0
    if (!Number.isInteger(count) || count < 0 || count > room)
      throw invalid(`commit(${show(count)}): no more than ${room} items were claimed.`)
    if (count > 0) this.publish((this.produced + count) | 0)
  }

  /**
   * Consumer: takes the oldest item, or returns undefined if there is none; `ended` tells whether more can come.
   *
   * @throws HermesError `DECODE_FAILED` (the item counts as taken), `PEER_DEAD` once everything was read, `CLOSED`
   */
  tryPop(): Out | undefined {
    if (this.consuming) throw this.busy()
    const at = this.consumed
    if (at === this.consumeLimit && this.refreshItems() === 0) return undefined
    this.consuming = true
    try {
      return this.#codec.decode(this.#region, dataOffset + (at & this.mask) * this.#itemBytes, this.#itemBytes)
    } finally {
      this.release((at + 1) | 0)
      this.stopConsuming()
    }
  }

  /** Consumer: copies the oldest item's bytes to `target` at `offset`. False if there is none. Allocates nothing. */
  popInto(target: Uint8Array, offset = 0): boolean {
    if (this.consuming) throw this.busy()
    const at = this.consumed
    if (at === this.consumeLimit && this.refreshItems() === 0) return false
    const bytes = this.#itemBytes
    checkTarget(target, offset, bytes)
    const from = dataOffset + (at & this.mask) * bytes
    if (bytes > 64) plainView(target, offset, offset + bytes).set(this.#region.bytes.subarray(from, from + bytes))
    else for (let i = 0; i < bytes; i++) target[offset + i] = this.#region.bytes[from + i] as number
    this.release((at + 1) | 0)
    return true
  }

  /** Consumer: takes up to `limit` items. One that can't be decoded is left for the next call, which throws and takes it. */
  popBatch(limit = 256): Out[] {
    if (this.consuming) throw this.busy()
    checkLimit(limit)
    const count = this.#available(limit)
    const values: Out[] = []
    if (count === 0) return values
    const begin = this.consumed
    let taken = 0
    this.consuming = true
    try {
      while (taken < count && !this.closed) {
        const offset = dataOffset + ((begin + taken) & this.mask) * this.#itemBytes
        values.push(this.#codec.decode(this.#region, offset, this.#itemBytes))
        taken++
      }
    } catch (error) {
      if (taken === 0) {
        taken = 1
        throw error
      }
    } finally {
      this.release((begin + taken) | 0)
      this.stopConsuming()
    }
    return values
  }

  /**
   * Consumer: calls `handler` for up to `limit` items and returns for how many. A view is valid until the handler returns.
   * If the handler throws, its item counts as taken, the later ones don't. The handler may not take items itself.
   *
   * @throws HermesError as `tryPop`; `BUSY` from a handler
   */
  poll(handler: (view: View) => void, limit = 256): number {
    if (this.consuming) throw this.busy()
    checkHandler(handler)
    checkLimit(limit)
    const count = this.#available(limit)
    if (count === 0) return 0
    const begin = this.consumed
    let done = 0
    this.consuming = true
    try {
      while (done < count && !this.closed) {
        const offset = dataOffset + ((begin + done) & this.mask) * this.#itemBytes
        done++
        const answer: unknown = handler(this.#reader.read(this.#region, offset, this.#itemBytes))
        if (typeof answer === 'object') refusePromise('poll()', answer)
      }
    } finally {
      this.release((begin + done) | 0)
      this.stopConsuming()
    }
    return done
  }

  /** Consumer: how many items, up to `limit`, lie side by side in `region` from `peekOffset` on. `consume` gives them back. */
  peek(limit = 256): number {
    if (this.consuming) throw this.busy()
    checkLimit(limit)
    return Math.min(this.#available(limit), this.#capacity - (this.consumed & this.mask))
  }

  /** Where the oldest item begins in `region`. */
  get peekOffset(): number {
    return dataOffset + (this.consumed & this.mask) * this.#itemBytes
  }

  /** Consumer: gives the first `count` peeked items back. */
  consume(count = 1): void {
    if (this.consuming) throw this.busy()
    const items = (this.consumeLimit - this.consumed) | 0
    if (!Number.isInteger(count) || count < 0 || count > items)
      throw invalid(`consume(${show(count)}): there are ${items} items.`)
    if (count > 0) this.release((this.consumed + count) | 0)
  }

  protected override hasRoom(): boolean {
    return this.produced !== this.produceLimit || this.refreshRoom(1) > 0
  }

  #claimable(count: number): number {
    let room = (this.produceLimit - this.produced) | 0
    if (room < count || room === 0) room = this.refreshRoom(1)
    return Math.min(room, count)
  }

  #available(limit: number): number {
    let items = (this.consumeLimit - this.consumed) | 0
    if (items < limit || items === 0) items = this.refreshItems()
    return Math.min(items, limit)
  }
}
