import { HermesError } from '../base/errors.js'
import { isAnyArrayBuffer } from '../base/kinds.js'
import { invalid, show } from '../base/options.js'
import type { Region } from '../codec/codec.js'
import { crc32Portable } from '../frame/crc32.js'
import type { NativeRingFile } from '../native/types.js'
import * as layout from './layout.js'
import { header, type RingKind, ringKinds, word } from './layout.js'
import { callRing, openNamedRing } from './place.js'

/**
 * Where a ring lies. A plain object that goes to a worker by `workerData` or `postMessage`: a SharedArrayBuffer is shared on the
 * way, not copied. It stays usable as long as the buffer does.
 */
export interface RingHandle {
  readonly buffer: ArrayBufferLike
  /** Where the ring starts in the buffer, in bytes; a multiple of 128. */
  readonly byteOffset: number
  readonly byteLength: number
}

export interface RingMemorySettings {
  readonly kind: RingKind
  readonly itemBytes: number
  readonly capacity: number
  readonly tag: Uint8Array
  readonly startIndex: number
  readonly participants: number
  readonly parking: boolean
  readonly name: string | undefined
}

/** Between two questions to the kernel whether the others live, in ms. */
const probeMs = 10
/** Fruitless looks at a named ring between two looks at the clock. */
const looksPerClock = 256

/** A ring's memory, seen as its shared words and as bytes. Makes and checks headers; the ring classes do the rest. */
export class RingMemory {
  readonly handle: RingHandle
  /** Over the whole ring: for Atomics. */
  readonly words: Int32Array
  /** Over the whole ring. */
  readonly region: Region
  readonly itemBytes: number
  readonly slotBytes: number
  readonly capacity: number
  readonly participants: number
  readonly parking: boolean
  /** Of a named ring, which other processes may map: its file, and its name. */
  readonly file: NativeRingFile | undefined
  readonly name: string | undefined
  #looks = 0
  #probed = 0

  private constructor(handle: RingHandle, bytes: number, data: DataView, file?: NativeRingFile, name?: string) {
    this.handle = handle
    this.file = file
    this.name = name
    this.words = new Int32Array(handle.buffer, handle.byteOffset, bytes >> 2)
    this.region = {
      bytes: new Uint8Array(handle.buffer, handle.byteOffset, bytes),
      data: new DataView(handle.buffer, handle.byteOffset, bytes),
    }
    // Copied here: whatever happens to the header later, nothing outside the ring is reached.
    this.itemBytes = data.getUint32(header.itemSize, true)
    this.slotBytes = data.getUint32(header.slotSize, true)
    this.capacity = data.getUint32(header.capacity, true)
    this.participants = data.getUint32(header.participants, true)
    this.parking = (data.getUint32(header.flags, true) & layout.parkingFlag) !== 0
  }

