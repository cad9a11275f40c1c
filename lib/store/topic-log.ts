import { callNative, fromNative } from '../native/error.js'
import type {
  NativeAppender,
  NativeControl,
  NativeLog,
  NativeLogInfo,
  NativeProducerTrace,
  NativeReader,
  NativeSettings,
} from '../native/types.js'
import { fromHeld } from './holders.js'
import { LogCursor, type SharedSegments } from './log-cursor.js'
import { openAppender, openLog } from './native-log.js'
import type { PlaceMetrics } from './place-metrics.js'

/** A topic's log, open. Its failures are HermesErrors that name the topic. */
export class TopicLog {
  readonly topic: string
  readonly #log: NativeLog
  readonly #metrics: PlaceMetrics | undefined

  private constructor(topic: string, log: NativeLog, metrics: PlaceMetrics | undefined) {
    this.topic = topic
    this.#log = log
    this.#metrics = metrics
  }

  /**
   * @param folder   the topic's
   * @param settings what the log is to be if there is none; `null`: then it's an error
   * @param metrics  where what it publishes is counted
   * @throws HermesError `NOT_FOUND`, `CORRUPT`, `DISK_FULL`, `TIMED_OUT`, …
   */
  static async open(
    folder: string,
    topic: string,
    settings: NativeSettings | null,
    metrics?: PlaceMetrics,
  ): Promise<TopicLog> {
    return new TopicLog(topic, await openLog(folder, topic, settings), metrics)
  }

  info(): NativeLogInfo {
    return callNative(() => this.#log.info(), { topic: this.topic })
  }

  /** Which segments there are, and what retention keeps: for asking often. */
  control(): NativeControl {
    return callNative(() => this.#log.control(), { topic: this.topic })
  }

  /** What the topic's next message will get. */
  nextSequence(): number {
    return callNative(() => this.#log.nextSequence(), { topic: this.topic })
  }

  /** 0 = unlimited. Resolves when what it does not keep is removed. */
  async setRetention(bytes: number, ageMs: number, waitBytes: number): Promise<void> {
    try {
      await this.#log.setRetention(bytes, ageMs, waitBytes)
    } catch (error) {
      throw fromNative(error, { topic: this.topic })
    }
  }

  /** @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `DISK_FULL`, … */
  async openAppender(exclusive: boolean): Promise<NativeAppender> {
    try {
      const appender = await openAppender(this.#log, exclusive)
      await this.#metrics?.count(appender, 'publisher', this.topic)
      return appender
    } catch (error) {
      throw fromHeld(error, this.topic, this.#log)
    }
  }

  /** Whether the topic was deleted while it is open here. */
  isDeleted(): boolean {
    const reader = this.openReader()
    try {
      reader.check()
      return false
    } catch (error) {
      return (error as { code?: string }).code === 'TOPIC_DELETED'
    } finally {
      reader.close()
    }
  }

  /** A cursor at the beginning. The caller closes it. */
  cursor(verify: boolean, shared?: SharedSegments): LogCursor {
    return new LogCursor(this.topic, this.#log, verify, shared)
  }

  /** The addon's half of a cursor. The caller closes it. */
  openReader(): NativeReader {
    return callNative(() => this.#log.openReader(false), { topic: this.topic })
  }

  /** Looks, on another thread, through what a cursor's `seek` there would have to look through. */
  async prepareSeek(target: number | bigint): Promise<void> {
    try {
      while (!(await this.#log.prepareSeek(target)));
    } catch (error) {
      throw fromNative(error, { topic: this.topic })
    }
  }

  /** What the log says of producer slots: see docs/wire-protocol.md. */
  async traceProducers(slots: readonly { slot: number; since: number }[]): Promise<NativeProducerTrace[]> {
    try {
      return await this.#log.traceProducers(slots)
    } catch (error) {
      throw fromNative(error)
    }
  }

  close(): void {
    this.#log.close()
  }
}
