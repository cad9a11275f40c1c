import { HermesError } from '../../base/errors.js'
import { type DescribedGroup, type GroupSummary, type Lag, summaryOf } from '../../model/administration.js'
import type { GroupReport } from '../../model/group.js'
import { type From, type Retention, retentionLimits, type TopicInfo, type TopicSettings } from '../../model/topic.js'
import { fromNative } from '../../native/error.js'
import type { NativeLog } from '../../native/types.js'
import { defineTopic } from '../../store/definition.js'
import { type Directory, topicFolder } from '../../store/directory.js'
import { type Group, listGroups, openGroup, removeGroup } from '../../store/group.js'
import { LogCursor } from '../../store/log-cursor.js'
import { openLog, prepareSeek } from '../../store/native-log.js'
import { removeTopic, sweepRemoved } from '../../store/removal.js'
import { readTopicFile, type TopicFile } from '../../store/topic-file.js'
import type { AdminPort } from '../admin-port.js'

/** Looks after the topics and groups of a directory. What it opens is closed when the call is over. */
export class LocalAdministration implements AdminPort {
  readonly #directory: Directory
  readonly #info: (topic: string) => Promise<TopicInfo>

  constructor(directory: Directory, info: (topic: string) => Promise<TopicInfo>) {
    this.#directory = directory
    this.#info = info
  }

  async createTopic(topic: string, settings: TopicSettings): Promise<TopicInfo> {
    await sweepRemoved(this.#directory)
    const file = await defineTopic(this.#directory, topic, { ...settings, create: true })
    await this.#inLog(file, async (log) => {
      if (settings.retention !== undefined) await log.setRetention(...retentionLimits(settings.retention))
    })
    return this.#info(topic)
  }

  async alterTopic(topic: string, retention: Retention): Promise<TopicInfo> {
    await this.#inLog(await this.#file(topic), (log) => log.setRetention(...retentionLimits(retention)))
    return this.#info(topic)
  }

  deleteTopic(topic: string, force: boolean): Promise<void> {
    return removeTopic(this.#directory, topic, force)
  }

  async groups(topic: string): Promise<GroupSummary[]> {
    const found: GroupSummary[] = []
    let failure: HermesError | undefined
    await this.#inLog(await this.#file(topic), async (log, folder) => {
      for (const name of await listGroups(folder)) {
        try {
          const summary = await this.#summary(topic, folder, log, name)
          // (one that was deleted meanwhile)
          if (summary !== undefined) found.push(summary)
        } catch (error) {
          const known = fromNative(error, { topic, group: name })
          if (!(known instanceof HermesError) || known.code === 'TOPIC_DELETED') throw error
          // What is wrong with one group hides no other.
          failure ??= known
        }
      }
    })
    if (failure === undefined) return found
    const { code, message, details } = failure
    throw new HermesError(code, message, { cause: failure, details: { ...details, groups: found } })
  }

  async #summary(topic: string, folder: string, log: NativeLog, name: string): Promise<GroupSummary | undefined> {
    const group = await this.#opened(topic, folder, log, name)
    if (group === undefined) return undefined
    try {
      return summaryOf(await described(topic, name, group.describe(), log))
    } finally {
      group.close()
    }
  }

  async group(topic: string, name: string): Promise<DescribedGroup> {
    return this.#inGroup(topic, name, async (group, log) => described(topic, name, group.describe(), log))
  }

  async resetGroup(topic: string, name: string, to: From, force: boolean): Promise<number> {
    return this.#inGroup(topic, name, async (group, log) => {
      await prepareSeek(log, to)
      const sequence = sequenceAt(topic, log, to)
      await group.reset(sequence, force)
      await group.sync()
      return sequence
    })
  }

  async deleteGroup(topic: string, name: string, force: boolean): Promise<void> {
    await this.#file(topic)
    const folder = topicFolder(this.#directory, topic)
    if (!(await listGroups(folder)).includes(name)) throw this.#noGroup(topic, name)
    await removeGroup(folder, name, force)
  }

  async #file(topic: string): Promise<TopicFile> {
    const file = await readTopicFile(this.#directory, topic)
    if (file !== undefined) return file
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${this.#directory.path}.`, {
      details: { topic },
    })
  }

  #noGroup(topic: string, name: string): HermesError {
    return new HermesError('NOT_FOUND', `Topic '${topic}' has no group '${name}'.`, { details: { topic, group: name } })
  }

  async #inLog<T>(
    { name, segmentBytes, maxPayloadBytes }: TopicFile,
    work: (log: NativeLog, folder: string) => Promise<T>,
  ): Promise<T> {
    const folder = topicFolder(this.#directory, name)
    const log = await openLog(folder, name, { segmentBytes, maxPayloadBytes, fileMode: this.#directory.fileMode })
    try {
      return await work(log, folder)
    } catch (error) {
      throw fromNative(error, { topic: name })
    } finally {
      log.close()
    }
  }

  async #inGroup<T>(topic: string, name: string, work: (group: Group, log: NativeLog) => Promise<T>): Promise<T> {
    return this.#inLog(await this.#file(topic), async (log, folder) => {
      const group = await this.#opened(topic, folder, log, name)
      if (group === undefined) throw this.#noGroup(topic, name)
      try {
        return await work(group, log)
      } finally {
        group.close()
      }
    })
  }

  async #opened(topic: string, folder: string, log: NativeLog, name: string): Promise<Group | undefined> {
    try {
      return await openGroup(topic, folder, log, name)
    } catch (error) {
      if (error instanceof HermesError && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }
}

