import { HermesError } from '../base/errors.js'
import type { LogCursor } from '../store/log-cursor.js'
import { packetType } from '../wire/packet.js'
import { u64Packet } from '../wire/packet-writer.js'
import type { Rights } from './access.js'
import type { Admission, Guest } from './admission.js'
import { type Delivery, type EngineSocket, readBytes, type SocketHandler } from './engine/engine.js'
import type { Meter } from './meter.js'
import type { Scheduler, Worker } from './scheduler.js'
import { Session } from './session.js'
import type { SessionHost, SessionPort } from './session-port.js'

/** What waits to be written is counted in steps of this size: most writes are taken at once, and are to cost nothing. */
const unreadStepBytes = 16 * 1024

/** So many bytes of frames are rather copied behind their head than written in two pieces, which takes Node 4 µs more. */
const mostCopiedBytes = 2048

/** A client that does not read the last packets is disconnected after this time. */
const lastWordsMs = 1000

/** The other side's system says that the connection is no more, as it does for a process that was killed. */
const resets: ReadonlySet<string | undefined> = new Set(['ECONNRESET', 'EPIPE'])

/** What a connection needs of its broker. */
export interface ConnectionHost extends SessionHost {
  readonly scheduler: Scheduler
  readonly admission: Admission
  readonly meter: Meter
  /** It serves no more. */
  ended(connection: Connection): void
}

