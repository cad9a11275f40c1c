import type { Codec, Reader, Region } from './codec.js'
import { decodeFailed, describe, encodeFailed, payloadTooLarge } from './failures.js'
import { fingerprintOf } from './fingerprint.js'
import { sealed } from './guarded.js'
import { readText, tooLong, writeUtf8 } from './strings.js'

/** Writes text as the payload of the codec called `codec`. */
export function encodeText(codec: string, text: string, target: Region, offset: number, limit: number): number {
  const written = writeUtf8(target.bytes, offset, limit, text)
  if (written >= 0) return written
  if (written === tooLong) throw payloadTooLarge(codec, limit - offset)
  throw encodeFailed(codec, 'the string holds half of a surrogate pair, which UTF-8 cannot express.')
}

/** Reads a payload of text. */
export function decodeText(codec: string, source: Region, offset: number, length: number): string {
  try {
    return readText(source, offset, length)
  } catch (error) {
    throw decodeFailed(codec, 'the payload is not valid UTF-8.', error)
  }
}

const textReader: Reader<string> = Object.freeze({
  read(region: Region, offset: number, length: number): string {
    return decodeText('text', region, offset, length)
  },
})

/** Strings as UTF-8. What arrives is exactly what was published: strings that UTF-8 cannot express are refused. */
export const text: Codec<string> = sealed({
  name: 'text',
  fingerprint: fingerprintOf('hermes-codec:text:1'),
  schema: null,
  maxBytes: undefined,

  encode(value: string, target: Region, offset: number, limit: number): number {
    if (typeof value !== 'string') throw encodeFailed('text', `expected a string, got ${describe(value)}.`)
    return encodeText('text', value, target, offset, limit)
  },

  decode(source: Region, offset: number, length: number): string {
    return decodeText('text', source, offset, length)
  },

  reader(): Reader<string> {
    return textReader
  },
})
