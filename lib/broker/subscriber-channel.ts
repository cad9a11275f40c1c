import { HermesError } from '../base/errors.js'
import type { From } from '../model/topic.js'
import type { LogCursor } from '../store/log-cursor.js'
import type { Deflater } from '../wire/compression.js'
import type { Seek } from '../wire/messages.js'
import { deliverHeadBytes, packetHeaderBytes, packetType, protocolError } from '../wire/packet.js'
import { compressedPacket, deliverPacketHead, jsonPacket, u64Packet } from '../wire/packet-writer.js'
import type { Delivering } from './deliveries.js'
import type { Delivery } from './engine/engine.js'
import type { LogTail } from './log-tail.js'
import type { ChannelHost } from './publisher-channel.js'
import type { BrokerTopic } from './topic.js'
import type { SubscriberSender, TopicSubscriber } from './topic-subscribers.js'

/** Frames of one DELIVER, in bytes, unless a single frame is larger. */
const runBytes = 262_144

/** Compressing a byte is as much work as sending so many as they are. */
const deflateWork = 8
/** A run that is to be compressed, in bytes: more would take too long at once. */
const deflatedRunBytes = 65_536

/** Between two looks for a sync. */
const syncLookMs = 2
/** How often a channel looks whether retention has removed what it reads. */
const removedLookMs = 1000

/** A channel that gets on may hold what retention has removed for so many times longer than one that does not. */
const movingTimes = 10

export interface SubscriberHost extends ChannelHost, SubscriberSender {
  /** Compresses what is sent; `undefined` where that was not agreed on. */
  readonly deflater: Deflater | undefined
  /** Whose the client is: parties take turns. */
  readonly party: string
  /** How long a channel that does not get on may hold what retention has removed. */
  readonly removedSegmentMs: number
  /** One fewer. */
  subscriberEnded(): void
  /** There may be something to send for the channel: `deliver` sends it. */
  note(channel: Delivering): void
  /** Whether the addon carries the bytes. */
  readonly isNative: boolean
  /** Sends what comes next as one DELIVER, by the addon. Returns how many bytes it has; 0 if nothing was sent. */
  deliverFrom(cursor: LogCursor, delivery: Delivery): number
  /** Writes the head and, straight from where they lie, the frames; calls back once they need no longer stay there. */
  sendFrames(head: Buffer, frames: Uint8Array, written: () => void): void
}

/** A remote subscriber. Its credit says how much may be under way to it; beyond that, it lags, and the log keeps what it has not seen. */
export class SubscriberChannel implements TopicSubscriber, Delivering {
  readonly kind = 'subscriber'
  readonly topic: BrokerTopic
  readonly #host: SubscriberHost
  readonly #channel: number
  readonly #tail: LogTail
  readonly #upToSynced: boolean
  #look: NodeJS.Timeout | undefined
  #credit: number
  #epoch = 0
  /** What to go to once nothing from the old position is being written any more. */
  #seeking: Seek | undefined
  /** The position is being looked for. */
  #preparing = false
  #toldTail = 0
  #ended = false
  #looked = 0
  /** Since when, and which segment, it reads that retention has removed; and when it last got on. */
  #removedSince = 0
  #removedSegment = 0
  #lastSequence = 0
  #movedSince = 0

  constructor(host: SubscriberHost, channel: number, topic: BrokerTopic, credit: number, upToSynced = false) {
    this.#host = host
    this.#channel = channel
    this.topic = topic
    this.#credit = credit
    this.#upToSynced = upToSynced
    this.#tail = topic.tail(upToSynced)
  }

