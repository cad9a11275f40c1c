import { HermesError } from '../base/errors.js'
import { show } from '../base/options.js'
import { isUint8Array, lengthOf } from '../base/plain-bytes.js'

/**
 * A CRC-32 over `bytes[start..end)`, continued from `seed`. The caller has checked the range.
 * A range in place of a subarray: making a subarray costs more than the checksum of a small frame.
 */
export type Crc32Implementation = (bytes: Uint8Array, start: number, end: number, seed: number) => number

const polynomial = 0xedb88320

/**
 * Slicing by 8: `tables[256 * k + b]` is the checksum of byte `b` followed by `k` zero bytes, so that eight bytes are
 * folded with eight independent look-ups. The method is described in Kounavis and Berry, "A Systematic Approach to
 * Building High Performance Software-Based CRC Generators", 2005.
 */
const tables = makeTables()

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    made[byte] = crc
  }
  for (let index = 256; index < made.length; index++) {
    const previous = made[index - 256] as number
    made[index] = (previous >>> 8) ^ (made[previous & 255] as number)
  }
  return made
}

/** The portable implementation, in plain TypeScript. */
export const crc32Portable: Crc32Implementation = (bytes, start, end, seed) => {
  const t = tables
  let crc = ~seed
  let at = start
  // Every index below is in range: `at` stays under `end`, and table indices are a byte plus a row.
  for (; at + 8 <= end; at += 8) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (t[1792 + (crc & 255)] as number) ^
      (t[1536 + ((crc >>> 8) & 255)] as number) ^
      (t[1280 + ((crc >>> 16) & 255)] as number) ^
      (t[1024 + (crc >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number)
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 255] as number)
  return ~crc >>> 0
}

let implementation: Crc32Implementation = crc32Portable

/** Replaces the implementation behind `crc32`, or restores the portable one. For the native addon and for tests. */
export function useCrc32(replacement: Crc32Implementation = crc32Portable): void {
  implementation = replacement
}

/** As `crc32`, over `bytes[start..end)`, without checks. */
export function crc32Range(bytes: Uint8Array, start: number, end: number, seed: number): number {
  return implementation(bytes, start, end, seed)
}

/**
 * The IEEE CRC-32 of `bytes`, as zlib computes it: an unsigned 32-bit number.
 *
 * @param seed the checksum of what came before: `crc32(b, crc32(a))` is the checksum of `a` followed by `b`
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  if (!isUint8Array(bytes)) {
    throw new HermesError('INVALID_ARGUMENT', 'crc32 takes a Uint8Array (or Buffer) as its first argument.')
  }
  if (typeof seed !== 'number' || seed >>> 0 !== seed) {
    throw new HermesError(
      'INVALID_ARGUMENT',
      `crc32 takes the seed as an unsigned 32-bit integer, as crc32 returns it; got ${show(seed)}.`,
    )
  }
  return implementation(bytes, 0, lengthOf(bytes), seed)
}
