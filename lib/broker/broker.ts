import { randomBytes } from 'node:crypto'
import { HermesError } from '../base/errors.js'
import { checkInteger } from '../base/options.js'
import type { TopicInfo } from '../model/topic.js'
import { loadAddon } from '../native/load.js'
import { pathOfPlace } from '../placement/local/path.js'
import { LocalPlacement } from '../placement/local/placement.js'
import { openDirectory, topicFolder } from '../store/directory.js'
import { listGroups } from '../store/group.js'
import { PlaceMetrics } from '../store/place-metrics.js'
import { sweepRemoved } from '../store/removal.js'
import { deliverHeadBytes, publishHeadBytes } from '../wire/packet.js'
import type { Rights } from './access.js'
import { BrokerAdministration } from './administration.js'
import { Admission, type Guest } from './admission.js'
import { Connection, type ConnectionHost } from './connection.js'
import { openFilesLimit } from './descriptors.js'
import { makeEngine } from './engine/choose.js'
import type { Engine, EngineHost, EngineTls } from './engine/engine.js'
import type { WebSocketEngine } from './engine/web-socket.js'
import { Health } from './health.js'
import { Journal } from './journal.js'
import { listenOn, shownAddress } from './listening.js'
import { Memberships } from './memberships.js'
import { Meter } from './meter.js'
import { Openings } from './openings.js'
import { type BrokerOptions, type BrokerSettings, checkBrokerOptions } from './options.js'
import { Quota, Quotas } from './quotas.js'
import { checkReloadOptions, type ReloadOptions } from './reload.js'
import { Scheduler } from './scheduler.js'
import { ServedDirectory } from './served-directory.js'
import type { BrokerTopic } from './topic.js'
import { TopicList } from './topic-list.js'
import { mostPayloadBytes, TopicTable } from './topic-table.js'

/** Descriptors that are kept for topics, at most: a socket that would need one of them is turned away. */
const keptDescriptors = 1024
const fewDescriptors =
  'Nearly all open files that the system allows are in use; what is left is kept for topics. Raise the limit (ulimit -n, LimitNOFILE=), or lower maxConnections.'
/** Whether the directory is still there is looked at so often. */
const checkEveryMs = 5000

/**
 * Serves the topics of a directory to clients on the network. Local processes may use them at the same time.
 *
 * @throws HermesError `BUSY` (another broker serves the directory), `UNAUTHORIZED` (a public address without authentication),
 *   `IO_FAILED` (the port is taken, or the address is not of this machine), `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, and what `open()` throws
 */
export function serve(options: BrokerOptions): Promise<Broker> {
  return serveOver(undefined, options)
}

/** The same over any engine; `undefined`: the one that the options name. @internal */
export async function serveOver(make: MakeEngine | undefined, options: BrokerOptions): Promise<Broker> {
  const settings = checkBrokerOptions(options)
  loadAddon('A broker')
  const directory = await openDirectory(pathOfPlace(settings.dir), true, settings.mode)
  const served = await ServedDirectory.hold(directory)
  try {
    // (Loaded where there is a door: it needs the package ws.)
    const door = settings.webSocket && (await import('./engine/web-socket.js')).WebSocketEngine
    const broker = new Broker(settings, served, make, door)
    await broker.listen()
    return broker
  } catch (error) {
    served.release()
    throw error
  }
}

/** @internal */
export type MakeEngine = <Guest>(host: EngineHost<Guest>, tls: EngineTls | undefined) => Engine

