import { type ErrorCode, HermesError } from '../base/errors.js'
import { version } from '../base/version.js'
import type { BrokerHealth, From, TopicInfo, TopicSettings } from '../model/topic.js'
import { compressionFeature, Deflater, inflatedLengthBytes } from '../wire/compression.js'
import {
  errorToWire,
  parseHello,
  parseJson,
  parseOpenPublisher,
  parseSeek,
  parseSubscribe,
  publisherOpenedToWire,
} from '../wire/messages.js'
import { maxJsonBytes, packetType, preamble, protocolError, protocolVersion, publishHeadBytes } from '../wire/packet.js'
import { PacketReader } from '../wire/packet-reader.js'
import { emptyPacket, jsonPacket, u64Packet } from '../wire/packet-writer.js'
import type { Rights } from './access.js'
import { type Channel, ChannelTable } from './channel-table.js'
import { Deliveries, type Delivering } from './deliveries.js'
import type { BrokerSettings } from './options.js'
import { PublisherChannel } from './publisher-channel.js'
import type { Quota } from './quotas.js'
import { Requests } from './requests.js'
import { SubscriberChannel, type SubscriberHost } from './subscriber-channel.js'
import type { BrokerTopic, Holder } from './topic.js'

/** Ends of channels that the operator must see. */
const troubles: ReadonlySet<string> = new Set<ErrorCode>(['DISK_FULL', 'IO_FAILED', 'CORRUPT'])

/** The clock is looked at after so many packets that are little work. */
const packetsPerLook = 8
/** After a packet of so many bytes it is looked at in any case. */
const largeBytes = 16 * 1024

/** What a session needs of its broker. */
export interface SessionHost {
  readonly settings: BrokerSettings
  readonly instance: string
  readonly draining: boolean
  readonly maxPacketBytes: number
  /** Stays open until it is released. */
  topic(name: string, settings: TopicSettings): Promise<BrokerTopic>
  /** A publisher or subscriber was opened in the topic, or could not be. */
  opening(topic: string, error: HermesError | undefined): void
  health(): Promise<BrokerHealth>
  topics(): Promise<readonly string[]>
  info(name: string): Promise<TopicInfo>
  /** @throws HermesError if the directory is not served any more */
  check(): Promise<void>
  /** The error as a client may see it: without the server's paths. */
  shown(error: HermesError): HermesError
  /** What a publisher of the client's may store; `undefined` = without a limit. */
  quota(topic: BrokerTopic, rights: Rights): Quota | undefined
  report(event: string, facts: Readonly<Record<string, unknown>>): void
}

/** What carries a session's packets. */
export interface SessionPort {
  readonly address: string
  /** The common name in the client's certificate, if it was checked. */
  readonly certificateName: string | undefined
  /** False while enough is waiting to be written. */
  readonly hasRoom: boolean
  write(packet: Buffer): void
  /** Writes the head and, straight from where they lie, the frames; calls back once they need no longer stay there. */
  writeFrames(head: Buffer, frames: Uint8Array, written: () => void): void
  /** Counts what is set aside for unfinished packets. @throws HermesError `LIMIT` */
  setAside(bytes: number): void
  /** Counts one subscriber more. @throws HermesError `LIMIT` */
  subscribed(): void
  /** And one fewer. */
  unsubscribed(): void
  /** The client has said who it is. @throws HermesError `LIMIT` */
  identified(rights: Rights): void
  /** Asks for a call of `work`: now, if there is time for it. Returns whether it was called. */
  offer(): boolean
  /** Asks for a call of `work` once others have had their turn. */
  later(): void
  /** Ends the connection after what has been written. */
  end(): void
}

/** One client's conversation: bytes in, packets out, without a socket. Everything that comes in is taken for hostile until it's checked. */
export class Session implements SubscriberHost {
  deflater: Deflater | undefined
  readonly #host: SessionHost
  readonly #port: SessionPort
  readonly #reader: PacketReader
  readonly #channels: ChannelTable
  readonly #requests: Requests
  readonly #deliveries: Deliveries
  #state: 'preamble' | 'hello' | 'open' | 'closed' = 'preamble'
  #greeting: Buffer = Buffer.alloc(0)
  #rights: Rights | undefined
  readonly #touched = new Set<PublisherChannel>()
  readonly #news = new Set<BrokerTopic>()
  /** The answer to the PINGs that have come in this turn. */
  #pong: Buffer | undefined
  /** What was begun elsewhere and is to be finished in a turn of this client's. */
  readonly #jobs: (() => void)[] = []
  #until = 0
  /** A channel of whose batches too many wait for a sync: nothing is taken meanwhile. */
  #full: PublisherChannel | undefined
  /** A turn of this client's is under way. */
  #busy = false
  #sinceLook = 0
  /** When the packet began that is not whole yet. */
  #unfinishedSince = 0

