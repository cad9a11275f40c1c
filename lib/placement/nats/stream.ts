import { abortable } from '../../base/abort.js'
import { HermesError } from '../../base/errors.js'
import { pause } from '../../base/pause.js'
import type { From, Retention, TopicSettings } from '../../model/topic.js'
import type { MirrorOrigin } from '../mirror-port.js'
import { askedAgain } from './asked-again.js'
import {
  checkDefinition,
  type Definition,
  definitionText,
  limitsOf,
  newDefinition,
  readDefinition,
  streamOf,
  subjectOf,
} from './definition.js'
import { apiCode, apiCodeOf, fromNats } from './errors.js'
import { type Head, readHead } from './head.js'
import type { JetStreamClient, JetStreamManager, NatsConnection, Peer, StoredMsg, StreamInfo } from './peer.js'
import { firstStamped } from './piece.js'

/** What all topics of a place share. */
export interface Cluster {
  readonly peer: Peer
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  readonly client: JetStreamClient
  /** Called when the connection was lost and made again. */
  readonly reconnected: Set<() => void>
  readonly replicas: number
  readonly requestTimeoutMs: number
}

/** Where a stream ends. */
export interface Tail {
  /** The stream's own number of its newest message; 0 before the first. */
  readonly last: number
  /** What the topic's next message gets. */
  readonly next: number
  /** Of the leader that appended the newest message. */
  readonly fence?: number
}

/** Where reading begins. */
export interface Start extends Tail {
  /** The stream's number of the message to begin with: it may not be there yet. */
  readonly at: number
  /** The topic's sequence to begin with. */
  readonly sequence: number
  /** Pass over what is stamped before: nanoseconds since 1970. */
  readonly notBeforeNs?: bigint
}

/** Frames of one message, at most: with it the sequences of a stream whose messages have all expired are bounded. */
export const mostFrames = 4096

/** How often it is looked for the newest message of a stream that says that it has some, and the time between. */
const mostLooks = 20
const lookMs = 50

/** After so long without an answer a question is asked once more. */
const askAgainMs = 1000

/** Between two attempts to make a stream where the files of another one are being removed. */
const removalMs = 500

/**
 * One topic as a stream. The stream numbers its messages; each holds up to 4,096 frames, and says in its headers which of the topic's sequences
 * those are.
 */
export class TopicStream {
  readonly definition: Definition
  readonly name: string
  readonly subject: string
  readonly cluster: Cluster

  private constructor(cluster: Cluster, definition: Definition) {
    this.cluster = cluster
    this.definition = definition
    this.name = streamOf(definition.topic)
    this.subject = subjectOf(definition)
  }

  /** Opens the stream of a topic, or makes it: with an origin, as a mirror. @throws HermesError `NOT_FOUND`, `CODEC_MISMATCH`, `CONFIG_MISMATCH`, … */
  static async open(
    cluster: Cluster,
    topic: string,
    wanted: TopicSettings,
    origin?: MirrorOrigin,
  ): Promise<TopicStream> {
    const info = (await findStream(cluster, topic)) ?? (await makeStream(cluster, topic, wanted, origin))
    const definition = definitionOf(info, topic)
    checkDefinition(definition, wanted)
    return new TopicStream(cluster, definition)
  }

  get topic(): string {
    return this.definition.topic
  }

  /** Publishers set what is kept. */
  async retain(retention: Retention | undefined): Promise<void> {
    if (retention === undefined) return
    await this.#ask('set the retention', () => this.cluster.manager.streams.update(this.name, limitsOf(retention)))
  }

  /** @throws HermesError `NOT_FOUND` if it is gone, or was made anew meanwhile */
  async info(): Promise<StreamInfo> {
    const info = await findStream(this.cluster, this.topic)
    const definition = info && readDefinition(info)
    if (info !== undefined && definition?.id === this.definition.id) return info
    throw new HermesError(
      'NOT_FOUND',
      `Topic '${this.topic}' was deleted${info === undefined ? '' : ', and made anew'} while it was in use. Open it again.`,
      { details: { topic: this.topic } },
    )
  }

