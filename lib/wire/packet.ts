import { HermesError } from '../base/errors.js'
import { crc32Range } from '../frame/crc32.js'
import { inflatedLengthBytes, inflateInto, mostInflatedBytes } from './compression.js'

/*
 * Packets: the unit of the TCP protocol (docs/wire-protocol.md). What comes in may be hostile: every length is checked
 * before it is used, and never more memory is set aside than twice what has arrived. (Compressed frames need a little more,
 * for as long as they are being looked at: see compression.ts.)
 */

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
} as const

/** Bits of a packet's flags. */
export const packetFlag = {
  /** Of PUBLISH and DELIVER, where both sides have agreed on the feature. */
  compressed: 1,
} as const

/** Bits of the last word of a PUBLISH's head. */
export const publishFlag = {
  /** Nobody waits for the acknowledgement: it may be kept for a while. */
  patient: 1,
} as const

const anyLength = -1
/** Least and most bytes of each type's body; `anyLength`: up to the connection's limit. A `multiple` has to divide the length. */
interface Shape {
  readonly least: number
  readonly most: number
  readonly checked: number
  readonly multiple: number
}

const json: Shape = { least: 2, most: maxJsonBytes, checked: anyLength, multiple: 1 }
const bigJson: Shape = { least: 2, most: anyLength, checked: anyLength, multiple: 1 }
const fixed = (bytes: number): Shape => ({ least: bytes, most: bytes, checked: anyLength, multiple: 1 })
const framed = (head: number): Shape => ({ least: head, most: anyLength, checked: head, multiple: 8 })

const fromClient = new Map<number, Shape>([
  [packetType.hello, json],
  [packetType.ping, fixed(8)],
  [packetType.pong, fixed(8)],
  [packetType.close, fixed(0)],
  [packetType.request, json],
  [packetType.openPublisher, json],
  [packetType.publish, framed(publishHeadBytes)],
  [packetType.sync, fixed(8)],
  [packetType.subscribe, json],
  [packetType.credit, fixed(4)],
  [packetType.seek, json],
])

const fromServer = new Map<number, Shape>([
  [packetType.welcome, json],
  [packetType.ping, fixed(8)],
  [packetType.pong, fixed(8)],
  [packetType.error, json],
  [packetType.drain, json],
  [packetType.closed, fixed(0)],
  [packetType.reply, bigJson],
  [packetType.publisherOpened, bigJson],
  [packetType.ack, { least: ackEntryBytes, most: anyLength, checked: anyLength, multiple: ackEntryBytes }],
  [packetType.synced, fixed(8)],
  [packetType.subscribed, json],
  [packetType.deliver, framed(deliverHeadBytes)],
  [packetType.tail, fixed(8)],
])

export function protocolError(message: string): HermesError {
  return new HermesError('PROTOCOL', message)
}

/**
 * Called for each packet: its body is `bytes[start, end)`, valid until the call returns.
 * What it throws comes out of `push`.
 */
export type PacketHandler = (type: number, channel: number, bytes: Buffer, start: number, end: number) => void

/** What a reader asks before it keeps, checks or inflates a packet of frames: nothing is done for a channel that no longer takes them. */
export interface PacketGate {
  /** The most bytes that the body may have; `undefined`: the packet is passed over. @throws HermesError `PROTOCOL` */
  mostBytes(type: number, channel: number): number | undefined
  /** So many bytes more are set aside for packets whose rest has not arrived; negative: fewer. @throws HermesError `LIMIT` */
  setAside(bytes: number): void
}

