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
  readUint53,
} from '../../frame/frame.js'
import type { MessagesHead } from '../../wire/group-packets.js'
import { protocolError } from '../../wire/packet.js'

/** Messages of one packet: copies, checked. */
export class Arrived implements Region {
  readonly head: MessagesHead
  readonly bytes: Uint8Array
  readonly data: DataView
  readonly #offsets: Uint32Array
  /** So many of them were handed out. */
  handed = 0

  /** @throws HermesError `PROTOCOL` */
  constructor(head: MessagesHead, body: Buffer, start: number, end: number) {
    this.head = head
    this.bytes = new Uint8Array(body.subarray(start, end))
    this.data = new DataView(this.bytes.buffer)
    // (a frame takes 32 bytes at least: so no more room than what has arrived is set aside)
    if (head.count < 1 || head.count * frameHeaderBytes > this.bytes.length)
      throw protocolError('The broker sent a wrong count of messages.')
    this.#offsets = new Uint32Array(head.count)
    this.#check()
  }

  /** The log's own damage the broker has found: what is wrong here was damaged on the way. */
  #check(): void {
    const { bytes, data } = this
    let at = 0
    for (let index = 0; index < this.head.count; index++) {
      if (at + frameHeaderBytes > bytes.length) throw damaged()
      const length = data.getUint32(at + frameOffset.payloadLength, true)
      const span = frameBytes(length)
      if (
        span > bytes.length - at ||
        data.getUint32(at, true) !== frameMagic ||
        bytes[at + frameOffset.version] !== frameVersion ||
        bytes[at + frameOffset.type] !== frameType.data ||
        frameChecksum(bytes, at, checkedPayloadBytes(frameType.data, length)) !==
          data.getUint32(at + frameOffset.crc32, true)
      )
        throw damaged()
      this.#offsets[index] = at
      at += span
    }
    if (at !== bytes.length) throw damaged()
  }

  get left(): number {
    return this.head.count - this.handed
  }

  frameAt(index: number): number {
    return this.#offsets[index] as number
  }

  /** What the function makes of each payload. */
  map<T>(work: (region: Region, offset: number, length: number) => T): T[] {
    return Array.from({ length: this.head.count }, (_, index) =>
      work(this, this.payloadAt(index), this.lengthOf(index)),
    )
  }

  sequenceOf(index: number): number {
    return readUint53(this.data, this.frameAt(index) + frameOffset.sequence)
  }

  timestampOf(index: number): bigint {
    return this.data.getBigUint64(this.frameAt(index) + frameOffset.timestampNs, true)
  }

  payloadAt(index: number): number {
    return this.frameAt(index) + frameHeaderBytes
  }

  lengthOf(index: number): number {
    return this.data.getUint32(this.frameAt(index) + frameOffset.payloadLength, true)
  }
}

function damaged() {
  return protocolError('The broker sent messages that are damaged.')
}