  /** Where the topic ends. */
  async tail(): Promise<Tail> {
    for (let looks = 1; ; looks++) {
      const newest = await this.#stored({ last_by_subj: this.subject })
      if (newest !== undefined) {
        const { next, fence } = this.head(newest)
        return { last: newest.seq, next, ...(fence !== undefined && { fence }) }
      }
      // No message was ever there, or all have expired. No sequence above this one was given out then.
      const { messages, last_seq: last } = (await this.info()).state
      if (messages === 0) return { last, next: last * mostFrames + 1 }
      // One has come between the two answers. If not, they are of an earlier stream: see makeStream().
      if (looks === mostLooks) throw this.strewn()
      await pause(lookMs, undefined)
    }
  }

  /** Something is in it that is not of this topic. */
  strewn(): HermesError {
    const { name, topic } = this
    return new HermesError(
      'CORRUPT',
      `Stream ${name} of topic '${topic}' holds messages that are not of this topic. If it was just deleted and made anew, delete it, and make it some seconds later; else see who publishes to ${this.subject}.`,
      { details: { topic, stream: name } },
    )
  }

  /** The first message of the stream whose number is `from` or more. */
  stored(from: number): Promise<StoredMsg | undefined> {
    return this.#stored({ seq: from, next_by_subj: this.subject })
  }

  head(message: StoredMsg): Head {
    return readHead(message.header, this.topic, message.seq)
  }

  /** @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE` */
  async locate(from: From): Promise<Start> {
    const tail = await this.tail()
    const end: Start = { ...tail, at: tail.last + 1, sequence: tail.next }
    if (from === 'latest') return end
    const oldest = await this.stored(1)
    const first = oldest === undefined ? tail.next : this.head(oldest).first
    const begin: Start = { ...tail, at: oldest?.seq ?? tail.last + 1, sequence: first }
    if (from === 'earliest') return begin
    if (from instanceof Date) return this.#atTime(from, begin, end)
    const details = { topic: this.topic, sequence: from, firstSequence: first, nextSequence: tail.next }
    if (from > tail.next) {
      throw new HermesError(
        'OUT_OF_RANGE',
        `Sequence ${from} of topic '${this.topic}' does not exist yet: ${tail.next} is the next.`,
        { details },
      )
    }
    if (from < first) {
      throw new HermesError(
        'BEHIND_RETENTION',
        `Sequence ${from} of topic '${this.topic}' was removed by retention: the first one left is ${first}.`,
        { details },
      )
    }
    const at = await this.#search(begin.at, end.at, (message) => this.head(message).next > from)
    return { ...tail, at, sequence: from }
  }

  async #atTime(from: Date, begin: Start, end: Start): Promise<Start> {
    // Of one message the servers' clock says when it came, and it can't have been stamped later than that if the clocks agree.
    let at = await this.#search(begin.at, end.at, (message) => message.time >= from)
    const ns = BigInt(from.getTime()) * 1_000_000n
    while (at < end.at) {
      const found = await this.stored(at)
      if (found === undefined) break
      const sequence = firstStamped(found.data, this.head(found).first, ns)
      if (sequence !== undefined) return { ...end, at: found.seq, sequence }
      at = found.seq + 1
    }
    return { ...end, notBeforeNs: ns }
  }

  /** The number of the first message in [`low`, `high`) that `is` holds for, and for all behind it; `high` if there is none. */
  async #search(low: number, high: number, is: (message: StoredMsg) => boolean): Promise<number> {
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2)
      const message = await this.stored(middle)
      // (retention may have gone on meanwhile)
      if (message === undefined || message.seq >= high || is(message)) high = middle
      else low = message.seq + 1
    }
    return low
  }

  async #stored(
    query: { last_by_subj: string } | { seq: number; next_by_subj: string },
  ): Promise<StoredMsg | undefined> {
    const { streams } = this.cluster.manager
    const ask = () => this.#ask('read the topic', () => streams.getMessage(this.name, query))
    try {
      return (await askedAgain(ask, askAgainMs)) ?? undefined
    } catch (error) {
      const code = error instanceof HermesError ? apiCodeOf(error.cause) : undefined
      if (code === apiCode.noMessage) return undefined
      // (says what became of it)
      if (code === apiCode.streamNotFound) await this.info()
      throw error
    }
  }

  async #ask<T>(what: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request()
    } catch (error) {
      throw fromNats(error, `${what} of '${this.topic}'`, { topic: this.topic })
    }
  }
}

