import { isUint8Array, lengthOf } from '../base/plain-bytes.js'
import type { Codec, Reader, Region } from './codec.js'
import { closedError, describe, encodeFailed, payloadTooLarge } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { sealed } from './guarded.js'
import { copyOut } from './region.js'

/** V8 keeps typed arrays up to this size inside its own heap, where making one is cheap. */
const cheapBytes = 64

class RawReader implements Reader<Uint8Array> {
  #own = new Uint8Array(0)

  read(region: Region, offset: number, length: number): Uint8Array {
    if (length <= cheapBytes) return decodeRaw(region, offset, length)
    // The user may have transferred our buffer away: its length is 0 then.
    if (this.#own.length < length) this.#own = new Uint8Array(Math.max(4096, 2 ** Math.ceil(Math.log2(length))))
    try {
      this.#own.set(region.bytes.subarray(offset, offset + length))
    } catch (error) {
      throw closedError(error)
    }
    return this.#own.subarray(0, length)
  }
}

function decodeRaw(source: Region, offset: number, length: number): Uint8Array {
  try {
    return copyOut(source.bytes, offset, length)
  } catch (error) {
    throw closedError(error)
  }
}

/**
 * Bytes as they are. Takes a Uint8Array or Buffer. Iterators yield a copy, the caller's for ever. A `poll` handler
 * receives a copy too, but its memory is used again for the next message: valid only until the handler returns.
 * Neither shares memory with the log.
 */
export const raw: Codec<Uint8Array> = sealed({
  name: 'raw',
  fingerprint: fingerprintOf('hermes-codec:raw:1'),
  schema: null,
  maxBytes: undefined,

  encode(value: Uint8Array, target: Region, offset: number, limit: number): number {
    if (!isUint8Array(value)) throw encodeFailed('raw', `expected a Uint8Array or Buffer, got ${describe(value)}.`)
    const length = lengthOf(value)
    if (length > limit - offset) throw payloadTooLarge('raw', limit - offset, length)
    try {
      target.bytes.set(value, offset)
    } catch (error) {
      throw encodeFailed('raw', 'the buffer of the bytes was transferred, or is too short for them now.', error)
    }
    return length
  },

  decode: decodeRaw,

  reader(): Reader<Uint8Array> {
    return new RawReader()
  },
})
