import { Decoder, Encoder } from '@msgpack/msgpack'
import type { Reader, Region } from './codec.js'
import { closedError, decodeFailed, encodeFailed, messageOf, payloadTooLarge } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { type GenericCodec, generic } from './generic.js'
import { checkMsgpack } from './msgpack-check.js'
import { copyOut } from './region.js'

const maxUint64 = 2n ** 64n - 1n
const minInt64 = -(2n ** 63n)

/**
 * The library writes a bigint beyond 64 bits modulo 2^64 without a word. Its method is private to TypeScript, so it is
 * replaced by name; "refuses a bigint beyond 64 bits" in the tests notices if a new version renames it.
 */
class CheckedEncoder extends Encoder {
  static {
    const prototype = Encoder.prototype as unknown as Record<string, (value: bigint) => void>
    const write = prototype['encodeBigInt64'] as (value: bigint) => void
    Object.defineProperty(CheckedEncoder.prototype, 'encodeBigInt64', {
      value(this: CheckedEncoder, value: bigint): void {
        if (value > maxUint64 || value < minInt64) throw new RangeError(`${value}n does not fit into 64 bits`)
        write.call(this, value)
      },
    })
  }
}

const encoder = new CheckedEncoder({ useBigInt64: true })
const decoder = new Decoder({ useBigInt64: true })

const reader: Reader<unknown> = Object.freeze({ read: decodeMsgpack })

function decodeMsgpack(source: Region, offset: number, length: number): unknown {
  let payload: Uint8Array
  try {
    // The library hands out binary values as views of its input, and keeps its input: neither may be the log.
    payload = copyOut(source.bytes, offset, length)
  } catch (error) {
    throw closedError(error)
  }
  const damage = checkMsgpack(payload)
  if (damage !== undefined) throw decodeFailed('msgpack', damage)
  try {
    return decoder.decode(payload)
  } catch (error) {
    throw decodeFailed('msgpack', messageOf(error), error)
  }
}

/**
 * MessagePack. `msgpack` takes and yields `unknown`; `msgpack<Order>()` is the same codec for values of type Order,
 * which is taken on trust: attach a validator with `validated` to check it. A bigint is written as a 64-bit
 * integer, and every 64-bit integer is read as a bigint; other numbers stay numbers. A Date keeps its nanosecond-free
 * value. Map, Set and class instances are written as the plain object of their enumerable properties.
 */
export const msgpack: GenericCodec = generic({
  name: 'msgpack',
  fingerprint: fingerprintOf('hermes-codec:msgpack:1'),
  schema: null,
  maxBytes: undefined,

  encode(value: unknown, target: Region, offset: number, limit: number): number {
    let written: Uint8Array
    try {
      written = encoder.encodeSharedRef(value)
    } catch (error) {
      throw encodeFailed('msgpack', messageOf(error), error)
    }
    if (written.length > limit - offset) throw payloadTooLarge('msgpack', limit - offset, written.length)
    target.bytes.set(written, offset)
    return written.length
  },

  decode: decodeMsgpack,

  reader(): Reader<unknown> {
    return reader
  },
})