/** Where a subscriber would begin. @throws HermesError `OUT_OF_RANGE`, `BEHIND_RETENTION` */
function sequenceAt(topic: string, log: NativeLog, from: From): number {
  const cursor = new LogCursor(topic, log, false)
  try {
    cursor.seek(from)
    return cursor.sequence
  } finally {
    cursor.close()
  }
}

async function described(topic: string, name: string, report: GroupReport, log: NativeLog): Promise<DescribedGroup> {
  const ages = new Ages(topic, log)
  try {
    const { floor, end } = report
    const lag: Lag = { messages: Math.max(0, end - floor), seconds: floor < end ? await ages.of(floor) : 0 }
    const members: DescribedGroup['members'][number][] = []
    for (const member of report.members) {
      const { oldest, inFlight, active } = member
      // The owner of a durable subscription is behind by all of it.
      if (report.kind === 'durable') members.push({ ...member, lag: active ? lag : nothing })
      else {
        const seconds = oldest === undefined ? 0 : await ages.of(oldest)
        members.push({ ...member, lag: { messages: inFlight, seconds } })
      }
    }
    return { ...report, topic, name, lag, members }
  } finally {
    ages.close()
  }
}

const nothing: Lag = { messages: 0, seconds: 0 }

/** How old messages are. */
class Ages {
  readonly #log: NativeLog
  readonly #cursor: LogCursor
  readonly #known = new Map<number, number>()

  constructor(topic: string, log: NativeLog) {
    this.#log = log
    this.#cursor = new LogCursor(topic, log, false)
  }

  /** Seconds since the message was published, or the first one behind that is still there. */
  async of(sequence: number): Promise<number> {
    let age = this.#known.get(sequence)
    if (age === undefined) {
      // (a broker's thread is not to look through a segment for it)
      await prepareSeek(this.#log, sequence)
      age = this.#look(sequence)
      this.#known.set(sequence, age)
    }
    return age
  }

  #look(sequence: number): number {
    const cursor = this.#cursor
    try {
      cursor.seek(sequence)
    } catch (error) {
      if (!(error instanceof HermesError) || error.code !== 'BEHIND_RETENTION') throw error
      cursor.seek('earliest')
    }
    const timestamp = cursor.firstTimestamp()
    return timestamp === undefined ? 0 : Math.max(0, (Date.now() - Number(timestamp / 1_000_000n)) / 1000)
  }

  close(): void {
    this.#cursor.close()
  }
}
