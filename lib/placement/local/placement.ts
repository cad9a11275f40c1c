import { setTimeout as sleep } from 'node:timers/promises'
import { getSystemErrorName } from 'node:util'
import { HermesError } from '../../base/errors.js'
import { msgpack } from '../../codec/msgpack.js'
import { defaultMaxPayloadBytes } from '../../frame/frame.js'
import { defaultSegmentBytes } from '../../model/limits.js'
import type { MetricsReport } from '../../model/metrics.js'
import { type From, type Retention, retentionLimits, type TopicInfo, type TopicSettings } from '../../model/topic.js'
import { callNative, fromNative } from '../../native/error.js'
import type { NativeLog } from '../../native/types.js'
import { defineTopic, definitionNow, topicRevision } from '../../store/definition.js'
import { type Directory, diskRoom, isShort, topicFolder } from '../../store/directory.js'
import { fromHeld } from '../../store/holders.js'
import { openAppender, openLog, openLogNow, prepareSeek } from '../../store/native-log.js'
import { PlaceMetrics } from '../../store/place-metrics.js'
import { listTopics, openTopicFile, readTopicFile, type TopicFile } from '../../store/topic-file.js'
import { AwaitedSubscriber, topicDefined } from '../awaited-subscriber.js'
import type { ConsumerOptions, PositionOptions } from '../consumer-port.js'
import { letterBytes } from '../dead-letter.js'
import { type MirrorOptions, type MirrorOrigin, type MirrorPlacement, mirrorOfItself } from '../mirror-port.js'
import type { GroupPlacement, PortOptions, SubscriberPort, SubscriberPortOptions } from '../port.js'
import { LocalAdministration } from './administration.js'
import { localCapabilities } from './capabilities.js'
import { LocalConsumer } from './consumer.js'
import { DeadLetters } from './dead-letters.js'
import { LogMaintenance } from './maintenance.js'
import { collectMetrics } from './metrics.js'
import { LocalMirror } from './mirror.js'
import { readMirrorMark } from './mirror-mark.js'
import { LocalPosition } from './position.js'
import { LocalPublisher } from './publisher.js'
import { LocalSubscriber } from './subscriber.js'

/** Topics in a directory on this host, durable or in shared memory. Every publisher and subscriber maps the files for itself. */
export class LocalPlacement implements GroupPlacement, MirrorPlacement {
  readonly capabilities = localCapabilities
  readonly maintenance: LogMaintenance
  readonly administration: LocalAdministration
  readonly #directory: Directory
  readonly #metrics: PlaceMetrics
  readonly #counts: boolean

  /** @param counts false: what subscribers read does not count. For a look at a topic that must not change its figures */
  constructor(directory: Directory, counts = true) {
    this.#counts = counts
    this.#directory = directory
    this.#metrics = new PlaceMetrics(directory)
    this.maintenance = new LogMaintenance(directory)
    this.administration = new LocalAdministration(directory, (topic) => this.info(topic))
  }

