import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameOffset, frameType } from '../../frame/frame.js'
import type { From } from '../../model/topic.js'
import { Parking } from '../parking.js'
import type { SubscriberPort } from '../port.js'
import { passing } from './errors.js'
import { type Delivery, Feed } from './feed.js'
import { readHead } from './head.js'
import { type Piece, sequencesIn, sequencesOf, soundBytes } from './piece.js'
import type { Start, TopicStream } from './stream.js'

const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }
/** Pieces are joined into one region up to about so many bytes. */
const joinedBytes = 1024 * 1024
/** How old the known end of the topic may be when it is asked for. */
const freshMs = 200
/** Between two attempts to go on after the cluster did not answer. */
const retryMs = 500
/** Reads a stream. Frames are read in place where they arrived; the cluster sends ahead as long as there is room. */
export class NatsSubscriber implements SubscriberPort {
  region = noRegion
  offset = 0
  end = 0
  sequence: number
  readonly arrivesByTurn = true

  readonly #stream: TopicStream
  readonly #verify: boolean
  readonly #roomBytes: number
  /** The stream's number of the next message to arrive. */
  #at: number
  /** The topic's sequence that is expected to arrive next. */
  #arriving: number
  #notBeforeNs: bigint | undefined
  #pieces: Piece[] = []
  #waitingBytes = 0
  /** Where the frames of `region` end, and the sequence behind them; `end` is as far as they are checked, and `#checked` the sequence there. */
  #tail = 0
  #tailNext = 0
  #checked = 0
  #knownNext: number
  #refreshed = 0
  #failure: HermesError | undefined
  /** Changes with each seek: what was read for an earlier one is thrown away. */
  #epoch = 0
  #feed: Feed | undefined
  readonly #parking = new Parking()
  #isClosed = false

  private constructor(stream: TopicStream, start: Start, verify: boolean, roomBytes: number) {
    this.#stream = stream
    this.#verify = verify
    this.#roomBytes = roomBytes
    this.#at = start.at
    this.#arriving = start.sequence
    this.sequence = start.sequence
    this.#notBeforeNs = start.notBeforeNs
    this.#knownNext = start.next
    this.#refreshed = performance.now()
  }

  /** @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE`, … */
  static async open(stream: TopicStream, from: From, verify: boolean, roomBytes: number): Promise<NatsSubscriber> {
    const subscriber = new NatsSubscriber(stream, await stream.locate(from), verify, roomBytes)
    void subscriber.#receive(subscriber.#epoch)
    return subscriber
  }

  /** What has arrived is everything before this sequence. For tests that poll once. */
  get arrived(): number {
    return this.#arriving
  }

