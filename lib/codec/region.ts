import { lengthOf, plainView } from '../base/plain-bytes.js'
import type { Region } from './codec.js'

/**
 * Sees `bytes` as a region. A Buffer becomes a plain Uint8Array over the same memory: `slice` of a Buffer shares memory,
 * and codecs rely on it to copy.
 */
export function regionOf(bytes: Uint8Array): Region {
  const plain = plainView(bytes, 0, lengthOf(bytes))
  return { bytes: plain, data: new DataView(plain.buffer, plain.byteOffset, plain.byteLength) }
}

/** A copy in memory of its own: what users may keep and change. `bytes` must be a plain Uint8Array. */
export function copyOut(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  return bytes.slice(offset, offset + length)
}
