import { abortable } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import { pause } from '../../base/pause.js'
import { msgpack } from '../../codec/msgpack.js'
import { defaultMaxPayloadBytes } from '../../frame/frame.js'
import { checkCodec } from '../../model/codec-check.js'
import type { MetricsReport } from '../../model/metrics.js'
import type { From, TopicInfo, TopicSettings } from '../../model/topic.js'
import { AwaitedSubscriber, topicDefined } from '../awaited-subscriber.js'
import type { ConsumerOptions, PositionOptions } from '../consumer-port.js'
import { letterBytes } from '../dead-letter.js'
import type { LeaseOptions, LeasePlacement } from '../lease-port.js'
import type { MirrorOptions, MirrorPlacement } from '../mirror-port.js'
import type { GroupPlacement, PortOptions, SubscriberPort, SubscriberPortOptions } from '../port.js'
import { NatsAdministration } from './administration.js'
import { natsCapabilities } from './capabilities.js'
import type { NatsConsumer } from './consumer.js'
import { checkNoMirror, readDefinition, retentionOf, streamPrefix } from './definition.js'
import { fromNats, passing } from './errors.js'
import { joinGroup, takePosition } from './groups.js'
import { NatsLease } from './lease.js'
import { metricsOf, type TopicFound } from './metrics.js'
import { NatsMirror } from './mirror.js'
import type { NatsSettings } from './options.js'
import { type JetStreamManager, loadPeer, type NatsConnection, type Peer } from './peer.js'
import type { NatsPosition } from './position.js'
import { NatsPublisher } from './publisher.js'
import { type Cluster, definitionOf, findStream, TopicStream } from './stream.js'
import { NatsSubscriber } from './subscriber.js'

/** Of a server before, subscribers were seen to read messages that were gone after the next election. docs/cluster.md */
const leastVersion = [2, 10, 0] as const

/**
 * How soon it is noticed that a server says nothing any more, which was cut off or stopped: after two of these without an answer. The client's own 2 minutes would have publishers wait
 * for as long as five, though all other servers are well.
 */
const pingMs = 2000
const mostPings = 2
/** A server that does not take a connection is given up, and the next one is tried; sooner than this none is. */
const leastDialMs = 1000

/** One attempt to learn whether there is JetStream. */
const askMs = 1000

/** A question that no server has answered in this time is asked again: of those that reach a group of servers without a leader, some are never answered. */
const answerMs = 5000
/** Between two of them. */
const againMs = 250

/** Topics as streams of a NATS JetStream cluster. */
export class NatsPlacement implements GroupPlacement, MirrorPlacement, LeasePlacement {
  readonly capabilities = natsCapabilities
  readonly administration: NatsAdministration
  readonly #settings: NatsSettings
  readonly #cluster: Cluster

  private constructor(settings: NatsSettings, cluster: Cluster) {
    this.#settings = settings
    this.#cluster = cluster
    this.administration = new NatsAdministration({
      cluster,
      info: (topic, signal) => this.info(topic, signal),
      stream: async (topic) => openedAsItIs(cluster, topic),
      persist: (work, signal) => this.#persist(work, signal),
    })
  }

  /** @throws HermesError `UNSUPPORTED`, `CONNECTION_FAILED`, `UNAUTHORIZED`, `VERSION_MISMATCH`, `ABORTED` */
  static async connect(settings: NatsSettings): Promise<NatsPlacement> {
    const peer = await loadPeer()
    const { servers, user, password, token, credentials, tls, connectTimeoutMs, requestTimeoutMs, replicas } = settings
    const { transport, jetstream } = peer
    const connecting = transport.connect({
      servers: [...servers],
      name: 'hermes',
      timeout: Math.min(connectTimeoutMs, Math.max(leastDialMs, connectTimeoutMs / servers.length)),
      pingInterval: pingMs,
      maxPingOut: mostPings,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      ...(user !== undefined && { user, pass: password ?? '' }),
      ...(token !== undefined && { token }),
      ...(credentials !== undefined && {
        authenticator: transport.credsAuthenticator(new TextEncoder().encode(credentials)),
      }),
      ...(tls !== undefined && { tls: { ...tls } as Record<string, string> }),
    })
    // Given up: what comes of it all the same is closed.
    const give = () => void connecting.then((late) => late.close()).catch(() => {})
    try {
      const connection = await abortable(connecting, settings.signal).catch((error: unknown) => {
        give()
        throw error
      })
      try {
        checkVersion(connection.info?.version ?? '')
        const manager = await abortable(reachJetStream(peer, connection, settings), settings.signal)
        const client = jetstream.jetstream(connection, { timeout: requestTimeoutMs })
        const reconnected = new Set<() => void>()
        void tellReconnects(connection, reconnected)
        return new NatsPlacement(settings, {
          peer,
          connection,
          manager,
          client,
          reconnected,
          replicas,
          requestTimeoutMs,
        })
      } catch (error) {
        await connection.close()
        throw error
      }
    } catch (error) {
      throw fromNats(error, `let this client use JetStream at ${settings.name}`)
    }
  }

