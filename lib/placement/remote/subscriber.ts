import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameHeaderBytes, frameMagic, frameOffset } from '../../frame/frame.js'
import { FrameScanScratch } from '../../frame/run-scratch.js'
import type { From, TopicSettings } from '../../model/topic.js'
import { frameScanner } from '../../native/runs.js'
import {
  checkCarried,
  fromToWire,
  parseJson,
  parseSubscribed,
  type Subscribed,
  settingsToWire,
} from '../../wire/messages.js'
import { deliverHeadBytes, packetType, protocolError } from '../../wire/packet.js'
import { readDeliverHead, readSequence } from '../../wire/packet-bodies.js'
import { creditPacket, jsonPacket } from '../../wire/packet-writer.js'
import { Parking } from '../parking.js'
import type { SubscriberPort, SubscriberPortOptions } from '../port.js'
import type { LinkUser } from './channels.js'
import { Credit } from './credit.js'
import { closePacket, type Link } from './link.js'

/**
 * Receives through a broker. Frames come as they lie in the log, into one buffer in which they are read in place. The broker sends ahead
 * by as much as it has credit for; what was read gives it more.
 */
export class RemoteSubscriber implements SubscriberPort, LinkUser {
  region: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }
  offset = 0
  end = 0
  sequence = 1
  readonly arrivesByTurn = true

  readonly #link: Link
  readonly #topic: string
  readonly #settings: TopicSettings
  readonly #verify: boolean
  readonly #upToSynced: boolean
  readonly #opened = new Deferred<void>()
  #channel = 0
  /** Where to begin on the next connection. */
  #from: From
  /** Go there as soon as the broker has answered: another position was asked for. */
  #again: From | 'damage' | undefined
  #epoch = 0
  /** Begin there, too, as long as no message has come: what comes before the first one stamped then is not to be delivered. */
  #awaited: Date | undefined
  /** A SEEK or SUBSCRIBE is under way: where we stand is not known. */
  #isSeeking = true
  #failure: HermesError | undefined
  /** A topic that is not there is waited for. */
  #awaits = false
  #hasWaited = false

  /** Frames lie in [offset, #tail) of the buffer; those up to `end` are checked. */
  #tail = 0
  #tailSequence = 1
  #knownNext = 1
  readonly #credit = new Credit()
  #scan: () => void = () => {}
  readonly #scratch = new FrameScanScratch()
  readonly #parking = new Parking()
  #closed = false

  private constructor(
    link: Link,
    topic: string,
    settings: TopicSettings,
    { from, verify, upToSynced = false }: SubscriberPortOptions,
  ) {
    this.#link = link
    this.#topic = topic
    this.#settings = settings
    this.#from = from
    if (from instanceof Date) this.#awaited = from
    this.#verify = verify
    this.#upToSynced = upToSynced
  }

  /**
   * Without `create`, the subscriber waits for a topic that does not exist: the subscriber is open, and asks again now and then.
   *
   * @throws HermesError what the broker refuses with; `CONNECTION_FAILED`, `TIMED_OUT`, `ABORTED`
   */
  static async open(
    link: Link,
    topic: string,
    settings: TopicSettings,
    options: SubscriberPortOptions,
  ): Promise<RemoteSubscriber> {
    const create = options.create === true
    // What the topic is, and how much of it is kept, is for its publishers to say.
    const told = create ? { ...settings, create } : { ...settings, create, retention: undefined }
    const subscriber = new RemoteSubscriber(link, topic, told, options)
    subscriber.#awaits = settings.create && !create
    const isAsked = () => subscriber.#channel !== 0
    await link.open(subscriber, subscriber.#opened, `a subscriber of '${topic}'`, isAsked, options.signal)
    return subscriber
  }

  get idle(): boolean {
    return true
  }

  fetch(limit: number): number {
    for (;;) {
      if (this.offset >= this.#tail) {
        if (this.offset > 0) this.#rewind()
        if (this.#failure !== undefined) throw this.#failure
        return 0
      }
      if (this.#credit.isDue(this.offset)) this.#giveCredit()
      const scratch = this.#scratch
      scratch.setFrames(this.offset, this.#tail, limit, this.sequence)
      this.#scan()
      const { messages } = scratch
      this.end = scratch.end
      if (messages > 0) return messages
      if (scratch.isDamaged && this.end === this.offset) throw this.#damaged()
      // Only voids: take them as read.
      this.offset = this.end
      this.sequence = scratch.endSequence
    }
  }

  /** Everything was read: the buffer is free again from its beginning. */
  #rewind(): void {
    this.#giveCredit()
    this.offset = 0
    this.end = 0
    this.#tail = 0
    this.#credit.moveTo(0)
  }

  #giveCredit(): void {
    this.#sendCredit(this.#credit.read(this.offset))
  }

  #sendCredit(bytes: number): void {
    // (a new connection begins with all that is free)
    if (bytes > 0 && this.#channel !== 0 && this.#isSubscribed) this.#link.send(creditPacket(this.#channel, bytes))
  }

  /** The broker has answered on this connection; before that there's no credit to give back. */
  #isSubscribed = false

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed || this.offset < this.#tail || this.#failure !== undefined || signal?.aborted) return
    if (this.#parking.isTaken) throw new HermesError('BUSY', `The subscriber of '${this.#topic}' is waiting already.`)
    await this.#parking.wait(timeoutMs, signal)
  }

  cancel(): void {
    this.#parking.rouse()
  }

  /** The next fetch reports an invalid position: it is not known at once. */
  seek(target: From): void {
    if (typeof target === 'number') {
      this.sequence = target
      this.#tailSequence = target
    }
    this.#move(target)
  }

  #move(target: From | 'damage'): void {
    // What was buffered is used up; what's still under way will be thrown away when it arrives.
    this.offset = this.#tail
    this.#rewind()
    const failed = this.#failure !== undefined
    this.#failure = undefined
    this.#from = target === 'damage' ? this.#tailSequence : target
    if (target !== 'damage') this.#awaited = target instanceof Date ? target : undefined
    this.#isSeeking = true
    if (this.#channel !== 0 && this.#isSubscribed) {
      this.#epoch++
      this.#link.send(
        jsonPacket(packetType.seek, this.#channel, {
          epoch: this.#epoch,
          from: target === 'damage' ? target : fromToWire(target),
        }),
      )
      return
    }
    this.#again = target === 'damage' || this.#channel !== 0 ? target : undefined
    if (failed) this.#link.renew(this)
  }

  skipDamage(): number {
    if (this.#failure !== undefined) {
      // The broker could not go on: it has to find the way.
      this.#move('damage')
      return 1
    }
    // The broker has gone on by this header, so its length is right.
    const { data } = this.region
    const { offset } = this
    if (offset + frameHeaderBytes > this.#tail || data.getUint32(offset, true) !== frameMagic) return 0
    const next = offset + frameBytes(data.getUint32(offset + frameOffset.payloadLength, true))
    if (next > this.#tail) return 0
    this.offset = next
    this.end = next
    this.sequence++
    return 1
  }

  /** @internal What has arrived is everything before this sequence. For tests that poll once. */
  get arrived(): number {
    return this.#tailSequence
  }

  nextSequence(): number {
    return Math.max(this.#knownNext, this.#tailSequence)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#channel !== 0) this.#link.send(closePacket(this.#channel))
    this.#link.remove(this)
    this.#parking.close()
    this.offset = 0
    this.end = 0
    this.#tail = 0
    // Views that the program has kept fail from now on, as they do in local placements. (Node 20 has no transfer() of its own.)
    const { buffer } = this.region.bytes
    if (buffer.byteLength > 0) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
  }

  /* ---- what the link tells ---- */

  connected(channel: number): void {
    this.#channel = channel
    this.#isSubscribed = false
    this.#epoch = 0
    if (this.#awaited !== undefined && !this.#isSeeking) {
      // Only voids have come, which stand for what is earlier.
      this.offset = this.#tail
      this.#rewind()
      this.#isSeeking = true
      this.#from = this.#awaited
    }
    const from = this.#isSeeking ? this.#from : this.#tailSequence
    const settings = settingsToWire(this.#settings)
    this.#link.send(
      jsonPacket(packetType.subscribe, channel, {
        topic: this.#topic,
        settings,
        from: fromToWire(from),
        credit: 0,
        ...(this.#upToSynced ? { upTo: 'synced' } : {}),
      }),
    )
  }

  disconnected(): void {
    this.#channel = 0
    this.#isSubscribed = false
  }

  failed(error: HermesError): void {
    if (this.#awaits && error.code === 'NOT_FOUND' && !this.#closed) {
      this.#awaitTopic()
      return
    }
    this.#channel = 0
    this.#isSubscribed = false
    this.#failure = error
    this.#opened.reject(error)
    this.#parking.close()
  }

  /** The topic does not exist yet: its first message is published from now on. */
  #awaitTopic(): void {
    this.disconnected()
    const from = this.#from
    if (typeof from === 'number' && from > 1) {
      this.#awaits = false
      this.failed(
        new HermesError(
          'OUT_OF_RANGE',
          `Sequence ${from} of topic '${this.#topic}' does not exist yet: nothing was published there.`,
          { details: { topic: this.#topic, sequence: from, nextSequence: 1 } },
        ),
      )
      return
    }
    if (from === 'latest') this.#from = 'earliest'
    this.#link.awaited.add(this, this.#topic, !this.#hasWaited)
    this.#hasWaited = true
    this.#opened.resolve()
  }

  /** A publisher of this process has made a topic. */
  topicMade(topic: string): void {
    if (this.#awaits && topic === this.#topic && this.#channel === 0 && this.#isSeeking) this.#link.renew(this)
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    if (this.#closed) return
    switch (type) {
      case packetType.deliver:
        this.#deliver(bytes, start, end)
        return
      case packetType.subscribed:
        this.#subscribed(parseSubscribed(parseJson(bytes, start, end)))
        return
      case packetType.tail:
        this.#knownNext = readSequence(bytes, start)
        this.#link.lagging(this.#topic, this.#knownNext - this.sequence)
        return
      default:
        throw protocolError(`A packet of type ${type} came for a subscriber.`)
    }
  }

  #subscribed(subscribed: Subscribed): void {
    this.#awaits = false
    if (this.#upToSynced && !subscribed.upToSynced)
      throw protocolError("The broker does not know upTo: 'synced'. Use a newer one, or leave it out.")
    checkCarried(subscribed.maxPayloadBytes, this.#link.maxPacketBytes)
    if (!this.#isSubscribed) {
      this.#isSubscribed = true
      this.#grow(subscribed.maxPayloadBytes)
      // Not what still lies here unread.
      this.#sendCredit(this.#credit.begin(this.offset, this.#tail - this.offset))
    }
    if (subscribed.epoch !== this.#epoch) return
    const again = this.#again
    if (again !== undefined) {
      this.#again = undefined
      this.#move(again)
      return
    }
    this.#knownNext = subscribed.nextSequence
    if (this.#isSeeking) {
      this.#isSeeking = false
      this.#tailSequence = subscribed.sequence
      this.sequence = subscribed.sequence
    } else if (subscribed.sequence !== this.#tailSequence) {
      throw protocolError('The broker has gone on at another position than it was asked to.')
    }
    this.#opened.resolve()
  }

  #grow(maxPayloadBytes: number): void {
    if (this.#credit.window > 0) return
    const window = Math.max(this.#link.settings.subscribeBuffer, 2 * frameBytes(maxPayloadBytes))
    this.#credit.window = window
    // Twice the window, so that what is unread has to be moved rarely.
    const buffer = new ArrayBuffer(Math.ceil((2 * window) / 8) * 8)
    this.region = { bytes: new Uint8Array(buffer), data: new DataView(buffer) }
    this.#scan = frameScanner(buffer, this.#scratch.buffer, maxPayloadBytes, this.#verify)
  }

  #deliver(bytes: Buffer, start: number, end: number): void {
    const head = readDeliverHead(bytes, start)
    const from = start + deliverHeadBytes
    const size = end - from
    if (head.epoch !== this.#epoch || this.#isSeeking) {
      this.#sendCredit(this.#credit.free(size))
      return
    }
    if (size === 0) throw protocolError('The broker sent a piece of the log without frames.')
    if (head.sequence !== this.#tailSequence || head.endSequence < head.sequence) {
      throw protocolError(`The broker sent sequence ${head.sequence} where ${this.#tailSequence} was due.`)
    }
    const { bytes: buffer } = this.region
    if (this.#tail + size > buffer.length) this.#compact()
    if (this.#tail + size > buffer.length) throw protocolError('The broker sent more than it had credit for.')
    buffer.set(bytes.subarray(from, end), this.#tail)
    this.#tail += size
    this.#tailSequence = head.endSequence
    if (head.messages > 0) this.#awaited = undefined
    if (head.nextSequence > this.#knownNext) this.#knownNext = head.nextSequence
    this.#parking.rouse()
  }

  /** Moves what is unread to the buffer's beginning. No read is under way: this runs in a turn of its own. */
  #compact(): void {
    this.#giveCredit()
    this.region.bytes.copyWithin(0, this.offset, this.#tail)
    this.#tail -= this.offset
    this.end = Math.max(0, this.end - this.offset)
    this.offset = 0
    this.#credit.moveTo(0)
  }

  #damaged(): HermesError {
    return new HermesError(
      'CORRUPT',
      `Topic '${this.#topic}' is damaged at sequence ${this.sequence}. Go on behind it with seek(), or subscribe with onDamage: 'skip'.`,
      { details: { topic: this.#topic, sequence: this.sequence } },
    )
  }
}