  /** Makes a ring in a SharedArrayBuffer of its own, or in a file if it has a name; a ring of that name which is there already is opened. */
  static create(settings: RingMemorySettings): RingMemory {
    const { kind, itemBytes, capacity, name } = settings
    if (!layout.capacityFits(kind, capacity)) {
      const least = kind === 'bytes' ? 64 : 2
      throw invalid(`'capacity' must be a power of two from ${least} to 2^30, not ${show(capacity)}.`, { capacity })
    }
    if (name !== undefined) {
      const { tag, participants, parking } = settings
      const startIndex = settings.startIndex >>> 0
      const shape = {
        kind: ringKinds[kind],
        itemBytes,
        capacity,
        tag,
        startIndex,
        participants,
        parking,
        fileMode: 0o600,
      }
      return RingMemory.inFile(openNamedRing(name, shape), kind, name)
    }
    const total = layout.totalBytes(kind, itemBytes, capacity)
    let buffer: SharedArrayBuffer
    try {
      buffer = new SharedArrayBuffer(total)
    } catch (cause) {
      throw new HermesError(
        'INVALID_ARGUMENT',
        `A ring of ${total} bytes is more than this process can allocate. Choose a smaller capacity.`,
        { cause, details: { bytes: total } },
      )
    }
    const data = new DataView(buffer)
    const put = (offset: number, value: number): void => data.setUint32(offset, value, true)
    put(header.version, layout.ringVersion)
    put(header.kind, ringKinds[kind])
    put(header.flags, settings.parking ? layout.parkingFlag : 0)
    put(header.itemSize, kind === 'bytes' ? capacity / 2 - layout.frameHeaderBytes : itemBytes)
    put(header.slotSize, layout.slotBytes(kind, itemBytes))
    put(header.capacity, capacity)
    put(header.dataOffset, layout.dataOffset)
    data.setBigUint64(header.totalBytes, BigInt(total), true)
    const bytes = new Uint8Array(buffer)
    bytes.set(settings.tag, header.tag)
    put(header.participants, settings.participants)
    const words = new Int32Array(buffer)
    words[word.producerIndex] = settings.startIndex
    words[word.consumerIndex] = settings.startIndex
    if (kind === 'mpmc') {
      const shift = Math.log2(capacity)
      const stride = layout.slotBytes(kind, itemBytes)
      for (let i = 0; i < capacity; i++) {
        const position = settings.startIndex + i
        words[(layout.dataOffset + (position & (capacity - 1)) * stride) >> 2] = layout.turnOf(position, shift) << 8
      }
    }
    // The magic is part of what the checksum covers, but is shown last.
    const sealed = bytes.slice(0, header.crc)
    new DataView(sealed.buffer).setUint32(header.magic, layout.ringMagic, true)
    put(header.crc, crc32Portable(sealed, 0, header.crc, 0))
    Atomics.store(words, header.magic, layout.ringMagic)
    return new RingMemory({ buffer, byteOffset: 0, byteLength: total }, total, data)
  }

  /**
   * Checks a ring that another participant made.
   *
   * @throws HermesError `INVALID_ARGUMENT`, `NOT_HERMES`, `VERSION_MISMATCH`, `CORRUPT`, `CONFIG_MISMATCH`
   */
  static attach(handle: RingHandle | string, kind: RingKind): RingMemory {
    if (typeof handle === 'string') return RingMemory.inFile(openNamedRing(handle, null), kind, handle)
    return RingMemory.#check(handle, kind)
  }

  /** A ring in a file that was opened. Closes the file if it isn't what it should be. */
  static inFile(file: NativeRingFile, kind: RingKind, name: string): RingMemory {
    try {
      const buffer = callRing(() => file.region(), name)
      return RingMemory.#check({ buffer, byteOffset: 0, byteLength: buffer.byteLength }, kind, file, name)
    } catch (error) {
      file.close()
      throw error
    }
  }

