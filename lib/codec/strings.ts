/**
 * Strings in payload memory. The short-string paths are loops in JavaScript because a call into the encoder of the
 * platform costs 75 to 100 ns whatever the length (docs/decisions/0003-codecs.md).
 */

import { HermesError } from '../base/errors.js'
import type { Region } from './codec.js'

const encoder = new TextEncoder()
// ignoreBOM keeps a leading U+FEFF: what was published is what arrives.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const fromCodes = String.fromCharCode

/** Up to here a loop over characters beats TextEncoder. */
const shortWriteBytes = 32
/** Up to here building from character codes beats TextDecoder. */
const shortReadBytes = 16

/** The string does not fit below the limit. */
export const tooLong = -1
/** The string holds half of a surrogate pair, which UTF-8 cannot express. */
export const illFormed = -2

export function isWellFormed(text: string): boolean {
  // Node 20 has it; the es2023 library of TypeScript does not know it yet.
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}

/**
 * Writes `text` as UTF-8 at `offset`, never at or past `limit`. Returns the number of bytes, `tooLong` or `illFormed`.
 */
export function writeUtf8(bytes: Uint8Array, offset: number, limit: number, text: string): number {
  const length = text.length
  // No character takes less than a byte. This also keeps encodeInto from working on what can't fit.
  if (length > limit - offset) return tooLong
  if (length <= shortWriteBytes) {
    let index = 0
    for (; index < length; index++) {
      const code = text.charCodeAt(index)
      if (code > 127) break
      bytes[offset + index] = code
    }
    if (index === length) return length
  }
  if (!isWellFormed(text)) return illFormed
  const result = encoder.encodeInto(text, bytes.subarray(offset, limit))
  return result.read === length ? result.written : tooLong
}

/** Reads UTF-8. Throws a TypeError with code ERR_ENCODING_INVALID_ENCODED_DATA for bytes that are none. */
export function readUtf8(bytes: Uint8Array, offset: number, length: number): string {
  if (length <= shortReadBytes && isAscii(bytes, offset, length)) return shortAscii(bytes, offset, length)
  return decoder.decode(bytes.subarray(offset, offset + length))
}

export function isAscii(bytes: Uint8Array, offset: number, length: number): boolean {
  let all = 0
  for (let index = 0; index < length; index++) all |= bytes[offset + index] as number
  return all < 128
}

/** At most `shortReadBytes` characters, which the caller has seen to be ASCII. */
function shortAscii(b: Uint8Array, at: number, length: number): string {
  if (length > 8) return shortAscii(b, at, 8) + shortAscii(b, at + 8, length - 8)
  const code = (index: number): number => b[at + index] as number
  switch (length) {
    case 0:
      return ''
    case 1:
      return fromCodes(code(0))
    case 2:
      return fromCodes(code(0), code(1))
    case 3:
      return fromCodes(code(0), code(1), code(2))
    case 4:
      return fromCodes(code(0), code(1), code(2), code(3))
    case 5:
      return fromCodes(code(0), code(1), code(2), code(3), code(4))
    case 6:
      return fromCodes(code(0), code(1), code(2), code(3), code(4), code(5))
    case 7:
      return fromCodes(code(0), code(1), code(2), code(3), code(4), code(5), code(6))
    default:
      return fromCodes(code(0), code(1), code(2), code(3), code(4), code(5), code(6), code(7))
  }
}

/**
 * Symbols, venues and the like repeat, so strings of up to 8 bytes are looked up by their bytes in a small
 * direct-mapped table before any is built: 6 ns in place of 17. The keys of slot 0 are right from the start, because
 * the empty string's bytes are zeros; every other slot starts with a key that belongs to slot 0.
 */
const slots = 1024
const keysLow = new Int32Array(slots)
const keysHigh = new Int32Array(slots)
const strings: string[] = new Array<string>(slots).fill('')

/**
 * Reads a zero-padded ASCII field of `size` bytes. Through the DataView first, so that released memory throws.
 * Throws DECODE_FAILED for bytes above 127, and for zeros with something behind them.
 */
