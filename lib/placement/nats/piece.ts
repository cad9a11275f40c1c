import type { Region } from '../../codec/codec.js'
import {
  checkedPayloadBytes,
  frameBytes,
  frameChecksum,
  frameHeaderBytes,
  frameMagic,
  frameOffset,
  frameType,
  frameVersion,
} from '../../frame/frame.js'

/** One message of the stream, as it has arrived. */
export interface Piece {
  readonly data: Uint8Array
  readonly first: number
  readonly next: number
}

/** For how many sequences the frame at `at` stands. */
export function sequencesOf(data: DataView, at: number, length: number): number {
  const isVoid = data.getUint8(at + frameOffset.type) === frameType.void
  return isVoid && length >= 8 ? data.getUint32(at + frameOffset.payload, true) : 1
}

/** How many sequences the frames of a message stand for; 0 if they do not fill it. */
export function sequencesIn(bytes: Uint8Array): number {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  let sequences = 0
  while (at + frameHeaderBytes <= bytes.length) {
    const length = data.getUint32(at + frameOffset.payloadLength, true)
    if (at + frameBytes(length) > bytes.length) return 0
    sequences += sequencesOf(data, at, length)
    at += frameBytes(length)
  }
  return at === bytes.length ? sequences : 0
}

/** The size of the frame at `at` in a region whose frames end at `end`; 0 if it is not whole. */
export function soundBytes(
  { bytes, data }: Region,
  at: number,
  end: number,
  maxPayloadBytes: number,
  verify: boolean,
): number {
  if (at + frameHeaderBytes > end) return 0
  const length = data.getUint32(at + frameOffset.payloadLength, true)
  const type = data.getUint8(at + frameOffset.type)
  const size = frameBytes(length)
  const isSound =
    data.getUint32(at, true) === frameMagic &&
    data.getUint8(at + frameOffset.version) === frameVersion &&
    size <= end - at &&
    (type === frameType.data ? length <= maxPayloadBytes : type === frameType.void) &&
    (!verify ||
      frameChecksum(bytes, at, checkedPayloadBytes(type, length)) === data.getUint32(at + frameOffset.crc32, true))
  return isSound ? size : 0
}

/** The sequence of the first frame that was stamped at `ns` or later; `undefined` if there is none. */
export function firstStamped(bytes: Uint8Array, first: number, ns: bigint): number | undefined {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let sequence = first
  for (let at = 0; at + frameHeaderBytes <= bytes.length; ) {
    const length = data.getUint32(at + frameOffset.payloadLength, true)
    const isData = data.getUint8(at + frameOffset.type) === frameType.data
    if (isData && data.getBigUint64(at + frameOffset.timestampNs, true) >= ns) return sequence
    sequence += sequencesOf(data, at, length)
    at += frameBytes(length)
  }
  return undefined
}
