import { HermesError } from '../../base/errors.js'
import { type DescribedGroup, type GroupSummary, type Lag, summaryOf } from '../../model/administration.js'
import type { From, Retention, TopicInfo, TopicSettings } from '../../model/topic.js'
import type { AdminPort } from '../admin-port.js'
import { requireAbility } from '../capabilities.js'
import { Batches } from './batches.js'
import { natsCapabilities } from './capabilities.js'
import { apiCode, apiCodeOf, fromNats } from './errors.js'
import { GroupEntry, groupNames } from './group-entry.js'
import { reportOf } from './group-report.js'
import type { Ledger } from './ledger.js'
import { type Cluster, TopicStream } from './stream.js'

/** What the placement lends. */
export interface AdministrationHost {
  readonly cluster: Cluster
  info(topic: string, signal: AbortSignal | undefined): Promise<TopicInfo>
  /** Opens a topic that is there. */
  stream(topic: string): Promise<TopicStream>
  /** Tries again what the cluster does not answer. */
  persist<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T>
}

/** Looks after the topics and groups of a cluster. */
export class NatsAdministration implements AdminPort {
  readonly #host: AdministrationHost

  constructor(host: AdministrationHost) {
    this.#host = host
  }

  async createTopic(topic: string, settings: TopicSettings, signal?: AbortSignal): Promise<TopicInfo> {
    checkRetention(topic, settings.retention)
    await this.#host.persist(async () => {
      const stream = await TopicStream.open(this.#host.cluster, topic, { ...settings, create: true })
      await stream.retain(settings.retention)
    }, signal)
    return this.#host.info(topic, signal)
  }

  async alterTopic(topic: string, retention: Retention, signal?: AbortSignal): Promise<TopicInfo> {
    checkRetention(topic, retention)
    await this.#host.persist(async () => (await this.#host.stream(topic)).retain(retention), signal)
    return this.#host.info(topic, signal)
  }

  async deleteTopic(topic: string, force: boolean, signal?: AbortSignal): Promise<void> {
    await this.#host.persist(() => this.#host.stream(topic), signal)
    if (!force) {
      throw new HermesError(
        'UNSUPPORTED',
        `A cluster does not know who uses topic '${topic}', so it can't be deleted on the condition that nobody does. Give 'force' (--force): who has it open gets NOT_FOUND.`,
        { details: { topic } },
      )
    }
    const { manager } = this.#host.cluster
    await this.#host.persist(async () => {
      const stream = await this.#host.stream(topic)
      for (const name of await groupNames(this.#host.cluster, topic)) {
        const entry = new GroupEntry(this.#host.cluster, topic, name)
        await removed(entry)
      }
      try {
        await manager.streams.delete(stream.name)
      } catch (error) {
        if (apiCodeOf(error) !== apiCode.streamNotFound) throw fromNats(error, `delete topic '${topic}'`, { topic })
      }
    }, signal)
  }

  async groups(topic: string, signal?: AbortSignal): Promise<GroupSummary[]> {
    const { found, failure } = await this.#all(topic, signal)
    const groups = found.map(summaryOf)
    if (failure === undefined) return groups
    const { code, message, details } = failure
    throw new HermesError(code, message, { cause: failure, details: { ...details, groups } })
  }

  /** All groups that can be read. */
  async described(topic: string, signal?: AbortSignal): Promise<DescribedGroup[]> {
    return (await this.#all(topic, signal)).found
  }

  #all(topic: string, signal?: AbortSignal): Promise<{ found: DescribedGroup[]; failure: HermesError | undefined }> {
    return this.#host.persist(async () => {
      const stream = await this.#host.stream(topic)
      const found: DescribedGroup[] = []
      let failure: HermesError | undefined
      for (const name of await groupNames(this.#host.cluster, topic)) {
        try {
          const group = await this.#described(stream, name)
          if (group !== undefined) found.push(group)
        } catch (error) {
          // What is wrong with one group hides no other.
          const isItsOwn = error instanceof HermesError && (error.code === 'CORRUPT' || error.code === 'POSITION_LOST')
          if (!isItsOwn) throw error
          failure ??= error
        }
      }
      return { found, failure }
    }, signal)
  }

  group(topic: string, name: string, signal?: AbortSignal): Promise<DescribedGroup> {
    return this.#host.persist(async () => {
      const found = await this.#described(await this.#host.stream(topic), name)
      if (found === undefined) throw noGroup(topic, name)
      return found
    }, signal)
  }

  resetGroup(topic: string, name: string, to: From, force: boolean, signal?: AbortSignal): Promise<number> {
    return this.#host.persist(async () => {
      const stream = await this.#host.stream(topic)
      const { at, sequence } = await stream.locate(to)
      const entry = await this.#entry(stream, name)
      if (entry === undefined) throw noGroup(topic, name)
      const isQuiet = await isLeft(entry)
      const mark = crypto.randomUUID()
      await entry.change(
        (draft) => {
          if (draft === undefined) throw noGroup(topic, name)
          if (!force && !isQuiet) checkUnused(draft, entry)
          const ledger: Ledger = { ...draft, runs: [], members: {}, active: '', next: sequence, nextAt: at, mark }
          return { ledger, answer: true }
        },
        (found) => found?.mark === mark,
        () => entry.isConnected && signal?.aborted !== true,
        signal,
      )
      entry.tell()
      return sequence
    }, signal)
  }

  deleteGroup(topic: string, name: string, force: boolean, signal?: AbortSignal): Promise<void> {
    return this.#host.persist(async () => {
      await this.#host.stream(topic)
      const entry = new GroupEntry(this.#host.cluster, topic, name)
      try {
        await entry.read()
        if (entry.ledger === undefined) throw noGroup(topic, name)
        if (!force && !(await isLeft(entry))) checkUnused(entry.ledger, entry)
      } catch (error) {
        // One that is damaged can only be deleted.
        if (!(force && error instanceof HermesError && error.code === 'CORRUPT')) throw error
      }
      await removed(entry)
    }, signal)
  }

  async #entry(stream: TopicStream, name: string): Promise<GroupEntry | undefined> {
    const entry = new GroupEntry(this.#host.cluster, stream.topic, name)
    await entry.read()
    if (entry.ledger === undefined) return undefined
    checkTopicOf(entry, stream)
    return entry
  }

  async #described(stream: TopicStream, name: string): Promise<DescribedGroup | undefined> {
    const { topic } = stream
    const entry = await this.#entry(stream, name)
    const { ledger } = entry ?? {}
    if (entry === undefined || ledger === undefined) return undefined
    const { next: end } = await stream.tail()
    const over = (await isLeft(entry)) ? new Set(Object.keys(ledger.members)) : new Set<string>()
    const report = reportOf(ledger, end, over)
    const { floor } = report
    const ages = new Ages(stream)
    const lag: Lag = { messages: Math.max(0, end - floor), seconds: floor < end ? await ages.of(floor) : 0 }
    const members: DescribedGroup['members'][number][] = []
    for (const member of report.members) {
      const { oldest, inFlight, active } = member
      // The owner of a durable subscription is behind by all of it.
      if (report.kind === 'durable') members.push({ ...member, lag: active ? lag : nothing })
      else
        members.push({
          ...member,
          lag: { messages: inFlight, seconds: oldest === undefined ? 0 : await ages.of(oldest) },
        })
    }
    return { ...report, topic, name, lag, members }
  }
}

