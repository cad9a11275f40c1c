import { abortable } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import type { Region } from '../../codec/codec.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../../frame/frame.js'
import { SealScratch } from '../../frame/run-scratch.js'
import { type Durability, durabilities, type TopicSettings } from '../../model/topic.js'
import { frameSealer } from '../../native/runs.js'
import {
  checkCarried,
  type PublisherOpened,
  parseJson,
  parsePublisherOpened,
  settingsToWire,
} from '../../wire/messages.js'
import { packetHeaderBytes, packetType, publishFlag, publishHeadBytes, type Run } from '../../wire/packet.js'
import { readAck } from '../../wire/packet-bodies.js'
import { compressedPacket, jsonPacket, sealPublish, u64Packet } from '../../wire/packet-writer.js'
import type { PublisherPort } from '../port.js'
import { closePacket, type Link, type LinkUser } from './link.js'

/** Frames of one batch, in bytes, unless one message is larger. */
const batchBytes = 128 * 1024
/** A batch of so many bytes is sent at once, without waiting for the end of the turn. */
const eagerBytes = 64 * 1024
const mostFrames = 65_535
/** Of how many ranges of refused messages it is remembered why. */
const mostDrops = 64
const headBytes = packetHeaderBytes + publishHeadBytes

const settled = Promise.resolve()

/** A batch that was given to the socket, or would be if there were one, and is not acknowledged. */
interface Batch {
  readonly offset: number
  /** With its packet header and head. */
  readonly size: number
  /** Bytes of the buffer that it holds: also what was left free in front of it at a wrap. */
  readonly held: number
  readonly frameBytes: number
  readonly count: number
  readonly first: bigint
  /** How many messages of this publisher came before. */
  readonly before: number
}

/** A promise that is settled once the first `upto` messages of this publisher have got that far. */
interface Waiter {
  readonly upto: number
  readonly deferred: Deferred<WireReceipt>
}

export interface TcpPublisherOptions {
  readonly exclusive: boolean
  readonly durability: Durability
  readonly signal?: AbortSignal | undefined
}

interface WireReceipt {
  readonly sequence: number
  readonly timestampNs: bigint
}

/**
 * Publishes through a broker. What was accepted lies in one buffer, in the form in which it's sent, until the broker has acknowledged it; after a
 * lost connection it's sent again as it was, and the broker recognises what it has stored already.
 */
