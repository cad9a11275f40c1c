/**
 * The 32-byte frame header: the same bytes lie in the log, travel on TCP and are read by every client.
 *
 * ```text
 *  0  magic         u32   0x314D5248, the bytes 'HRM1'
 *  4  version       u8    1
 *  5  type          u8    1 data, 2 padding, 3 void
 *  6  flags         u16
 *  8  sequence      u64
 * 16  timestamp_ns  u64   nanoseconds since 1970-01-01 UTC
 * 24  payload_len   u32   bytes, without the padding that follows the payload
 * 28  crc32         u32   IEEE, over bytes 4..27 and then the payload: all of it for data, at most 8 bytes for void,
 *                         nothing for padding
 * 32  payload, then zeros up to the next multiple of 8 bytes
 * ```
 *
 * Every field is little-endian.
 */
import { crc32Range } from './crc32.js'

export const frameMagic = 0x314d5248
export const frameVersion = 1
export const frameHeaderBytes = 32
/** Frames begin at multiples of this many bytes, counted from the first one. */
export const frameAlignment = 8
/** The largest payload unless a topic or a decoder was configured otherwise, in bytes. */
export const defaultMaxPayloadBytes = 65_536

export const frameType = { data: 1, padding: 2, void: 3 } as const

/** Offsets of the header's fields, in bytes from the start of the frame. */
export const frameOffset = {
  magic: 0,
  version: 4,
  type: 5,
  flags: 6,
  sequence: 8,
  timestampNs: 16,
  payloadLength: 24,
  crc32: 28,
  payload: 32,
} as const

/** The bytes a frame takes with its header and its padding. */
export function frameBytes(payloadLength: number): number {
  return frameHeaderBytes + Math.ceil(payloadLength / frameAlignment) * frameAlignment
}

const two32 = 0x1_0000_0000

/** Writes a non-negative integer of at most 2^53 - 1 as a u64. Does not allocate. */
function writeUint53(data: DataView, offset: number, value: number): void {
  data.setUint32(offset, value >>> 0, true)
  data.setUint32(offset + 4, (value / two32) >>> 0, true)
}

/** Reads a u64 as a number. The result is exact only if it is a safe integer: the caller checks. */
export function readUint53(data: DataView, offset: number): number {
  return data.getUint32(offset + 4, true) * two32 + data.getUint32(offset, true)
}

/** How many bytes of the payload the checksum covers. */
export function checkedPayloadBytes(type: number, payloadLength: number): number {
  if (type === frameType.data) return payloadLength
  // What fills a void or padding is what was there before, and readers should not have to read it; the first 8 bytes of a
  // void are its count and reason.
  return type === frameType.void ? Math.min(payloadLength, 8) : 0
}

/**
 * The checksum that the frame at `offset` should carry. The caller has checked that the header and the first
 * `checkedPayload` bytes of the payload are there.
 */
export function frameChecksum(bytes: Uint8Array, offset: number, checkedPayload: number): number {
  const header = crc32Range(bytes, offset + frameOffset.version, offset + frameOffset.crc32, 0)
  if (checkedPayload === 0) return header
  return crc32Range(bytes, offset + frameOffset.payload, offset + frameOffset.payload + checkedPayload, header)
}

/**
 * Completes a frame whose payload already stands at `offset + 32`: writes the header, the checksum and the padding.
 * The timestamp comes as two 32-bit halves, so that nothing is allocated. Returns the frame's size in bytes.
 */
export function sealFrame(
  bytes: Uint8Array,
  data: DataView,
  offset: number,
  type: number,
  flags: number,
  sequence: number,
  timestampLow: number,
  timestampHigh: number,
  payloadLength: number,
): number {
  const end = offset + frameHeaderBytes + payloadLength
  const size = frameBytes(payloadLength)
  data.setUint32(offset, frameMagic, true)
  data.setUint8(offset + frameOffset.version, frameVersion)
  data.setUint8(offset + frameOffset.type, type)
  data.setUint16(offset + frameOffset.flags, flags, true)
  writeUint53(data, offset + frameOffset.sequence, sequence)
  data.setUint32(offset + frameOffset.timestampNs, timestampLow, true)
  data.setUint32(offset + frameOffset.timestampNs + 4, timestampHigh, true)
  data.setUint32(offset + frameOffset.payloadLength, payloadLength, true)
  const checked = checkedPayloadBytes(type, payloadLength)
  data.setUint32(offset + frameOffset.crc32, frameChecksum(bytes, offset, checked), true)
  for (let index = end; index < offset + size; index++) bytes[index] = 0
  return size
}
