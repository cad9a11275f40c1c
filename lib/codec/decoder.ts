import { HermesError } from '../base/errors.js'
import { refusePromise } from '../base/handler.js'
import { isUint8Array } from '../base/plain-bytes.js'
import {
  checkedPayloadBytes,
  defaultMaxPayloadBytes,
  frameBytes,
  frameChecksum,
  frameHeaderBytes,
  frameMagic,
  frameOffset,
  frameType,
  frameVersion,
  readUint53,
} from '../frame/frame.js'
import type { Codec, Reader, Region } from './codec.js'
import { checkInteger, checkOptionNames } from './encoder.js'
import { closedError, describe, invalidArgument } from './failures.js'
import { regionOf } from './region.js'
import { assertCodec } from './validated.js'

/** What stands in a frame's header. One object serves all frames of a Decoder: valid only until the handler returns. */
export interface Frame {
  readonly sequence: number
  /** Nanoseconds since 1970-01-01 UTC; made into a bigint by each access. */
  readonly timestampNs: bigint
  readonly flags: number
  /** Where the frame begins in the bytes given, and the length of its payload. */
  readonly offset: number
  readonly length: number
}

/** A message that the caller owns. */
export interface DecodedMessage<Out> {
  readonly value: Out
  readonly sequence: number
  readonly timestampNs: bigint
}

/** A stretch of bytes that holds no valid frame. */
export interface Damage {
  /** Where it begins in the bytes given. */
  readonly offset: number
  /** How long it is. */
  readonly bytes: number
  /** What is wrong with its first frame. */
  readonly reason: string
}

export interface DecoderOptions {
  /**
   * What to do at bytes that are no valid frame. `stop` (the default) throws `CORRUPT`. `resynchronise` looks for the
   * next valid frame at any offset, and reports what it passed over to `damage`.
   */
  readonly onDamage?: 'stop' | 'resynchronise'
  /** Told of each damaged stretch, when resynchronising. */
  readonly damage?: (damage: Damage) => void
  /** Frames that announce a larger payload, in bytes, are taken for damage. 65,536 by default. */
  readonly maxPayload?: number
}

const optionNames: readonly string[] = ['onDamage', 'damage', 'maxPayload']
/** The first byte of the magic, 'H'. */
const firstMagicByte = frameMagic & 255

/** Answers of #inspect. */
const whole = 0
const partial = 1
const broken = 2

class DecoderFrame implements Frame {
  data: DataView = new DataView(new ArrayBuffer(frameHeaderBytes))
  offset = 0
  length = 0
  sequence = 0

  get timestampNs(): bigint {
    try {
      return this.data.getBigUint64(this.offset + frameOffset.timestampNs, true)
    } catch (error) {
      throw closedError(error)
    }
  }

  get flags(): number {
    try {
      return this.data.getUint16(this.offset + frameOffset.flags, true)
    } catch (error) {
      throw closedError(error)
    }
  }
}

/**
 * The public face of the current frame. A DecoderFrame holds a DataView of the caller's bytes; those are the caller's
 * own, so nothing is given away, but the fields are not for changing.
 */
function faceOf(frame: DecoderFrame): Frame {
  return Object.freeze({
    get sequence() {
      return frame.sequence
    },
    get timestampNs() {
      return frame.timestampNs
    },
    get flags() {
      return frame.flags
    },
    get offset() {
      return frame.offset
    },
    get length() {
      return frame.length
    },
  })
}

/**
 * Reads frames from any bytes, in place: for those who bring their own transport. The bytes may come from anywhere:
 * lengths are checked before use and every frame by its CRC-32.
 *
 * Looking for the next frame after damage costs a checksum for every place that looks like a header, so bytes made for
 * the purpose can make `resynchronise` slow; keep `maxPayload` small for senders that are not trusted, or use `stop`.
 */
export class Decoder<Out, View = Out> {
  readonly #codec: Codec<never, Out, View>
  readonly #reader: Reader<View>
  readonly #resynchronise: boolean
  readonly #report: ((damage: Damage) => void) | undefined
  readonly #maxPayload: number
  readonly #frame = new DecoderFrame()
  readonly #face: Frame = faceOf(this.#frame)
  #reason = ''
  #busy = false
  #found = false
  #position = 0

