import { HermesError } from '../errors.js'
import type { From } from '../transport/transport.js'
import type { Deflater } from '../wire/compression.js'
import type { Seek } from '../wire/messages.js'
import {
  compressedPacket,
  deliverHeadBytes,
  deliverPacketHead,
  jsonPacket,
  packetHeaderBytes,
  packetType,
  protocolError,
  u64Packet,
} from '../wire/packet.js'
import type { LogTail } from './log-tail.js'
import type { ChannelHost } from './publisher-channel.js'
import type { BrokerTopic, Outlet } from './topic.js'

/** Frames of one DELIVER, in bytes, unless a single frame is larger. */
const runBytes = 262_144

/** So many bytes of frames are compressed in one go, at most: others are to have their turn. */
const mostDeflated = 512 * 1024

export interface SubscriberHost extends ChannelHost {
  /** Compresses what is sent; `undefined` where that was not agreed on. */
  readonly deflater: Deflater | undefined
  /** False while enough is waiting to be written. */
  readonly hasRoom: boolean
  /** Writes the head and, straight from where they lie, the frames; calls back once they need no longer stay there. */
  sendFrames(head: Buffer, frames: Uint8Array, written: () => void): void
}

/** A remote subscriber. Its credit says how much may be under way to it; beyond that, it lags, and the log keeps what it has not seen. */
export class SubscriberChannel implements Outlet {
  readonly kind = 'subscriber'
  readonly topic: BrokerTopic
  readonly #host: SubscriberHost
  readonly #channel: number
  readonly #tail: LogTail
  #credit: number
  #epoch = 0
  /** What to go to once nothing of the old place is being written any more. */
  #seeking: Seek | undefined
  #toldTail = 0
  #ended = false
  #pumping = false
  /** The rest is to be sent in a turn of its own. */
  #resting = false

  /** @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE`, … */
  constructor(host: SubscriberHost, channel: number, topic: BrokerTopic, from: From, credit: number) {
    this.#host = host
    this.#channel = channel
    this.topic = topic
    this.#credit = credit
    this.#tail = topic.tail()
    try {
      this.#tail.seek(from)
    } catch (error) {
      this.#tail.close()
      throw error
    }
  }

  start(): void {
    this.#tell()
    this.topic.addOutlet(this)
    this.pump()
  }

  #tell(): void {
    const { sequence } = this.#tail
    this.topic.noteTail(Math.max(sequence, this.topic.nextSequence()))
    const content = {
      epoch: this.#epoch,
      sequence,
      nextSequence: Math.max(sequence, this.topic.knownTail),
      maxPayloadBytes: this.topic.file.maxPayloadBytes,
    }
    this.#host.send(jsonPacket(packetType.subscribed, this.#channel, content))
  }

  addCredit(bytes: number): void {
    this.#credit += bytes
    if (this.#credit > 2 ** 31) throw protocolError('The credit exceeds 2^31 bytes.')
    this.pump()
  }

  seek(target: Seek): void {
    if (target.epoch !== (this.#seeking?.epoch ?? this.#epoch) + 1)
      throw protocolError('The epochs of SEEK count up by one.')
    this.#seeking = target
    this.pump()
  }

  pump(): boolean {
    // (a write may call back at once)
    if (this.#ended || this.#pumping || this.#resting) return false
    this.#pumping = true
    try {
      if (this.#seeking !== undefined && !this.#goThere()) return false
      return this.#sendRuns()
    } catch (error) {
      this.fail(error instanceof HermesError ? error : new HermesError('IO_FAILED', String(error), { cause: error }))
      return false
    } finally {
      this.#pumping = false
    }
  }

  #goThere(): boolean {
    const target = this.#seeking as Seek
    if (this.#tail.isPinned) return false
    this.#tail.seek(target.from)
    this.#epoch = target.epoch
    this.#seeking = undefined
    this.#tell()
    return true
  }

  #sendRuns(): boolean {
    const tail = this.#tail
    let sent = false
    let deflated = 0
    while (this.#credit > 0 && this.#host.hasRoom && !this.#ended) {
      // A frame that is larger than a run is sent alone.
      let found = tail.read(Math.min(runBytes, this.#credit))
      if (found === 'none' && this.#credit > runBytes) found = tail.read(this.#credit)
      if (found !== 'some') return sent
      const { bytes, messages, sequence, endSequence } = tail
      this.topic.noteTail(endSequence)
      const head = deliverPacketHead(
        this.#channel,
        { epoch: this.#epoch, messages, sequence, endSequence, nextSequence: this.topic.knownTail },
        bytes.length,
      )
      this.#credit -= bytes.length
      tail.advance()
      sent = true
      const stream = this.#host.deflater?.deflate(bytes)
      if (stream !== undefined) {
        const fixed = head.subarray(packetHeaderBytes)
        this.#host.send(compressedPacket(packetType.deliver, this.#channel, fixed, bytes.length, stream))
        deflated += bytes.length
        if (deflated < mostDeflated) continue
        this.#rest()
        return sent
      }
      tail.pin()
      this.#host.sendFrames(head, bytes, () => {
        tail.unpin()
        if (!tail.isPinned && !this.#ended) this.pump()
      })
    }
    return sent
  }

  #rest(): void {
    this.#resting = true
    setImmediate(() => {
      this.#resting = false
      this.pump()
    })
  }

  /** Once per heartbeat: a client that holds its credit back learns how far behind it is. */
  tellTail(): void {
    const next = this.topic.nextSequence()
    this.topic.noteTail(next)
    if (next <= this.#tail.sequence || next === this.#toldTail) return
    this.#toldTail = next
    this.#host.send(u64Packet(packetType.tail, this.#channel, BigInt(next)))
  }

  fail(error: HermesError): void {
    if (this.#ended) return
    void this.end()
    this.#host.failChannel(this.#channel, error)
  }

  async end(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.topic.removeOutlet(this)
    // The mapping goes once the last run is written.
    this.#tail.close()
  }
}

/** The largest packet of such a topic. */
export function largestPacket(maxPayloadBytes: number): number {
  return packetHeaderBytes + deliverHeadBytes + Math.max(runBytes, maxPayloadBytes + 40)
}
