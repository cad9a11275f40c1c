import { lengthOfBatch, valueOfBatch } from '../base/batch.js'
import { HermesError } from '../base/errors.js'
import { namesOfOptions } from '../base/options.js'
import { defaultMaxPayloadBytes, frameAlignment, frameHeaderBytes, frameType, sealFrame } from '../frame/frame.js'
import type { Codec, Region } from './codec.js'
import { describe, invalidArgument, isOurs } from './failures.js'
import { guarded } from './guarded.js'
import { regionOf } from './region.js'
import { assertCodec } from './validated.js'

export interface EncoderOptions {
  /** Size of the buffer in bytes, made once. 1 MiB by default, at most 1 GiB. */
  readonly capacity?: number
  /** The largest payload in bytes. 65,536 by default. */
  readonly maxPayload?: number
  /** The sequence of the first frame; each further frame has the next. 0 by default. */
  readonly sequence?: number
  /**
   * Where timestamps come from. `wall` (the default) is the clock of the system, to the microsecond, without allocation;
   * `none` writes 0; a function returns nanoseconds since 1970-01-01 UTC.
   */
  readonly timestamp?: 'wall' | 'none' | (() => bigint)
}

const encoderOptions: readonly string[] = ['capacity', 'maxPayload', 'sequence', 'timestamp']
const maxCapacity = 2 ** 30
const two32 = 0x1_0000_0000

/**
 * Writes values as frames, one after the other, into a buffer made once: for those who bring their own transport.
 * Nothing is allocated per message by the encoder itself.
 *
 * ```ts
 * const encoder = new Encoder(Trade)
 * encoder.encode(trade)
 * socket.write(encoder.bytes.slice())
 * encoder.reset()
 * ```
 */
export class Encoder<In> {
  readonly #codec: Codec<In, unknown, unknown>
  readonly #region: Region
  readonly #capacity: number
  readonly #maxPayload: number
  readonly #timestamp: 'wall' | 'none' | (() => bigint)
  #length = 0
  /** While a value is encoded, or its timestamp asked for: the caller's code, which must not move the frame. */
  #busy = false
  #sequence: number
  #low = 0
  #high = 0

  /** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  constructor(codec: Codec<In, unknown, unknown>, options: EncoderOptions = {}) {
    assertCodec(codec, 'new Encoder()')
    checkOptionNames('Encoder', options, encoderOptions)
    this.#codec = guarded(codec)
    this.#maxPayload = checkInteger('maxPayload', options.maxPayload ?? defaultMaxPayloadBytes, 0, maxCapacity)
    const capacity = checkInteger('capacity', options.capacity ?? 1_048_576, frameHeaderBytes, maxCapacity)
    this.#sequence = checkInteger('sequence', options.sequence ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const timestamp = options.timestamp ?? 'wall'
    if (timestamp !== 'wall' && timestamp !== 'none' && typeof timestamp !== 'function') {
      throw invalidArgument(`The option timestamp is 'wall', 'none' or a function; got ${describe(timestamp)}.`)
    }
    this.#timestamp = timestamp
    // Frames take multiples of 8 bytes, so a rest below that could not be used.
    this.#capacity = capacity - (capacity % frameAlignment)
    this.#region = regionOf(new Uint8Array(this.#capacity))
  }

  /** Bytes written since the last `reset`. */
  get length(): number {
    return this.#length
  }

  /** The sequence that the next frame will have. */
  get sequence(): number {
    return this.#sequence
  }

  /** The frames written since the last `reset`, without a copy: valid until `reset`, and overwritten after it. */
  get bytes(): Uint8Array {
    return this.#region.bytes.subarray(0, this.#length)
  }

  /**
   * Appends one frame and returns its size in bytes. After an error the encoder is as before the call.
   *
   * @throws HermesError `BACK_PRESSURE` if the buffer has no room: send `bytes`, call `reset`, and try again.
   *   `PAYLOAD_TOO_LARGE` beyond `maxPayload`, or if the frame would not even fit into the empty buffer.
   *   `ENCODE_FAILED` and `VALIDATION_FAILED` from the codec. `CLOSED` if the buffer was transferred away.
   *   `BUSY` from code that the encoding runs, such as a getter of the value.
   */
  encode(value: In): number {
    this.#begin()
    try {
      this.#stamp()
      return this.#append(value)
    } finally {
      this.#busy = false
    }
  }