  /** Goes there, and begins to send. @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE`, … */
  start(from: From): void {
    this.#tail.seek(from)
    this.#tell()
    this.topic.addSubscriber(this)
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
      ...(this.#upToSynced ? { upTo: 'synced' } : {}),
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

  note(): SubscriberSender {
    if (!this.#ended) this.#host.note(this)
    return this.#host
  }

  /** There may be something to send. */
  pump(): void {
    this.note().deliver()
  }

  /** Sends one run, or goes where the client wants to go. Returns how much work it was, in bytes. */
  deliver(): number {
    if (this.#ended) return 0
    try {
      if (this.#seeking !== undefined) return this.#goThere()
      return this.#sendRun()
    } catch (error) {
      this.#failed(error)
      return 0
    }
  }

  #failed(error: unknown): void {
    this.#preparing = false
    this.fail(error instanceof HermesError ? error : new HermesError('IO_FAILED', String(error), { cause: error }))
  }

  /** Goes where the client wants to go, or has that prepared. */
  #goThere(): number {
    if (this.#preparing || this.#tail.isPinned) return 0
    const target = this.#seeking as Seek
    this.#preparing = true
    const gone = this.topic.whenFindable(target.from, this.#host.party, () => {
      this.#preparing = false
      if (this.#ended) return
      // (the client may want to go elsewhere by now)
      if (this.#seeking === target) this.#arrive(target)
      else this.pump()
    })
    if (!(gone instanceof Promise)) return runBytes
    gone.catch((error: unknown) => this.#failed(error))
    return 0
  }

  #arrive(target: Seek): void {
    this.#tail.seek(target.from)
    this.#epoch = target.epoch
    this.#seeking = undefined
    this.#tell()
    this.pump()
  }

  /** There is something that is not synced: the process that syncs it, this one or another, does not notify this channel. */
  #lookAgain(): void {
    this.#look ??= setTimeout(() => {
      this.#look = undefined
      if (!this.#ended) this.pump()
    }, syncLookMs).unref()
  }

  /** As `#sendRun`, by the addon; 0 if there is nothing for it, or no addon that sends. */
  #sendByAddon(): number {
    const { topic } = this
    const tail = this.#tail
    const mostBytes = Math.min(runBytes, this.#credit)
    let sent = 0
    const isSent = tail.sendBy(mostBytes, (cursor, mostMessages) => {
      const delivery = {
        channel: this.#channel,
        epoch: this.#epoch,
        nextSequence: topic.knownTail,
        mostMessages,
        mostBytes,
      }
      sent = this.#host.deliverFrom(cursor, delivery)
      return sent > 0
    })
    if (!isSent) return 0
    const bytes = sent - packetHeaderBytes - deliverHeadBytes
    topic.noteTail(tail.endSequence)
    this.#credit -= bytes
    tail.advance()
    return bytes
  }

  #sendRun(): number {
    if (this.#credit <= 0) return 0
    if (this.#host.isNative && this.#host.deflater === undefined) {
      const bytes = this.#sendByAddon()
      if (bytes > 0) return bytes
    }
    const tail = this.#tail
    // A frame that is larger than a run is sent alone.
    const most = this.#host.deflater === undefined ? runBytes : deflatedRunBytes
    let found = tail.read(Math.min(most, this.#credit))
    if (found === 'none' && this.#credit > most) found = tail.read(this.#credit)
    if (found !== 'some') {
      if (tail.awaitsSync) this.#lookAgain()
      return 0
    }
    const { bytes, messages, sequence, endSequence } = tail
    this.topic.noteTail(endSequence)
    const head = deliverPacketHead(
      this.#channel,
      { epoch: this.#epoch, messages, sequence, endSequence, nextSequence: this.topic.knownTail },
      bytes.length,
    )
    this.#credit -= bytes.length
    tail.advance()
    const stream = this.#host.deflater?.deflate(bytes)
    if (stream !== undefined) {
      const fixed = head.subarray(packetHeaderBytes)
      this.#host.send(compressedPacket(packetType.deliver, this.#channel, fixed, bytes.length, stream))
      return bytes.length * deflateWork
    }
    tail.pin()
    this.#host.sendFrames(head, bytes, () => {
      tail.unpin()
      if (!tail.isPinned) this.pump()
    })
    return bytes.length
  }

  /** Whether there may be something that it has not been sent. */
  get lags(): boolean {
    return !this.#tail.isAtEnd
  }

  /**
   * Several times per heartbeat where it lags: a client that holds its credit back learns how far behind it is.
   *
   * @throws HermesError `BEHIND_RETENTION` if it has held what retention has removed for too long
   */
  tick(now: number): void {
    if (this.#ended) return
    const next = this.topic.nextSequence()
    this.topic.noteTail(next)
    if (next <= this.#tail.sequence) return
    if (next !== this.#toldTail) {
      this.#toldTail = next
      this.#host.send(u64Packet(packetType.tail, this.#channel, BigInt(next)))
    }
    if (now - this.#looked < removedLookMs) return
    this.#looked = now
    this.#releaseRemoved(now)
  }

  /** The files of a removed segment are gone, but its space stays used as long as a process has it mapped. */
  #releaseRemoved(now: number): void {
    const { segment, sequence } = this.#tail
    const left = segment === 0 ? undefined : this.topic.removedBefore(segment)
    if (left === undefined) {
      this.#removedSince = 0
      return
    }
    if (this.#removedSince === 0 || segment !== this.#removedSegment) {
      this.#removedSince = now
      this.#removedSegment = segment
    }
    if (sequence !== this.#lastSequence) {
      this.#lastSequence = sequence
      this.#movedSince = now
    }
    const { removedSegmentMs } = this.#host
    if (now - this.#movedSince <= removedSegmentMs && now - this.#removedSince <= movingTimes * removedSegmentMs) return
    throw new HermesError(
      'BEHIND_RETENTION',
      `Retention has removed sequence ${sequence} of '${this.topic.name}', and the subscriber has not read on in time. ` +
        `The first one left is ${left.firstSequence}: go on at 'earliest'.`,
      { details: { topic: this.topic.name, sequence, ...left } },
    )
  }

  fail(error: HermesError): void {
    if (this.#ended) return
    void this.end()
    this.#host.failChannel(this.#channel, error)
  }

  async end(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#look)
    this.topic.removeSubscriber(this)
    this.#host.subscriberEnded()
    // The mapping goes once the last run is written.
    this.#tail.close()
  }
}