export class RemotePublisher implements PublisherPort, LinkUser {
  region: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }
  readonly payloadOffset = frameHeaderBytes
  readonly batchOffset = 0
  batchLimit = 0
  maxPayloadBytes = 0
  readonly recovery = undefined
  readonly durabilities = durabilities
  accepted = 0
  lastSequence = 0
  lastTimestampNs = 0n

  readonly #link: Link
  readonly #topic: string
  readonly #settings: TopicSettings
  readonly #exclusive: boolean
  readonly #durability: Durability
  readonly #producer: string
  readonly #opened = new Deferred<void>()
  #isOpened = false
  /** 0 = the broker has not opened it on this connection. */
  #channel = 0
  #openChannel = 0
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** For good, or until the channel is opened anew. */
  #failure: HermesError | undefined
  #failureStays = false
  /** Messages that were refused, or of which nobody knows: the newest ranges. */
  #drops: { readonly after: number; readonly upto: number; readonly reason: HermesError }[] = []
  #closed: Deferred<void> | undefined

  #buffer = Buffer.alloc(0)
  #data = new DataView(new ArrayBuffer(0))
  #words = new Int32Array(0)
  #regionWords = new Int32Array(0)
  #batchCapacity = 0
  /** The batch that is being filled: where it begins (-1 = none), its bytes of frames and their number. */
  #start = -1
  #skipped = 0
  #filled = 0
  #count = 0
  /** Where the next batch may begin, and how much is held in all. */
  #tail = 0
  #used = 0
  #scheduled = false
  #timer: NodeJS.Timeout | undefined
  readonly #flushSoon = () => {
    this.#scheduled = false
    this.#flush()
  }

  #batches: Batch[] = []
  #acknowledged = 0
  /** How many messages the present connection was given. */
  #sent = 0
  /** Up to here the present connection was told that nobody waits for the acknowledgement. */
  #patient = 0
  #ackedNumber = 0n
  /** The highest number that any connection was given: none above it can have been stored. */
  #givenNumber = 0n
  #seal: () => void = () => {}
  readonly #scratch = new SealScratch()
  #waiters: Waiter[] = []
  #syncs: { readonly number: bigint; readonly upto: number; readonly deferred: Deferred<void> }[] = []
  /** So many of the first messages are on stable storage for certain. */
  #safe = 0
  /** What became of others is not known, and nobody was told yet: a sync has failed at the broker. */
  #doubt: HermesError | undefined
  #ready: Deferred<void> | undefined

  private constructor(link: Link, topic: string, settings: TopicSettings, options: TcpPublisherOptions) {
    this.#link = link
    this.#topic = topic
    this.#settings = settings
    this.#exclusive = options.exclusive
    this.#durability = options.durability
    this.#producer = randomHex(8)
  }

  /** @throws HermesError what the broker refuses with; `CONNECTION_FAILED` */
  static async open(
    link: Link,
    topic: string,
    settings: TopicSettings,
    options: TcpPublisherOptions,
  ): Promise<RemotePublisher> {
    const publisher = new RemotePublisher(link, topic, settings, options)
    const isAsked = () => publisher.#openChannel !== 0
    await link.open(publisher, publisher.#opened, `a publisher of '${topic}'`, isAsked, options.signal)
    return publisher
  }

  #allocate(opened: PublisherOpened): void {
    this.maxPayloadBytes = opened.maxPayloadBytes
    const largest = frameBytes(opened.maxPayloadBytes)
    this.#batchCapacity = Math.max(Math.min(batchBytes, opened.maxBatchBytes - (opened.maxBatchBytes % 8)), largest)
    const region = new ArrayBuffer(this.#batchCapacity)
    this.region = { bytes: new Uint8Array(region), data: new DataView(region) }
    this.#regionWords = new Int32Array(region)
    this.batchLimit = region.byteLength
    const { publishBuffer } = this.#link.settings
    const buffer = new ArrayBuffer(
      Math.max(publishBuffer - (publishBuffer % 8), 16 * (this.#batchCapacity + headBytes)),
    )
    this.#buffer = Buffer.from(buffer)
    this.#data = new DataView(buffer)
    this.#words = new Int32Array(buffer)
    this.#seal = frameSealer(buffer, this.#scratch.buffer)
  }

  get idle(): boolean {
    return this.#acknowledged >= this.#sent && this.#syncs.length === 0
  }

  get unacknowledged(): number {
    return this.accepted - this.#acknowledged
  }

  append(length: number): boolean {
    const bytes = frameBytes(length)
    this.#makeRoom(bytes)
    const at = this.#start + headBytes + this.#filled
    this.#data.setUint32(at + frameOffset.payloadLength, length, true)
    const to = at + frameHeaderBytes
    if (length <= 256) {
      // Word by word: for a small message any call costs more. What lies behind the payload in the region is not sent.
      const words = this.#words
      const source = this.#regionWords
      const whole = length >> 2
      let target = to >> 2
      let from = frameHeaderBytes >> 2
      for (let word = 0; word < whole; word++) words[target++] = source[from++] as number
      const { bytes: given } = this.region
      for (let byte = whole << 2; byte < length; byte++)
        this.#buffer[to + byte] = given[frameHeaderBytes + byte] as number
    } else {
      this.#buffer.set(this.region.bytes.subarray(frameHeaderBytes, frameHeaderBytes + length), to)
    }
    for (let byte = to + length; byte < at + bytes; byte++) this.#buffer[byte] = 0
    return this.#appended(bytes, 1)
  }

  appendBatch(count: number, bytes: number): boolean {
    this.#makeRoom(bytes, count)
    this.#buffer.set(this.region.bytes.subarray(0, bytes), this.#start + headBytes + this.#filled)
    return this.#appended(bytes, count)
  }

  #appended(bytes: number, count: number): boolean {
    this.#filled += bytes
    this.#count += count
    this.accepted += count
    if (this.#filled >= eagerBytes) this.#flush()
    else if (!this.#scheduled) this.#schedule()
    return this.#used < this.#buffer.length / 2
  }

  #schedule(): void {
    this.#scheduled = true
    const { maxDelayMs } = this.#link.settings
    // (queueMicrotask() makes an object of the asynchronous hooks besides, which takes longer than publish())
    if (maxDelayMs === 0) void settled.then(this.#flushSoon)
    else this.#timer = setTimeout(this.#flushSoon, maxDelayMs)
  }

  /** Sees to it that `bytes` of frames can be added to the batch that is being filled. */
  #makeRoom(bytes: number, count = 1): void {
    if (this.#failure !== undefined || this.#state === 'closed') this.#refuse()
    if (this.#start >= 0 && (this.#filled + bytes > this.#batchCapacity || this.#count + count > mostFrames))
      this.#flush()
    if (this.#start < 0) this.#begin()
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

  #begin(): void {
    const need = headBytes + this.#batchCapacity
    const head = this.#batches[0]
    const { length } = this.#buffer
    let start = this.#tail
    this.#skipped = 0
    if (head === undefined) {
      start = 0
    } else if (head.offset < start) {
      // Free: from the tail to the end, and from 0 to the head.
      if (start + need > length) {
        if (need > head.offset) throw this.#full()
        this.#skipped = length - start
        start = 0
      }
    } else if (start + need > head.offset) {
      throw this.#full()
    }
    this.#start = start
    this.#filled = 0
    this.#count = 0
  }

  #full(): HermesError {
    return new HermesError(
      'BACK_PRESSURE',
      `${this.#used} bytes of the publisher of '${this.#topic}' wait to be acknowledged, as many as it may hold. Await ready() when publish() returns false.`,
      { details: { topic: this.#topic, bytes: this.#used } },
    )
  }

  /** Completes the batch that is being filled and sends it. */
  #flush(): void {
    const start = this.#start
    if (start < 0 || this.#count === 0) return
    const scratch = this.#scratch
    scratch.setFrames(start + headBytes, this.#filled, this.#count)
    this.#seal()
    if (!scratch.isDone)
      throw new HermesError('INVALID_ARGUMENT', 'The frames of the batch are not laid out as they should be.')
    const first = scratch.timestampNs
    // The next batch's numbers begin behind this one's, whatever the clock does.
    scratch.timestampNs = first + BigInt(this.#count)
    const size = headBytes + this.#filled
    const held = size + this.#skipped
    const batch: Batch = {
      offset: start,
      size,
      held,
      frameBytes: this.#filled,
      count: this.#count,
      first,
      before: this.accepted - this.#count,
    }
    this.#batches.push(batch)
    this.#tail = start + size
    this.#used += held
    this.#start = -1
    if (this.#channel !== 0 && this.#link.ready) this.#send(batch)
  }

  #send(batch: Batch): void {
    const { offset, count, frameBytes } = batch
    // With the buffer filling up, it's for the acknowledgements that all wait.
    const patient = this.#waiters.length === 0 && this.#used < this.#buffer.length / 8
    const flags = patient ? publishFlag.patient : 0
    sealPublish(this.#buffer, offset, this.#channel, this.#ackedNumber, count, frameBytes, flags)
    if (patient) this.#patient = batch.before + count
    const packet = this.#buffer.subarray(offset, offset + batch.size)
    const stream = this.#link.deflater?.deflate(packet.subarray(headBytes))
    if (stream === undefined) this.#link.send(packet)
    else {
      const head = packet.subarray(packetHeaderBytes, headBytes)
      this.#link.send(compressedPacket(packetType.publish, this.#channel, head, frameBytes, stream))
    }
    this.#sent = batch.before + count
    const last = lastNumber(batch)
    if (last > this.#givenNumber) this.#givenNumber = last
  }

  async ready(signal: AbortSignal | undefined): Promise<void> {
    while (this.#state !== 'closed' && this.#failure === undefined && this.#used >= this.#buffer.length / 4) {
      this.#flush()
      this.#ready ??= new Deferred<void>()
      await abortable(this.#ready.promise, signal)
    }
  }

  /** Resolves once the newest message has been acknowledged. */
  async receipt(signal: AbortSignal | undefined): Promise<WireReceipt> {
    return this.#wait(this.accepted, signal)
  }

  async reached(upto: number, durability: Durability, signal: AbortSignal | undefined): Promise<void> {
    const drop = this.#drops.find((range) => upto > range.after && upto <= range.upto)
    if (drop !== undefined) throw drop.reason
    if (upto > this.#acknowledged) {
      const acknowledged = this.#wait(upto, signal)
      // Only now, so that the broker learns that somebody waits.
      this.#flush()
      await acknowledged
    }
    if (durability === 'written' || this.#durability === 'synced' || upto === 0) return
    if (this.#failure !== undefined) throw this.#failure
    if (this.#doubt !== undefined) {
      const doubt = this.#doubt
      this.#doubt = undefined
      throw doubt
    }
    const deferred = new Deferred<void>()
    deferred.promise.catch(() => {})
    const number = this.#ackedNumber
    this.#syncs.push({ number, upto: this.#acknowledged, deferred })
    if (this.#channel !== 0 && this.#link.ready) this.#link.send(u64Packet(packetType.sync, this.#channel, number))
    await abortable(deferred.promise, signal)
  }

  #wait(upto: number, signal: AbortSignal | undefined): Promise<WireReceipt> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const deferred = new Deferred<WireReceipt>()
    const waiter = { upto, deferred }
    // Nearly always the newest; kept in order, so that acknowledgements settle from the front.
    let at = this.#waiters.length
    while (at > 0 && (this.#waiters[at - 1] as Waiter).upto > upto) at--
    this.#waiters.splice(at, 0, waiter)
    deferred.promise.catch(() => {})
    this.#hurry(upto)
    return abortable(deferred.promise, signal)
  }

  /** The broker may be keeping the acknowledgement, as nobody waited for it when the message was sent. A PING brings it out. */
  #hurry(upto: number): void {
    if (upto > this.#patient || this.#patient <= this.#acknowledged || this.#channel === 0) return
    this.#patient = 0
    this.#link.send(u64Packet(packetType.ping, 0, 0n))
  }

  async close(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    clearTimeout(this.#timer)
    const error = new HermesError('CLOSED', `The publisher of '${this.#topic}' was closed during the wait.`)
    if (this.#channel !== 0 && this.#link.ready && this.#failure === undefined) {
      // The broker is to have given its place to others before anybody is told that this one is closed.
      this.#closed = new Deferred<void>()
      this.#link.send(closePacket(this.#channel))
      // (who does not want to wait has said so: that is no failure)
      await abortable(this.#closed.promise, signal).catch(() => {})
    }
    this.#state = 'closed'
    this.#link.remove(this)
    this.#rejectAll(error)
  }

  /* ---- what the link tells ---- */

  connected(channel: number): void {
    this.#openChannel = channel
    this.#channel = 0
    const options = { exclusive: this.#exclusive, durability: this.#durability }
    this.#link.send(
      jsonPacket(packetType.openPublisher, channel, {
        topic: this.#topic,
        settings: settingsToWire(this.#settings),
        ...options,
        producer: this.#producer,
        acked: String(this.#ackedNumber),
      }),
    )
  }

  disconnected(reason?: HermesError): void {
    this.#channel = 0
    this.#openChannel = 0
    this.#sent = 0
    this.#patient = 0
    // What was acknowledged as written and not synced may be lost: a later sync must not be taken for one of that.
    if (reason !== undefined && this.#durability === 'written' && this.#acknowledged > this.#safe) {
      if (this.#syncs.length === 0) this.#doubt = reason
      for (const one of this.#syncs) one.deferred.reject(reason)
      this.#syncs = []
      this.#safe = this.#acknowledged
    }
    // The broker gives the place away by itself once it notices.
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
    // Of ranges further back nobody can be waiting any more, unless he has not asked for thousands of messages.
    this.#drops = [
      ...this.#drops.slice(1 - mostDrops),
      { after: this.#acknowledged, upto: this.accepted, reason: error },
    ]
    this.#batches = []
    this.#start = -1
    this.#used = 0
    this.#tail = 0
    this.#rejectAll(error)
    this.#closed?.resolve()
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case packetType.publisherOpened:
        this.#reopened(parsePublisherOpened(parseJson(bytes, start, end)))
        return
      case packetType.ack:
        for (const run of readAck(bytes, start, end)) this.#acknowledge(run)
        this.#relieve()
        return
      case packetType.synced: {
        const number = bytes.readBigUInt64LE(start)
        const served = this.#syncs.filter((one) => one.number <= number)
        this.#syncs = this.#syncs.filter((one) => one.number > number)
        for (const one of served) {
          if (one.upto > this.#safe) this.#safe = one.upto
          one.deferred.resolve()
        }
        return
      }
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
    if (this.#channel !== 0) throw new HermesError('PROTOCOL', 'The broker has opened a publisher twice.')
    checkCarried(opened.maxPayloadBytes, this.#link.maxPacketBytes)
    if (!this.#isOpened) {
      this.#isOpened = true
      this.#allocate(opened)
      this.#opened.resolve()
    }
    if (opened.stored < this.#ackedNumber) {
      const lost = new HermesError(
        'IO_FAILED',
        `The broker has lost messages of '${this.#topic}' that were written but not synced: its machine went down.`,
      )
      for (const one of this.#syncs) one.deferred.reject(lost)
      this.#syncs = []
    }
    this.#checkGiven(opened.stored)
    this.#channel = this.#openChannel
    for (const run of opened.runs) this.#acknowledge(run)
    // Stored, and the broker can't tell any more where.
    const head = this.#batches.findLast((batch) => lastNumber(batch) <= opened.stored)
    if (head !== undefined) this.#acknowledge({ first: head.first, count: head.count, sequence: 0 })
    for (const batch of this.#batches) this.#send(batch)
    for (const one of this.#syncs) this.#link.send(u64Packet(packetType.sync, this.#channel, one.number))
    this.#relieve()
  }

  /** Everything up to the run's end is stored. */
  #acknowledge(run: Run): void {
    const last = run.first + BigInt(run.count) - 1n
    this.#checkGiven(last)
    let served = 0
    for (const batch of this.#batches) {
      const batchLast = lastNumber(batch)
      if (batchLast > last) break
      served++
      this.#used -= batch.held
      this.#acknowledged = batch.before + batch.count
      this.#ackedNumber = batchLast
      const known = run.sequence > 0 && batch.first >= run.first
      const sequence = known ? run.sequence + Number(batch.first - run.first) : 0
      if (known) this.lastSequence = sequence + batch.count - 1
      this.lastTimestampNs = batchLast
      let settled = 0
      for (const { upto, deferred } of this.#waiters) {
        if (upto > this.#acknowledged) break
        settled++
        const index = upto - batch.before - 1
        deferred.resolve({ sequence: known ? sequence + index : 0, timestampNs: batch.first + BigInt(index) })
      }
      if (settled > 0) this.#waiters.splice(0, settled)
    }
    if (served > 0) this.#batches.splice(0, served)
  }

  /** A broker that acknowledges what it was never given is not to be believed in anything. */
  #checkGiven(number: bigint): void {
    if (number <= this.#givenNumber) return
    throw new HermesError('PROTOCOL', `The broker acknowledged a message of '${this.#topic}' that it was never sent.`)
  }

  #relieve(): void {
    if (this.#ready === undefined || this.#used >= this.#buffer.length / 4) return
    this.#ready.resolve()
    this.#ready = undefined
  }

  #rejectAll(error: HermesError): void {
    const waiters = this.#waiters
    const syncs = this.#syncs
    this.#waiters = []
    this.#syncs = []
    for (const one of waiters) one.deferred.reject(error)
    for (const one of syncs) one.deferred.reject(error)
    this.#ready?.resolve()
    this.#ready = undefined
  }
}

function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes))
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function lastNumber(batch: Batch): bigint {
  return batch.first + BigInt(batch.count) - 1n
}