  /** Takes what comes until the next seek, and begins again where the connection was lost. Never rejects. */
  async #receive(epoch: number): Promise<void> {
    while (epoch === this.#epoch && !this.#isClosed && this.#failure === undefined) {
      try {
        await this.#consume(epoch)
        // It has ended by itself: the stream may be gone.
        if (epoch === this.#epoch && !this.#isClosed) await this.#stream.info()
      } catch (error) {
        if (epoch !== this.#epoch || this.#isClosed) return
        if (error instanceof HermesError && !passing.has(error.code)) {
          this.#fail(error)
          return
        }
      }
      if (epoch !== this.#epoch || this.#isClosed) return
      await new Promise((resolve) => setTimeout(resolve, retryMs).unref())
    }
  }

  /** Returns when the feed was closed. @throws HermesError what ended it */
  async #consume(epoch: number): Promise<void> {
    const feed = await Feed.open(this.#stream, this.#at, {
      take: (delivery) => {
        if (epoch === this.#epoch && !this.#isClosed) this.#arrived(delivery)
      },
      room: () => this.#roomBytes - this.#waitingBytes,
    })
    if (epoch !== this.#epoch || this.#isClosed) {
      feed.close()
      return
    }
    this.#feed = feed
    try {
      await feed.ended
    } finally {
      if (this.#feed === feed) this.#feed = undefined
    }
  }

  /** @throws HermesError `BEHIND_RETENTION`, `CORRUPT` */
  #arrived({ seq, message }: Delivery): void {
    const { topic } = this.#stream
    if (seq < this.#at) return
    if (message.subject !== this.#stream.subject) throw this.#stream.strewn()
    const { first, next } = readHead(message.headers, topic, seq)
    // (a topic goes on above its old sequences when all its messages have expired: a subscriber that has read them all has missed nothing)
    if (seq > this.#at && first > this.#arriving && this.#notBeforeNs === undefined) {
      throw new HermesError(
        'BEHIND_RETENTION',
        `Retention has removed messages ${this.#arriving} to ${first - 1} of topic '${topic}' before they were read.`,
        { details: { topic, sequence: this.#arriving, firstSequence: first } },
      )
    }
    if (sequencesIn(message.data) !== next - first) {
      throw new HermesError(
        'CORRUPT',
        `Message ${seq} in the stream of topic '${topic}' does not hold what its headers say. Go on behind sequence ${next - 1} with seek().`,
        { details: { topic, sequence: first, streamSequence: seq } },
      )
    }
    this.#at = seq + 1
    this.#arriving = next
    if (next > this.#knownNext) this.#knownNext = next
    this.#pieces.push({ data: message.data, first, next })
    this.#waitingBytes += message.data.length
    this.#parking.rouse()
  }

  #fail(error: HermesError): void {
    this.#failure = error
    this.#parking.rouse()
  }

  fetch(limit: number): number {
    for (;;) {
      if (this.offset >= this.#tail || this.#isShort(limit)) this.#refill(limit)
      if (this.offset >= this.#tail) {
        if (this.#failure !== undefined) throw this.#failure
        return 0
      }
      const found = this.#check(limit)
      if (found > 0) return found
      if (this.end < this.#tail) throw this.#damaged()
    }
  }

  /** Whether what is left in the region is less than is asked for, and what follows it is here. */
  #isShort(limit: number): boolean {
    return this.#tailNext - this.sequence < limit && this.#pieces[0]?.first === this.#tailNext
  }

  /** Joins what is left in the region with the pieces behind it, as many as are needed. */
  #refill(limit: number): void {
    const left = this.region.bytes.subarray(this.offset, this.#tail)
    const pieces = this.#pieces
    let count = 0
    let bytes = left.length
    let next = left.length > 0 ? this.#tailNext : (pieces[0]?.first ?? 0)
    for (const piece of pieces) {
      const isEnough = next - this.sequence >= limit || bytes > joinedBytes
      if (piece.first !== next || (isEnough && count > 0)) break
      bytes += piece.data.length
      next = piece.next
      count++
    }
    if (count === 0) return
    // A copy begins at a multiple of 8 bytes, and is not shared.
    const own = new Uint8Array(bytes)
    own.set(left)
    let at = left.length
    if (at === 0) this.#checked = (pieces[0] as Piece).first
    for (const { data } of pieces.splice(0, count)) {
      own.set(data, at)
      at += data.length
    }
    this.region = { bytes: own, data: new DataView(own.buffer) }
    this.offset = 0
    this.end = 0
    this.#tail = bytes
    this.#tailNext = next
    this.sequence = Math.max(this.sequence, this.#checked)
    this.#free(bytes - left.length)
  }

  #free(bytes: number): void {
    this.#waitingBytes -= bytes
    this.#feed?.more()
  }

  /** Checks the frames from `offset` on, and moves `end` behind those that are sound: up to `limit` messages. @returns how many there are to be read */
  #check(limit: number): number {
    const { data } = this.region
    const { maxPayloadBytes } = this.#stream.definition
    const wanted = this.sequence
    let messages = 0
    this.end = this.offset
    while (this.end < this.#tail && messages < limit) {
      const at = this.end
      const size = soundBytes(this.region, at, this.#tail, maxPayloadBytes, this.#verify)
      if (size === 0) break
      const length = data.getUint32(at + frameOffset.payloadLength, true)
      const isData = data.getUint8(at + frameOffset.type) === frameType.data
      const isEarly =
        this.#notBeforeNs !== undefined && data.getBigUint64(at + frameOffset.timestampNs, true) < this.#notBeforeNs
      const isPassed = this.#checked < wanted || isEarly
      this.#checked += sequencesOf(data, at, length)
      this.end = at + size
      if (isPassed) {
        this.offset = this.end
        this.sequence = Math.max(wanted, this.#checked)
      } else {
        this.#notBeforeNs = undefined
        if (isData) messages++
      }
    }
    if (messages > 0) return messages
    // Nothing but voids, and what is passed over.
    this.offset = this.end
    this.sequence = Math.max(wanted, this.#checked)
    return 0
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isClosed || this.#pieces.length > 0 || this.#failure !== undefined || signal?.aborted) return
    if (this.#parking.isTaken)
      throw new HermesError('BUSY', `The subscriber of '${this.#stream.topic}' is waiting already.`)
    await this.#parking.wait(timeoutMs, signal)
  }

  cancel(): void {
    this.#parking.rouse()
  }

  /** The next fetch reports an invalid position: it is not known at once. */
  seek(target: From): void {
    if (typeof target === 'number') this.sequence = target
    void this.#move(() => this.#stream.locate(target))
  }

  async #move(locate: () => Promise<Start>): Promise<void> {
    const epoch = ++this.#epoch
    this.#forget()
    this.#feed?.close()
    for (;;) {
      try {
        const start = await locate()
        if (epoch !== this.#epoch || this.#isClosed) return
        this.#at = start.at
        this.#arriving = start.sequence
        this.sequence = start.sequence
        this.#notBeforeNs = start.notBeforeNs
        this.#knownNext = Math.max(this.#knownNext, start.next)
        break
      } catch (error) {
        if (epoch !== this.#epoch || this.#isClosed) return
        const known = error as HermesError
        if (!passing.has(known.code)) {
          this.#fail(known)
          return
        }
        await new Promise((resolve) => setTimeout(resolve, retryMs).unref())
        if (epoch !== this.#epoch || this.#isClosed) return
      }
    }
    await this.#receive(epoch)
  }

  #forget(): void {
    this.#failure = undefined
    this.#pieces = []
    this.#waitingBytes = 0
    this.offset = 0
    this.end = 0
    this.#tail = 0
    this.region = noRegion
  }

  /** Goes behind a frame that is damaged: its length was checked when it came. */
  skipDamage(): number {
    if (this.offset >= this.#tail) return 0
    const { data } = this.region
    const length = data.getUint32(this.offset + frameOffset.payloadLength, true)
    const skipped = sequencesOf(data, this.offset, length)
    this.offset += frameBytes(length)
    this.end = this.offset
    this.#checked += skipped
    this.sequence = this.#checked
    return skipped
  }

  /** As of the last 200 ms, if it is asked for again and again. */
  nextSequence(): number {
    const now = performance.now()
    if (now - this.#refreshed > freshMs && !this.#isClosed) {
      this.#refreshed = now
      void this.#stream.tail().then(
        ({ next }) => {
          if (next > this.#knownNext) this.#knownNext = next
        },
        // (it will be asked for again)
        () => {},
      )
    }
    return Math.max(this.#knownNext, this.#arriving)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#epoch++
    this.#feed?.close()
    const { buffer } = this.region.bytes
    this.#forget()
    this.#parking.close()
    // Views that the program has kept fail from now on, as they do in local placements. (Node 20 has no transfer() of its own.)
    if (buffer.byteLength > 0) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
  }

  #damaged(): HermesError {
    const { topic } = this.#stream
    return new HermesError(
      'CORRUPT',
      `Topic '${topic}' is damaged at sequence ${this.sequence}. Go on behind it with seek(), or subscribe with onDamage: 'skip'.`,
      { details: { topic, sequence: this.sequence } },
    )
  }
}
