import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import { inflatedLengthBytes, inflateInto, mostInflatedBytes } from './compression.js'
import { mostSettleEntries, mostUnkeyed } from './group-packets.js'
import {
  ackEntryBytes,
  checkedBytes,
  deliverHeadBytes,
  demandBytes,
  maxJsonBytes,
  messagesHeadBytes,
  packetCrc,
  packetFlag,
  packetHeaderBytes,
  packetType,
  protocolError,
  publishHeadBytes,
  settledHeadBytes,
  settleEntryBytes,
  settleHeadBytes,
} from './packet.js'

/*
 * What comes in may be hostile: every length is checked before it is used, and never more memory is set aside than twice what has
 * arrived. (Compressed frames need a little more, for as long as they are being looked at: see compression.ts.)
 */

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
  [packetType.join, json],
  [packetType.demand, fixed(demandBytes)],
  [
    packetType.settle,
    {
      least: settleHeadBytes + settleEntryBytes,
      most: settleHeadBytes + mostSettleEntries * settleEntryBytes,
      checked: anyLength,
      multiple: 16,
    },
  ],
  [packetType.ask, json],
  [packetType.keys, { least: 4, most: 4 * mostUnkeyed, checked: anyLength, multiple: 4 }],
  [packetType.commit, fixed(8)],
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
  [packetType.joined, bigJson],
  [packetType.messages, framed(messagesHeadBytes)],
  [packetType.settled, { least: settledHeadBytes, most: anyLength, checked: anyLength, multiple: 8 }],
  [packetType.answer, bigJson],
  [packetType.unkeyed, framed(messagesHeadBytes)],
  [packetType.committed, fixed(8)],
])

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
  /** Bytes of a packet without a handler, still to be skipped. */
  #skip = 0
  #unwanted = false
  #stopped = false
  #paused = false
  #compression = false
  #intake: ((chunk: Buffer, at: number) => number) | undefined

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

  /**
   * Asked first when a PUBLISH begins at `at`: what it takes from there on, in whole packets, is not handed out. It returns how many bytes that are, and may call
   * `pause` and `stop`.
   */
  set intake(take: ((chunk: Buffer, at: number) => number) | undefined) {
    this.#intake = take
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
        const taken =
          this.#intake !== undefined && left >= packetHeaderBytes && chunk[at + 4] === packetType.publish
            ? this.#intake(chunk, at)
            : 0
        if (taken > 0) {
          at += taken
          continue
        }
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
    const compressed =
      flags === packetFlag.compressed &&
      this.#compression &&
      (type === packetType.publish || type === packetType.deliver)
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
