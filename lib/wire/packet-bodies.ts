import type { Buffer } from '../base/buffer.js'
import { ackEntryBytes, type DeliverHead, protocolError, type Run } from './packet.js'

export function readAck(bytes: Buffer, start: number, end: number): Run[] {
  const runs: Run[] = []
  for (let at = start; at < end; at += ackEntryBytes) {
    runs.push({
      first: bytes.readBigUInt64LE(at),
      sequence: readSequence(bytes, at + 8),
      count: bytes.readUInt32LE(at + 16),
    })
  }
  return runs
}

export function readDeliverHead(bytes: Buffer, start: number): DeliverHead {
  return {
    epoch: bytes.readUInt32LE(start),
    messages: bytes.readUInt32LE(start + 4),
    sequence: readSequence(bytes, start + 8),
    endSequence: readSequence(bytes, start + 16),
    nextSequence: readSequence(bytes, start + 24),
  }
}

/** A u64 that has to be a safe integer. */
export function readSequence(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at)
  if (!Number.isSafeInteger(value)) throw protocolError('A sequence is beyond 2^53 - 1.')
  return value
}
