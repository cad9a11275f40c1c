import { Buffer } from '../base/buffer.js'
import {
  demandBytes,
  messagesHeadBytes,
  packetHeaderBytes,
  packetType,
  protocolError,
  sealPacket,
  settledEntryBytes,
  settledHeadBytes,
  settleEntryBytes,
  settleHeadBytes,
} from './packet.js'
import { readSequence } from './packet-bodies.js'

/* The binary packets of groups: docs/wire-protocol.md, "Groups and durable subscriptions". */

/** The feature's name in HELLO and WELCOME. */
export const groupsFeature = 'groups'

/** Entries of one SETTLE, and messages of all of them. */
export const mostSettleEntries = 2048
export const mostSettled = 16_384
/** Messages that a member may have beyond what it has taken. */
export const mostUntaken = 16_384
/** Messages of one UNKEYED. */
export const mostUnkeyed = 256
/** A delay that stands for the group's back-off. */
export const wireBackOff = 0xffff_ffff

export const wireOutcomes = ['done', 'returned', 'released'] as const
export type WireOutcome = (typeof wireOutcomes)[number]

const two32 = 0x1_0000_0000

export interface MessagesHead {
  readonly epoch: number
  readonly count: number
  readonly deliveries: number
  readonly number: number
  /** The first message's place among all that the member was sent, from 1 on. */
  readonly ordinal: number
}

export function writeUint(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value % two32, at)
  bytes.writeUInt32LE(Math.floor(value / two32), at + 4)
}

/** MESSAGES or UNKEYED, with a copy of the frames that stand in `source[from, to)`. */
export function messagesPacket(
  type: number,
  channel: number,
  head: MessagesHead,
  source: Uint8Array,
  from: number,
  to: number,
): Buffer {
  const length = messagesHeadBytes + to - from
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  const at = packetHeaderBytes
  bytes.writeUInt32LE(head.epoch, at)
  bytes.writeUInt32LE(head.count, at + 4)
  bytes.writeUInt32LE(head.deliveries, at + 8)
  bytes.writeUInt32LE(head.number, at + 12)
  writeUint(bytes, at + 16, head.ordinal)
  writeUint(bytes, at + 24, 0)
  bytes.set(source.subarray(from, to), at + messagesHeadBytes)
  sealPacket(bytes, 0, type, channel, length)
  return bytes
}

export function readMessagesHead(bytes: Buffer, start: number): MessagesHead {
  return {
    epoch: bytes.readUInt32LE(start),
    count: bytes.readUInt32LE(start + 4),
    deliveries: bytes.readUInt32LE(start + 8),
    number: bytes.readUInt32LE(start + 12),
    ordinal: readSequence(bytes, start + 16),
  }
}

export interface Demand {
  readonly taken: number
  readonly limit: number
  readonly epoch: number
}

export function demandPacket(channel: number, { taken, limit, epoch }: Demand): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + demandBytes)
  writeUint(bytes, packetHeaderBytes, taken)
  writeUint(bytes, packetHeaderBytes + 8, limit)
  bytes.writeUInt32LE(epoch, packetHeaderBytes + 16)
  bytes.writeUInt32LE(0, packetHeaderBytes + 20)
  sealPacket(bytes, 0, packetType.demand, channel, demandBytes)
  return bytes
}

export function readDemand(bytes: Buffer, start: number): Demand {
  const demand = {
    taken: readSequence(bytes, start),
    limit: readSequence(bytes, start + 8),
    epoch: bytes.readUInt32LE(start + 16),
  }
  checkDemand(demand)
  return demand
}

/** @throws HermesError `PROTOCOL` */
export function checkDemand({ taken, limit }: Pick<Demand, 'taken' | 'limit'>): void {
  if (limit < taken || limit - taken > mostUntaken)
    throw protocolError(
      `A member has taken ${taken} messages, and wants them up to the ${limit}th: ${mostUntaken} more are allowed.`,
    )
}

/** Consecutive messages of one claim that are settled alike. */
export interface SettleEntry {
  readonly first: number
  count: number
  readonly deliveries: number
  readonly number: number
  readonly outcome: WireOutcome
  /** Below 0: the group's back-off. */
  readonly delayMs: number
}