/** The buffer for unfinished packets is given back above this size, as soon as the packet was handed out. */
const keptBufferBytes = 1024 * 1024

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  readonly #shapes: ReadonlyMap<number, Shape>
  readonly #handler: PacketHandler
  readonly #gate: PacketGate | undefined
  #maxBody: number
  /** The beginning of a packet whose rest has not arrived. */
  #partial = Buffer.alloc(0)
  #have = 0
  /** Bytes of a packet that nobody takes, still to be passed over. */
  #skip = 0
  #unwanted = false
  #stopped = false
  #paused = false
  #compression = false

  /**
   * @param from    whose packets these are
   * @param maxBody of one packet, in bytes
   */
  constructor(from: 'client' | 'server', maxBody: number, handler: PacketHandler, gate?: PacketGate) {
    this.#shapes = from === 'client' ? fromClient : fromServer
    this.#maxBody = maxBody
    this.#handler = handler
    this.#gate = gate
  }

  /** Bytes that are kept until the rest of their packet arrives. */
  get pendingBytes(): number {
    return this.#have
  }

  /** The packet at the beginning of which `pendingBytes` stand, in bytes; 0 if none does, or its header is not there yet. */
  get unfinishedBytes(): number {
    if (this.#skip > 0) return this.#skip
    return this.#have < packetHeaderBytes ? 0 : packetHeaderBytes + this.#partial.readUInt32LE(0)
  }

  /** Whether a packet has begun and not ended. */
  get isUnfinished(): boolean {
    return this.#have > 0 || this.#skip > 0
  }

  set maxBody(bytes: number) {
    this.#maxBody = bytes
  }

  /** Whether the other side may compress frames. The handler gets them as if they had come as they are. */
  set compression(agreed: boolean) {
    this.#compression = agreed
  }

  /** No packet is handed out any more, not even the rest of the chunk that is being read. */
  stop(): void {
    this.#stopped = true
    this.#have = 0
    this.#skip = 0
    this.release()
  }

  /** To be called by the handler: `push` returns behind the packet that it has been given. */
  pause(): void {
    this.#paused = true
  }

  /** Gives the buffer for unfinished packets back, unless one is in it. */
  release(): void {
    if (this.#have > 0 || this.#partial.length === 0) return
    this.#gate?.setAside(-this.#partial.length)
    this.#partial = Buffer.alloc(0)
  }

  /**
   * @returns how many bytes of the chunk were taken: all of them, unless the handler called `pause`; then the rest is to be pushed again
   * @throws HermesError `PROTOCOL`, `LIMIT`; afterwards the reader is of no more use
   */
  push(chunk: Buffer): number {
    let at = 0
    this.#paused = false
    while (at < chunk.length && !this.#stopped && !this.#paused) {
      const left = chunk.length - at
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, left)
        this.#skip -= passed
        at += passed
      } else if (this.#have > 0) {
        at += this.#complete(chunk, at)
      } else {
        const size = left < packetHeaderBytes ? Number.POSITIVE_INFINITY : this.#measure(chunk, at)
        if (this.#unwanted) {
          this.#skip = size
        } else if (size > left) {
          this.#keep(chunk, at, left, size)
          at += left
        } else {
          this.#dispatch(chunk, at, size)
          at += size
        }
      }
    }
    return at
  }

  /** Adds to the packet that has begun, and hands it out once it is whole. Returns how many bytes were taken. */
  #complete(chunk: Buffer, at: number): number {
    const left = chunk.length - at
    let taken = 0
    if (this.#have < packetHeaderBytes) {
      taken = Math.min(packetHeaderBytes - this.#have, left)
      this.#keep(chunk, at, taken, packetHeaderBytes)
      if (this.#have < packetHeaderBytes) return taken
    }
    const size = this.#measure(this.#partial, 0)
    if (this.#unwanted) {
      this.#skip = size - this.#have
      this.#have = 0
      this.release()
      return taken
    }
    const more = Math.min(size - this.#have, left - taken)
    if (more > 0) this.#keep(chunk, at + taken, more, size)
    if (this.#have === size) {
      this.#have = 0
      this.#dispatch(this.#partial, 0, size)
      if (this.#partial.length > keptBufferBytes) this.release()
    }
    return taken + more
  }

  /** The size of the packet whose header stands at `at`. */
  #measure(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32LE(at)
    const type = bytes[at + 4] as number
    const shape = this.#shapes.get(type)
    if (shape === undefined) throw protocolError(`A packet has the unknown type ${type}.`)
    const flags = bytes[at + 5] as number
    const compressed = flags === packetFlag.compressed && this.#compression && shape.checked !== anyLength
    if (flags !== 0 && !compressed) throw protocolError(`A packet has the flags ${flags}, which were not agreed on.`)
    if (bytes.readUInt16LE(at + 6) !== 0)
      throw protocolError('A packet header has bytes that should be zero and are not.')
    this.#unwanted = false
    let most = shape.most === anyLength ? this.#maxBody : shape.most
    if (shape.checked !== anyLength && this.#gate !== undefined) {
      const taken = this.#gate.mostBytes(type, bytes.readUInt32LE(at + 8))
      if (taken === undefined) this.#unwanted = true
      else most = Math.min(most, taken)
    }
    if (length > most) {
      throw new HermesError('LIMIT', `A packet of type ${type} announces ${length} bytes; ${most} are allowed.`, {
        details: { most },
      })
    }
    const least = compressed ? shape.least + inflatedLengthBytes + 1 : shape.least
    if (length < least || (length % shape.multiple !== 0 && !compressed)) {
      throw protocolError(`A packet of type ${type} can't have ${length} bytes.`)
    }
    return packetHeaderBytes + length
  }

  #keep(chunk: Buffer, at: number, bytes: number, want: number): void {
    const need = this.#have + bytes
    if (this.#partial.length < need) {
      const room = Math.min(Math.max(need * 2, 1024), Math.max(need, want === Number.POSITIVE_INFINITY ? 1024 : want))
      this.#gate?.setAside(room - this.#partial.length)
      const grown = Buffer.allocUnsafeSlow(room)
      this.#partial.copy(grown, 0, 0, this.#have)
      this.#partial = grown
    }
    chunk.copy(this.#partial, this.#have, at, at + bytes)
    this.#have = need
  }

  #dispatch(bytes: Buffer, at: number, size: number): void {
    const type = bytes[at + 4] as number
    const flags = bytes[at + 5] as number
    const start = at + packetHeaderBytes
    if (packetCrc(bytes, at, checkedBytes(type, flags, size - packetHeaderBytes)) !== bytes.readUInt32LE(at + 12)) {
      throw protocolError(`A packet of type ${type} has a wrong checksum.`)
    }
    if (flags === 0) this.#handler(type, bytes.readUInt32LE(at + 8), bytes, start, at + size)
    else this.#inflate(type, bytes.readUInt32LE(at + 8), bytes, start, at + size)
  }

  /** Hands out a packet with compressed frames as if they had come as they are. */
  #inflate(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    const head = type === packetType.publish ? publishHeadBytes : deliverHeadBytes
    const from = start + head
    const length = bytes.readUInt32LE(from)
    if (length > mostInflatedBytes) {
      throw new HermesError(
        'LIMIT',
        `A packet holds ${length} bytes of compressed frames; ${mostInflatedBytes} are allowed.`,
        { details: { most: mostInflatedBytes } },
      )
    }
    if (length === 0 || length % 8 !== 0) throw protocolError(`Frames can't have ${length} bytes.`)
    if (inflated.length < head + length) inflated = Buffer.allocUnsafeSlow(head + length)
    const body = inflated
    bytes.copy(body, 0, start, from)
    inflateInto(body, head, bytes, from + inflatedLengthBytes, end, length)
    this.#handler(type, channel, body, 0, head + length)
  }
}