  topics(): Promise<string[]> {
    return listTopics(this.#directory)
  }

  async info(name: string): Promise<TopicInfo> {
    const file = await readTopicFile(this.#directory, name)
    if (file === undefined) {
      throw new HermesError('NOT_FOUND', `There is no topic '${name}' in ${this.#directory.path}.`, {
        details: { topic: name },
      })
    }
    const room = await diskRoom(this.#directory.path)
    const log = await this.#openLog(file, {})
    try {
      const info = callNative(() => log.info(), { topic: name })
      const segments = info.activeSegment === 0 ? 0 : info.activeSegment - info.firstSegment + 1
      return {
        name,
        codec: file.codec,
        ...(file.history !== undefined && { history: file.history }),
        createdMs: info.createdMs,
        firstSequence: info.firstSequence,
        nextSequence: info.nextSequence,
        syncedSequence: info.syncedSequence,
        watermarks: { claimed: info.claimedSequence, written: info.nextSequence, synced: info.syncedSequence },
        segments,
        bytes: segments * info.segmentBytes,
        usedBytes: segments === 0 ? 0 : (segments - 1) * info.segmentBytes + info.tailOffset,
        segmentBytes: info.segmentBytes,
        maxPayloadBytes: info.maxPayloadBytes,
        retention: toRetention(info.retentionBytes, info.retentionAgeMs, info.retentionWaitBytes),
        publishers: info.publishers,
        diskAlarm: isShort(room, info.diskAlarm),
        ...(info.syncFailure !== 0 && { syncFailure: getSystemErrorName(-info.syncFailure) }),
      }
    } finally {
      log.close()
    }
  }

  metrics(): Promise<MetricsReport> {
    return collectMetrics(this.#directory, this.#metrics)
  }

  async publisher(
    topic: string,
    settings: TopicSettings,
    options: Pick<PortOptions, 'exclusive' | 'syncIntervalMs'>,
  ): Promise<LocalPublisher> {
    const file = await defineTopic(this.#directory, topic, { ...settings, growth: 'allowed' })
    const log = await this.#openLog(file, settings)
    try {
      const { exclusive, syncIntervalMs = 0 } = options
      const appender = await openAppender(log, exclusive, syncIntervalMs)
      try {
        // From here on no publisher gives the topic another codec; until here one could.
        definitionNow(this.#directory, topic, settings)
        await this.#retain(log, settings)
        await topicDefined(topicFolder(this.#directory, topic))
        await this.#metrics.count(appender, 'publisher', topic)
      } catch (error) {
        appender.close()
        throw error
      }
      return new LocalPublisher(topic, log, appender, file, syncIntervalMs > 0)
    } catch (error) {
      const known = fromHeld(error, topic, log)
      log.close()
      throw known
    }
  }

  async subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<SubscriberPort> {
    // One that may make the topic does so now; one that must not wait for it is told now.
    if (options.create === true || !settings.create) {
      const file = await openTopicFile(this.#directory, topic, { ...settings, create: options.create === true })
      if (options.create === true && settings.retention !== undefined) {
        const log = await this.#openLog(file, settings)
        try {
          await this.#retain(log, settings)
        } finally {
          log.close()
        }
      }
    }
    const wanted = { ...settings, create: false }
    const awaited = {
      key: topicFolder(this.#directory, topic),
      topic,
      open: (from: From) => this.#subscribe(topic, wanted, from, options),
      revision: () => topicRevision(this.#directory, topic),
      check: () => void definitionNow(this.#directory, topic, wanted),
      openNow: (from: From) => this.#subscribeNow(topic, wanted, from, options),
    }
    return AwaitedSubscriber.open(awaited, options.from)
  }

  async #subscribe(
    topic: string,
    settings: TopicSettings,
    from: From,
    { verify, upToSynced }: SubscriberPortOptions,
  ): Promise<LocalSubscriber> {
    const revision = topicRevision(this.#directory, topic)
    let file: TopicFile
    try {
      file = await openTopicFile(this.#directory, topic, settings)
    } catch (error) {
      throw await this.#asEmpty(topic, error, revision)
    }
    const log = await this.#openLog(file, settings)
    try {
      await prepareSeek(log, from)
      const subscriber = new LocalSubscriber(topic, log, verify, from, upToSynced === true)
      if (this.#counts) await this.#metrics.count(subscriber, 'subscriber', topic)
      return subscriber
    } catch (error) {
      log.close()
      throw fromNative(error, { topic })
    }
  }

  /** As #subscribe, at once. `undefined` while there is nothing to open, or a publisher may still redefine it. */
  #subscribeNow(
    topic: string,
    settings: TopicSettings,
    from: From,
    { verify, upToSynced }: SubscriberPortOptions,
  ): LocalSubscriber | undefined {
    if (topicRevision(this.#directory, topic) === '') return undefined
    const log = openLogNow(topicFolder(this.#directory, topic), topic)
    if (log === undefined) return undefined
    try {
      // What it holds counts, once it holds something.
      if (callNative(() => log.info(), { topic }).nextSequence === 1) {
        log.close()
        return undefined
      }
      definitionNow(this.#directory, topic, settings)
      const subscriber = new LocalSubscriber(topic, log, verify, from, upToSynced === true)
      // (it may be closed before it has its cell)
      if (this.#counts) this.#metrics.count(subscriber, 'subscriber', topic).catch(() => undefined)
      return subscriber
    } catch (error) {
      log.close()
      throw fromNative(error, { topic })
    }
  }

  async consumer(
    topic: string,
    settings: TopicSettings,
    group: string,
    options: ConsumerOptions,
  ): Promise<LocalConsumer> {
    const file = await openTopicFile(this.#directory, topic, { ...settings, create: options.create })
    const log = await this.#openLog(file, settings)
    const at = { topic, folder: topicFolder(this.#directory, topic), log, fileMode: this.#directory.fileMode }
    const letters = (to: string) =>
      new DeadLetters(topic, group, file.codec.name, log, () => this.#lettersTo(to, file.maxPayloadBytes))
    try {
      await prepareSeek(log, options.from)
      return await LocalConsumer.join(at, group, options, letters)
    } catch (error) {
      log.close()
      throw fromNative(error, { topic, group })
    }
  }

  async position(
    topic: string,
    settings: TopicSettings,
    name: string,
    options: PositionOptions,
  ): Promise<LocalPosition> {
    const file = await openTopicFile(this.#directory, topic, { ...settings, create: options.create })
    const log = await this.#openLog(file, settings)
    try {
      await prepareSeek(log, options.from)
      const folder = topicFolder(this.#directory, topic)
      return await LocalPosition.take({ topic, folder, log, fileMode: this.#directory.fileMode }, name, options)
    } catch (error) {
      log.close()
      throw fromNative(error, { topic, name })
    }
  }

  async mirror(topic: string, settings: TopicSettings, options: MirrorOptions): Promise<LocalMirror> {
    const { origin } = options
    if (origin.topic === topic && (await this.#isOrigin(origin))) throw mirrorOfItself(topic)
    const publisher = await this.publisher(topic, settings, { exclusive: true })
    try {
      const { firstSequence, nextSequence } = await this.info(topic)
      const read = (from: number) => this.subscriber(topic, { ...settings, create: false }, { from, verify: true })
      return await LocalMirror.open(publisher, this.#directory, topic, options, { firstSequence, nextSequence, read })
    } catch (error) {
      await publisher.close()
      throw error
    }
  }

  /** Whether the topic of this name here is the origin itself, reached by another way: a mirror of it is younger, and has a mark once there is a message in it. */
  async #isOrigin({ topic, createdMs }: MirrorOrigin): Promise<boolean> {
    if ((await readTopicFile(this.#directory, topic)) === undefined) return false
    const isSame = (await this.info(topic)).createdMs === createdMs
    return isSame && (await readMirrorMark(topicFolder(this.#directory, topic))) === undefined
  }

  #lettersTo(topic: string, maxPayloadBytes: number): Promise<LocalPublisher> {
    const { name, fingerprint, schema } = msgpack
    const most = Math.max(defaultMaxPayloadBytes, maxPayloadBytes + letterBytes)
    const settings: TopicSettings = {
      codec: { name, fingerprint, schema },
      segmentBytes: undefined,
      maxPayloadBytes: undefined,
      retention: undefined,
      lowWaterBytes: undefined,
      create: true,
    }
    return this.#made(topic, settings, most)
  }

  /** A publisher of a topic that takes messages of this size, if it is made now; one that is there may take smaller ones. */
  async #made(topic: string, settings: TopicSettings, maxPayloadBytes: number): Promise<LocalPublisher> {
    const exists = (await readTopicFile(this.#directory, topic)) !== undefined
    const segmentBytes = Math.max(defaultSegmentBytes, Math.ceil((4 * maxPayloadBytes) / 4096) * 4096)
    return this.publisher(topic, exists ? settings : { ...settings, segmentBytes, maxPayloadBytes }, {
      exclusive: false,
    })
  }

  async close(): Promise<void> {
    this.#metrics.close()
  }

  /**
   * A topic of another codec that is empty, without a publisher, counts as no topic: the next publisher defines it.
   *
   * @param revision that of the description before it was read: the error is about this one or a later one, so it counts only while nothing changed
   */
  async #asEmpty(topic: string, error: unknown, revision: string): Promise<unknown> {
    if (!(error instanceof HermesError) || error.code !== 'CODEC_MISMATCH') return error
    // A publisher that is there may be about to define the topic anew, which takes it some milliseconds.
    for (let looks = 0; looks < 10; looks++) {
      const { nextSequence, publishers } = await this.info(topic)
      if (topicRevision(this.#directory, topic) !== revision || (nextSequence === 1 && publishers === 0)) break
      if (nextSequence > 1 || looks === 9) return error
      await sleep(5)
    }
    return new HermesError('NOT_FOUND', `Topic '${topic}' is empty and has no publisher yet, or is just being made.`, {
      cause: error,
    })
  }

  async #retain(log: NativeLog, { retention }: TopicSettings): Promise<void> {
    if (retention !== undefined) await log.setRetention(...retentionLimits(retention))
  }

  #openLog(file: TopicFile, settings: { readonly lowWaterBytes?: number | undefined }): Promise<NativeLog> {
    const { segmentBytes, maxPayloadBytes, name } = file
    const create = { segmentBytes, maxPayloadBytes, fileMode: this.#directory.fileMode }
    const options = settings.lowWaterBytes === undefined ? {} : { lowWaterBytes: settings.lowWaterBytes }
    return openLog(topicFolder(this.#directory, name), name, create, options)
  }
}

function toRetention(bytes: number, ageMs: number, waitForGroups: number): Retention {
  return {
    ...(bytes === 0 ? {} : { bytes }),
    ...(ageMs === 0 ? {} : { ageMs }),
    ...(waitForGroups === 0 ? {} : { waitForGroups }),
  }
}