  /**
   * Appends a frame for each of `values` from index `start` on, all with one timestamp, until the buffer is full.
   * Returns how many were written: fewer than were given means that `bytes` should be sent, and the call repeated
   * with `start` moved on after `reset`. Throws as `encode` does, but for `BACK_PRESSURE`; values before the refused
   * one stay written, and `sequence` tells how many those are.
   */
  encodeBatch(values: ArrayLike<In>, start = 0): number {
    checkInteger('start', start, 0, Number.MAX_SAFE_INTEGER)
    this.#begin()
    let index = start
    try {
      const count = lengthOfBatch('encodeBatch()', values)
      this.#stamp()
      for (; index < count; index++) {
        if (this.#length + frameHeaderBytes > this.#capacity) break
        const value = valueOfBatch('encodeBatch()', values, index)
        try {
          this.#append(value)
        } catch (error) {
          if (isOurs(error) && error.code === 'BACK_PRESSURE' && error.details['encoder'] === true) break
          throw error
        }
      }
    } finally {
      this.#busy = false
    }
    return index - start
  }

  #begin(): void {
    if (this.#busy) throw this.#busyError()
    this.#busy = true
  }

  #busyError(): HermesError {
    return new HermesError('BUSY', 'This Encoder is encoding a value. Call this afterwards, or use another Encoder.')
  }

  /** Makes the buffer empty. The sequence goes on, unless `sequence` sets another. */
  reset(sequence: number = this.#sequence): void {
    if (this.#busy) throw this.#busyError()
    this.#sequence = checkInteger('sequence', sequence, 0, Number.MAX_SAFE_INTEGER)
    this.#length = 0
  }

  #append(value: In): number {
    const { bytes, data } = this.#region
    if (bytes.length === 0) throw transferred()
    const sequence = this.#sequence
    if (sequence > Number.MAX_SAFE_INTEGER)
      throw invalidArgument('The sequence would exceed 2^53 - 1. Call reset with another.')
    const start = this.#length
    const payload = start + frameHeaderBytes
    // The end of the buffer is a multiple of 8, so a payload that fits has room for its padding too.
    const room = this.#capacity - payload
    if (room < 0) throw this.#full()
    const bounded = room < this.#maxPayload
    const limit = bounded ? this.#capacity : payload + this.#maxPayload
    let length: number
    try {
      length = this.#codec.encode(value, this.#region, payload, limit)
    } catch (error) {
      if (bytes.length === 0) throw transferred(error)
      if (bounded && start > 0 && isOurs(error) && error.code === 'PAYLOAD_TOO_LARGE') throw this.#full()
      throw error
    }
    // By the value's own code.
    if (bytes.length === 0) throw transferred()
    const size = sealFrame(bytes, data, start, frameType.data, 0, sequence, this.#low, this.#high, length)
    this.#length = start + size
    this.#sequence = sequence + 1
    return size
  }

  #full(): HermesError {
    return new HermesError('BACK_PRESSURE', 'The buffer of the Encoder is full: send its bytes, and call reset().', {
      details: { encoder: true, capacity: this.#capacity, length: this.#length },
    })
  }

  /** Sets the halves of the timestamp. The wall clock is split without a bigint, which would be an allocation. */
  #stamp(): void {
    const timestamp = this.#timestamp
    if (timestamp === 'wall') {
      const milliseconds = performance.timeOrigin + performance.now()
      const seconds = Math.floor(milliseconds / 1000)
      const nanoseconds = Math.floor((milliseconds - seconds * 1000) * 1e6)
      // seconds * 1e9 as two products below 2^53: upper * 2^16 + lower.
      const upper = Math.floor(seconds / 65_536) * 1e9
      const lower = (seconds % 65_536) * 1e9 + nanoseconds + (upper % 65_536) * 65_536
      this.#low = lower >>> 0
      this.#high = Math.floor(upper / 65_536) + Math.floor(lower / two32)
    } else if (timestamp !== 'none') {
      const given = timestamp()
      if (typeof given !== 'bigint' || given < 0n || given > 0xffff_ffff_ffff_ffffn) {
        throw invalidArgument(
          `The timestamp function returned ${describe(given)}; nanoseconds as a bigint of 64 bits were expected.`,
        )
      }
      this.#low = Number(given & 0xffff_ffffn)
      this.#high = Number(given >> 32n)
    }
  }
}

function transferred(cause?: unknown): HermesError {
  return new HermesError(
    'CLOSED',
    'The buffer of this Encoder was transferred away. Make a new Encoder, and send copies.',
    { cause },
  )
}

/** @internal */
export function checkInteger(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value
  throw invalidArgument(`${name} is an integer from ${low} to ${high}; got ${describe(value)}.`)
}

/** @internal */
export function checkOptionNames(owner: string, options: unknown, names: readonly string[]): asserts options is object {
  const given = namesOfOptions(options)
  if (given === undefined) throw invalidArgument(`${owner} takes an object of options; got ${describe(options)}.`)
  for (const key of given) {
    if (!names.includes(key)) {
      throw new HermesError(
        'UNKNOWN_OPTION',
        `${owner} has no option ${describe(key)}. Its options are ${names.join(', ')}.`,
      )
    }
  }
}