  async topics(signal?: AbortSignal): Promise<string[]> {
    return this.#persist(async () => {
      const names: string[] = []
      try {
        for await (const info of this.#cluster.manager.streams.list('hermes.topic.>')) {
          if (signal?.aborted) break
          const definition = info.config.name.startsWith(streamPrefix) ? readDefinition(info) : undefined
          if (definition !== undefined) names.push(definition.topic)
        }
      } catch (error) {
        throw fromNats(error, 'list its topics')
      }
      return names.sort()
    }, signal)
  }

  info(name: string, signal?: AbortSignal): Promise<TopicInfo> {
    return this.#persist(() => this.#info(name, signal), signal)
  }

  /** What the servers know of topics and groups. */
  async metrics(signal?: AbortSignal): Promise<MetricsReport> {
    const found: TopicFound[] = []
    for (const name of await this.topics(signal)) {
      try {
        const groups = await this.administration.described(name, signal)
        found.push(await this.#persist(async () => ({ ...(await this.#found(name, signal)), groups }), signal))
      } catch (error) {
        // (one that was deleted meanwhile)
        if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND') throw error
      }
    }
    return metricsOf(this.#settings.name, found)
  }

  async #info(name: string, signal: AbortSignal | undefined): Promise<TopicInfo> {
    return (await this.#found(name, signal)).info
  }

  async #found(name: string, signal: AbortSignal | undefined): Promise<{ info: TopicInfo; readers: number }> {
    const found = await findStream(this.#cluster, name, signal)
    if (found === undefined) throw noTopic(name)
    const { codec, maxPayloadBytes, segmentBytes } = definitionOf(found, name)
    const stream = await TopicStream.open(this.#cluster, name, settingsOf(codec))
    const [{ next }, oldest] = await abortable(Promise.all([stream.tail(), stream.stored(1)]), signal)
    const { bytes } = found.state
    const info: TopicInfo = {
      name,
      codec,
      createdMs: Date.parse(found.created),
      firstSequence: oldest === undefined ? next : stream.head(oldest).first,
      nextSequence: next,
      syncedSequence: 1,
      watermarks: { claimed: next, written: next, synced: 1, replicated: next },
      segments: found.state.messages === 0 ? 0 : 1,
      bytes,
      usedBytes: bytes,
      segmentBytes,
      maxPayloadBytes,
      retention: retentionOf(found),
      publishers: 0,
      diskAlarm: false,
    }
    return { info, readers: found.state.consumer_count }
  }

  async publisher(topic: string, settings: TopicSettings, options: PortOptions): Promise<NatsPublisher> {
    const open = async () => {
      const stream = await TopicStream.open(this.#cluster, topic, settings)
      checkNoMirror(stream.definition)
      if (options.replicated) checkReplicas(topic, (await stream.info()).config.num_replicas)
      await stream.retain(settings.retention)
      const { max_payload: most = 1024 * 1024 } = this.#cluster.connection.info ?? {}
      return NatsPublisher.open(stream, this.#settings.publishBuffer, most, options.fence)
    }
    const publisher = await this.#persist(open, options.signal)
    await topicDefined(this.#key(topic))
    return publisher
  }

  async subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<SubscriberPort> {
    if (options.create === true || !settings.create) {
      await this.#persist(async () => {
        const stream = await TopicStream.open(this.#cluster, topic, { ...settings, create: options.create === true })
        if (options.create === true) await stream.retain(settings.retention)
      }, options.signal)
    }
    const wanted = { ...settings, create: false }
    let revision = ''
    const open = async (from: From) => {
      const stream = await TopicStream.open(this.#cluster, topic, wanted)
      revision = stream.definition.id
      return NatsSubscriber.open(stream, from, options.verify, this.#settings.subscribeBuffer)
    }
    const check = () => checkCodec(topic, wanted, wanted)
    // Who polls without a pause receives nothing: everything comes by the event loop here.
    const openNow = () => undefined
    const awaited = { key: this.#key(topic), topic, open, openNow, revision: () => revision, check }
    return this.#persist(() => AwaitedSubscriber.open(awaited, options.from), options.signal)
  }

  consumer(topic: string, settings: TopicSettings, group: string, options: ConsumerOptions): Promise<NatsConsumer> {
    return this.#persist(async () => {
      const stream = await TopicStream.open(this.#cluster, topic, { ...settings, create: options.create })
      const letters = (to: string) => this.#letters(to, stream.definition.maxPayloadBytes)
      return joinGroup(this.#cluster, stream, group, options, letters)
    }, options.signal)
  }

  position(topic: string, settings: TopicSettings, name: string, options: PositionOptions): Promise<NatsPosition> {
    return this.#persist(async () => {
      const stream = await TopicStream.open(this.#cluster, topic, { ...settings, create: options.create })
      return takePosition(this.#cluster, stream, name, options)
    }, options.signal)
  }

  /** A publisher of a topic for dead letters: one that is made now takes messages of this size, one that is there may take smaller ones. */
  async #letters(topic: string, maxPayloadBytes: number): Promise<NatsPublisher> {
    const { name, fingerprint, schema } = msgpack
    const settings = { ...settingsOf({ name, fingerprint, schema }), create: true }
    const carried = this.#cluster.connection.info?.max_payload ?? 1024 * 1024
    const most = Math.min(Math.max(defaultMaxPayloadBytes, maxPayloadBytes + letterBytes), carried - letterBytes)
    const isThere = (await findStream(this.#cluster, topic)) !== undefined
    return this.publisher(topic, isThere ? settings : { ...settings, maxPayloadBytes: most }, { exclusive: false })
  }

  lease(name: string, options: LeaseOptions): Promise<NatsLease> {
    return NatsLease.take(this.#cluster, name, options)
  }

  mirror(topic: string, settings: TopicSettings, options: MirrorOptions): Promise<NatsMirror> {
    return this.#persist(() => NatsMirror.open(this.#cluster, topic, settings, options), options.signal)
  }

  /** Tries again what the cluster does not answer, for `requestTimeoutMs`. */
  async #persist<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (const until = performance.now() + this.#settings.requestTimeoutMs; ; ) {
      try {
        return await abortable(work(), signal)
      } catch (error) {
        const isPassing = error instanceof HermesError && passing.has(error.code)
        if (!isPassing || performance.now() > until || this.#cluster.connection.isClosed()) throw error
      }
      await pause(againMs, signal)
    }
  }

  #key(topic: string): string {
    return `${this.#settings.name}/${topic}`
  }

  async close(): Promise<void> {
    await this.#cluster.connection.close()
  }
}

/** @throws HermesError `CONFIG_MISMATCH` */
function checkReplicas(topic: string, replicas: number): void {
  if (replicas > 1) return
  throw new HermesError(
    'CONFIG_MISMATCH',
    `Topic '${topic}' lies on one server of the cluster, so nothing in it is 'replicated'. Make it anew with open('nats://…', { replicas: 3 }), or have the cluster give it replicas: nats stream edit.`,
    { details: { topic, replicas } },
  )
}

function noTopic(topic: string): HermesError {
  return new HermesError('NOT_FOUND', `There is no topic '${topic}' in the cluster.`, { details: { topic } })
}

async function openedAsItIs(cluster: Cluster, topic: string): Promise<TopicStream> {
  const found = await findStream(cluster, topic)
  if (found === undefined) throw noTopic(topic)
  return TopicStream.open(cluster, topic, settingsOf(definitionOf(found, topic).codec))
}

/** For a topic whose codec is not to be compared with anything. */
function settingsOf(codec: TopicSettings['codec']): TopicSettings {
  const none = { segmentBytes: undefined, maxPayloadBytes: undefined, retention: undefined, lowWaterBytes: undefined }
  return { codec, ...none, create: false }
}

/** Until the connection is closed. Never rejects. */
async function tellReconnects(connection: NatsConnection, reconnected: ReadonlySet<() => void>): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'reconnect') for (const tell of [...reconnected]) tell()
  }
}

/** A cluster that has just been started does not answer until it has a leader. */
async function reachJetStream(
  { jetstream }: Peer,
  connection: NatsConnection,
  { connectTimeoutMs, requestTimeoutMs: timeout }: NatsSettings,
): Promise<JetStreamManager> {
  for (const until = performance.now() + connectTimeoutMs; ; ) {
    try {
      const asking = await jetstream.jetstreamManager(connection, { timeout: Math.min(timeout, askMs) })
      await asking.getAccountInfo()
      return await jetstream.jetstreamManager(connection, { timeout: Math.min(timeout, answerMs), checkAPI: false })
    } catch (error) {
      if (!passing.has(fromNats(error, '').code) || performance.now() > until || connection.isClosed()) throw error
      await pause(askMs / 10, undefined)
    }
  }
}

/** @throws HermesError `VERSION_MISMATCH` */
function checkVersion(version: string): void {
  const parts = version.split(/[.-]/).map(Number)
  for (const [index, least] of leastVersion.entries()) {
    const part = parts[index] ?? 0
    if (part > least) return
    if (part < least) {
      throw new HermesError(
        'VERSION_MISMATCH',
        `The server is nats-server ${version}; topics need ${leastVersion.join('.')} or later. Update it.`,
        { details: { version } },
      )
    }
  }
}