/** One client's connection: its turns, its heartbeat, what waits to be written and what waits to be worked on. */
export class Connection implements SessionPort, SocketHandler, Worker {
  readonly address: string
  readonly #host: ConnectionHost
  readonly #guest: Guest
  readonly #socket: EngineSocket
  /** Each turn asks for the party: a string that is made anew has to be hashed anew. */
  readonly #addressParty: string
  #identityParty: string | undefined
  /** Made when something arrives: who says nothing costs less. */
  #session: Session | undefined
  #ended = false
  #wasLetGo = false
  readonly #opened = performance.now()
  #received = performance.now()
  #sent = performance.now()
  /** When something that waited was last written, or nothing waited. */
  #progressed = performance.now()
  /** What has arrived and waits for its turn. Nothing is read meanwhile. */
  #backlog: Buffer | undefined
  /** What has just arrived: valid during one turn, in memory that all connections share. */
  #chunk: Buffer | undefined
  /** Nothing is read until its next turn. */
  #rests = false
  /** What waited to be written, as it was counted last. */
  #unread = 0
  readonly #written = () => {
    this.#progressed = performance.now()
    this.#countUnread()
  }

  constructor(host: ConnectionHost, guest: Guest, socket: EngineSocket) {
    this.#host = host
    this.#guest = guest
    this.address = guest.address
    this.#addressParty = `address ${guest.address}`
    this.#socket = socket
  }

  /** Clients of one identity share what it may use of the broker's time; without authentication, those of one address. */
  get party(): string {
    const { identity } = this.#guest
    if (identity !== undefined) {
      this.#identityParty ??= `identity ${identity}`
      return this.#identityParty
    }
    return this.#session?.isOpen === true ? this.#addressParty : 'strangers'
  }

  get #talk(): Session {
    this.#session ??= new Session(this.#host, this)
    return this.#session
  }

  get certificateName(): string | undefined {
    return this.#socket.certificateName
  }

  get heardAt(): number {
    const waits =
      this.#chunk !== undefined || this.#backlog !== undefined || this.#rests || this.#session?.takes === false
    return waits ? performance.now() : this.#received
  }

  get wasLetGo(): boolean {
    return this.#wasLetGo
  }

  identified(rights: Rights): void {
    this.#host.admission.identify(this.#guest, rights, !this.#host.settings.access.isOpen)
  }

  reviewed(rights: Rights): void {
    this.#host.admission.review(this.#guest, rights)
  }

  /** The broker's access entries have changed. */
  review(): void {
    if (this.#session?.isOpen === true) this.#session.review.again()
  }

  setAside(bytes: number): void {
    this.#host.admission.setAside(this.#guest, bytes)
  }

  subscribed(): void {
    this.#host.admission.subscribe(this.#guest)
  }

  unsubscribed(): void {
    this.#host.admission.unsubscribe(this.#guest)
  }

  /* ---- what comes in ---- */

  received(chunk: Buffer): void {
    this.#received = performance.now()
    this.#host.meter.received(chunk.length)
    if (this.#ended) return
    if (this.#backlog !== undefined) {
      // (TLS may still hand out what it has decrypted)
      this.#keep(Buffer.concat([this.#backlog, chunk]))
      return
    }
    this.#chunk = chunk
    this.#host.scheduler.offer(this)
    // A read that fills the buffer is followed by another from the same socket, as libuv has it: others have their turn before. After a shorter
    // one they have it anyway, and to stop and begin again would cost more than most reads.
    if (chunk.length >= readBytes && !this.#ended) {
      this.#rests = true
      this.#host.scheduler.queue(this)
    }
    const rest = this.#chunk
    this.#chunk = undefined
    // Its turn has not come, or was not enough: the memory is needed for what others send.
    if (rest !== undefined && !this.#ended) this.#keep(Buffer.from(rest))
    this.#readOrWait()
  }

  #keep(backlog: Buffer | undefined): void {
    try {
      this.setAside((backlog?.length ?? 0) - (this.#backlog?.length ?? 0))
      this.#backlog = backlog
    } catch (error) {
      this.#talk.refuse(error)
    }
  }

  turn(until: number): boolean {
    if (this.#ended) return false
    const session = this.#talk
    this.#rests = false
    // What is said in this turn goes out together.
    this.#socket.cork()
    try {
      return this.#turn(session, until)
    } finally {
      this.#socket.uncork()
      this.#readOrWait()
    }
  }

  #turn(session: Session, until: number): boolean {
    let more = session.work(until)
    const waiting = this.#chunk ?? this.#backlog
    if (waiting !== undefined && this.#mayTake()) {
      const taken = session.take(waiting, until)
      const rest = taken < waiting.length && !this.#ended ? waiting.subarray(taken) : undefined
      if (this.#chunk !== undefined) this.#chunk = rest
      else this.#keep(rest)
      more ||= rest !== undefined && this.#mayTake()
    }
    return more && !this.#ended
  }

  offer(): boolean {
    return this.#host.scheduler.offer(this)
  }

  later(): void {
    this.#host.scheduler.queue(this)
  }

  #mayTake(): boolean {
    return this.#mayWrite && this.#session?.takes !== false
  }

  /** Reads on if all was worked on that has arrived, and if the client takes what it asked for. */
  #readOrWait(): void {
    if (this.#socket.isDestroyed) return
    const reads =
      this.#ended || (this.#chunk === undefined && this.#backlog === undefined && !this.#rests && this.#mayTake())
    if (reads === !this.#socket.isPaused) return
    if (reads) {
      this.#received = performance.now()
      this.#socket.resume()
    } else if (this.#chunk === undefined) {
      this.#socket.pause()
    }
  }

  drained(): void {
    this.#written()
    if (!this.#ended) this.#host.scheduler.offer(this)
  }

  progressed(): void {
    this.#written()
  }

  /** The other side is gone. That is no news, unless something went wrong or was left unsaid. */
  lost(reason?: string, code?: string): void {
    if (this.#ended) return
    this.#wasLetGo = reason === undefined || resets.has(code)
    const unsaid = this.#session?.unfinishedBytes ?? 0
    if (reason !== undefined || unsaid > 0) {
      const message = reason ?? 'The connection ended in the middle of a packet.'
      const identity = this.#session?.identity
      this.#host.report('lost', { address: this.address, identity, message, unfinishedBytes: unsaid })
    }
    this.#finish()
  }

  closed(): void {
    this.lost()
    this.#host.admission.leave(this.#guest)
  }

  /* ---- what goes out ---- */

  get hasRoom(): boolean {
    return this.#mayWrite && !this.#socket.isDestroyed
  }

  /** Whether so little waits that more may be written. */
  get #mayWrite(): boolean {
    const { waitingBytes } = this.#socket
    return waitingBytes < unreadStepBytes || waitingBytes < this.#host.admission.mostUnread(this.#guest)
  }

  #countUnread(): void {
    const { waitingBytes } = this.#socket
    const change = waitingBytes - this.#unread
    if (change < unreadStepBytes && change > -unreadStepBytes && (waitingBytes > 0 || change === 0)) return
    this.#unread = waitingBytes
    this.#host.admission.noteUnread(this.#guest, waitingBytes)
  }

  write(packet: Buffer): void {
    if (this.#socket.isDestroyed) return
    this.#sent = performance.now()
    if (this.#socket.waitingBytes === 0) this.#progressed = this.#sent
    this.#host.meter.sent(packet.length)
    this.#socket.write(packet, this.#written)
    this.#countUnread()
  }

  writeFrames(head: Buffer, frames: Uint8Array, written: () => void): void {
    if (frames.length <= mostCopiedBytes) {
      const packet = Buffer.allocUnsafe(head.length + frames.length)
      packet.set(head)
      packet.set(frames, head.length)
      this.write(packet)
      written()
      return
    }
    this.#sent = performance.now()
    if (this.#socket.waitingBytes === 0) this.#progressed = this.#sent
    this.#host.meter.sent(head.length + frames.length)
    this.#socket.cork()
    this.#socket.write(head)
    this.#socket.write(frames, () => {
      this.#written()
      written()
    })
    this.#countUnread()
    this.#socket.uncork()
  }

  get isNative(): boolean {
    return this.#socket.deliver !== undefined
  }

  deliver(cursor: LogCursor, delivery: Delivery): number {
    const socket = this.#socket
    const waited = socket.waitingBytes > 0
    const bytes = socket.isDestroyed ? 0 : (socket.deliver?.(cursor, delivery) ?? 0)
    if (bytes === 0) return 0
    this.#sent = performance.now()
    if (!waited) this.#progressed = this.#sent
    this.#host.meter.sent(bytes)
    this.#countUnread()
    return bytes
  }

  /* ---- time ---- */

  /** Looks after time: called several times per heartbeat. */
  tick(now: number): void {
    const { heartbeatMs, handshakeTimeoutMs, slowConsumerMs } = this.#host.settings.limits
    if (this.#ended) return
    const session = this.#session
    if (session?.isOpen !== true) {
      if (now - this.#opened > handshakeTimeoutMs)
        this.#talk.refuse(new HermesError('TIMED_OUT', 'No HELLO came in time.'))
      return
    }
    if (this.#socket.waitingBytes > 0 && now - this.#progressed > slowConsumerMs) {
      session.refuse(new HermesError('SLOW_CONSUMER', `Nothing was taken for ${slowConsumerMs} ms.`))
      this.#socket.destroy()
      return
    }
    // No liveness check while reading is paused.
    if (!this.#socket.isPaused && now - this.#received > 2.5 * heartbeatMs) {
      this.#host.report('silent', { address: this.address, identity: session.identity })
      this.destroy()
      return
    }
    if (now - this.#sent >= heartbeatMs) this.write(u64Packet(packetType.ping, 0, 0n))
    session.tick(now)
  }

  /** The broker is going away. */
  drain(graceMs: number): void {
    this.#session?.drain(graceMs)
  }

  destroy(): void {
    this.#finish()
    this.#socket.destroy()
  }

  #finish(): void {
    if (this.#session === undefined) this.end()
    else this.#session.end()
  }

  /** Called by the session when it has ended: the socket follows, after what has been written. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#backlog = undefined
    this.#host.scheduler.remove(this)
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), lastWordsMs).unref()
    if (this.#socket.isPaused) this.#socket.resume()
    this.#host.ended(this)
  }
}