/** `undefined` if there is none of this name. */
export async function findStream(
  { manager }: Cluster,
  topic: string,
  signal?: AbortSignal,
): Promise<StreamInfo | undefined> {
  try {
    return await abortable(manager.streams.info(streamOf(topic)), signal)
  } catch (error) {
    if (apiCodeOf(error) === apiCode.streamNotFound) return undefined
    throw fromNats(error, `say what it knows of topic '${topic}'`, { topic })
  }
}

/** @throws HermesError `NOT_HERMES` */
export function definitionOf(info: StreamInfo, topic: string): Definition {
  const definition = readDefinition(info)
  if (definition !== undefined) return definition
  throw new HermesError(
    'NOT_HERMES',
    `Stream ${info.config.name} was not made by Hermes. Delete it, or use another name for topic '${topic}'.`,
    { details: { topic, stream: info.config.name } },
  )
}

async function makeStream(
  cluster: Cluster,
  topic: string,
  wanted: TopicSettings,
  origin: MirrorOrigin | undefined,
): Promise<StreamInfo> {
  if (!wanted.create)
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in the cluster.`, { details: { topic } })
  for (const until = performance.now() + cluster.requestTimeoutMs; ; ) {
    const made = await addStream(cluster, topic, wanted, origin)
    // Another client was faster.
    const info = made ?? (await findStream(cluster, topic))
    if (made === undefined || made.state.messages === 0) {
      if (info !== undefined) return info
    } else if (!(await isStrewn(cluster, made))) return made
    else await removeStrewn(cluster, topic)
    if (performance.now() > until) {
      throw new HermesError(
        'TIMED_OUT',
        `Topic '${topic}' can't be made: the servers still have messages of a stream of that name which was deleted. Try again later.`,
        { details: { topic } },
      )
    }
    await pause(removalMs, undefined)
  }
}

/**
 * nats-server removes the files of a stream after it has said that the stream is gone. One that is made meanwhile can find itself with the messages of the
 * old one (seen with 2.10.27 and 2.15.1). While they are there, no message in it is acknowledged, because its end is not known: so it may be removed.
 */
async function isStrewn({ manager }: Cluster, { config }: StreamInfo): Promise<boolean> {
  const { name, subjects } = config
  try {
    return (await manager.streams.getMessage(name, { last_by_subj: subjects[0] as string })) === null
  } catch (error) {
    return apiCodeOf(error) === apiCode.noMessage
  }
}

async function removeStrewn({ manager }: Cluster, topic: string): Promise<void> {
  try {
    await manager.streams.delete(streamOf(topic))
  } catch (error) {
    if (apiCodeOf(error) !== apiCode.streamNotFound) throw fromNats(error, `make topic '${topic}'`, { topic })
  }
}

/** `undefined` if there is one by now. */
async function addStream(
  cluster: Cluster,
  topic: string,
  wanted: TopicSettings,
  origin: MirrorOrigin | undefined,
): Promise<StreamInfo | undefined> {
  const { connection, manager, peer, replicas } = cluster
  const definition = newDefinition(topic, wanted, connection.info?.max_payload ?? 1024 * 1024, origin)
  const { DiscardPolicy, RetentionPolicy, StorageType } = peer.jetstream
  try {
    return await manager.streams.add({
      name: streamOf(topic),
      subjects: [subjectOf(definition)],
      description: definitionText(definition),
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      num_replicas: replicas,
      // Messages stay until retention removes them: no other client makes a gap.
      deny_delete: true,
      deny_purge: true,
      allow_direct: false,
      ...limitsOf(wanted.retention ?? {}),
    })
  } catch (error) {
    if (apiCodeOf(error) === apiCode.streamNameInUse) return undefined
    throw fromNats(error, `make topic '${topic}'`, { topic })
  }
}
