import { HermesError } from '../../errors.js'
import { native } from '../../native.js'
import type { NativeLog } from '../../native-addon.js'
import { callNative, fromNative } from '../../native-error.js'
import type { From, PortOptions, Retention, TopicInfo, TopicSettings, Transport } from '../transport.js'
import { type Directory, topicFolder } from './directory.js'
import { LogPublisher } from './log-publisher.js'
import { LogSubscriber } from './log-subscriber.js'
import { LogMaintenance } from './maintenance.js'
import { listTopics, openTopicFile, readTopicFile, type TopicFile } from './topic-file.js'

/** Topics in a directory on this host, durable or in shared memory. Every publisher and subscriber maps the files for itself. */
export class LogTransport implements Transport {
  readonly maintenance: LogMaintenance
  readonly #directory: Directory

  constructor(directory: Directory) {
    this.#directory = directory
    this.maintenance = new LogMaintenance(directory)
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
    const log = this.#openLog(file, {})
    try {
      const info = callNative(() => log.info(), { topic: name })
      const segments = info.activeSegment === 0 ? 0 : info.activeSegment - info.firstSegment + 1
      return {
        name,
        codec: file.codec,
        createdMs: info.createdMs,
        firstSequence: info.firstSequence,
        nextSequence: info.nextSequence,
        syncedSequence: info.syncedSequence,
        watermarks: { claimed: info.claimedSequence, written: info.nextSequence, synced: info.syncedSequence },
        segments,
        bytes: segments * info.segmentBytes,
        segmentBytes: info.segmentBytes,
        maxPayloadBytes: info.maxPayloadBytes,
        retention: toRetention(info.retentionBytes, info.retentionAgeMs),
        publishers: info.publishers,
        diskAlarm: info.diskAlarm,
      }
    } finally {
      log.close()
    }
  }

  async publisher(
    topic: string,
    settings: TopicSettings,
    options: Pick<PortOptions, 'exclusive' | 'syncIntervalMs'>,
  ): Promise<LogPublisher> {
    const file = await openTopicFile(this.#directory, topic, settings)
    const log = this.#openLog(file, settings)
    try {
      this.#retain(log, settings)
      const { exclusive, syncIntervalMs = 0 } = options
      const appender = await log.openAppender(exclusive, syncIntervalMs)
      return new LogPublisher(topic, log, appender, file, syncIntervalMs > 0)
    } catch (error) {
      log.close()
      throw fromNative(error, { topic })
    }
  }

  async subscriber(
    topic: string,
    settings: TopicSettings,
    options: { readonly from: From; readonly verify: boolean },
  ): Promise<LogSubscriber> {
    const file = await openTopicFile(this.#directory, topic, settings)
    const log = this.#openLog(file, settings)
    try {
      this.#retain(log, settings)
      return new LogSubscriber(topic, log, options.verify, options.from)
    } catch (error) {
      log.close()
      throw fromNative(error, { topic })
    }
  }

  async close(): Promise<void> {}

  #retain(log: NativeLog, { retention }: TopicSettings): void {
    if (retention !== undefined) log.setRetention(retention.bytes ?? 0, retention.ageMs ?? 0)
  }

  #openLog(file: TopicFile, settings: { readonly lowWaterBytes?: number | undefined }): NativeLog {
    const { segmentBytes, maxPayloadBytes, name } = file
    const create = { segmentBytes, maxPayloadBytes, fileMode: this.#directory.fileMode }
    const options = settings.lowWaterBytes === undefined ? {} : { lowWaterBytes: settings.lowWaterBytes }
    return callNative(() => new native.openLog(topicFolder(this.#directory, name), create, options), { topic: name })
  }
}

function toRetention(bytes: number, ageMs: number): Retention {
  return { ...(bytes === 0 ? {} : { bytes }), ...(ageMs === 0 ? {} : { ageMs }) }
}
