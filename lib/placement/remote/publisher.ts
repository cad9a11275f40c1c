import { abortable } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameHeaderBytes } from '../../frame/frame.js'
import type { Durability, TopicSettings } from '../../model/topic.js'
import {
  checkCarried,
  type PublisherOpened,
  parseJson,
  parsePublisherOpened,
  settingsToWire,
} from '../../wire/messages.js'
import { packetHeaderBytes, packetType, publishFlag, publishHeadBytes } from '../../wire/packet.js'
import { readAck } from '../../wire/packet-bodies.js'
import { compressedPacket, jsonPacket, sealPublish, u64Packet } from '../../wire/packet-writer.js'
import type { PublisherPort, Stamp } from '../port.js'
import { type Batch, type BatchShape, lastNumber, SendBuffer } from '../send-buffer.js'
import { AckTracker } from './ack-tracker.js'
import type { LinkUser } from './channels.js'
import { closePacket, type Link } from './link.js'
import { randomHex } from './random-hex.js'

/** What stands in front of a batch's frames. */
const headBytes = packetHeaderBytes + publishHeadBytes
const shape: BatchShape = { headBytes, batchBytes: 128 * 1024, mostFrames: 65_535 }
/** A batch of so many bytes is sent at once, without waiting for the end of the turn. */
const eagerBytes = 64 * 1024

const resolved = Promise.resolve()

export interface RemotePublisherOptions {
  readonly exclusive: boolean
  readonly durability: Durability
  readonly signal?: AbortSignal | undefined
}

/**
 * Publishes through a broker. What was accepted lies in the send buffer, in the form in which it's sent, until the broker has acknowledged it; after a
 * lost connection it's sent again as it was, and the broker recognises what it has stored already.
 */
export class RemotePublisher implements PublisherPort, LinkUser {
  readonly payloadOffset = frameHeaderBytes
  readonly batchOffset = 0
  readonly recovery = undefined
  region: Region
  batchLimit: number
  maxPayloadBytes = 0

