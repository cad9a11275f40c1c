import { abortable } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { platformWords, unref } from '../../base/node.js'
import { checkSignal } from '../../base/options.js'
import { version } from '../../base/version.js'
import type { Connection, Transport } from '../../transport/connection.js'
import { ClosedByBroker } from '../../transport/failure.js'
import { ClientSession } from '../../wire/client-session.js'
import type { Deflater } from '../../wire/compression.js'
import { groupsFeature } from '../../wire/group-packets.js'
import type { Welcome } from '../../wire/messages.js'
import { packetType } from '../../wire/packet.js'
import { emptyPacket } from '../../wire/packet-writer.js'
import { AwaitedTopics } from './awaited-topics.js'
import { Channels, type LinkUser } from './channels.js'
import { faultCodes, finalCodes, passingCodes } from './error-kinds.js'
import type { Happening, TcpSettings } from './options.js'

/** Between two attempts to open what the broker has put off. */
const putOffMs = 50

/** A fault is forgotten after a connection that has lasted so long without another one. */
const forgivenMs = 60_000

const mostFaults = 3

/** A broker that goes away and does not close the connection after we have is left after this time. */
const leaveMs = 1000

/** How long `close` lets what was sent last be written. */
const lingerMs = 200

/** A connection that has lasted so long was a good one. */
const stableMs = 1000

/** One connection to a broker, made again whenever it's lost. Many channels share it. */
export class Link {
  readonly settings: TcpSettings
  readonly #transport: Transport
  /** Which of the placement's connections it is, from 1 on. */
  readonly #number: number
  readonly #users = new Set<LinkUser>()
  readonly #channels = new Channels()
  /** Users that wait for topics. */
  readonly awaited: AwaitedTopics
  /** The present connection and what is said on it; neither, or both. */
  #connection: Connection | undefined
  #session: ClientSession | undefined
  #attempt = 0
  /** How often in a row the broker has found fault with what we say. */
  #faults = 0
  /** When the connection was made. */
  #since = 0
  #retry: NodeJS.Timeout | undefined
  readonly #postponed = new Set<NodeJS.Timeout>()
  #heart: NodeJS.Timeout | undefined
  #draining = false
  #drainTimer: NodeJS.Timeout | undefined
  #closed = false
  #failure: HermesError | undefined
  #opened = new Deferred<void>()

  /** @param list asks for the names of all topics */
  constructor(
    settings: TcpSettings,
    transport: Transport,
    number: number,
    list: (link: Link) => Promise<readonly string[]>,
  ) {
    this.settings = settings
    this.#transport = transport
    this.#number = number
    this.awaited = new AwaitedTopics(this, () => list(this))
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
    try {
      checkSignal(signal)
      this.add(user)
      await abortable(opened.promise, signal)
    } catch (error) {
      this.abandon(user)
      throw error
    } finally {
      clearInterval(connecting)
      clearTimeout(asking)
    }
  }

  /** The largest body of a packet on this connection, in bytes; 0 if there is none. */
  get maxPacketBytes(): number {
    return this.#session?.welcome?.limits.maxPacketBytes ?? 0
  }

  /** @throws HermesError `UNSUPPORTED` if the broker is too old to have groups. REQUIRES: there is a connection */
  checkGroups(): void {
    const welcome = this.#session?.welcome
    if (welcome === undefined || welcome.features.includes(groupsFeature)) return
    throw new HermesError(
      'UNSUPPORTED',
      `The broker at ${this.settings.url} is ${welcome.server}, which has no groups and durable subscriptions for its clients. Have it upgraded, or use them on its host, in its directory.`,
      { details: { url: this.settings.url, server: welcome.server } },
    )
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
    return this.#session?.welcome !== undefined && !this.#draining
  }

  /** Compresses what this side sends; `undefined` where that was not agreed on. */
  get deflater(): Deflater | undefined {
    return this.#session?.deflater
  }

