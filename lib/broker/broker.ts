import { randomBytes } from 'node:crypto'
import { open as openFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { HermesError } from '../errors.js'
import { native } from '../native.js'
import { callNative } from '../native-error.js'
import { type Directory, fromFs, openDirectory } from '../transport/log/directory.js'
import { LogTransport } from '../transport/log/log-transport.js'
import type { TopicInfo, TopicSettings } from '../transport/transport.js'
import { deliverHeadBytes, publishHeadBytes } from '../wire/packet.js'
import { Connection, type ConnectionHost, shownAddress } from './connection.js'
import { type BrokerOptions, type BrokerSettings, checkBrokerOptions } from './options.js'
import { BrokerTopic } from './topic.js'

/** Bytes of one message in the largest topic that is served; a packet may hold one such. */
const mostPayloadBytes = 16 * 1024 * 1024
/** After a refused connection from one address, others in the same second are only counted. */
const reportEveryMs = 1000

/**
 * Serves the topics of a directory to clients on the network. Local processes may use them at the same time.
 *
 * @throws HermesError `BUSY` (another broker serves the directory), `UNAUTHORIZED` (a public address, and nobody is asked who he is),
 *   `CONNECTION_FAILED` (the address can't be listened on), and what `open()` throws
 */
export async function serve(options: BrokerOptions): Promise<Broker> {
  const settings = checkBrokerOptions(options)
  const directory = await openDirectory(settings.dir, true, settings.mode)
  const path = join(directory.path, 'broker.lock')
  try {
    await (await openFile(path, 'a', settings.mode)).close()
  } catch (error) {
    throw fromFs(error, `make ${path}`)
  }
  const lock = callNative(() => native.holdLock(path))
  if (lock === null) {
    throw new HermesError(
      'BUSY',
      `Another broker serves ${directory.path}. One directory has one broker; connect to that one.`,
    )
  }
  const broker = new Broker(settings, directory, lock)
  try {
    await broker.listen()
  } catch (error) {
    lock.release()
    throw error
  }
  return broker
}

/** A running broker; made by `serve()`. */
export class Broker implements AsyncDisposable {
  readonly settings: BrokerSettings
  readonly #directory: Directory
  readonly #lock: { release(): void }
  readonly #transport: LogTransport
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  /** Sockets: also those that are not let in yet, or are being told why they may not stay. The limit is on these. */
  #held = 0
  readonly #topics = new Map<string, Promise<BrokerTopic>>()
  /** Topics that are open, for the loop that spins. */
  readonly #open = new Set<BrokerTopic>()
  readonly #host: ConnectionHost
  readonly #handshakes = new Map<string, number>()
  readonly #suppressed = new Map<string, { since: number; count: number }>()
  #sweeper: NodeJS.Timeout | undefined
  #spinning = false
  #draining = false
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(settings: BrokerSettings, directory: Directory, lock: { release(): void }) {
    this.settings = settings
    this.#directory = directory
    this.#lock = lock
    this.#transport = new LogTransport(directory)
    const broker = this
    const { tls } = settings
    this.#host = {
      settings,
      instance: randomBytes(16).toString('hex'),
      get draining() {
        return broker.#draining
      },
      maxPacketBytes:
        Math.max(settings.limits.maxBatchBytes, mostPayloadBytes) + publishHeadBytes + deliverHeadBytes + 64,
      topic: (name, wanted) => this.#topic(name, wanted),
      topics: () => this.#transport.topics(),
      info: (name): Promise<TopicInfo> => this.#transport.info(name),
      report: (event, facts) => this.#report('warn', event, facts),
      ended: (connection) => {
        this.#connections.delete(connection)
      },
      gone: () => {
        if (tls === undefined) this.#held--
      },
    }
    const { limits } = settings
    this.#server =
      tls === undefined
        ? createServer({ noDelay: true }, (socket) => this.#accept(socket))
        : createTlsServer(
            {
              key: tls.key,
              cert: tls.cert,
              ...(tls.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
              minVersion: 'TLSv1.2',
              handshakeTimeout: limits.handshakeTimeoutMs,
            },
            (socket) => this.#accept(socket),
          )
    // A TLS handshake costs both memory and time: the limits come before it.
    if (tls !== undefined) {
      this.#server.on('connection', (socket: Socket) => {
        if (!this.#admit(socket)) {
          socket.destroy()
          return
        }
        this.#held++
        socket.once('close', () => this.#held--)
      })
      this.#server.on('tlsClientError', (error: Error, socket: Socket) => {
        this.#report('warn', 'tls-failed', { address: socket.remoteAddress, message: error.message })
        // Node tells of a greeting that did not come in time, and waits on.
        socket.destroy()
      })
    }
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** What to give to `open()`. */
  get url(): string {
    return `${this.settings.tls === undefined ? 'tcp' : 'tls'}://${shownAddress(this.settings.host, this.port)}`
  }

  get connections(): number {
    return this.#connections.size
  }

  /** @internal */
  listen(): Promise<void> {
    const { host, port, limits } = this.settings
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        reject(
          new HermesError('CONNECTION_FAILED', `Can't listen on ${shownAddress(host, port)}: ${cause.message}.`, {
            cause,
          }),
        )
      })
      this.#server.listen({ host, port, backlog: 511 }, () => {
        this.#server.removeAllListeners('error')
        this.#server.on('error', (error) => this.#report('error', 'listen-failed', { message: error.message }))
        this.#sweeper = setInterval(
          () => this.#sweep(),
          Math.max(5, Math.min(limits.heartbeatMs / 4, limits.handshakeTimeoutMs / 4, 1000)),
        )
        this.#sweeper.unref()
        this.#report('info', 'listening', { url: this.url, dir: this.#directory.path })
        resolve()
      })
    })
  }

  /**
   * Goes away in order: takes no new connections, asks clients to leave, serves them until they have or `graceMs` are over, then closes.
   */
  async drain(graceMs = 5000): Promise<void> {
    if (!this.#draining) {
      this.#draining = true
      this.#report('info', 'draining', { connections: this.#connections.size, graceMs })
      this.#server.close()
      for (const connection of this.#connections) connection.drain(graceMs)
    }
    const until = performance.now() + graceMs
    while (this.#connections.size > 0 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 10))
    await this.close()
  }

  /** Ends all connections and closes all topics. Nothing that was acknowledged is lost by it. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#draining = true
    clearInterval(this.#sweeper)
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const connection of [...this.#connections]) connection.destroy()
    await stopped
    const topics = await Promise.allSettled(this.#topics.values())
    this.#topics.clear()
    this.#open.clear()
    const closed = await Promise.allSettled(
      topics.map((topic) => (topic.status === 'fulfilled' ? topic.value.close() : undefined)),
    )
    for (const outcome of closed)
      if (outcome.status === 'rejected') this.#report('error', 'close-failed', { message: String(outcome.reason) })
    this.#lock.release()
    this.#report('info', 'closed', {})
  }

  #accept(socket: Socket): void {
    if (this.settings.tls === undefined) {
      if (!this.#admit(socket)) {
        socket.destroy()
        return
      }
      this.#held++
    }
    this.#connections.add(new Connection(this.#host, socket))
    if (this.settings.idle === 'spin' && !this.#spinning) this.#spin()
  }

  #admit(socket: Socket): boolean {
    const { maxConnections, maxHandshakesPerSecond } = this.settings.limits
    const address = socket.remoteAddress ?? 'unknown'
    const before = this.#handshakes.get(address) ?? 0
    this.#handshakes.set(address, before + 1)
    if (before >= maxHandshakesPerSecond) {
      this.#report('warn', 'too-many-handshakes', { address, limit: maxHandshakesPerSecond })
    } else if (this.#held >= maxConnections) {
      this.#report('warn', 'too-many-connections', { address, limit: maxConnections })
    } else {
      return !this.#draining
    }
    return false
  }

  async #topic(name: string, settings: TopicSettings): Promise<BrokerTopic> {
    let opening = this.#topics.get(name)
    if (opening === undefined) {
      const { maxTopics, maxBatchBytes } = this.settings.limits
      if (this.#topics.size >= maxTopics)
        throw new HermesError('LIMIT', `This broker has ${maxTopics} topics open, as many as it may have.`)
      const report = (error: unknown) => this.#report('error', 'topic-failed', { topic: name, message: String(error) })
      opening = BrokerTopic.open(this.#directory, name, settings, maxBatchBytes, this.settings.idle === 'spin', report)
      this.#topics.set(name, opening)
      // What could not be opened may be possible later, or with other settings.
      opening.then(
        (topic) => this.#open.add(topic),
        () => this.#topics.delete(name),
      )
      return opening
    }
    const topic = await opening
    await topic.check(settings)
    return topic
  }

  /** Polls sockets and logs without ever sleeping, while there are clients. */
  #spin(): void {
    this.#spinning = this.#connections.size > 0
    if (!this.#spinning) return
    for (const topic of this.#open) topic.pump()
    setImmediate(() => this.#spin())
  }

  #lastSecond = 0
  #sweep(): void {
    const now = performance.now()
    if (now - this.#lastSecond >= 1000) {
      this.#lastSecond = now
      this.#handshakes.clear()
    }
    for (const connection of [...this.#connections]) connection.tick(now)
    for (const [event, { since, count }] of this.#suppressed) {
      if (now - since < reportEveryMs) continue
      this.#suppressed.delete(event)
      if (count > 0) this.settings.log({ level: 'warn', event, repeated: count })
    }
  }

  /** One line for each event, however often strangers cause it: more in the same second are counted. */
  #report(level: 'info' | 'warn' | 'error', event: string, facts: Readonly<Record<string, unknown>>): void {
    if (level === 'warn') {
      const known = this.#suppressed.get(event)
      if (known !== undefined) {
        known.count++
        return
      }
      this.#suppressed.set(event, { since: performance.now(), count: 0 })
    }
    this.settings.log({ level, event, ...facts })
  }
}