  static #check(handle: RingHandle, kind: RingKind, file?: NativeRingFile, name?: string): RingMemory {
    const { buffer, byteOffset, byteLength } = checkHandle(handle)
    if (byteLength < layout.dataOffset)
      throw notRing(`it has ${byteLength} bytes, a ring more than ${layout.dataOffset}`)
    const words = new Int32Array(buffer, byteOffset, layout.dataOffset >> 2)
    if (Atomics.load(words, 0) !== layout.ringMagic) throw notRing('it does not begin with the mark of a ring')
    // A copy, so that what was checked is what is used.
    const head = new Uint8Array(buffer, byteOffset, 64).slice()
    const data = new DataView(head.buffer)
    const get = (offset: number): number => data.getUint32(offset, true)
    const version = get(header.version)
    if (version !== layout.ringVersion) {
      throw new HermesError(
        'VERSION_MISMATCH',
        `This is a ring of format version ${version}, and this release reads version ${layout.ringVersion}. Use the same release on both sides.`,
        { details: { version } },
      )
    }
    if (get(header.crc) !== crc32Portable(head, 0, header.crc, 0)) throw corrupt('the checksum of its header is wrong')
    const found = (Object.keys(ringKinds) as RingKind[]).find((name) => ringKinds[name] === get(header.kind))
    if (found !== kind) {
      throw new HermesError(
        'CONFIG_MISMATCH',
        `This is a ring of kind ${found ?? get(header.kind)}, not ${kind}. Attach with the class that created it.`,
        { details: { kind: found ?? get(header.kind) } },
      )
    }
    const capacity = get(header.capacity)
    const itemBytes = get(header.itemSize)
    const participants = get(header.participants)
    const sane =
      layout.capacityFits(kind, capacity) &&
      get(header.dataOffset) === layout.dataOffset &&
      (get(header.flags) & ~layout.parkingFlag) === 0 &&
      (kind === 'bytes'
        ? itemBytes === capacity / 2 - layout.frameHeaderBytes
        : itemBytes >= 1 && itemBytes <= layout.maxItemBytes) &&
      get(header.slotSize) === layout.slotBytes(kind, itemBytes) &&
      data.getBigUint64(header.totalBytes, true) === BigInt(layout.totalBytes(kind, itemBytes, capacity)) &&
      (kind === 'mpmc' ? participants >= 2 && participants <= layout.maxParticipants : participants === 2)
    if (!sane) throw corrupt('its header contradicts itself')
    const total = layout.totalBytes(kind, itemBytes, capacity)
    if (total > byteLength) throw corrupt(`it needs ${total} bytes, and the memory has ${byteLength}`)
    const consumed = Atomics.load(words, word.consumerIndex)
    const produced = Atomics.load(words, word.producerIndex)
    const again = Atomics.load(words, word.consumerIndex)
    if ((produced - consumed) >>> 0 > capacity + ((again - consumed) >>> 0))
      throw corrupt('its indices are further apart than its capacity')
    if (kind === 'bytes' && ((produced | consumed) & 7) !== 0) throw corrupt('its indices are no multiples of 8')
    return new RingMemory({ buffer, byteOffset, byteLength: total }, total, data, file, name)
  }

  /** What goes to a worker. @throws HermesError `UNSUPPORTED` for a named ring, whose mapping is this thread's own */
  transferable(): RingHandle {
    if (this.name === undefined) return this.handle
    throw new HermesError(
      'UNSUPPORTED',
      `This ring has a name: attach to '${this.name}' instead of passing a handle.`,
      {
        details: { ring: this.name },
      },
    )
  }

  /** Calls the addon for a named ring; its failures come out as HermesErrors. */
  call<T>(work: () => T): T {
    return callRing(work, this.name ?? '')
  }

  /**
   * To be called when a look at the ring found nothing to do. In a named ring this asks the kernel now and then whether the others live, so that
   * who merely polls learns of a death too.
   */
  watch(): void {
    if (this.file === undefined || this.#looks++ % looksPerClock !== 0) return
    const now = performance.now()
    if (now - this.#probed < probeMs) return
    this.#probed = now
    this.file.probe()
  }

  /** Lets go of a named ring's file: its words and its region have no bytes from then on. */
  close(): void {
    this.file?.close()
  }

  /** Runs the rest of an attach. If it fails, nothing is left open. */
  attempt<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The 8 bytes that the creator marked the ring with. */
  tag(): Uint8Array {
    return this.region.bytes.slice(header.tag, header.tag + 8)
  }
}

function partsOf(handle: unknown): Partial<RingHandle> {
  try {
    const { buffer, byteOffset, byteLength } = (handle ?? {}) as RingHandle
    return { buffer: isAnyArrayBuffer(buffer) ? buffer : (undefined as never), byteOffset, byteLength }
  } catch {
    return {} // a revoked Proxy
  }
}

function checkHandle(handle: unknown): RingHandle {
  const { buffer, byteOffset, byteLength } = partsOf(handle)
  if (buffer === undefined || !Number.isInteger(byteOffset) || !Number.isInteger(byteLength)) {
    throw invalid("'handle' must be the `handle` of a ring: { buffer, byteOffset, byteLength }.")
  }
  const start = byteOffset as number
  const length = byteLength as number
  if (start < 0 || length < 0 || start + length > buffer.byteLength)
    throw invalid("'handle' reaches beyond its buffer.")
  if (start % layout.lineBytes !== 0)
    throw invalid(`A ring starts at a multiple of ${layout.lineBytes} bytes, not at ${start}.`)
  return { buffer, byteOffset: start, byteLength: length }
}

function notRing(reason: string): HermesError {
  return new HermesError('NOT_HERMES', `This memory holds no ring: ${reason}. Pass the \`handle\` of a ring.`)
}

export function corrupt(reason: string): HermesError {
  return new HermesError('CORRUPT', `The ring is damaged: ${reason}. Close it on all sides and make a new one.`)
}