  /** Gives the user a channel, now or as soon as there is a connection. */
  add(user: LinkUser): void {
    if (this.#closed) throw closedError(this.settings.url)
    if (this.#failure !== undefined) throw this.#failure
    this.#users.add(user)
    if (this.ready) this.#channels.assign(user)
  }

  /** Takes a new channel for a user whose channel has ended. */
  renew(user: LinkUser): void {
    this.#channels.release(user)
    if (this.#users.has(user) && this.ready) this.#channels.assign(user)
  }

  /** A publisher of this process has opened the topic: it exists. */
  topicMade(topic: string): void {
    for (const user of [...this.#users]) user.topicMade?.(topic)
  }

  /** Gives up a user that may have asked for its channel already: the answer is not needed any more. */
  abandon(user: LinkUser): void {
    const channel = this.#channels.release(user)
    if (channel !== undefined) this.send(closePacket(channel))
    this.remove(user)
  }

  /** Gives the user a channel anew, a little later. */
  renewSoon(user: LinkUser): void {
    const timer = setTimeout(() => {
      this.#postponed.delete(timer)
      this.renewIdle(user)
    }, putOffMs)
    this.#postponed.add(timer)
  }

  /** Gives the user a channel anew, unless it has one: there may have been another connection meanwhile. */
  renewIdle(user: LinkUser): void {
    if (!this.#channels.has(user)) this.renew(user)
  }

  remove(user: LinkUser): void {
    this.#users.delete(user)
    this.awaited.remove(user)
    this.#channels.release(user)
  }

  /** Sends what stays as it is until it's written. */
  send(packet: Uint8Array): void {
    this.#session?.send(packet, performance.now())
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    for (const timer of this.#postponed) clearTimeout(timer)
    this.awaited.clear()
    const error = closedError(this.settings.url)
    this.#opened.reject(error)
    for (const user of [...this.#users]) user.failed(error)
    this.#users.clear()
    const connection = this.#connection
    this.#lost(undefined)
    connection?.end()
    if (connection !== undefined) unref(setTimeout(() => connection.destroy(), lingerMs))
  }

  #connect(): void {
    const { url, token, connectTimeoutMs } = this.settings
    const compression = this.settings.compression === 'deflate'
    const session = new ClientSession(
      {
        send: (bytes) => void connection.write(bytes),
        unwrittenBytes: () => connection.unwrittenBytes,
        welcomed: (welcome) => {
          clearTimeout(timeout)
          this.#welcomed(welcome)
        },
        draining: (graceMs) => this.#drain(graceMs),
        refused: (error) => connection.destroy(error),
        packet: (channel, type, bytes, start, end) => this.#packet(channel, type, bytes, start, end),
        channelRefused: (channel, error, retry) => this.#refused(channel, error, retry),
      },
      compression,
    )
    const connection = this.#transport.connect({
      opened: () => session.greet(`hermes-mq/${version} ${platformWords}`, token),
      received: (bytes) => {
        try {
          session.receive(bytes, performance.now())
        } catch (error) {
          connection.destroy(error instanceof Error ? error : new Error(String(error)))
        }
      },
      closed: (reason) => {
        clearTimeout(timeout)
        if (this.#connection === connection) this.#lost(reason ?? new ClosedByBroker())
      },
    })
    const timeout = setTimeout(() => {
      connection.destroy(new HermesError('TIMED_OUT', `${url} did not answer within ${connectTimeoutMs} ms.`))
    }, connectTimeoutMs)
    this.#connection = connection
    this.#session = session
  }

  #packet(channel: number, type: number, bytes: Buffer, start: number, end: number): void {
    const user = this.#channels.user(channel)
    if (type === packetType.closed || type === packetType.reply) this.#channels.end(channel)
    user?.packet(type, bytes, start, end)
  }

  /** The broker has ended a channel, or not opened it. What passes is asked for again: on the next connection if this one is about to end. */
  #refused(channel: number, error: HermesError, retry: boolean): void {
    const user = this.#channels.user(channel)
    this.#channels.end(channel)
    if (user === undefined) return
    const passes = retry || passingCodes.includes(error.code)
    if (!passes || this.settings.reconnect === undefined) {
      user.failed(error)
      return
    }
    user.disconnected(retry ? error : undefined)
    this.renewSoon(user)
  }

  #welcomed({ heartbeatMs, server }: Welcome): void {
    this.#since = performance.now()
    this.#draining = false
    this.#channels.clear()
    this.awaited.clear()
    this.#heart = setInterval(() => this.#beat(), Math.max(5, heartbeatMs / 4))
    unref(this.#heart)
    this.#tell({ type: 'connected', server })
    this.#opened.resolve()
    for (const user of [...this.#users]) this.#channels.assign(user)
  }

  #beat(): void {
    try {
      this.#session?.beat(performance.now())
    } catch (error) {
      this.#connection?.destroy(error as Error)
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
    const connection = this.#connection
    connection?.end()
    this.#drainTimer = setTimeout(() => connection?.destroy(), leaveMs)
    unref(this.#drainTimer)
  }

  /** The connection is gone. */
  #lost(reason: Error | undefined): void {
    const had = this.#session?.welcome !== undefined
    const connection = this.#connection
    // What has arrived and was not looked at yet belongs to a connection that is over.
    this.#session?.stop()
    this.#connection = undefined
    this.#session = undefined
    this.#channels.clear()
    clearInterval(this.#heart)
    clearTimeout(this.#drainTimer)
    if (reason === undefined || connection === undefined) return
    const { reconnect } = this.settings
    if (had) this.#tell({ type: 'disconnected', reason })
    // Bytes may be damaged on the way; when one side misunderstands the other time and again, it would for ever.
    if (had && performance.now() - this.#since > forgivenMs) this.#faults = 0
    if (had && reason instanceof HermesError && faultCodes.includes(reason.code)) this.#faults++
    const final = this.#faults >= mostFaults || (reason instanceof HermesError && finalCodes.includes(reason.code))
    // The first connection is tried once: the caller learns at once that no broker answers.
    const first = this.#attempt === 0 && !had
    if (final || reconnect === undefined || first) {
      this.#fail(reason)
      return
    }
    if (had) for (const user of [...this.#users]) user.disconnected()
    // One that is lost again at once counts as a failed attempt.
    if (had && performance.now() - this.#since > stableMs) this.#attempt = 0
    const ceiling = Math.min(reconnect.maxMs, reconnect.minMs * 2 ** Math.min(this.#attempt, 20))
    // At least half of it, so that clients do not retry too often; the rest at random, so that they do not all reconnect at once.
    const delayMs = Math.round(ceiling * (0.5 + Math.random() / 2))
    this.#attempt++
    this.#tell({ type: 'reconnecting', attempt: this.#attempt, delayMs })
    if (this.#closed) return
    this.#retry = setTimeout(() => this.#connect(), delayMs)
  }

  #fail(reason: Error): void {
    this.#failure = this.#transport.explain(reason)
    this.#opened.reject(this.#failure)
    this.awaited.clear()
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

export function closedError(url: string): HermesError {
  return new HermesError('CLOSED', `The connection to ${url} was closed.`)
}

/** For a channel that is given up. */
export function closePacket(channel: number): Buffer {
  return emptyPacket(packetType.close, channel)
}
