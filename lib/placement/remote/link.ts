import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { onAbort } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { aborted, checkSignal } from '../../base/options.js'
import { version } from '../../base/version.js'
import { compressionFeature, Deflater } from '../../wire/compression.js'
import { integer, parseError, parseJson, parseWelcome, type Welcome } from '../../wire/messages.js'
import { maxJsonBytes, packetType, preamble, protocolVersion } from '../../wire/packet.js'
import { PacketReader } from '../../wire/packet-reader.js'
import { emptyPacket, jsonPacket, u64Packet } from '../../wire/packet-writer.js'
import { ClosedByBroker, connectFailure, unusableTls } from './connect-failure.js'
import type { ClientTls, Happening, TcpSettings } from './options.js'

/** A publisher, a subscriber or a request: whoever has a channel. It gets a new one with every connection. */
export interface LinkUser {
  /** There is a connection: open the channel. */
  connected(channel: number): void
  /**
   * The connection is lost, or the broker has ended the channel; another one will follow.
   *
   * @param reason what the broker says has failed there
   */
  disconnected(reason?: HermesError): void
  packet(type: number, bytes: Buffer, start: number, end: number): void
  /** The broker has ended the channel, or no connection will follow. */
  failed(error: HermesError): void
  /** Whether it waits for nothing that it has sent. */
  readonly idle: boolean
  /** There is a topic of this name from now on. */
  topicMade?(topic: string): void
}

/** The broker, or the topic there, is just going away: the same question may be answered a moment later, by a successor. */
const passingCodes: readonly string[] = ['CLOSED']

/** Between two attempts to open what the broker has put off. */
const putOffMs = 50

/** A fault is forgotten after a connection that has lasted so long without another one. */
const forgivenMs = 60_000

/** After these there is no sense in trying again. */
const finalCodes: readonly string[] = ['UNAUTHORIZED', 'VERSION_MISMATCH']

/** With so much waiting to be written PINGs are not answered. */
const mostUnreadBytes = 16 * 1024 * 1024

/** A broker that goes away and does not close the connection after we have is left after this time. */
const leaveMs = 1000

/** Read at once, at most. */
const readBytes = 256 * 1024

/** One side sent what the other does not understand, or can't carry. */
const faultCodes: readonly string[] = ['PROTOCOL', 'LIMIT']

const mostFaults = 3

/** A connection that has lasted so long was a good one. */
const stableMs = 1000

/** One connection to a broker, made again whenever it's lost. Many channels share it. */
export class Link {
  readonly settings: TcpSettings
  /** Compresses what this side sends; `undefined` where that was not agreed on. */
  deflater: Deflater | undefined
  /** Which of the transport's connections it is, from 1 on. */
  readonly #number: number
  readonly #users = new Set<LinkUser>()
  readonly #channels = new Map<number, LinkUser>()
  #socket: Socket | undefined
  #welcome: Welcome | undefined
  #nextChannel = 1
  #attempt = 0
  /** How often in a row the broker has found fault with what we say. */
  #faults = 0
  /** When the connection was made. */
  #since = 0
  #retry: NodeJS.Timeout | undefined
  readonly #postponed = new Set<NodeJS.Timeout>()
  #heart: NodeJS.Timeout | undefined
  #received = 0
  #sent = 0
  #draining = false
  /** The last of the PINGs that have come together: one answer serves them all. */
  #ping: bigint | undefined
  #drainTimer: NodeJS.Timeout | undefined
  #reason: Error | undefined
  #closed = false
  #failure: HermesError | undefined
  #opened = new Deferred<void>()

  constructor(settings: TcpSettings, number = 1) {
    this.settings = settings
    this.#number = number
    this.#opened.promise.catch(() => {})
  }

  /** Makes the first connection. @throws HermesError `CONNECTION_FAILED`, `UNAUTHORIZED`, `VERSION_MISMATCH`, `PROTOCOL` */
  connect(): Promise<void> {
    this.#connect()
    return this.#opened.promise
  }

