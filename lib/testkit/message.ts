import { isUint8Array } from 'node:util/types'
import { checkInteger, invalid, show } from '../base/options.js'
import { lengthOf, plainView } from '../base/plain-bytes.js'
import { crc32 } from '../frame/crc32.js'
import { Random } from './random.js'

const headBytes = 16

/** Who published a test message, and which of its messages it is. */
export interface MessageId {
  readonly writer: number
  readonly number: number
}

/**
 * A payload that tells who published it and proves that it is whole: writer, number, length and CRC-32, then bytes that follow from them.
 *
 * @param bytes 16 at least
 */
export function makePayload({ writer, number }: MessageId, bytes: number): Uint8Array {
  checkInteger('bytes', bytes, headBytes, 2 ** 30)
  checkInteger('writer', writer, 0, 0xffff_ffff)
  checkInteger('number', number, 0, 0xffff_ffff)
  const payload = Buffer.alloc(bytes)
  payload.writeUInt32LE(writer, 0)
  payload.writeUInt32LE(number, 4)
  payload.writeUInt32LE(bytes, 8)
  const random = new Random(writer * 0x10001 + number)
  for (let at = headBytes; at + 4 <= bytes; at += 4) payload.writeUInt32LE(random.next(), at)
  payload.writeUInt32LE(crc32(payload), 12)
  return payload
}

/** What `makePayload` made; `undefined` if it did not make this. */
export function readPayload(payload: Uint8Array): MessageId | undefined {
  if (!isUint8Array(payload)) throw invalid(`readPayload() takes a Uint8Array or Buffer, not ${show(payload)}.`)
  // What a subclass says of its length may be something else.
  if (lengthOf(payload) < headBytes) return undefined
  const copy = Buffer.from(plainView(payload, 0, lengthOf(payload)))
  const [writer, number, bytes, check] = [0, 4, 8, 12].map((at) => copy.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ]
  copy.writeUInt32LE(0, 12)
  return bytes === copy.length && crc32(copy) === check ? { writer, number } : undefined
}
