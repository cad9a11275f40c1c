import type { Reader, Region } from './codec.js'
import { closedError, decodeFailed, encodeFailed, messageOf, payloadTooLarge } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { type GenericCodec, generic } from './generic.js'
import { checkMsgpack } from './msgpack-check.js'
import { StrictDecoder, StrictEncoder } from './msgpack-strict.js'
import { copyOut } from './region.js'

const encoder = new StrictEncoder()
const decoder = new StrictDecoder()

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

/** The library's own words for what it can't write are those of its code. */
function reasonOf(error: unknown): string {
  const text = messageOf(error)
  if (text.startsWith('Too deep objects')) return 'the value is nested more than 100 deep, or contains itself'
  if (text.startsWith('Unrecognized object')) return 'the value holds a function or a symbol'
  return text
}

/**
 * MessagePack. `msgpack` takes and yields `unknown`; `msgpack<Order>()` is the same codec for values of type Order,
 * which is taken on trust: attach a validator with `validated` to check it. A bigint is written as a 64-bit
 * integer, and every 64-bit integer is read as a bigint; other numbers stay numbers. A Date keeps its nanosecond-free
 * value. Map, Set and class instances are written as the plain object of their enumerable properties, undefined as nil.
 *
 * What arrives is what was published: -0 stays -0, and an invalid Date, half of a surrogate pair and the key `__proto__`
 * are refused with `ENCODE_FAILED`, strings that are not UTF-8 with `DECODE_FAILED`.
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
      throw encodeFailed('msgpack', reasonOf(error), error)
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