export function readAscii(data: DataView, bytes: Uint8Array, offset: number, size: number): string {
  if (size > 8) return readLongAscii(data, bytes, offset, size)
  let low = 0
  let high = 0
  if (size === 8) {
    low = data.getInt32(offset, true)
    high = data.getInt32(offset + 4, true)
  } else if (size === 4) {
    low = data.getInt32(offset, true)
  } else {
    for (let index = 0; index < size; index++) {
      const code = data.getUint8(offset + index)
      if (index < 4) low |= code << (index * 8)
      else high |= code << (index * 8 - 32)
    }
  }
  const slot = (Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)) >>> 22
  if (keysLow[slot] === low && keysHigh[slot] === high) return strings[slot] as string
  if (((low | high) & 0x80808080) !== 0) throw notAscii()
  // From the key's own bytes: another process may have changed those in memory since, and every reader shares this table.
  const made = asciiOf(low, high)
  keysLow[slot] = low
  keysHigh[slot] = high
  strings[slot] = made
  return made
}

/** The string of 8 bytes, zero-padded. Throws for zeros with something behind them. */
function asciiOf(low: number, high: number): string {
  let text = ''
  for (let rest = low, index = 0; index < 4 && rest !== 0; index++, rest >>>= 8) text += fromCodes(rest & 127)
  if (high === 0) return unbroken(text)
  if (low >>> 24 === 0) return unbroken('\0')
  for (let rest = high; rest !== 0; rest >>>= 8) text += fromCodes(rest & 127)
  return unbroken(text)
}

/** readAscii for 8 bytes: short enough to be inlined, where the string is one of those remembered. */
export function readAscii8(data: DataView, bytes: Uint8Array, offset: number): string {
  const low = data.getInt32(offset, true)
  const high = data.getInt32(offset + 4, true)
  const slot = (Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)) >>> 22
  if (keysLow[slot] === low && keysHigh[slot] === high) return strings[slot] as string
  return readAscii(data, bytes, offset, 8)
}

function readLongAscii(data: DataView, bytes: Uint8Array, offset: number, size: number): string {
  data.getUint8(offset)
  const length = trimmed(bytes, offset, size)
  if (!isAscii(bytes, offset, length)) throw notAscii()
  if (length <= shortReadBytes) return unbroken(shortAscii(bytes, offset, length))
  return unbroken(decoder.decode(bytes.subarray(offset, offset + length)))
}

/** Reads a zero-padded UTF-8 field of `size` bytes. Throws as `readUtf8`, and DECODE_FAILED for zeros with something behind them. */
export function readUtf8Field(data: DataView, bytes: Uint8Array, offset: number, size: number): string {
  data.getUint8(offset)
  return unbroken(readUtf8(bytes, offset, trimmed(bytes, offset, size)))
}

/** A padded field never holds U+0000: a value that has one could not be published again. */
function unbroken(text: string): string {
  if (!text.includes('\0')) return text
  throw new HermesError(
    'DECODE_FAILED',
    'A string field holds zeros with other bytes behind them: this payload is no value of this struct.',
  )
}

/** The length without the zeros at the end. */
function trimmed(bytes: Uint8Array, offset: number, size: number): number {
  let length = size
  while (length > 0 && bytes[offset + length - 1] === 0) length--
  return length
}

function notAscii(): HermesError {
  return new HermesError(
    'DECODE_FAILED',
    'An ascii field holds bytes above 127: this payload is no value of this struct.',
  )
}

/**
 * Writes `text` into a UTF-8 field of `size` bytes and fills it up with zeros. Returns false if the text is too long,
 * ill-formed, or holds U+0000, which the padding could not be told from.
 */
export function writeUtf8Field(bytes: Uint8Array, offset: number, size: number, text: string): boolean {
  if (text.includes('\0')) return false
  const written = writeUtf8(bytes, offset, offset + size, text)
  if (written < 0) return false
  bytes.fill(0, offset + written, offset + size)
  return true
}

/** The payload as text, for the codecs whose payload is text. */
export function readText(source: Region, offset: number, length: number): string {
  return readUtf8(source.bytes, offset, length)
}
