import type { Reader, Region } from './codec.js'
import { decodeFailed, describe, encodeFailed, messageOf } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { type GenericCodec, generic } from './generic.js'
import { decodeText, encodeText } from './text.js'

const reader: Reader<unknown> = Object.freeze({ read: decodeJson })

/** JSON.stringify names no remedy for a bigint, and draws what refers to itself over several lines. */
function reasonOf(error: unknown): string {
  const message = messageOf(error)
  if (!isTypeError(error)) return message
  if (/serialize a BigInt/i.test(message))
    return 'JSON has no text for a bigint. Make it a string first, or use msgpack.'
  return /circular structure/i.test(message) ? `the value holds itself. ${message.replace(/\s+/g, ' ')}` : message
}

/** (a value's own code may throw a revoked Proxy) */
function isTypeError(error: unknown): boolean {
  try {
    return error instanceof TypeError
  } catch {
    return false
  }
}

function decodeJson(source: Region, offset: number, length: number): unknown {
  const written = decodeText('json', source, offset, length)
  try {
    return JSON.parse(written) as unknown
  } catch (error) {
    throw decodeFailed('json', messageOf(error), error)
  }
}

/**
 * JSON as UTF-8. `json` takes and yields `unknown`; `json<Order>()` is the same codec for values of type Order,
 * which is taken on trust: attach a validator with `validated` to check it. What JSON.stringify does to a
 * value happens here too: a property that is undefined is left out, a Date becomes a string, a bigint is refused.
 */
export const json: GenericCodec = generic({
  name: 'json',
  fingerprint: fingerprintOf('hermes-codec:json:1'),
  schema: null,
  maxBytes: undefined,

  encode(value: unknown, target: Region, offset: number, limit: number): number {
    let written: string | undefined
    try {
      written = JSON.stringify(value) as string | undefined
    } catch (error) {
      throw encodeFailed('json', reasonOf(error), error)
    }
    if (written === undefined)
      throw encodeFailed('json', `JSON has no text for ${value === undefined ? 'undefined' : describe(value)}.`)
    return encodeText('json', written, target, offset, limit)
  },

  decode: decodeJson,

  reader(): Reader<unknown> {
    return reader
  },
})