/** A running broker; made by `serve()`. */
export class Broker implements AsyncDisposable {
  readonly settings: BrokerSettings
  readonly #served: ServedDirectory
  readonly #transport: LocalPlacement
  readonly #engine: Engine
  readonly #door: WebSocketEngine<Guest> | undefined
  readonly #connections = new Set<Connection>()
  readonly #topics: TopicTable
  readonly #list: TopicList
  readonly #infos = new Map<string, Promise<TopicInfo>>()
  readonly #host: ConnectionHost
  readonly #journal: Journal
  readonly #metrics: PlaceMetrics
  readonly #meter = new Meter()
  readonly #admission: Admission
  readonly #memberships: Memberships
  #quotas: Quotas | undefined
  /** Open files beyond this are kept for topics. */
  readonly #mostDescriptor: number
  #sweeper: NodeJS.Timeout | undefined
  #lastCheck = 0
  #spinning = false
  #draining = false
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(
    settings: BrokerSettings,
    served: ServedDirectory,
    make: MakeEngine | undefined,
    Door?: typeof WebSocketEngine,
  ) {
    this.settings = settings
    this.#served = served
    this.#transport = new LocalPlacement(served.directory)
    this.#list = new TopicList(served.directory)
    this.#journal = new Journal(settings.log)
    const { limits, tls } = settings
    const report = (event: string, facts: Readonly<Record<string, unknown>>) => this.#report('warn', event, facts)
    const files = openFilesLimit()
    this.#admission = new Admission(limits, report, files)
    this.#mostDescriptor = files - Math.min(keptDescriptors, Math.floor(files / 4))
    this.#memberships = new Memberships(limits, files, report)
    const health = new Health(served.directory.path)
    this.#metrics = new PlaceMetrics(served.directory)
    this.#topics = new TopicTable(served.directory, settings, health, this.#metrics, (level, event, facts) =>
      this.#report(level, event, facts),
    )
    const broker = this
    this.#host = {
      settings,
      scheduler: new Scheduler(),
      admission: this.#admission,
      meter: this.#meter,
      instance: randomBytes(16).toString('hex'),
      get draining() {
        return broker.#draining
      },
      maxPacketBytes:
        Math.max(settings.limits.maxBatchBytes, mostPayloadBytes) + publishHeadBytes + deliverHeadBytes + 64,
      topic: (name, wanted) => this.#topics.hold(name, wanted),
      opening: (name, error) => this.#topics.noteOpening(name, error),
      memberships: this.#memberships,
      openings: new Openings(),
      groups: this.#transport,
      mayMakeGroup: (topic, group) => this.#mayMakeGroup(topic, group),
      health: () => health.report(),
      topics: () => this.#list.names(),
      administration: new BrokerAdministration(this.#transport.administration, this.#topics, (name) =>
        this.#transport.info(name),
      ),
      info: (name) => this.#info(name),
      check: () => this.#check(),
      quota: (topic, rights) => this.#quota(topic, rights),
      shown: (error) => served.shown(error),
      report,
      ended: (connection) => {
        this.#connections.delete(connection)
      },
    }
    const { handshakeTimeoutMs } = limits
    const host: EngineHost<Guest> = {
      admit: (address, descriptor, drop) => this.#admit(address, descriptor, drop),
      serve: (socket, guest) => this.#serve(new Connection(this.#host, guest, socket)),
      leave: (guest) => this.#admission.leave(guest),
      failed: (event, facts) => this.#report(event === 'listen-failed' ? 'error' : 'warn', event, facts),
    }
    const engineTls = tls && { ...tls, handshakeTimeoutMs }
    this.#engine =
      make?.(host, engineTls) ??
      makeEngine(settings.engine, host, engineTls, ({ message }) =>
        report('engine-unavailable', { engine: 'epoll', message }),
      )
    const { webSocket } = settings
    this.#door =
      webSocket &&
      Door &&
      new Door(this.#counting(host), engineTls, {
        origins: webSocket.origins,
        handshakeTimeoutMs,
        isOpen: () => settings.access.isOpen && settings.tls?.ca === undefined,
      })
  }

  /** Where it listens. */
  get port(): number {
    return this.#engine.port
  }

  /** What to give to `open()`. */
  get url(): string {
    return `${this.settings.tls === undefined ? 'tcp' : 'tls'}://${shownAddress(this.settings.host, this.port)}`
  }

  /** The same for WebSockets; `undefined` if there is no door for them. */
  get webSocketUrl(): string | undefined {
    const { webSocket, tls } = this.settings
    if (webSocket === undefined || this.#door === undefined) return undefined
    return `${tls === undefined ? 'ws' : 'wss'}://${shownAddress(webSocket.host, this.#door.port)}`
  }

  /** Has the door for WebSockets admit the page of an admin server at this port. */
  admitDashboard(port: number): void {
    this.#door?.admitDashboard(port)
  }

  get connections(): number {
    return this.#connections.size
  }

  /** @internal */
  async listen(): Promise<void> {
    const { host, port, limits, webSocket } = this.settings
    await this.#meter.open(this.#metrics)
    await sweepRemoved(this.#served.directory)
    this.#quotas = await Quotas.load(this.#served.directory, (name) => this.#topics.find(name))
    await listenOn(this.#engine, host, port)
    try {
      if (webSocket !== undefined && this.#door !== undefined)
        await listenOn(this.#door, webSocket.host, webSocket.port)
    } catch (error) {
      await this.#engine.close()
      throw error
    }
    this.#sweeper = setInterval(
      () => this.#sweep(),
      Math.max(5, Math.min(limits.heartbeatMs / 4, limits.handshakeTimeoutMs / 4, 1000)),
    )
    this.#sweeper.unref()
    // Who asks whether it is ready need not wait for the first sweep.
    this.#meter.set('beatMs', Date.now())
    const { url, webSocketUrl } = this
    this.#report('info', 'listening', { url, webSocket: webSocketUrl, dir: this.#served.directory.path })
  }

  /**
   * From now on these access entries hold, and handshakes are made with these keys; what is not given stays as it is. Nothing changes if anything of it is refused. Connections stay: each
   * client's rights are looked up anew, what it has open and may not any more ends with `UNAUTHORIZED`, and so does a connection whose token no entry knows any more.
   *
   * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `UNAUTHORIZED` (nothing would guard a public address), `UNSUPPORTED` (TLS, or certificates of clients, can't be begun or ended
   *   without a restart), `CLOSED`
   */
  reload(options: ReloadOptions): void {
    if (this.#closing !== undefined) throw new HermesError('CLOSED', 'The broker is closed.')
    const { access, tls } = checkReloadOptions(options, this.settings)
    if (access !== undefined) this.settings.access.become(access)
    if (tls !== undefined) for (const engine of this.#engines) engine.renew(tls)
    this.#report('info', 'reloaded', { access: access !== undefined, tls: tls !== undefined })
    if (access !== undefined) for (const connection of [...this.#connections]) connection.review()
  }

  /**
   * Goes away in order: takes no new connections, asks clients to leave, serves them until they have or `graceMs` are over, then closes.
   */
  async drain(graceMs = 5000): Promise<void> {
    checkInteger('graceMs', graceMs, 0, 2 ** 31 - 1)
    if (!this.#draining) {
      this.#draining = true
      this.#report('info', 'draining', { connections: this.#connections.size, graceMs })
      for (const engine of this.#engines) engine.stop()
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
    for (const engine of this.#engines) engine.stop()
    for (const connection of [...this.#connections]) connection.destroy()
    await Promise.all(this.#engines.map((engine) => engine.close()))
    await this.#memberships.close()
    await this.#topics.close()
    await this.#saveQuotas()
    this.#meter.close()
    this.#metrics.close()
    this.#served.release()
    this.#report('info', 'closed', {})
  }

  get #engines(): readonly Engine[] {
    return this.#door === undefined ? [this.#engine] : [this.#engine, this.#door]
  }

  /** The host of the door for WebSockets. */
  #counting(host: EngineHost<Guest>): EngineHost<Guest> {
    return {
      ...host,
      admit: (address, descriptor, drop) => {
        const guest = host.admit(address, descriptor, drop)
        if (guest !== undefined) this.#meter.count('webSockets')
        return guest
      },
    }
  }

  #serve(connection: Connection): Connection {
    this.#connections.add(connection)
    if (this.settings.idle === 'spin' && !this.#spinning) this.#spin()
    return connection
  }

  #admit(address: string, descriptor: number, drop: () => void): Guest | undefined {
    if (descriptor > this.#mostDescriptor) {
      this.#report('warn', 'too-few-descriptors', {
        address,
        descriptor,
        limit: this.#mostDescriptor,
        message: fewDescriptors,
      })
      return undefined
    }
    const guest = this.#draining ? undefined : this.#admission.admit(address, drop)
    if (guest !== undefined) this.#meter.count('accepted')
    return guest
  }

  /** All who ask for the same topic at the same time get the same answer. */
  #info(name: string): Promise<TopicInfo> {
    let asked = this.#infos.get(name)
    if (asked === undefined) {
      asked = this.#transport.info(name).finally(() => this.#infos.delete(name))
      this.#infos.set(name, asked)
    }
    return asked
  }

  /** @throws HermesError `IO_FAILED` if the directory is gone; `BUSY` */
  async #check(): Promise<void> {
    if (await this.#served.check()) this.#report('error', 'lock-restored', { file: 'broker.lock' })
  }

  async #mayMakeGroup(topic: string, group: string): Promise<void> {
    const { maxGroups } = this.settings.limits
    const groups = await listGroups(topicFolder(this.#served.directory, topic))
    if (groups.length < maxGroups || groups.includes(group)) return
    this.#report('warn', 'too-many-groups', { topic, group, limit: maxGroups })
    throw new HermesError(
      'LIMIT',
      `Topic '${topic}' has ${groups.length} groups, as many as the broker's limit 'maxGroups' allows. Delete some, or raise it.`,
      { details: { topic, group, limit: 'maxGroups', most: maxGroups } },
    )
  }

  #quota(topic: BrokerTopic, { name, maxBytes }: Rights): Quota | undefined {
    const { maxTopicBytes } = this.settings.limits
    if (this.#quotas === undefined || (maxBytes === undefined && maxTopicBytes === Number.MAX_SAFE_INTEGER))
      return undefined
    return new Quota(this.#quotas, topic, name, maxBytes, maxTopicBytes)
  }

  #saveQuotas(): Promise<void> {
    const saved = this.#quotas?.save() ?? Promise.resolve()
    return saved.catch((error: unknown) => this.#report('error', 'quotas-failed', { message: String(error) }))
  }

  /** Polls sockets and logs without ever sleeping, while there are clients. */
  #spin(): void {
    this.#spinning = this.#connections.size > 0
    if (!this.#spinning) return
    this.#engine.spin?.()
    this.#topics.pump()
    setImmediate(() => this.#spin())
  }

  #lastSecond = 0
  #sweep(): void {
    const now = performance.now()
    if (now - this.#lastSecond >= 1000) {
      this.#lastSecond = now
      this.#admission.nextSecond()
      void this.#saveQuotas()
    }
    if (now - this.#lastCheck >= checkEveryMs) {
      this.#lastCheck = now
      this.#check().catch((error: unknown) => this.#report('error', 'directory-lost', { message: String(error) }))
    }
    for (const connection of [...this.#connections]) connection.tick(now)
    this.#topics.sweep(now)
    this.#journal.sweep(now)
    this.#meter.set('connections', this.#connections.size)
    this.#meter.set('subscribers', this.#admission.subscribers)
    this.#meter.set('bufferedBytes', this.#admission.bufferedBytes)
    this.#meter.set('topics', this.#topics.size)
    this.#meter.set('openWebSockets', this.#door?.served ?? 0)
    this.#meter.set('beatMs', Date.now())
  }

  #report(level: 'info' | 'warn' | 'error', event: string, facts: Readonly<Record<string, unknown>>): void {
    this.#meter.noted(event, facts)
    this.#journal.write(level, event, facts)
  }
}