  readonly #link: Link
  readonly #topic: string
  readonly #settings: TopicSettings
  readonly #exclusive: boolean
  readonly #durability: Durability
  readonly #producer = randomHex(8)
  readonly #opened = new Deferred<void>()
  /** One of the smallest size until the broker has said what the topic takes. */
  #buffer = new SendBuffer(0, 1, frameBytes(1), shape)
  readonly #acks: AckTracker
  #isOpened = false
  /** 0 = the broker has not opened it on this connection. */
  #channel = 0
  #openChannel = 0
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** For good, or until the channel is opened anew. */
  #failure: HermesError | undefined
  #failureStays = false
  #closed: Deferred<void> | undefined
  /** How many messages the present connection was given. */
  #sent = 0
  /** Up to here the broker was told on the present connection that the acknowledgement is deferrable. */
  #unhurried = 0
  #ready: Deferred<void> | undefined
  #scheduled = false
  #timer: NodeJS.Timeout | undefined
  readonly #flushSoon = () => {
    this.#scheduled = false
    this.#flush()
  }

  private constructor(link: Link, topic: string, settings: TopicSettings, options: RemotePublisherOptions) {
    this.#link = link
    this.#topic = topic
    this.#settings = settings
    this.#exclusive = options.exclusive
    this.#durability = options.durability
    this.#acks = new AckTracker(topic)
    this.region = this.#buffer.region
    this.batchLimit = this.#buffer.batchLimit
  }

  /** @throws HermesError what the broker refuses with; `CONNECTION_FAILED` */
  static async open(
    link: Link,
    topic: string,
    settings: TopicSettings,
    options: RemotePublisherOptions,
  ): Promise<RemotePublisher> {
    const publisher = new RemotePublisher(link, topic, settings, options)
    const isAsked = () => publisher.#openChannel !== 0
    await link.open(publisher, publisher.#opened, `a publisher of '${topic}'`, isAsked, options.signal)
    return publisher
  }

  get idle(): boolean {
    return this.#acks.acknowledged >= this.#sent && this.#acks.isSettled
  }

  /** Counts the messages of this publisher. */
  get ticket(): number {
    return this.#buffer.accepted
  }

  get unacknowledged(): number {
    return this.#buffer.accepted - this.#acks.acknowledged
  }

  get lastSequence(): number {
    return this.#acks.lastSequence
  }

  append(length: number): boolean {
    const buffer = this.#buffer
    if (this.#failure !== undefined || this.#state === 'closed') this.#refuse()
    if (buffer.isBatchFull(frameBytes(length), 1)) this.#flush()
    if (!buffer.begin()) throw this.#full()
    buffer.add(length)
    return this.#appended()
  }

  appendBatch(count: number, bytes: number): boolean {
    const buffer = this.#buffer
    if (this.#failure !== undefined || this.#state === 'closed') this.#refuse()
    if (buffer.isBatchFull(bytes, count)) this.#flush()
    if (!buffer.begin()) throw this.#full()
    buffer.addFrames(count, bytes)
    return this.#appended()
  }

  #appended(): boolean {
    const buffer = this.#buffer
    if (buffer.filledBytes >= eagerBytes) this.#flush()
    else if (!this.#scheduled) this.#schedule()
    return buffer.used < buffer.size / 2
  }

  #schedule(): void {
    this.#scheduled = true
    const { maxDelayMs } = this.#link.settings
    // (queueMicrotask() makes an object of the asynchronous hooks besides, which takes longer than publish())
    if (maxDelayMs === 0) void resolved.then(this.#flushSoon)
    else this.#timer = setTimeout(this.#flushSoon, maxDelayMs)
  }

  #refuse(): never {
    if (this.#failure === undefined) throw new HermesError('CLOSED', `The publisher of '${this.#topic}' is closed.`)
    const failure = this.#failure
    if (!this.#failureStays) {
      // Told once; the next attempt may succeed.
      this.#failure = undefined
      this.#link.renew(this)
    }
    throw failure
  }

  #full(): HermesError {
    const { used } = this.#buffer
    return new HermesError(
      'BACK_PRESSURE',
      `${used} bytes of the publisher of '${this.#topic}' wait to be acknowledged, as many as it may hold. Await ready() when publish() returns false.`,
      { details: { topic: this.#topic, bytes: used } },
    )
  }

  /** Completes the batch that is being filled and sends it. */
  #flush(): void {
    const batch = this.#buffer.complete()
    if (batch !== undefined && this.#channel !== 0 && this.#link.ready) this.#send(batch)
  }

  #send(batch: Batch): void {
    const buffer = this.#buffer
    const { count, frameBytes: bytes } = batch
    // With the buffer filling up, it's for the acknowledgements that all wait.
    const unhurried = this.#acks.isUnawaited && buffer.used < buffer.size / 8
    const packet = buffer.packet(batch)
    sealPublish(packet, 0, this.#channel, this.#acks.ackedNumber, count, bytes, unhurried ? publishFlag.deferrable : 0)
    if (unhurried) this.#unhurried = batch.before + count
    const stream = this.#link.deflater?.deflate(packet.subarray(headBytes))
    if (stream === undefined) this.#link.send(packet)
    else {
      const head = packet.subarray(packetHeaderBytes, headBytes)
      this.#link.send(compressedPacket(packetType.publish, this.#channel, head, bytes, stream))
    }
    this.#sent = batch.before + count
    this.#acks.given(lastNumber(batch))
  }

  async ready(signal: AbortSignal | undefined): Promise<void> {
    while (this.#state !== 'closed' && this.#failure === undefined && this.#isFilling) {
      this.#flush()
      this.#ready ??= new Deferred<void>()
      await abortable(this.#ready.promise, signal)
    }
  }

  get #isFilling(): boolean {
    return this.#buffer.used >= this.#buffer.size / 4
  }

  receipt(signal: AbortSignal | undefined): Promise<Stamp> {
    return this.#wait(this.ticket, signal)
  }

  async reached(ticket: number, durability: Durability, signal: AbortSignal | undefined): Promise<void> {
    const acks = this.#acks
    const dropped = acks.dropped(ticket)
    if (dropped !== undefined) throw dropped
    if (ticket > acks.acknowledged) {
      const acknowledged = this.#wait(ticket, signal)
      // Only now, so that the broker learns that the program waits.
      this.#flush()
      await acknowledged
    }
    if (durability === 'written' || this.#durability === 'synced' || ticket === 0) return
    if (this.#failure !== undefined) throw this.#failure
    const doubt = acks.takeDoubt()
    if (doubt !== undefined) throw doubt
    const number = acks.ackedNumber
    const synced = acks.sync()
    if (this.#channel !== 0 && this.#link.ready) this.#link.send(u64Packet(packetType.sync, this.#channel, number))
    await abortable(synced, signal)
  }

  #wait(ticket: number, signal: AbortSignal | undefined): Promise<Stamp> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const acknowledged = this.#acks.wait(ticket)
    this.#hurry(ticket)
    return abortable(acknowledged, signal)
  }

  /** The broker may be keeping the acknowledgement, as it was deferrable when the message was sent. A PING makes the broker send it. */
  #hurry(ticket: number): void {
    if (ticket > this.#unhurried || this.#unhurried <= this.#acks.acknowledged || this.#channel === 0) return
    this.#unhurried = 0
    this.#link.send(u64Packet(packetType.ping, 0, 0n))
  }

  async close(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    clearTimeout(this.#timer)
    const error = new HermesError('CLOSED', `The publisher of '${this.#topic}' was closed during the wait.`)
    if (this.#channel !== 0 && this.#link.ready && this.#failure === undefined) {
      // The broker is to have given its slot to others before the program learns that this one is closed.
      this.#closed = new Deferred<void>()
      this.#link.send(closePacket(this.#channel))
      // (the caller has chosen not to wait: that is no failure)
      await abortable(this.#closed.promise, signal).catch(() => {})
    }
    this.#state = 'closed'
    this.#link.remove(this)
    this.#failAll(error)
  }

  /* ---- what the link tells ---- */

  connected(channel: number): void {
    this.#openChannel = channel
    this.#channel = 0
    this.#link.send(
      jsonPacket(packetType.openPublisher, channel, {
        topic: this.#topic,
        settings: settingsToWire(this.#settings),
        exclusive: this.#exclusive,
        durability: this.#durability,
        producer: this.#producer,
        acked: String(this.#acks.ackedNumber),
      }),
    )
  }

  disconnected(reason?: HermesError): void {
    this.#channel = 0
    this.#openChannel = 0
    this.#sent = 0
    this.#unhurried = 0
    if (reason !== undefined && this.#durability === 'written') this.#acks.doubt(reason)
    // The broker gives the slot away by itself once it notices.
    this.#closed?.resolve()
  }

  failed(error: HermesError): void {
    this.#channel = 0
    this.#openChannel = 0
    this.#opened.reject(error)
    // Messages that did not fit may fit later; anything else will not get better by itself.
    const passes = error.code === 'DISK_FULL' && this.#state === 'open'
    this.#failure = error
    this.#failureStays = !passes
    this.#acks.drop(this.ticket, error)
    this.#buffer.clear()
    this.#failAll(error)
    this.#closed?.resolve()
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case packetType.publisherOpened:
        this.#reopened(parsePublisherOpened(parseJson(bytes, start, end)))
        return
      case packetType.ack:
        for (const run of readAck(bytes, start, end)) this.#acks.acknowledge(run, this.#buffer)
        this.#relieve()
        return
      case packetType.synced:
        this.#acks.synced(bytes.readBigUInt64LE(start))
        return
      case packetType.closed:
        if (this.#closed === undefined)
          throw new HermesError('PROTOCOL', 'The broker has closed a publisher that was not closed here.')
        this.#closed.resolve()
        return
      default:
        throw new HermesError('PROTOCOL', `A packet of type ${type} came for a publisher.`)
    }
  }

  #reopened(opened: PublisherOpened): void {
    const acks = this.#acks
    const { stored, maxPayloadBytes, maxBatchBytes } = opened
    if (this.#channel !== 0) throw new HermesError('PROTOCOL', 'The broker has opened a publisher twice.')
    checkCarried(maxPayloadBytes, this.#link.maxPacketBytes)
    if (!this.#isOpened) {
      this.#isOpened = true
      this.maxPayloadBytes = maxPayloadBytes
      this.#buffer = new SendBuffer(this.#link.settings.publishBuffer, maxPayloadBytes, maxBatchBytes, shape)
      this.region = this.#buffer.region
      this.batchLimit = this.#buffer.batchLimit
      this.#opened.resolve()
    }
    if (stored < acks.ackedNumber) {
      acks.failSyncs(
        new HermesError(
          'IO_FAILED',
          `The broker has lost messages of '${this.#topic}' that were written but not synced: its machine went down.`,
        ),
      )
    }
    acks.checkGiven(stored)
    this.#channel = this.#openChannel
    for (const run of opened.runs) acks.acknowledge(run, this.#buffer)
    // Stored, and the broker can't tell any more where.
    const { batches } = this.#buffer
    const head = batches.findLast((batch) => lastNumber(batch) <= stored)
    if (head !== undefined) acks.acknowledge({ first: head.first, count: head.count, sequence: 0 }, this.#buffer)
    for (const batch of batches) this.#send(batch)
    for (const number of acks.pendingSyncs) this.#link.send(u64Packet(packetType.sync, this.#channel, number))
    this.#relieve()
  }

  #relieve(): void {
    if (this.#ready === undefined || this.#isFilling) return
    this.#ready.resolve()
    this.#ready = undefined
  }

  #failAll(error: HermesError): void {
    this.#acks.failAll(error)
    this.#ready?.resolve()
    this.#ready = undefined
  }
}