  constructor(host: SessionHost, port: SessionPort) {
    this.#host = host
    this.#port = port
    this.#channels = new ChannelTable(host.settings.limits.maxChannels, () => port.later())
    this.#requests = new Requests(host)
    this.#deliveries = new Deliveries(
      () => this.hasRoom,
      () => port.later(),
    )
    this.#reader = new PacketReader(
      'client',
      maxJsonBytes,
      (type, channel, bytes, start, end) => {
        this.#packet(type, channel, bytes, start, end)
        this.#look(type, end - start)
      },
      {
        mostBytes: (_, channel) => this.#mostBytes(channel),
        setAside: (bytes) => port.setAside(bytes),
      },
    )
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** The name of the client's access entry. */
  get identity(): string | undefined {
    return this.#rights?.name
  }

  /** Bytes of a packet or greeting that is not whole. */
  get unfinishedBytes(): number {
    return this.#reader.pendingBytes + this.#greeting.length
  }

  get hasRoom(): boolean {
    return this.#state === 'open' && this.#port.hasRoom
  }

  /** Whether what has arrived may be given to `take`. */
  get takes(): boolean {
    return this.#full === undefined || this.#full.hasEnded
  }

  resume(): void {
    this.#full = undefined
    // What was not read meanwhile could not come.
    this.#unfinishedSince = performance.now()
    this.#port.later()
  }

  get removedSegmentMs(): number {
    return this.#host.settings.limits.removedSegmentMs
  }

  /* ---- turns ---- */

  /**
   * Takes what has arrived, until about `until` (of `performance.now()`).
   *
   * @returns how many bytes were taken; the rest is to be given again
   */
  take(chunk: Buffer, until: number): number {
    this.#busy = true
    try {
      return this.#take(chunk, until)
    } finally {
      this.#busy = false
    }
  }

  #take(chunk: Buffer, until: number): number {
    this.#until = until
    this.#sinceLook = 0
    let taken = chunk.length
    try {
      if (this.#state === 'preamble') taken = this.#greet(chunk)
      else if (this.#state !== 'closed') taken = this.#push(chunk)
    } catch (error) {
      this.refuse(error)
    }
    this.#afterChunk()
    return taken
  }

  /** Goes on with what was begun. Returns whether more is left. */
  work(until: number): boolean {
    this.#busy = true
    try {
      return this.#work(until)
    } finally {
      this.#busy = false
    }
  }

  #work(until: number): boolean {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      job()
      if (performance.now() >= until) break
    }
    while (this.#state === 'open' && this.#channels.hasNext) {
      this.#channels.startNext()
      if (performance.now() >= until) break
    }
    if (this.#state === 'open') this.#deliveries.run()
    return this.#jobs.length > 0 || this.#channels.hasNext
  }

  /** Does the work in a turn of this client's. */
  #inTurn<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#jobs.push(() => {
        try {
          if (this.#state !== 'open') throw new HermesError('CLOSED', 'The client has gone.')
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
      this.#port.later()
    })
  }

  #greet(chunk: Buffer): number {
    const before = this.#greeting.length
    this.#greeting = Buffer.concat([this.#greeting, chunk.subarray(0, preamble.length - before)])
    const known = this.#greeting.length
    if (!preamble.subarray(0, known).equals(this.#greeting)) throw protocolError('This is no Hermes client.')
    if (known < preamble.length) return chunk.length
    this.#state = 'hello'
    this.#greeting = Buffer.alloc(0)
    return known - before + this.#push(chunk.subarray(known - before))
  }

  #push(chunk: Buffer): number {
    const began = this.#reader.isUnfinished
    const taken = this.#reader.push(chunk)
    if (this.#reader.isUnfinished && (!began || taken > this.#reader.pendingBytes))
      this.#unfinishedSince = performance.now()
    return taken
  }

  /** Stops the reader when the turn is over. What is much work is looked at each time. */
  #look(type: number, size: number): void {
    if ((type === packetType.credit || type === packetType.publish) && size < largeBytes) {
      if (++this.#sinceLook < packetsPerLook) return
    }
    this.#sinceLook = 0
    if (performance.now() >= this.#until) this.#reader.pause()
  }

  /** What a PUBLISH on the channel may have, before any of it is kept. */
  #mostBytes(channel: number): number | undefined {
    if (this.#state !== 'open') throw protocolError('The first packet has to be HELLO.')
    const found = this.#channels.find(channel)
    if (found === undefined) return undefined
    if (found.kind !== 'publisher') throw protocolError('PUBLISH needs a publisher and frames.')
    // Compressed frames may have grown a little.
    return publishHeadBytes + found.topic.maxBatchBytes + inflatedLengthBytes + found.topic.maxBatchBytes / 1024 + 64
  }

  /**
   * Deliveries and acknowledgements go out once for all that a chunk has brought. Deliveries first: they are what somebody waits for, and a
   * client that publishes and subscribes over one connection has received its own message by the time it's told that it is stored.
   */
  #afterChunk(): void {
    if (this.#news.size > 0) {
      for (const topic of this.#news) topic.pump()
      this.#news.clear()
    }
    if (this.#touched.size > 0) {
      for (const channel of this.#touched) channel.settle()
      this.#touched.clear()
    }
    if (this.#pong !== undefined) {
      // Who asks is waiting.
      for (const one of this.#channels.values()) if (one.kind === 'publisher') one.flush()
      this.send(this.#pong)
      this.#pong = undefined
    }
  }

  /* ---- packets ---- */

  #packet(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'hello') {
      if (type !== packetType.hello || channel !== 0) throw protocolError('The first packet has to be HELLO.')
      this.#hello(parseJson(bytes, start, end))
      return
    }
    switch (type) {
      case packetType.publish:
        this.#publish(channel, bytes, start, end)
        return
      case packetType.credit: {
        const found = this.#channels.find(channel)
        if (found === undefined) return
        if (found.kind !== 'subscriber') throw protocolError('CREDIT is for subscribers.')
        found.addCredit(bytes.readUInt32LE(start))
        return
      }
      case packetType.sync: {
        const found = this.#channels.find(channel)
        if (found === undefined) return
        if (found.kind !== 'publisher') throw protocolError('SYNC is for publishers.')
        found.sync(bytes.readBigUInt64LE(start))
        return
      }
      case packetType.ping:
        this.#pong = u64Packet(packetType.pong, channel, bytes.readBigUInt64LE(start))
        return
      case packetType.pong:
        return
      case packetType.close:
        this.#close(channel)
        return
      case packetType.seek: {
        const found = this.#channels.find(channel)
        if (found === undefined) return
        if (found.kind !== 'subscriber') throw protocolError('SEEK is for subscribers.')
        found.seek(parseSeek(parseJson(bytes, start, end)))
        return
      }
      case packetType.openPublisher: {
        const fields = parseJson(bytes, start, end)
        this.#open(channel, () => this.#openPublisher(channel, fields))
        return
      }
      case packetType.subscribe: {
        const fields = parseJson(bytes, start, end)
        this.#open(channel, () => this.#subscribe(channel, fields))
        return
      }
      case packetType.request:
        this.#request(channel, parseJson(bytes, start, end))
        return
      default:
        throw protocolError(`A packet of type ${type} is out of place.`)
    }
  }

  #hello(fields: Readonly<Record<string, unknown>>): void {
    const hello = parseHello(fields)
    if (hello.versions[0] > protocolVersion || hello.versions[1] < protocolVersion) {
      throw new HermesError('VERSION_MISMATCH', `This broker speaks version ${protocolVersion} of the protocol.`, {
        details: { supported: [protocolVersion, protocolVersion], wanted: hello.versions },
      })
    }
    const { access, limits } = this.#host.settings
    this.#rights = access.identify(hello.token, this.#port.certificateName)
    if (this.#host.draining) throw new HermesError('CLOSED', 'The broker is shutting down.')
    this.#port.identified(this.#rights)
    this.#state = 'open'
    this.#reader.maxBody = this.#host.maxPacketBytes
    const compresses = this.#host.settings.compression === 'deflate' && hello.features.includes(compressionFeature)
    this.#reader.compression = compresses
    this.deflater = compresses ? new Deflater() : undefined
    this.send(
      jsonPacket(packetType.welcome, 0, {
        version: protocolVersion,
        features: compresses ? [compressionFeature] : [],
        server: `hermes-mq/${version}`,
        instance: this.#host.instance,
        heartbeatMs: limits.heartbeatMs,
        limits: {
          maxPacketBytes: this.#host.maxPacketBytes,
          maxBatchBytes: limits.maxBatchBytes,
          maxChannels: limits.maxChannels,
        },
      }),
    )
  }

  #publish(channel: number, bytes: Buffer, start: number, end: number): void {
    const found = this.#channels.find(channel)
    if (found === undefined) return
    if (found.kind !== 'publisher' || end - start <= publishHeadBytes)
      throw protocolError('PUBLISH needs a publisher and frames.')
    try {
      found.publish(bytes, start, end)
      if (found.isFull) {
        this.#full = found
        this.#reader.pause()
      }
      this.#touched.add(found)
      this.#news.add(found.topic)
    } catch (error) {
      if (!(error instanceof HermesError)) throw error
      // Who breaks the protocol on one channel can't be trusted on the others.
      if (error.code === 'PROTOCOL') throw error
      found.flush()
      found.fail(error)
    }
  }

  #open(channel: number, work: () => Promise<void>): void {
    try {
      if (this.#host.draining) {
        // The client could not know yet: it asks again on its next connection. An ERROR would be final for it.
        this.#channels.use(channel)
        return
      }
      this.#channels.begin(channel, () =>
        work().catch((error: unknown) => {
          if (this.#state === 'open') this.#sendError(channel, error)
        }),
      )
    } catch (error) {
      this.#sendError(channel, error)
    }
  }

  async #openPublisher(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const open = parseOpenPublisher(fields)
    if (!this.#rights?.mayPublish(open.topic)) throw this.#denied('publish to', open.topic)
    const growth = this.#rights.administer ? 'allowed' : 'denied'
    await this.#inTopic(open.topic, { ...open.settings, growth }, async (topic) => {
      if (this.#isGone(channel)) return
      const shown = (holder: Holder) => this.#shownHolder(holder)
      const inlet = await topic.enter(open.producer, open.exclusive, shown, (producer) => {
        const quota = this.#host.quota(topic, this.#rights as Rights)
        return new PublisherChannel(this, channel, topic, producer, open.durability, quota)
      })
      try {
        if (!(await this.#finishOpening(channel, inlet, topic, open))) await inlet.end(false)
      } catch (error) {
        // Else it would keep its place, and an exclusive one the topic, with nobody there.
        await inlet.end(false)
        throw error
      }
      this.#host.opening(open.topic, undefined)
    })
  }

  get holder(): Holder {
    return { identity: this.identity ?? '', address: this.#port.address }
  }

  /** Who holds a topic is told to those who look after it, and to clients of the same identity. */
  #shownHolder({ identity, address }: Holder): string {
    if (this.#rights?.administer !== true && identity !== this.identity) return 'a client of somebody else'
    return `'${identity}' at ${address}`
  }

  /** Completes the opening of a publisher that has its place. False if nobody waits for it any more. */
  async #finishOpening(
    channel: number,
    inlet: PublisherChannel,
    topic: BrokerTopic,
    open: ReturnType<typeof parseOpenPublisher>,
  ): Promise<boolean> {
    if (this.#isGone(channel)) return false
    const { producer } = inlet
    producer.trim(open.acked)
    if (open.durability === 'synced' && producer.runs.length > 0) {
      await new Promise<void>((resolve, reject) =>
        topic.whenSynced(0, (error) => (error === undefined ? resolve() : reject(error))),
      )
    }
    // A newer one with the same id may have come meanwhile: then this one has been told.
    if (inlet.hasEnded || this.#isGone(channel)) return false
    const { runs } = producer
    // Of a log that ends too early it can't be said what it still holds.
    const stored = producer.hasLost ? 0n : producer.stored
    producer.hasLost = false
    // What a power cut took away was acknowledged as written only; its numbers are not used again.
    if (open.acked > producer.stored) producer.stored = open.acked
    this.#channels.add(channel, inlet)
    this.send(
      jsonPacket(
        packetType.publisherOpened,
        channel,
        publisherOpenedToWire({
          stored,
          runs,
          maxPayloadBytes: topic.file.maxPayloadBytes,
          maxBatchBytes: topic.maxBatchBytes,
          nextSequence: topic.nextSequence(),
        }),
      ),
    )
    return true
  }

  async #subscribe(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const subscribe = parseSubscribe(fields)
    if (!this.#rights?.maySubscribe(subscribe.topic)) throw this.#denied('subscribe to', subscribe.topic)
    await this.#inTopic(subscribe.topic, subscribe.settings, async (topic) => {
      if (this.#isGone(channel)) return
      const { from, credit } = subscribe
      await topic.whenFindable(from, () =>
        // Mapping a segment takes a while as well: in a turn of its own.
        this.#inTurn(() => this.#startSubscriber(channel, topic, from, credit)),
      )
    })
  }

  #startSubscriber(channel: number, topic: BrokerTopic, from: From, credit: number): void {
    if (this.#isGone(channel)) return
    this.#port.subscribed()
    let outlet: SubscriberChannel
    try {
      outlet = new SubscriberChannel(this, channel, topic, credit)
    } catch (error) {
      this.#port.unsubscribed()
      throw error
    }
    this.#channels.add(channel, outlet)
    try {
      outlet.start(from)
    } catch (error) {
      this.#channels.remove(channel)
      this.#deliveries.remove(outlet)
      void outlet.end()
      throw error
    }
  }

  /** Who asked for a topic to be made is told why it was not. */
  #mayNotMake(error: unknown): unknown {
    if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND') return error
    return new HermesError(
      'NOT_FOUND',
      `${error.message} '${this.identity}' may not make topics: have one with "administer" make it, or wait for it.`,
      { details: error.details, cause: error },
    )
  }

  /** Opens the topic, and keeps it open for as long as `work` takes. */
  async #inTopic(name: string, settings: TopicSettings, work: (topic: BrokerTopic) => Promise<void>): Promise<void> {
    const administer = this.#rights?.administer === true
    const topic = await this.#host
      .topic(name, administer ? settings : { ...settings, create: false })
      .catch((error: unknown) => {
        throw administer || settings.create === false ? error : this.#mayNotMake(error)
      })
    try {
      if (administer) await topic.setRetention(settings)
      await work(topic)
    } catch (error) {
      if (error instanceof HermesError) this.#host.opening(name, error)
      throw error
    } finally {
      topic.release()
    }
  }

  /** Whether nobody waits for the channel any more. Answers a CLOSE that came meanwhile. */
  #isGone(channel: number): boolean {
    if (this.#state !== 'open') return true
    if (!this.#channels.isCancelled(channel)) return false
    this.send(emptyPacket(packetType.closed, channel))
    return true
  }

  #close(channel: number): void {
    if (this.#channels.cancel(channel)) return
    const found = this.#channels.find(channel)
    if (found === undefined) return
    this.#channels.remove(channel)
    if (found.kind === 'publisher') found.flush()
    else this.#deliveries.remove(found)
    // A publisher's successor may open the topic once it's told: so tell it when that is true.
    void found
      .end(true)
      .catch((error: unknown) => this.#closeFailed(error))
      .then(() => this.send(emptyPacket(packetType.closed, channel)))
  }

  #request(channel: number, fields: Readonly<Record<string, unknown>>): void {
    this.#channels.use(channel)
    void this.#requests
      .answer(fields, this.#rights as Rights)
      .then((reply) => this.#inTurn(() => this.send(jsonPacket(packetType.reply, channel, reply()))))
      .catch((error: unknown) => {
        if (this.#state === 'open') this.#sendError(channel, error)
      })
  }

  #denied(doing: string, topic: string): HermesError {
    const { name } = this.#rights as Rights
    this.#host.report('denied', { address: this.#port.address, identity: name, doing, topic })
    return new HermesError('UNAUTHORIZED', `'${name}' may not ${doing} '${topic}'.`, { details: { topic } })
  }

  /* ---- what goes out ---- */

  send(packet: Buffer): void {
    if (this.#state !== 'closed') this.#port.write(packet)
  }

  sendFrames(head: Buffer, frames: Uint8Array, written: () => void): void {
    this.#port.writeFrames(head, frames, written)
  }

  subscriberEnded(): void {
    this.#port.unsubscribed()
  }

  note(channel: Delivering): void {
    this.#deliveries.add(channel)
  }

  deliver(): boolean {
    if (this.#state !== 'open' || !this.#deliveries.isReady) return false
    const { runs } = this.#deliveries
    if (this.#busy) this.#deliveries.run()
    else if (!this.#port.offer()) return true
    return this.#deliveries.runs !== runs
  }

  failChannel(channel: number, error: HermesError): void {
    const found = this.#channels.remove(channel)
    if (found !== undefined) this.#reportEnd(found, error)
    if (found?.kind === 'publisher') {
      this.#touched.delete(found)
      void found.end(false).catch((cause: unknown) => this.#closeFailed(cause))
    } else if (found !== undefined) {
      this.#deliveries.remove(found)
    }
    this.#sendError(channel, error)
  }

  #reportEnd(channel: Channel, { code, message }: HermesError): void {
    const event = troubles.has(code) ? 'trouble' : 'ended'
    const { address } = this.#port
    this.#host.report(event, { address, identity: this.identity, topic: channel.topic.name, code, message })
  }

  #closeFailed(error: unknown): void {
    this.#host.report('close-failed', { address: this.#port.address, error: String(error) })
  }

  #sendError(channel: number, error: unknown): void {
    const { address } = this.#port
    if (!(error instanceof HermesError)) {
      this.#host.report('failed', { address, error: String((error as Error)?.stack ?? error) })
    } else if (error.code === 'LIMIT') {
      this.#host.report('limited', { address, identity: this.identity, code: error.code, message: error.message })
    }
    if (error instanceof HermesError && error.code === 'PROTOCOL') this.refuse(error)
    else this.send(jsonPacket(packetType.error, channel, errorToWire(this.#shown(error))))
  }

  #shown(error: unknown): unknown {
    return error instanceof HermesError ? this.#host.shown(error) : error
  }

  /** Says why, and ends the connection. */
  refuse(error: unknown): void {
    if (this.#state === 'closed') return
    const known =
      error instanceof HermesError ? error : new HermesError('IO_FAILED', 'The broker failed; its log says why.')
    this.#host.report('refused', {
      address: this.#port.address,
      identity: this.identity,
      code: known.code,
      message: error instanceof HermesError ? error.message : String((error as Error)?.stack ?? error),
    })
    this.send(jsonPacket(packetType.error, 0, errorToWire(this.#shown(known))))
    this.end()
  }

  /* ---- time ---- */

  /** Called several times per heartbeat. */
  tick(now: number): void {
    const { handshakeTimeoutMs, packetTimeoutMs } = this.#host.settings.limits
    if (this.#state === 'preamble' || this.#state === 'hello') return
    const { unfinishedBytes, isUnfinished } = this.#reader
    // A large packet may take longer.
    const most = Math.max(packetTimeoutMs * Math.ceil(Math.max(1, unfinishedBytes) / (1024 * 1024)), handshakeTimeoutMs)
    if (isUnfinished && this.takes && now - this.#unfinishedSince > most) {
      this.refuse(new HermesError('TIMED_OUT', `The rest of a packet did not come within ${most} ms.`))
      return
    }
    this.#reader.release()
    for (const channel of this.#channels.values()) {
      if (channel.kind !== 'subscriber') continue
      try {
        channel.tick(now)
      } catch (error) {
        if (error instanceof HermesError) channel.fail(error)
        else throw error
      }
    }
  }

  /** The broker is going away. */
  drain(graceMs: number): void {
    if (this.#state === 'open') this.send(jsonPacket(packetType.drain, 0, { reason: 'shutdown', graceMs }))
  }

  /** Nothing is taken any more, and nothing more is said. */
  end(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#reader.stop()
    // They find that nobody is there, and let go of what they hold.
    for (const job of this.#jobs.splice(0)) job()
    for (const channel of this.#channels.clear()) {
      const ending = channel.kind === 'publisher' ? channel.end(false) : channel.end()
      void ending.catch((error: unknown) => this.#closeFailed(error))
    }
    this.#port.end()
  }
}