  /**
   * Adds a user and waits until it's open. Gives it up if there is no connection for too long, or no answer.
   *
   * @param what is asked for, for the message
   * @param isAsked whether the broker has been asked: then the answer may take its time (a recovery)
   * @throws HermesError `CONNECTION_FAILED`, `TIMED_OUT`, `ABORTED`, and what `opened` is rejected with
   */
  async open(
    user: LinkUser,
    opened: Deferred<void>,
    what: string,
    isAsked: () => boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { connectTimeoutMs, requestTimeoutMs, url } = this.settings
    const connecting = setInterval(() => {
      if (isAsked()) return
      opened.reject(
        new HermesError('CONNECTION_FAILED', `There was no connection to ${url} for ${connectTimeoutMs} ms.`, {
          details: { url },
        }),
      )
    }, connectTimeoutMs)
    const asking = setTimeout(() => {
      opened.reject(
        new HermesError(
          'TIMED_OUT',
          `${url} did not answer within ${requestTimeoutMs} ms when it was asked for ${what}. Try again, or give it longer with 'requestTimeoutMs'.`,
          { details: { url, requestTimeoutMs } },
        ),
      )
    }, requestTimeoutMs)
    const forget = signal && !signal.aborted ? onAbort(signal, () => opened.reject(aborted(signal))) : undefined
    try {
      checkSignal(signal)
      this.add(user)
      await opened.promise
    } catch (error) {
      this.abandon(user)
      throw error
    } finally {
      clearInterval(connecting)
      clearTimeout(asking)
      forget?.()
    }
  }

  /** The largest body of a packet on this connection, in bytes; 0 if there is none. */
  get maxPacketBytes(): number {
    return this.#welcome?.limits.maxPacketBytes ?? 0
  }

  /** How many share it. */
  get users(): number {
    return this.#users.size
  }

  /** No connection will follow. */
  get hasFailed(): boolean {
    return this.#failure !== undefined
  }

  /** Whether packets may be sent: not while the broker is going away. */
  get ready(): boolean {
    return this.#welcome !== undefined && !this.#draining
  }

