import { HermesError } from '../base/errors.js'
import type { LogCursor } from '../store/log-cursor.js'
import { Deflater, inflatedLengthBytes } from '../wire/compression.js'
import { parseJson } from '../wire/messages.js'
import { maxJsonBytes, packetType, protocolError, publishHeadBytes } from '../wire/packet.js'
import { PacketReader } from '../wire/packet-reader.js'
import { emptyPacket, jsonPacket, u64Packet } from '../wire/packet-writer.js'
import type { Rights } from './access.js'
import { ChannelOpener } from './channel-opener.js'
import { ChannelTable } from './channel-table.js'
import { Deliveries, type Delivering } from './deliveries.js'
import { type DispatchTarget, dispatch } from './dispatch.js'
import type { Delivery } from './engine/engine.js'
import { checkHello, Preamble, welcomePacket } from './greeting.js'
import type { Holder } from './holder.js'
import { Lagging } from './lagging.js'
import { Pace } from './pace.js'
import type { PublisherChannel } from './publisher-channel.js'
import { Requests } from './requests.js'
import { Review } from './review.js'
import { SessionBatches } from './session-batches.js'
import { type MembersSession, SessionMembers } from './session-members.js'
import type { SessionHost, SessionPort } from './session-port.js'
import { SessionReports } from './session-reports.js'
import { TurnJobs } from './turn-jobs.js'
import { UnfinishedPacket } from './unfinished-packet.js'