/** Of all readers: a body is looked at within one call, and one for each of many connections would be much. */
let inflated = Buffer.alloc(0)

function checkedBytes(type: number, flags: number, length: number): number {
  if (flags !== 0) return length
  if (type === packetType.publish) return publishHeadBytes
  return type === packetType.deliver ? deliverHeadBytes : length
}

function packetCrc(bytes: Buffer, at: number, checked: number): number {
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

/** Messages that have reached their durability: `count` numbers from `first` on, in the topic from `sequence` on (0 = not known). */
export interface Run {
  readonly first: bigint
  readonly count: number
  readonly sequence: number
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

export interface DeliverHead {
  readonly epoch: number
  readonly messages: number
  readonly sequence: number
  readonly endSequence: number
  readonly nextSequence: number
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

export function readDeliverHead(bytes: Buffer, start: number): DeliverHead {
  return {
    epoch: bytes.readUInt32LE(start),
    messages: bytes.readUInt32LE(start + 4),
    sequence: readSequence(bytes, start + 8),
    endSequence: readSequence(bytes, start + 16),
    nextSequence: readSequence(bytes, start + 24),
  }
}

/** In two halves: by way of a BigInt it takes three times as long. */
function writeSequence(bytes: Buffer, at: number, sequence: number): void {
  bytes.writeUInt32LE(sequence % 0x1_0000_0000, at)
  bytes.writeUInt32LE(Math.floor(sequence / 0x1_0000_0000), at + 4)
}

/** A u64 that has to be a safe integer. */
export function readSequence(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at)
  if (!Number.isSafeInteger(value)) throw protocolError('A sequence is beyond 2^53 - 1.')
  return value
}
