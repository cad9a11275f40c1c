import { Buffer } from '../base/buffer.js'
import { inflatedLengthBytes } from './compression.js'
import {
  ackEntryBytes,
  type DeliverHead,
  deliverHeadBytes,
  packetFlag,
  packetHeaderBytes,
  packetType,
  publishHeadBytes,
  type Run,
  sealPacket,
} from './packet.js'

/**
 * A PUBLISH or DELIVER whose frames were compressed.
 *
 * @param head       the fixed head of the body
 * @param frameBytes the frames' length before they were compressed
 */
export function compressedPacket(
  type: number,
  channel: number,
  head: Uint8Array,
  frameBytes: number,
  stream: Uint8Array,
): Buffer {
  const at = packetHeaderBytes + head.length
  const length = head.length + inflatedLengthBytes + stream.length
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  bytes.set(head, packetHeaderBytes)
  bytes.writeUInt32LE(frameBytes, at)
  bytes.set(stream, at + inflatedLengthBytes)
  sealPacket(bytes, 0, type, channel, length, packetFlag.compressed)
  return bytes
}

export function jsonPacket(type: number, channel: number, content: unknown): Buffer {
  const text = JSON.stringify(content)
  const length = Buffer.byteLength(text)
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  bytes.write(text, packetHeaderBytes)
  sealPacket(bytes, 0, type, channel, length)
  return bytes
}

export function emptyPacket(type: number, channel: number): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes)
  sealPacket(bytes, 0, type, channel, 0)
  return bytes
}

/** A packet whose body is one u64: PING, PONG, SYNC, SYNCED, TAIL. */
export function u64Packet(type: number, channel: number, value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + 8)
  bytes.writeBigUInt64LE(value, packetHeaderBytes)
  sealPacket(bytes, 0, type, channel, 8)
  return bytes
}

export function creditPacket(channel: number, credit: number): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + 4)
  bytes.writeUInt32LE(credit, packetHeaderBytes)
  sealPacket(bytes, 0, packetType.credit, channel, 4)
  return bytes
}

export function ackPacket(channel: number, runs: readonly Run[]): Buffer {
  const length = runs.length * ackEntryBytes
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  let at = packetHeaderBytes
  for (const run of runs) {
    bytes.writeBigUInt64LE(run.first, at)
    writeSequence(bytes, at + 8, run.sequence)
    bytes.writeUInt32LE(run.count, at + 16)
    bytes.writeUInt32LE(0, at + 20)
    at += ackEntryBytes
  }
  sealPacket(bytes, 0, packetType.ack, channel, length)
  return bytes
}

/** Writes the head of a batch and the packet header, 32 bytes in all, in front of the frames at `at + 32`. `flags`: see `publishFlag`. */
export function sealPublish(
  bytes: Buffer,
  at: number,
  channel: number,
  acked: bigint,
  count: number,
  frameBytes: number,
  flags: number = 0,
): void {
  bytes.writeBigUInt64LE(acked, at + packetHeaderBytes)
  bytes.writeUInt32LE(count, at + packetHeaderBytes + 8)
  bytes.writeUInt32LE(flags, at + packetHeaderBytes + 12)
  sealPacket(bytes, at, packetType.publish, channel, publishHeadBytes + frameBytes)
}

/** Packet header and head of a DELIVER, 48 bytes; `frameBytes` of frames are to follow. */
export function deliverPacketHead(channel: number, head: DeliverHead, frameBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + deliverHeadBytes)
  bytes.writeUInt32LE(head.epoch, 16)
  bytes.writeUInt32LE(head.messages, 20)
  writeSequence(bytes, 24, head.sequence)
  writeSequence(bytes, 32, head.endSequence)
  writeSequence(bytes, 40, head.nextSequence)
  sealPacket(bytes, 0, packetType.deliver, channel, deliverHeadBytes + frameBytes)
  return bytes
}

/** In two halves: by way of a BigInt it takes three times as long. */
function writeSequence(bytes: Buffer, at: number, sequence: number): void {
  bytes.writeUInt32LE(sequence % 0x1_0000_0000, at)
  bytes.writeUInt32LE(Math.floor(sequence / 0x1_0000_0000), at + 4)
}
