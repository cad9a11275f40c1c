import { isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type ErrorCode, HermesError } from '../errors.js'
import type { TopicInfo, TopicSettings } from '../transport/transport.js'
import { version } from '../version.js'
import { compressionFeature, Deflater } from '../wire/compression.js'
import {
  errorToWire,
  parseHello,
  parseJson,
  parseOpenPublisher,
  parseSeek,
  parseSubscribe,
  parseTopic,
  publisherOpenedToWire,
  text,
} from '../wire/messages.js'
import {
  emptyPacket,
  jsonPacket,
  maxJsonBytes,
  PacketReader,
  packetType,
  preamble,
  protocolError,
  protocolVersion,
  publishHeadBytes,
  u64Packet,
} from '../wire/packet.js'
import type { Rights } from './access.js'
import { readFrom } from './incoming.js'
import type { BrokerSettings } from './options.js'
import { PublisherChannel } from './publisher-channel.js'
import { SubscriberChannel, type SubscriberHost } from './subscriber-channel.js'
import type { BrokerTopic } from './topic.js'

/** Above this, no more is read from a client, and no more frames are put before it. */
const mostWaitingBytes = 1024 * 1024

/** Ends of channels that are the broker's own trouble: whoever looks after it should know. */
const troubles: ReadonlySet<string> = new Set<ErrorCode>(['DISK_FULL', 'IO_FAILED', 'CORRUPT'])

/** So many bytes of frames are rather copied behind their head than written in two pieces, which takes Node 4 µs more. */
const mostCopiedBytes = 2048

/** What a connection needs of its broker. */
export interface ConnectionHost {
  readonly settings: BrokerSettings
  readonly instance: string
  readonly draining: boolean
  readonly maxPacketBytes: number
  topic(name: string, settings: TopicSettings): Promise<BrokerTopic>
  topics(): Promise<string[]>
  info(name: string): Promise<TopicInfo>
  report(event: string, facts: Readonly<Record<string, unknown>>): void
  /** It serves no more. */
  ended(connection: Connection): void
  /** Its socket is closed. */
  gone(): void
}

type Channel = PublisherChannel | SubscriberChannel