  /** Gives the user a channel, now or as soon as there is a connection. */
  add(user: LinkUser): void {
    if (this.#closed) throw closedError(this.settings.url)
    if (this.#failure !== undefined) throw this.#failure
    this.#users.add(user)
    if (this.ready) this.#assign(user)
  }

  /** Takes a new channel for a user whose channel has ended. */
  renew(user: LinkUser): void {
    for (const [channel, one] of this.#channels) if (one === user) this.#channels.delete(channel)
    if (this.#users.has(user) && this.ready) this.#assign(user)
  }

  /** A publisher of this process has opened the topic: it exists. */
  topicMade(topic: string): void {
    for (const user of [...this.#users]) user.topicMade?.(topic)
  }

  /** Gives up a user that may have asked for its channel already: nobody is there for the answer. */
  abandon(user: LinkUser): void {
    for (const [channel, one] of this.#channels) if (one === user) this.send(closePacket(channel))
    this.remove(user)
  }

  /** Gives the user a channel anew, a little later. */
  renewSoon(user: LinkUser, delayMs = putOffMs): void {
    const timer = setTimeout(() => {
      this.#postponed.delete(timer)
      // (there may have been another connection meanwhile, on which it has one)
      if (![...this.#channels.values()].includes(user)) this.renew(user)
    }, delayMs)
    this.#postponed.add(timer)
  }

  remove(user: LinkUser): void {
    this.#users.delete(user)
    for (const [channel, one] of this.#channels) if (one === user) this.#channels.delete(channel)
  }

  #assign(user: LinkUser): void {
    const channel = this.#nextChannel++
    this.#channels.set(channel, user)
    user.connected(channel)
  }

  /** Sends what stays as it is until it's written. */
  send(packet: Uint8Array): void {
    if (this.#socket === undefined) return
    this.#sent = performance.now()
    this.#socket.write(packet)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    for (const timer of this.#postponed) clearTimeout(timer)
    const error = closedError(this.settings.url)
    this.#opened.reject(error)
    for (const user of [...this.#users]) user.failed(error)
    this.#users.clear()
    const socket = this.#socket
    this.#lost(undefined)
    socket?.end()
    if (socket !== undefined) setTimeout(() => socket.destroy(), 200).unref()
  }

  #connect(): void {
    const { host, port, secure, tls, connectTimeoutMs } = this.settings
    // One buffer for all that is read: Node would make a new one of 64 KiB for each chunk. (TLS has buffers of its own.)
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (bytes: number, buffer: Uint8Array): boolean => {
        take(Buffer.from(buffer.buffer, buffer.byteOffset, bytes))
        return true
      },
    }
    const socket = secure ? connectSecurely(host, port, tls) : connectPlain({ host, port, noDelay: true, onread })
    this.#socket = socket
    this.#reason = undefined
    socket.setNoDelay(true)
    const timeout = setTimeout(() => {
      socket.destroy(new HermesError('TIMED_OUT', `${this.settings.url} did not answer within ${connectTimeoutMs} ms.`))
    }, connectTimeoutMs)
    const reader = new PacketReader('server', maxJsonBytes, (type, channel, bytes, start, end) => {
      if (this.#socket !== socket) return
      this.#packet(type, channel, bytes, start, end, reader)
      // (what is no answer has been refused)
      clearTimeout(timeout)
    })
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      const { token } = this.settings
      const hello = {
        versions: [protocolVersion, protocolVersion],
        features: this.#offered,
        client: `hermes-mq/${version} node/${process.versions.node}`,
        token,
      }
      socket.write(Buffer.concat([preamble, jsonPacket(packetType.hello, 0, hello)]))
    })
    const take = (chunk: Buffer) => {
      if (this.#socket !== socket) return
      this.#received = performance.now()
      try {
        reader.push(chunk)
        this.#answerPing()
      } catch (error) {
        reader.stop()
        socket.destroy(error instanceof Error ? error : new Error(String(error)))
      }
    }
    if (secure) socket.on('data', take)
    socket.on('error', (error) => {
      this.#reason ??= error
    })
    socket.on('close', () => {
      clearTimeout(timeout)
      if (this.#socket === socket) this.#lost(this.#reason ?? new ClosedByBroker())
    })
  }

  #packet(type: number, channel: number, bytes: Buffer, start: number, end: number, reader: PacketReader): void {
    const isFirst = this.#welcome === undefined
    if (isFirst && (channel !== 0 || (type !== packetType.welcome && type !== packetType.error))) {
      throw new HermesError('PROTOCOL', 'The first packet of a broker has to be WELCOME.')
    }
    if (channel !== 0) {
      const user = this.#channels.get(channel)
      if (type === packetType.error) {
        this.#channels.delete(channel)
        const fields = parseJson(bytes, start, end)
        if (user !== undefined) this.#refused(user, parseError(fields), fields['retry'] === true)
      } else {
        if (type === packetType.closed || type === packetType.reply) this.#channels.delete(channel)
        user?.packet(type, bytes, start, end)
      }
      return
    }
    switch (type) {
      case packetType.welcome:
        if (!isFirst) throw new HermesError('PROTOCOL', 'WELCOME came twice.')
        this.#welcomed(parseWelcome(parseJson(bytes, start, end), this.#offered), reader)
        return
      case packetType.ping:
        this.#ping = bytes.readBigUInt64LE(start)
        return
      case packetType.pong:
        return
      case packetType.error:
        this.#reason = parseError(parseJson(bytes, start, end))
        this.#socket?.destroy()
        return
      case packetType.drain:
        this.#drain(integer(parseJson(bytes, start, end), 'graceMs', 0, 3_600_000))
        return
      default:
        throw new HermesError('PROTOCOL', `A packet of type ${type} belongs to a channel.`)
    }
  }

  #answerPing(): void {
    const ping = this.#ping
    this.#ping = undefined
    // Who asks without end and takes no answer is not to fill our memory.
    if (ping !== undefined && (this.#socket?.writableLength ?? 0) < mostUnreadBytes)
      this.send(u64Packet(packetType.pong, 0, ping))
  }

  /** The broker has ended a channel, or not opened it. What passes is asked for again: on the next connection if this one is about to end. */
  #refused(user: LinkUser, error: HermesError, retry: boolean): void {
    const passes = retry || passingCodes.includes(error.code)
    if (!passes || this.settings.reconnect === undefined) {
      user.failed(error)
      return
    }
    user.disconnected(retry ? error : undefined)
    this.renewSoon(user)
  }

  get #offered(): readonly string[] {
    return this.settings.compression === 'deflate' ? [compressionFeature] : []
  }

  #welcomed(welcome: Welcome, reader: PacketReader): void {
    this.#welcome = welcome
    reader.maxBody = welcome.limits.maxPacketBytes
    reader.compression = welcome.features.includes(compressionFeature)
    this.deflater = welcome.features.includes(compressionFeature) ? new Deflater() : undefined
    this.#since = performance.now()
    this.#draining = false
    this.#nextChannel = 1
    this.#received = performance.now()
    this.#heart = setInterval(() => this.#beat(welcome.heartbeatMs), Math.max(5, welcome.heartbeatMs / 4))
    this.#heart.unref()
    this.#tell({ type: 'connected', server: welcome.server })
    this.#opened.resolve()
    for (const user of [...this.#users]) this.#assign(user)
  }

  #beat(heartbeatMs: number): void {
    const now = performance.now()
    if (now - this.#received > 2.5 * heartbeatMs) {
      this.#socket?.destroy(new HermesError('TIMED_OUT', 'The broker has said nothing for too long.'))
    } else if (now - this.#sent >= heartbeatMs) {
      this.send(u64Packet(packetType.ping, 0, 0n))
    }
  }

  /** The broker is going away: wait for what it owes us, then leave. */
  #drain(graceMs: number): void {
    if (this.#draining) return
    this.#draining = true
    const until = performance.now() + Math.min(graceMs, 2000)
    const leave = () => {
      const idle = [...this.#users].every((user) => user.idle)
      if (!idle && performance.now() < until) this.#drainTimer = setTimeout(leave, 5)
      else this.#leave()
    }
    leave()
  }

  #leave(): void {
    const socket = this.#socket
    socket?.end()
    this.#drainTimer = setTimeout(() => socket?.destroy(), leaveMs)
    this.#drainTimer.unref()
  }

  /** The connection is gone. */
  #lost(reason: Error | undefined): void {
    const had = this.#welcome !== undefined
    const socket = this.#socket
    this.#socket = undefined
    this.#welcome = undefined
    this.#channels.clear()
    this.#ping = undefined
    clearInterval(this.#heart)
    clearTimeout(this.#drainTimer)
    if (reason === undefined || socket === undefined) return
    const { reconnect } = this.settings
    if (had) this.#tell({ type: 'disconnected', reason })
    // Bytes may be damaged on the way; when one side misunderstands the other time and again, it would for ever.
    if (had && performance.now() - this.#since > forgivenMs) this.#faults = 0
    if (had && reason instanceof HermesError && faultCodes.includes(reason.code)) this.#faults++
    const final = this.#faults >= mostFaults || (reason instanceof HermesError && finalCodes.includes(reason.code))
    // The first connection is made once: whoever opens learns at once that there is nobody.
    const first = this.#attempt === 0 && !had
    if (final || reconnect === undefined || first) {
      this.#fail(reason)
      return
    }
    if (had) for (const user of [...this.#users]) user.disconnected()
    // One that is lost again at once counts as a failed attempt.
    if (had && performance.now() - this.#since > stableMs) this.#attempt = 0
    const ceiling = Math.min(reconnect.maxMs, reconnect.minMs * 2 ** Math.min(this.#attempt, 20))
    // At least half of it, so that nobody hammers; the rest at random, so that not all come at once.
    const delayMs = Math.round(ceiling * (0.5 + Math.random() / 2))
    this.#attempt++
    this.#tell({ type: 'reconnecting', attempt: this.#attempt, delayMs })
    if (this.#closed) return
    this.#retry = setTimeout(() => this.#connect(), delayMs)
  }

  #fail(reason: Error): void {
    this.#failure = connectFailure(reason, this.settings)
    this.#opened.reject(this.#failure)
    for (const user of [...this.#users]) user.failed(this.#failure)
    this.#users.clear()
  }

  lagging(topic: string, behind: number): void {
    this.#tell({ type: 'lagging', topic, behind })
  }

  #tell(what: Happening): void {
    try {
      this.settings.onStatus({ ...what, url: this.settings.url, connection: this.#number })
    } catch (error) {
      // A listener's fault is not the connection's: let it be seen as what it is.
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

/** @throws HermesError `INVALID_ARGUMENT` for certificates that can't be read */
function connectSecurely(host: string, port: number, tls: ClientTls): Socket {
  try {
    return connectTls({ host, port, ...tls, minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw unusableTls(cause)
  }
}

export function closedError(url: string): HermesError {
  return new HermesError('CLOSED', `The connection to ${url} was closed.`)
}

/** For a channel that is given up. */
export function closePacket(channel: number): Buffer {
  return emptyPacket(packetType.close, channel)
}
