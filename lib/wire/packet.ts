import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import { crc32Range } from '../frame/crc32.js'

/* Packets: the unit of the TCP protocol (docs/wire-protocol.md). packet-reader.ts takes them in, packet-writer.ts makes them. */

/** What a client sends first. */
export const preamble = Buffer.from('HERMESW1', 'latin1')
export const protocolVersion = 1
export const packetHeaderBytes = 16
/** The largest JSON body that a client may send. */
export const maxJsonBytes = 65_536
/** The fixed heads in front of the frames. */
export const publishHeadBytes = 16
export const deliverHeadBytes = 32
export const ackEntryBytes = 24
export const messagesHeadBytes = 32
export const demandBytes = 24
export const settleHeadBytes = 16
export const settleEntryBytes = 32
export const settledHeadBytes = 8
export const settledEntryBytes = 16

export const packetType = {
  hello: 1,
  welcome: 2,
  ping: 3,
  pong: 4,
  error: 5,
  drain: 6,
  close: 7,
  closed: 8,
  request: 9,
  reply: 10,
  openPublisher: 16,
  publisherOpened: 17,
  publish: 18,
  ack: 19,
  sync: 20,
  synced: 21,
  subscribe: 32,
  subscribed: 33,
  deliver: 34,
  credit: 35,
  seek: 36,
  tail: 37,
  join: 48,
  joined: 49,
  messages: 50,
  demand: 51,
  settle: 52,
  settled: 53,
  ask: 54,
  answer: 55,
  unkeyed: 56,
  keys: 57,
  commit: 58,
  committed: 59,
} as const

/** Bits of a packet's flags. */
export const packetFlag = {
  /** Of PUBLISH and DELIVER, where both sides have agreed on the feature. */
  compressed: 1,
} as const

/** Bits of the last word of a PUBLISH's head. */
export const publishFlag = {
  /** The client does not wait for the acknowledgement: it may be kept for a while. */
  deferrable: 1,
} as const

export function protocolError(message: string): HermesError {
  return new HermesError('PROTOCOL', message)
}

/** Messages that have reached their durability: `count` numbers from `first` on, in the topic from `sequence` on (0 = not known). */
export interface Run {
  readonly first: bigint
  readonly count: number
  readonly sequence: number
}

export interface DeliverHead {
  readonly epoch: number
  readonly messages: number
  readonly sequence: number
  readonly endSequence: number
  readonly nextSequence: number
}

/** How much of the body the checksum covers: of frames, which have their own, only the head in front of them. */
export function checkedBytes(type: number, flags: number, length: number): number {
  if (flags !== 0) return length
  if (type === packetType.publish) return publishHeadBytes
  if (type === packetType.deliver) return deliverHeadBytes
  return type === packetType.messages || type === packetType.unkeyed ? messagesHeadBytes : length
}

export function packetCrc(bytes: Buffer, at: number, checked: number): number {
  const start = at + packetHeaderBytes
  return crc32Range(bytes, start, start + checked, crc32Range(bytes, at, at + 12, 0))
}

/** Writes the header at `at`; the checked part of the body stands behind it already. `length` is that of the whole body. */
export function sealPacket(
  bytes: Buffer,
  at: number,
  type: number,
  channel: number,
  length: number,
  flags: number = 0,
): void {
  bytes.writeUInt32LE(length, at)
  bytes.writeUInt32LE(type | (flags << 8), at + 4)
  bytes.writeUInt32LE(channel, at + 8)
  bytes.writeUInt32LE(packetCrc(bytes, at, checkedBytes(type, flags, length)), at + 12)
}