export function settlePacket(
  channel: number,
  number: number,
  answered: number,
  entries: readonly SettleEntry[],
): Buffer {
  const length = settleHeadBytes + entries.length * settleEntryBytes
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  let at = packetHeaderBytes
  writeUint(bytes, at, number)
  writeUint(bytes, at + 8, answered)
  at += settleHeadBytes
  for (const { first, count, deliveries, number: claim, outcome, delayMs } of entries) {
    writeUint(bytes, at, first)
    bytes.writeUInt32LE(count, at + 8)
    bytes.writeUInt32LE(deliveries, at + 12)
    bytes.writeUInt32LE(claim, at + 16)
    bytes.writeUInt32LE(wireOutcomes.indexOf(outcome), at + 20)
    bytes.writeUInt32LE(delayMs < 0 ? wireBackOff : Math.min(Math.floor(delayMs), wireBackOff - 1), at + 24)
    bytes.writeUInt32LE(0, at + 28)
    at += settleEntryBytes
  }
  sealPacket(bytes, 0, packetType.settle, channel, length)
  return bytes
}

export interface Settle {
  readonly number: number
  readonly answered: number
  readonly entries: readonly SettleEntry[]
}

/** @throws HermesError `PROTOCOL` */
export function readSettle(bytes: Buffer, start: number, end: number): Settle {
  const number = readSequence(bytes, start)
  const answered = readSequence(bytes, start + 8)
  if (number < 1 || answered >= number) throw protocolError('A SETTLE has an impossible number.')
  if ((end - start - settleHeadBytes) % settleEntryBytes !== 0) throw protocolError('A SETTLE holds half an entry.')
  const entries: SettleEntry[] = []
  let messages = 0
  for (let at = start + settleHeadBytes; at < end; at += settleEntryBytes) {
    const first = readSequence(bytes, at)
    const count = bytes.readUInt32LE(at + 8)
    const outcome = wireOutcomes[bytes.readUInt32LE(at + 20)]
    const delay = bytes.readUInt32LE(at + 24)
    messages += count
    if (first < 1 || count < 1 || outcome === undefined || messages > mostSettled)
      throw protocolError('A SETTLE has an entry that can not be.')
    entries.push({
      first,
      count,
      deliveries: bytes.readUInt32LE(at + 12),
      number: bytes.readUInt32LE(at + 16),
      outcome,
      delayMs: delay === wireBackOff ? -1 : delay,
    })
  }
  return { number, answered, entries }
}

/** A message that was settled too late, and the number of the SETTLE that it stood in. */
export type Late = readonly [settle: number, sequence: number]

/** @param late pairs as `Late`, one behind the other: there may be thousands */
export function settledPacket(channel: number, number: number, late: Float64Array): Buffer {
  const length = settledHeadBytes + (late.length / 2) * settledEntryBytes
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + length)
  writeUint(bytes, packetHeaderBytes, number)
  const data = new DataView(bytes.buffer, bytes.byteOffset + packetHeaderBytes + settledHeadBytes)
  for (let n = 0; n < late.length; n++) {
    const one = late[n] as number
    data.setUint32(8 * n, one % two32, true)
    data.setUint32(8 * n + 4, Math.floor(one / two32), true)
  }
  sealPacket(bytes, 0, packetType.settled, channel, length)
  return bytes
}

/** @throws HermesError `PROTOCOL` */
export function readSettled(bytes: Buffer, start: number, end: number): { number: number; late: Late[] } {
  if ((end - start - settledHeadBytes) % settledEntryBytes !== 0) throw protocolError('A SETTLED holds half an entry.')
  const late: Late[] = []
  for (let at = start + settledHeadBytes; at < end; at += settledEntryBytes)
    late.push([readSequence(bytes, at), readSequence(bytes, at + 8)])
  return { number: readSequence(bytes, start), late }
}

export function keysPacket(channel: number, hashes: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(packetHeaderBytes + 4 * hashes.length)
  hashes.forEach((hash, index) => {
    bytes.writeUInt32LE(hash >>> 0, packetHeaderBytes + 4 * index)
  })
  sealPacket(bytes, 0, packetType.keys, channel, 4 * hashes.length)
  return bytes
}
