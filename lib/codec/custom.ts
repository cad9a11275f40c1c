import { namesOfOptions } from '../base/options.js'
import { isUint8Array, lengthOf } from '../base/plain-bytes.js'
import type { Codec, Reader, Region } from './codec.js'
import {
  closedError,
  decodeFailed,
  describe,
  encodeFailed,
  invalidArgument,
  isOurs,
  messageOf,
  payloadTooLarge,
} from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { sealed } from './guarded.js'
import { copyOut } from './region.js'

export interface CustomCodecOptions<In, Out = In> {
  /** 1 to 32 of `a-z 0-9 . _ -`, beginning with a letter, and none of the names that Hermes uses itself. */
  readonly name: string
  /** Any text that changes whenever the meaning of the bytes does: a version, a hash of a .proto file. */
  readonly fingerprint: string
  /** Returns the payload. What it throws becomes the `cause` of an `ENCODE_FAILED`. */
  readonly encode: (value: In) => Uint8Array
  /** Receives a copy of the payload, which it may keep. What it throws becomes the `cause` of a `DECODE_FAILED`. */
  readonly decode: (payload: Uint8Array) => Out
}

const reserved: readonly string[] = ['raw', 'text', 'json', 'msgpack', 'struct']
const namePattern = /^[a-z][a-z0-9._-]{0,31}$/

/**
 * A codec from two functions: for protobuf, flatbuffers, compression and the like.
 *
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function custom<In, Out = In>(options: CustomCodecOptions<In, Out>): Codec<In, Out> {
  if (namesOfOptions(options) === undefined) {
    throw invalidArgument('custom() takes { name, fingerprint, encode, decode }.')
  }
  const { name, fingerprint, encode, decode } = options
  if (typeof name !== 'string' || !namePattern.test(name) || reserved.includes(name)) {
    throw invalidArgument(
      `custom() takes a name of 1 to 32 of a-z 0-9 . _ - that begins with a letter and is none of ${reserved.join(', ')}; ` +
        `got ${describe(name)}.`,
    )
  }
  if (typeof fingerprint !== 'string' || fingerprint === '') {
    throw invalidArgument(
      `custom() takes a fingerprint: a text that changes with the format; got ${describe(fingerprint)}.`,
    )
  }
  if (typeof encode !== 'function' || typeof decode !== 'function') {
    throw invalidArgument('custom() takes the functions encode(value) and decode(bytes).')
  }

  const decodePayload = (source: Region, offset: number, length: number): Out => {
    let payload: Uint8Array
    try {
      payload = copyOut(source.bytes, offset, length)
    } catch (error) {
      throw closedError(error)
    }
    try {
      return decode(payload)
    } catch (error) {
      if (isOurs(error)) throw error
      throw decodeFailed(name, messageOf(error), error)
    }
  }
  const reader: Reader<Out> = Object.freeze({ read: decodePayload })

  return sealed({
    name,
    fingerprint: fingerprintOf(`hermes-codec:${name}:custom:${fingerprint}`),
    schema: null,
    maxBytes: undefined,

    encode(value: In, target: Region, offset: number, limit: number): number {
      let payload: Uint8Array
      try {
        payload = encode(value)
      } catch (error) {
        if (isOurs(error)) throw error
        throw encodeFailed(name, messageOf(error), error)
      }
      if (!isUint8Array(payload)) {
        throw encodeFailed(name, `its encode() must return a Uint8Array, and returned ${describe(payload)}.`)
      }
      const length = lengthOf(payload)
      if (length > limit - offset) throw payloadTooLarge(name, limit - offset, length)
      try {
        target.bytes.set(payload, offset)
      } catch (error) {
        throw encodeFailed(
          name,
          'the buffer of the bytes that its encode() returned was transferred, or is too short now.',
          error,
        )
      }
      return length
    },

    decode: decodePayload,

    reader(): Reader<Out> {
      return reader
    },
  })
}
