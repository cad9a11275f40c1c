import { WallClock } from '../base/wall-clock.js'
import {
  checkedPayloadBytes,
  frameBytes,
  frameChecksum,
  frameHeaderBytes,
  frameMagic,
  frameOffset,
  frameType,
  frameVersion,
} from './frame.js'
import { frameScanField, sealField } from './run-scratch.js'

/*
 * Runs of frames in a buffer, for the network: what a publisher's batch and a subscriber's window hold. These are the implementations in plain
 * TypeScript, for where there is no addon. They do what native/binding/ingest_frames.h does, byte for byte, also with hostile input.
 */

/** Completes the frames of a batch, as the scratch memory says. */
export type FrameSealer = (buffer: ArrayBuffer, scratch: ArrayBuffer) => () => void

/** Checks the frames of a window, as the scratch memory says. */
export type FrameScanner = (
  buffer: ArrayBuffer,
  scratch: ArrayBuffer,
  maxPayloadBytes: number,
  verify: boolean,
) => () => void

const two32 = 0x1_0000_0000
/** Of 32-bit words: the lower half's, the upper one's is behind it. */
const timestamp = 2 * sealField.timestamp
/** The part of a void's body that says how many sequences it stands for, and why. */
const voidBodyBytes = 8

export const portableSealer: FrameSealer = (buffer, scratch) => {
  const bytes = new Uint8Array(buffer)
  const data = new DataView(buffer)
  const words = new Uint32Array(scratch)
  const clock = new WallClock()
  return () => {
    const offset = words[sealField.offset] as number
    const size = words[sealField.bytes] as number
    const count = words[sealField.count] as number
    words[sealField.done] = 0
    if (offset + size > bytes.length) return
    clock.read()
    let low = words[timestamp] as number
    let high = words[timestamp + 1] as number
    if (clock.high > high || (clock.high === high && clock.low > low)) {
      low = clock.low
      high = clock.high
    }
    words[timestamp] = low
    words[timestamp + 1] = high
    const end = offset + size
    let at = offset
    for (let frame = 0; frame < count; frame++) {
      if (at + frameHeaderBytes > end) return
      const length = data.getUint32(at + frameOffset.payloadLength, true)
      const span = frameBytes(length)
      if (span > end - at) return
      data.setUint32(at, frameMagic, true)
      data.setUint32(at + frameOffset.version, frameVersion | (frameType.data << 8), true)
      data.setUint32(at + frameOffset.sequence, 0, true)
      data.setUint32(at + frameOffset.sequence + 4, 0, true)
      data.setUint32(at + frameOffset.timestampNs, low, true)
      data.setUint32(at + frameOffset.timestampNs + 4, high, true)
      data.setUint32(at + frameOffset.crc32, frameChecksum(bytes, at, length), true)
      at += span
      low = (low + 1) >>> 0
      if (low === 0) high = (high + 1) >>> 0
    }
    words[sealField.done] = at === end ? 1 : 0
  }
}

export const portableScanner: FrameScanner = (buffer, scratch, maxPayloadBytes, verify) => {
  const bytes = new Uint8Array(buffer)
  const data = new DataView(buffer)
  const words = new Uint32Array(scratch)
  const numbers = new Float64Array(scratch)
  return () => {
    const end = words[frameScanField.end] as number
    const limit = words[frameScanField.limit] as number
    let at = words[frameScanField.offset] as number
    // In halves: what stands in a frame may be beyond 2^53, and what a void counts may lead there.
    const expected = numbers[frameScanField.sequence] as number
    let low = expected % two32
    let high = Math.floor(expected / two32)
    let messages = 0
    let sound = end <= bytes.length && at <= end
    while (sound && messages < limit && at < end) {
      sound = false
      if (at + frameHeaderBytes > end) break
      const length = data.getUint32(at + frameOffset.payloadLength, true)
      const type = data.getUint8(at + frameOffset.type)
      const span = frameBytes(length)
      const isData = type === frameType.data
      sound =
        data.getUint32(at, true) === frameMagic &&
        data.getUint8(at + frameOffset.version) === frameVersion &&
        data.getUint32(at + frameOffset.sequence, true) === low &&
        data.getUint32(at + frameOffset.sequence + 4, true) === high &&
        span <= end - at &&
        (isData ? length <= maxPayloadBytes : type === frameType.void) &&
        (!verify ||
          frameChecksum(bytes, at, checkedPayloadBytes(type, length)) === data.getUint32(at + frameOffset.crc32, true))
      if (!sound) break
      let count = 1
      if (isData) messages++
      else if (length >= voidBodyBytes) count = data.getUint32(at + frameOffset.payload, true)
      low += count
      if (low >= two32) {
        low -= two32
        high = (high + 1) >>> 0
      }
      at += span
    }
    words[frameScanField.messages] = messages
    words[frameScanField.found] = at
    words[frameScanField.damage] = sound ? 0 : 1
    numbers[frameScanField.sequence] = high * two32 + low
  }
}