/** One client. Everything that it sends is taken for hostile until it's checked. */
export class Connection implements SubscriberHost {
  readonly address: string
  deflater: Deflater | undefined
  readonly #host: ConnectionHost
  readonly #socket: Socket
  readonly #reader: PacketReader
  readonly #opened = performance.now()
  #state: 'preamble' | 'hello' | 'open' | 'closed' = 'preamble'
  #greeting: Buffer = Buffer.alloc(0)
  #rights: Rights | undefined
  readonly #channels = new Map<number, Channel>()
  /** Channels whose opening is under way; true once the client closed them meanwhile. */
  readonly #opening = new Map<number, boolean>()
  #highestChannel = 0
  readonly #touched = new Set<PublisherChannel>()
  readonly #news = new Set<BrokerTopic>()
  #requests = 0
  #received = performance.now()
  #sent = performance.now()
  /** When something that waited was last written, or nothing waited. */
  #progressed = performance.now()
  readonly #written = () => {
    this.#progressed = performance.now()
  }

  constructor(host: ConnectionHost, accepted: Socket) {
    this.#host = host
    this.#socket = readFrom(accepted, (piece) => this.#data(piece))
    const socket = this.#socket
    this.address = socket.remoteAddress ?? 'unknown'
    this.#reader = new PacketReader('client', maxJsonBytes, (type, channel, bytes, start, end) => {
      this.#packet(type, channel, bytes, start, end)
    })
    socket.setNoDelay(true)
    socket.on('drain', () => this.#drained())
    socket.on('error', (error) => this.#lost(error.message))
    socket.on('end', () => this.#lost())
    socket.on('close', () => {
      this.#lost()
      host.gone()
    })
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get channels(): number {
    return this.#channels.size + this.#opening.size
  }

  /* ---- what comes in ---- */

  #data(chunk: Buffer): void {
    this.#received = performance.now()
    try {
      if (this.#state === 'preamble') {
        this.#greeting = Buffer.concat([this.#greeting, chunk])
        const known = this.#greeting.subarray(0, preamble.length)
        if (!preamble.subarray(0, known.length).equals(known)) throw protocolError('This is no Hermes client.')
        if (known.length < preamble.length) return
        this.#state = 'hello'
        const rest = this.#greeting.subarray(preamble.length)
        this.#greeting = Buffer.alloc(0)
        this.#reader.push(rest)
      } else if (this.#state !== 'closed') {
        this.#reader.push(chunk)
      }
    } catch (error) {
      this.#refuse(error)
    }
    this.#afterChunk()
  }

  /** The other side is gone. That is no news, unless something went wrong or was left unsaid. */
  #lost(reason?: string): void {
    if (this.#state === 'closed') return
    const unsaid = this.#reader.pendingBytes + this.#greeting.length
    if (reason !== undefined || unsaid > 0) {
      const message = reason ?? 'The connection ended in the middle of a packet.'
      this.#host.report('lost', { address: this.address, message, unfinishedBytes: unsaid })
    }
    this.#end()
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
    if (this.#socket.writableLength > mostWaitingBytes && !this.#socket.destroyed) this.#socket.pause()
  }

  #drained(): void {
    this.#progressed = performance.now()
    if (this.#state === 'closed') return
    if (this.#socket.isPaused()) this.#socket.resume()
    for (const channel of this.#channels.values()) if (channel.kind === 'subscriber') channel.pump()
  }

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
        const found = this.#find(channel)
        if (found === undefined) return
        if (found.kind !== 'subscriber') throw protocolError('CREDIT is for subscribers.')
        found.addCredit(bytes.readUInt32LE(start))
        return
      }
      case packetType.sync: {
        const found = this.#find(channel)
        if (found === undefined) return
        if (found.kind !== 'publisher') throw protocolError('SYNC is for publishers.')
        found.sync(bytes.readBigUInt64LE(start))
        return
      }
      case packetType.ping:
        // Who asks is waiting.
        for (const one of this.#channels.values()) if (one.kind === 'publisher') one.flush()
        this.send(u64Packet(packetType.pong, channel, bytes.readBigUInt64LE(start)))
        return
      case packetType.pong:
        return
      case packetType.close:
        this.#close(channel)
        return
      case packetType.seek: {
        const found = this.#find(channel)
        if (found === undefined) return
        if (found.kind !== 'subscriber') throw protocolError('SEEK is for subscribers.')
        found.seek(parseSeek(parseJson(bytes, start, end)))
        return
      }
      case packetType.openPublisher:
        this.#openChannel(channel, this.#openPublisher(channel, parseJson(bytes, start, end)))
        return
      case packetType.subscribe:
        this.#openChannel(channel, this.#subscribe(channel, parseJson(bytes, start, end)))
        return
      case packetType.request:
        void this.#request(channel, parseJson(bytes, start, end))
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
    this.#rights = access.identify(hello.token, this.#certificateName())
    if (this.#host.draining) throw new HermesError('CLOSED', 'The broker is shutting down.')
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

  #certificateName(): string | undefined {
    const { authorized, getPeerCertificate } = this.#socket as Partial<TLSSocket>
    if (authorized !== true || getPeerCertificate === undefined) return undefined
    const name = (this.#socket as TLSSocket).getPeerCertificate().subject?.CN
    return typeof name === 'string' ? name : undefined
  }

  #publish(channel: number, bytes: Buffer, start: number, end: number): void {
    const found = this.#find(channel)
    if (found === undefined) return
    if (found.kind !== 'publisher' || end - start <= publishHeadBytes)
      throw protocolError('PUBLISH needs a publisher and frames.')
    try {
      found.publish(bytes, start, end)
      this.#touched.add(found)
      this.#news.add(found.topic)
    } catch (error) {
      if (!(error instanceof HermesError)) throw error
      // Whoever breaks the protocol on one channel is not to be trusted on the others.
      if (error.code === 'PROTOCOL') throw error
      found.flush()
      found.fail(error)
    }
  }

  /** The channel; `undefined` if it has ended, and the client could not know yet. */
  #find(channel: number): Channel | undefined {
    const found = this.#channels.get(channel)
    if (found === undefined && (channel === 0 || channel > this.#highestChannel))
      throw protocolError(`Channel ${channel} was never opened.`)
    return found
  }

  #openChannel(channel: number, opening: Promise<void>): void {
    void opening
      .catch((error: unknown) => {
        if (this.#state === 'open') this.#sendError(channel, error)
      })
      .finally(() => this.#opening.delete(channel))
  }

  /**
   * Checks and notes the number of a channel that is to be opened. False if nothing is opened any more, which the client could not know yet:
   * it asks again on its next connection. An ERROR would be final for it.
   */
  #reserve(channel: number): boolean {
    if (channel <= this.#highestChannel) throw protocolError('The numbers of channels have to grow.')
    this.#highestChannel = channel
    const { maxChannels } = this.#host.settings.limits
    if (this.channels >= maxChannels) {
      throw new HermesError(
        'LIMIT',
        `This connection has ${maxChannels} publishers and subscribers, as many as it may have.`,
      )
    }
    this.#opening.set(channel, false)
    return !this.#host.draining
  }

  async #openPublisher(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    if (!this.#reserve(channel)) return
    const open = parseOpenPublisher(fields)
    if (!this.#rights?.mayPublish(open.topic)) throw this.#denied('publish to', open.topic)
    const topic = await this.#topic(open.topic, open.settings)
    if (this.#isGone(channel)) return
    const inlet = (await topic.enter(open.producer, open.exclusive, (producer) => {
      return new PublisherChannel(this, channel, topic, producer, open.durability)
    })) as PublisherChannel
    try {
      if (!(await this.#finishOpening(channel, inlet, topic, open))) await inlet.end(false)
    } catch (error) {
      // Else it would keep its place, and an exclusive one the topic, with nobody there.
      await inlet.end(false)
      throw error
    }
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
    const { stored, runs } = producer
    // What a power cut took away was acknowledged as written only; its numbers are not used again.
    if (open.acked > stored) producer.stored = open.acked
    this.#channels.set(channel, inlet)
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
    if (!this.#reserve(channel)) return
    const subscribe = parseSubscribe(fields)
    if (!this.#rights?.maySubscribe(subscribe.topic)) throw this.#denied('subscribe to', subscribe.topic)
    const topic = await this.#topic(subscribe.topic, subscribe.settings)
    if (this.#isGone(channel)) return
    const outlet = new SubscriberChannel(this, channel, topic, subscribe.from, subscribe.credit)
    this.#channels.set(channel, outlet)
    outlet.start()
  }

  async #topic(name: string, settings: TopicSettings): Promise<BrokerTopic> {
    const administer = this.#rights?.administer === true
    const topic = await this.#host.topic(name, administer ? settings : { ...settings, create: false })
    if (administer) topic.setRetention(settings)
    return topic
  }

  /** Whether nobody waits for the channel any more. Answers a CLOSE that came meanwhile. */
  #isGone(channel: number): boolean {
    if (this.#state !== 'open') return true
    if (this.#opening.get(channel) !== true) return false
    this.send(emptyPacket(packetType.closed, channel))
    return true
  }

  #close(channel: number): void {
    if (this.#opening.has(channel)) {
      this.#opening.set(channel, true)
      return
    }
    const found = this.#find(channel)
    if (found === undefined) return
    this.#channels.delete(channel)
    if (found.kind === 'publisher') found.flush()
    // A publisher's successor may open the topic once it's told: so tell it when that is true.
    void found
      .end(true)
      .catch((error: unknown) => this.#host.report('close-failed', { address: this.address, error: String(error) }))
      .then(() => this.send(emptyPacket(packetType.closed, channel)))
  }

  async #request(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      if (channel <= this.#highestChannel) throw protocolError('The numbers of channels have to grow.')
      this.#highestChannel = channel
      if (++this.#requests > 64) throw new HermesError('LIMIT', 'Too many requests are under way.')
      const op = text(fields, 'op', 50)
      const rights = this.#rights as Rights
      const mayUse = (topic: string) => rights.mayPublish(topic) || rights.maySubscribe(topic)
      let reply: unknown
      if (op === 'topics') {
        reply = { topics: (await this.#host.topics()).filter(mayUse) }
      } else if (op === 'info') {
        const topic = parseTopic(fields)
        if (!mayUse(topic)) throw this.#denied('use', topic)
        reply = { info: await this.#host.info(topic) }
      } else {
        throw new HermesError('UNSUPPORTED', `This broker knows no request '${op}'.`)
      }
      this.send(jsonPacket(packetType.reply, channel, reply))
    } catch (error) {
      if (this.#state === 'open') this.#sendError(channel, error)
    } finally {
      this.#requests--
    }
  }

  #denied(doing: string, topic: string): HermesError {
    return new HermesError('UNAUTHORIZED', `'${this.#rights?.name}' may not ${doing} '${topic}'.`, {
      details: { topic },
    })
  }

  /* ---- what goes out ---- */

  get hasRoom(): boolean {
    return this.#state === 'open' && this.#socket.writableLength < mostWaitingBytes
  }

  send(packet: Buffer): void {
    if (this.#state === 'closed' || this.#socket.destroyed) return
    this.#sent = performance.now()
    if (this.#socket.writableLength === 0) this.#progressed = this.#sent
    this.#socket.write(packet, this.#written)
  }

  sendFrames(head: Buffer, frames: Uint8Array, written: () => void): void {
    if (frames.length <= mostCopiedBytes) {
      const packet = Buffer.allocUnsafe(head.length + frames.length)
      packet.set(head)
      packet.set(frames, head.length)
      this.send(packet)
      written()
      return
    }
    this.#sent = performance.now()
    if (this.#socket.writableLength === 0) this.#progressed = this.#sent
    this.#socket.cork()
    this.#socket.write(head)
    this.#socket.write(frames, () => {
      this.#progressed = performance.now()
      written()
    })
    this.#socket.uncork()
  }

  failChannel(channel: number, error: HermesError): void {
    const found = this.#channels.get(channel)
    this.#channels.delete(channel)
    if (found !== undefined && troubles.has(error.code)) {
      const { code, message } = error
      this.#host.report('trouble', { address: this.address, topic: found.topic.name, code, message })
    }
    if (found?.kind === 'publisher') {
      this.#touched.delete(found)
      void found.end(false).catch((cause: unknown) => this.#host.report('close-failed', { error: String(cause) }))
    }
    this.#sendError(channel, error)
  }

  #sendError(channel: number, error: unknown): void {
    if (!(error instanceof HermesError))
      this.#host.report('failed', { address: this.address, error: String((error as Error)?.stack ?? error) })
    if (error instanceof HermesError && error.code === 'PROTOCOL') this.#refuse(error)
    else this.send(jsonPacket(packetType.error, channel, errorToWire(error)))
  }

  /** The broker is going away. */
  drain(graceMs: number): void {
    if (this.#state === 'open') this.send(jsonPacket(packetType.drain, 0, { reason: 'shutdown', graceMs }))
  }

  /** Says why, and ends the connection. */
  #refuse(error: unknown): void {
    if (this.#state === 'closed') return
    const known =
      error instanceof HermesError ? error : new HermesError('IO_FAILED', 'The broker failed; its log says why.')
    const { code } = known
    this.#host.report('refused', {
      address: this.address,
      code,
      message: error instanceof HermesError ? error.message : String((error as Error)?.stack ?? error),
    })
    this.send(jsonPacket(packetType.error, 0, errorToWire(known)))
    this.#end()
  }

  /** Looks after time: called several times per heartbeat. */
  tick(now: number): void {
    const { heartbeatMs, handshakeTimeoutMs, slowConsumerMs } = this.#host.settings.limits
    if (this.#state === 'closed') return
    if (this.#state !== 'open') {
      if (now - this.#opened > handshakeTimeoutMs) this.#refuse(new HermesError('TIMED_OUT', 'No HELLO came in time.'))
      return
    }
    if (this.#socket.writableLength > 0 && now - this.#progressed > slowConsumerMs) {
      this.#refuse(new HermesError('SLOW_CONSUMER', `Nothing was taken for ${slowConsumerMs} ms.`))
      this.#socket.destroy()
      return
    }
    // Who is not read from, because it does not read either, can't be heard.
    if (!this.#socket.isPaused() && now - this.#received > 2.5 * heartbeatMs) {
      this.#host.report('silent', { address: this.address })
      this.destroy()
      return
    }
    if (now - this.#sent >= heartbeatMs) this.send(u64Packet(packetType.ping, 0, 0n))
    for (const channel of this.#channels.values()) {
      if (channel.kind !== 'subscriber') continue
      try {
        channel.tellTail()
      } catch (error) {
        if (error instanceof HermesError) channel.fail(error)
        else throw error
      }
    }
  }

  /** Ends the connection after what has been written. */
  end(): void {
    this.#end()
  }

  destroy(): void {
    this.#end()
    this.#socket.destroy()
  }

  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#reader.stop()
    this.#socket.end()
    // Whoever does not take the last words doesn't keep us.
    setTimeout(() => this.#socket.destroy(), 1000).unref()
    if (this.#socket.isPaused()) this.#socket.resume()
    for (const channel of this.#channels.values()) {
      const ending = channel.kind === 'publisher' ? channel.end(false) : channel.end()
      void ending.catch((error: unknown) => this.#host.report('close-failed', { error: String(error) }))
    }
    this.#channels.clear()
    this.#host.ended(this)
  }
}

export function shownAddress(address: string, port: number): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}