const nothing: Lag = { messages: 0, seconds: 0 }

/** How old messages are. */
class Ages {
  readonly #stream: TopicStream
  readonly #batches: Batches
  readonly #known = new Map<number, number>()

  constructor(stream: TopicStream) {
    this.#stream = stream
    this.#batches = new Batches(stream)
  }

  /** Seconds since the message was published, or the first one behind that is still there. */
  async of(sequence: number): Promise<number> {
    const age = this.#known.get(sequence) ?? (await this.#look(sequence))
    this.#known.set(sequence, age)
    return age
  }

  async #look(sequence: number): Promise<number> {
    const { at, sequence: is } = await this.#stream.locate(sequence).catch((error: unknown) => {
      if (error instanceof HermesError && error.code === 'BEHIND_RETENTION') return this.#stream.locate('earliest')
      throw error
    })
    const batch = await this.#batches.holding(is, at)
    if (batch === undefined || batch.frameAt(is) < 0) return 0
    return Math.max(0, (Date.now() - Number(batch.timestampOf(is) / 1_000_000n)) / 1000)
  }
}

/** @throws HermesError `POSITION_LOST` if the group is of an earlier topic of this name */
export function checkTopicOf({ ledger, topic, name }: GroupEntry, { definition }: TopicStream): void {
  if (ledger === undefined || ledger.topicId === definition.id) return
  throw new HermesError(
    'POSITION_LOST',
    `'${name}' is a group of an earlier topic '${topic}', which was deleted. Delete the group, and it begins anew: hermes groups delete ${topic} ${name} --force`,
    { details: { topic, group: name } },
  )
}

/** Whether nobody has written to the entry for as long as a lease, by the servers' clocks: its members are dead, or hang. */
async function isLeft(entry: GroupEntry): Promise<boolean> {
  const { ledger } = entry
  if (ledger === undefined || Object.keys(ledger.members).length === 0) return true
  return (await entry.ageMs()) > ledger.rules.leaseMs
}

function checkUnused({ members }: Ledger, { topic, name }: GroupEntry): void {
  const names = Object.values(members).map((member) => member.name)
  if (names.length === 0) return
  throw new HermesError(
    'BUSY',
    `Group '${name}' of topic '${topic}' has ${names.length} ${names.length === 1 ? 'member' : 'members'}: ${names.slice(0, 5).join(', ')}. Close them first, or give 'force' (--force).`,
    { details: { topic, group: name, members: names.length } },
  )
}

async function removed(entry: GroupEntry): Promise<void> {
  for (;;) {
    try {
      await entry.read()
      if (entry.ledger === undefined) return
    } catch (error) {
      if (!(error instanceof HermesError) || error.code !== 'CORRUPT') throw error
    }
    if (await entry.remove()) break
  }
  entry.tell()
}

function checkRetention(topic: string, retention: Retention | undefined): void {
  if (retention?.waitForGroups !== undefined)
    requireAbility(`Topic '${topic}'`, natsCapabilities.groupRetention, { topic })
}

function noGroup(topic: string, name: string): HermesError {
  return new HermesError('NOT_FOUND', `Topic '${topic}' has no group '${name}'.`, { details: { topic, group: name } })
}