  /**
   * How many of the bytes last given to `decode` were dealt with. After the handler or the codec threw, the frame in
   * question counts as dealt with: go on with the bytes from here.
   */
  get position(): number {
    return this.#position
  }

  /** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  constructor(codec: Codec<never, Out, View>, options: DecoderOptions = {}) {
    assertCodec(codec, 'new Decoder()')
    checkOptionNames('Decoder', options, optionNames)
    const onDamage = options.onDamage ?? 'stop'
    if (onDamage !== 'stop' && onDamage !== 'resynchronise') {
      throw invalidArgument(`The option onDamage is 'stop' or 'resynchronise'; got ${describe(onDamage)}.`)
    }
    if (options.damage !== undefined && typeof options.damage !== 'function') {
      throw invalidArgument(`The option damage is a function; got ${describe(options.damage)}.`)
    }
    this.#codec = codec
    this.#reader = codec.reader()
    this.#resynchronise = onDamage === 'resynchronise'
    this.#report = options.damage
    this.#maxPayload = checkInteger('maxPayload', options.maxPayload ?? defaultMaxPayloadBytes, 0, 2 ** 31)
  }

  /**
   * Calls `handler` for each data frame in `bytes`, and returns how many bytes were consumed. The rest is the beginning
   * of a frame: call again with it and what follows. Views and the frame are valid only until the handler returns.
   *
   * What the handler or the codec throws ends the call; `position` then tells where to go on.
   *
   * @param end no more bytes will follow, so that an unfinished frame is damage
   * @throws HermesError `CORRUPT` with `details` `{ offset, reason }`, `VERSION_MISMATCH` for frames of a newer format
   *   (both only with `stop`), `DECODE_FAILED`, `BUSY` when called from its own handler
   */
  decode(bytes: Uint8Array, handler: (value: View, frame: Frame) => void, end = false): number {
    if (typeof handler !== 'function') throw invalidArgument(`decode() takes a handler; got ${describe(handler)}.`)
    const region = this.#open(bytes)
    this.#begin()
    this.#position = 0
    try {
      let at = this.#advance(region, 0, end)
      while (this.#found) {
        const { length } = this.#frame
        const next = at + frameBytes(length)
        this.#position = next
        const answer: unknown = handler(this.#reader.read(region, at + frameHeaderBytes, length), this.#face)
        if (typeof answer === 'object') refusePromise('decode()', answer)
        at = this.#advance(region, next, end)
      }
      this.#position = at
      return at
    } finally {
      this.#busy = false
    }
  }

  /** As `decode` with `end`, yielding owned messages one by one. */
  *messages(bytes: Uint8Array): Generator<DecodedMessage<Out>, void, undefined> {
    const region = this.#open(bytes)
    let next = 0
    for (;;) {
      // Another call may use this decoder while the generator is suspended, so nothing of #frame is used after yield.
      let message: DecodedMessage<Out>
      this.#begin()
      try {
        const at = this.#advance(region, next, true)
        if (!this.#found) return
        const { length, sequence, timestampNs } = this.#frame
        next = at + frameBytes(length)
        message = { value: this.#codec.decode(region, at + frameHeaderBytes, length), sequence, timestampNs }
      } finally {
        this.#busy = false
      }
      yield message
    }
  }

  #begin(): void {
    if (this.#busy)
      throw new HermesError('BUSY', 'This Decoder is decoding: make another one for use within its handler.')
    this.#busy = true
  }

  #open(bytes: Uint8Array): Region {
    if (!isUint8Array(bytes)) throw invalidArgument(`A Decoder takes a Uint8Array or Buffer; got ${describe(bytes)}.`)
    try {
      return regionOf(bytes)
    } catch (error) {
      throw closedError(error)
    }
  }

  /**
   * Goes from `start` to the next data frame, which is then described by #frame, and returns its offset. Where there is
   * none, #found is false and the result is the number of bytes consumed.
   */
  #advance(region: Region, start: number, end: boolean): number {
    const { length: size } = region.bytes
    // A handler or codec transferred the buffer, or made it shorter.
    if (start > size) throw closedError(undefined)
    const { data } = region
    let at = start
    // Where the damage that is being passed over began, or -1.
    let damaged = -1
    let reason = ''
    this.#found = false
    for (;;) {
      const state = at === size ? partial : this.#inspect(region, at, end)
      if (state === partial) {
        if (damaged >= 0) this.#tell(damaged, at, reason)
        return at
      }
      if (state === broken) {
        if (!this.#resynchronise) throw this.#damageError(region, at)
        if (damaged < 0) {
          damaged = at
          reason = this.#reason
        }
        at = nextCandidate(region.bytes, at + 1)
        continue
      }
      if (damaged >= 0) {
        this.#tell(damaged, at, reason)
        damaged = -1
      }
      const payload = data.getUint32(at + frameOffset.payloadLength, true)
      if (data.getUint8(at + frameOffset.type) === frameType.data) {
        const frame = this.#frame
        frame.data = data
        frame.offset = at
        frame.length = payload
        frame.sequence = readUint53(data, at + frameOffset.sequence)
        this.#found = true
        return at
      }
      at += frameBytes(payload)
    }
  }

  #inspect(region: Region, at: number, end: boolean): number {
    const { bytes, data } = region
    const room = bytes.length - at
    if (room < frameHeaderBytes) {
      // As far as it goes it must be the magic, or it is no beginning of a frame.
      for (let index = 0; index < 4 && index < room; index++) {
        if (bytes[at + index] !== ((frameMagic >>> (8 * index)) & 255)) return this.#broken('there is no frame here')
      }
      return end ? this.#broken('the bytes end within a frame header') : partial
    }
    if (data.getUint32(at, true) !== frameMagic) return this.#broken('there is no frame here')
    const version = data.getUint8(at + frameOffset.version)
    if (version !== frameVersion) return this.#broken(`the frame has version ${version}`)
    const type = data.getUint8(at + frameOffset.type)
    if (type < frameType.data || type > frameType.void) return this.#broken(`the frame has the unknown type ${type}`)
    const payload = data.getUint32(at + frameOffset.payloadLength, true)
    // Voids and padding may be as long as a segment: their checksum vouches for the length before that is used.
    if (type === frameType.data && payload > this.#maxPayload) {
      return this.#broken(`the frame announces ${payload} bytes, and ${this.#maxPayload} are allowed`)
    }
    const checked = checkedPayloadBytes(type, payload)
    if (frameHeaderBytes + checked > room) return end ? this.#broken('the bytes end within a frame') : partial
    if (data.getUint32(at + frameOffset.crc32, true) !== frameChecksum(bytes, at, checked)) {
      return this.#broken('the checksum is wrong')
    }
    if (frameBytes(payload) > room) return end ? this.#broken('the bytes end within a frame') : partial
    if (!Number.isSafeInteger(readUint53(data, at + frameOffset.sequence))) {
      return this.#broken('the sequence is beyond 2^53 - 1')
    }
    return whole
  }

  #broken(reason: string): number {
    this.#reason = reason
    return broken
  }

  #tell(from: number, to: number, reason: string): void {
    this.#report?.({ offset: from, bytes: to - from, reason })
  }

  #damageError(region: Region, at: number): HermesError {
    const { data, bytes } = region
    const details = { offset: at, reason: this.#reason }
    const version = bytes.length - at >= frameHeaderBytes ? data.getUint8(at + frameOffset.version) : frameVersion
    if (version > frameVersion && data.getUint32(at, true) === frameMagic) {
      return new HermesError(
        'VERSION_MISMATCH',
        `The frame at byte ${at} has version ${version}, and this package reads version ${frameVersion}. Update hermes-mq.`,
        { details },
      )
    }
    return new HermesError(
      'CORRUPT',
      `Damage at byte ${at}: ${this.#reason}. Use onDamage: 'resynchronise' to go on with the next valid frame.`,
      { details },
    )
  }
}

/** The next offset where a frame could begin, or the end. */
function nextCandidate(bytes: Uint8Array, from: number): number {
  const found = bytes.indexOf(firstMagicByte, from)
  return found < 0 ? bytes.length : found
}