/** One client's conversation: bytes in, packets out, without a socket. Everything that comes in is taken for hostile until it's checked. */
export class Session implements MembersSession {
  deflater: Deflater | undefined
  readonly #host: SessionHost
  readonly #port: SessionPort
  readonly #reader: PacketReader
  readonly #channels: ChannelTable
  readonly #requests: Requests
  readonly #opener: ChannelOpener
  readonly #reports: SessionReports
  readonly #target: DispatchTarget = {
    publish: (channel, bytes, start, end) => this.#batches.publish(channel, bytes, start, end),
    ping: (channel, value) => {
      this.#pong = u64Packet(packetType.pong, channel, value)
    },
    close: (channel) => this.#close(channel),
    openPublisher: (channel, fields) => this.open(channel, () => this.#opener.openPublisher(channel, fields)),
    openSubscriber: (channel, fields) => this.open(channel, () => this.#opener.openSubscriber(channel, fields)),
    request: (channel, fields) => this.#request(channel, fields),
    member: (channel, type, bytes, start, end) => this.#members.packet(channel, type, bytes, start, end),
  }
  readonly #deliveries: Deliveries
  #state: 'preamble' | 'hello' | 'open' | 'closed' = 'preamble'
  readonly #preamble = new Preamble()
  readonly review: Review
  readonly #members: SessionMembers
  readonly #batches: SessionBatches
  /** The answer to the PINGs that have come in this turn. */
  #pong: Buffer | undefined
  readonly #jobs: TurnJobs
  readonly #lagging: Lagging
  readonly #pace = new Pace()
  /** A turn of this client's is under way. */
  #busy = false
  readonly #unfinished: UnfinishedPacket

  constructor(host: SessionHost, port: SessionPort) {
    this.#host = host
    this.#port = port
    const later = () => port.later()
    this.#channels = new ChannelTable(host.settings.limits.maxChannels, host.openings, port)
    this.#jobs = new TurnJobs(() => this.isOpen, later)
    this.#lagging = new Lagging(this.#channels, later)
    this.review = new Review(host, port, this.#channels, this)
    this.#requests = new Requests(host)
    this.#opener = new ChannelOpener(host, port, this.#channels, this)
    this.#reports = new SessionReports(host, port, () => this.identity)
    this.#deliveries = new Deliveries(() => this.hasRoom, later)
    this.#reader = new PacketReader(
      'client',
      maxJsonBytes,
      (type, channel, bytes, start, end) => {
        this.#packet(type, channel, bytes, start, end)
        if (this.#pace.isOver(type, end - start)) this.#reader.pause()
      },
      {
        mostBytes: (_, channel) => this.#mostBytes(channel),
        setAside: (bytes) => port.setAside(bytes),
      },
    )
    this.#batches = new SessionBatches(this.#channels, this.#reader, this.#pace, port.isNative)
    this.#members = new SessionMembers(host, port, this.#channels, this.#opener, this, this.#batches.touched)
    this.#unfinished = new UnfinishedPacket(this.#reader, host.settings.limits)
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get rights(): Rights | undefined {
    return this.review.rights
  }

  get party(): string {
    return this.#port.party
  }

  get holder(): Holder {
    return { identity: this.identity ?? '', address: this.#port.address }
  }

  /** The name of the client's access entry. */
  get identity(): string | undefined {
    return this.rights?.name
  }

  /** Bytes of a packet or greeting that is not whole. */
  get unfinishedBytes(): number {
    return this.#reader.pendingBytes + this.#preamble.pendingBytes
  }

  get hasRoom(): boolean {
    return this.#state === 'open' && this.#port.hasRoom
  }

  /** Whether what has arrived may be given to `take`. */
  get takes(): boolean {
    return this.#batches.takes
  }

  resume(): void {
    this.#batches.resume()
    // What was not read meanwhile could not come.
    this.#unfinished.restart()
    this.#port.later()
  }

  get removedSegmentMs(): number {
    return this.#host.settings.limits.removedSegmentMs
  }

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
    this.#pace.begin(until)
    let taken = chunk.length
    try {
      if (this.#state === 'preamble') taken = this.#greet(chunk)
      else if (this.#state !== 'closed') taken = this.#unfinished.push(chunk)
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
    this.#jobs.run(until)
    while (this.#state === 'open' && this.#channels.hasNext) {
      this.#channels.startNext()
      if (performance.now() >= until) break
    }
    if (this.#state === 'open') this.#deliveries.run()
    const isOpen = this.#state === 'open'
    if (isOpen) this.#lagging.run(until)
    // (The lag of a client that has disconnected needs no more work.)
    return !this.#jobs.isEmpty || this.#channels.hasNext || (isOpen && !this.#lagging.isEmpty)
  }

  inTurn<T>(work: () => T): Promise<T> {
    return this.#jobs.add(work)
  }

  #greet(chunk: Buffer): number {
    const taken = this.#preamble.take(chunk)
    if (!this.#preamble.isWhole) return taken
    this.#state = 'hello'
    return taken + this.#unfinished.push(chunk.subarray(taken))
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

  /** What follows from what a chunk has brought, once for all of it. */
  #afterChunk(): void {
    this.#batches.settle()
    if (this.#pong !== undefined) {
      // Who asks is waiting.
      for (const one of this.#channels.values()) if (one.kind === 'publisher') one.flush()
      this.send(this.#pong)
      this.#pong = undefined
    }
  }

  #packet(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'hello') {
      if (type !== packetType.hello || channel !== 0) throw protocolError('The first packet has to be HELLO.')
      this.#greeted(parseJson(bytes, start, end))
      return
    }
    dispatch(this.#target, this.#channels, type, channel, bytes, start, end)
  }

  #greeted(fields: Readonly<Record<string, unknown>>): void {
    const hello = checkHello(this.#host, this.#port, fields)
    // (the log names clients that are refused from here on)
    this.review.begin(hello)
    if (this.#host.draining) throw new HermesError('CLOSED', 'The broker is shutting down.')
    this.#port.identified(hello.rights)
    this.#state = 'open'
    this.#reader.maxBody = this.#host.maxPacketBytes
    this.#reader.compression = hello.compresses
    this.deflater = hello.compresses ? new Deflater() : undefined
    this.#members.areAgreed = hello.groups
    this.send(welcomePacket(this.#host, hello))
  }

  open(channel: number, work: () => Promise<void>): void {
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

  #close(channel: number): void {
    if (this.#channels.cancel(channel)) return
    const found = this.#channels.find(channel)
    if (found === undefined) return
    this.#channels.remove(channel)
    this.#batches.forget(channel)
    if (found.kind === 'publisher') found.flush()
    else this.#deliveries.remove(found)
    // A publisher's successor may open the topic once it's told: so tell it when that is true.
    void found
      .end(true)
      .catch((error: unknown) => this.#reports.closeFailed(error))
      .then(() => this.send(emptyPacket(packetType.closed, channel)))
  }

  #request(channel: number, fields: Readonly<Record<string, unknown>>): void {
    this.#channels.use(channel)
    void this.#requests
      .answer(fields, this.rights as Rights)
      .then((reply) => this.inTurn(() => this.send(jsonPacket(packetType.reply, channel, reply()))))
      .catch((error: unknown) => {
        if (this.#state === 'open') this.#sendError(channel, error)
      })
  }

  send(packet: Buffer): void {
    if (this.#state !== 'closed') this.#port.write(packet)
  }

  sendFrames(head: Buffer, frames: Uint8Array, written: () => void): void {
    this.#port.writeFrames(head, frames, written)
  }

  get isNative(): boolean {
    return this.#port.isNative
  }

  deliverFrom(cursor: LogCursor, delivery: Delivery): number {
    return this.#port.deliver(cursor, delivery)
  }

  opened(channel: number, publisher: PublisherChannel): void {
    this.#batches.opened(channel, publisher)
  }

  /** Its batches may have to be counted now: by what also looks at each of them. */
  limited(channel: number): void {
    this.#batches.forget(channel)
  }

  subscriberEnded(): void {
    this.#port.unsubscribed()
  }

  note(channel: Delivering): void {
    this.#deliveries.add(channel)
  }

  forget(channel: Delivering): void {
    this.#deliveries.remove(channel)
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
    this.#batches.forget(channel)
    if (found !== undefined) this.#reports.ended(found, error)
    if (found?.kind === 'publisher') {
      this.#batches.touched.delete(found)
      void found.end(false).catch((cause: unknown) => this.#reports.closeFailed(cause))
    } else if (found !== undefined) {
      this.#deliveries.remove(found)
    }
    this.#sendError(channel, error)
  }

  #sendError(channel: number, error: unknown): void {
    if (error instanceof HermesError && error.code === 'PROTOCOL') this.refuse(error)
    else this.send(this.#reports.failed(channel, error))
  }

  /** Says why, and ends the connection. */
  refuse(error: unknown): void {
    if (this.#state === 'closed') return
    this.send(this.#reports.refused(error))
    this.end()
  }

  /** Called several times per heartbeat. */
  tick(now: number): void {
    if (this.#state === 'preamble' || this.#state === 'hello') return
    const lateMs = this.takes ? this.#unfinished.lateMs(now) : undefined
    if (lateMs !== undefined) {
      this.refuse(new HermesError('TIMED_OUT', `The rest of a packet did not come within ${lateMs} ms.`))
      return
    }
    this.#reader.release()
    this.#lagging.note()
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
    this.#batches.end()
    this.#jobs.end()
    for (const channel of this.#channels.clear()) {
      const ending = channel.kind === 'subscriber' ? channel.end() : channel.end(false)
      void ending.catch((error: unknown) => this.#reports.closeFailed(error))
    }
    this.#port.end()
  }
}
