import { bounded, checkWaitOptions, type WaitOptions } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { checkBoolean } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Codec } from '../codec/codec.js'
import { json } from '../codec/json.js'
import type { DescribedGroup, GroupSummary } from '../model/administration.js'
import type { From, Retention, TopicInfo } from '../model/topic.js'
import type { AdminPort } from '../placement/admin-port.js'
import { checkFrom } from './from.js'
import { checkCodec, checkRetention, checkTopicOptions, type TopicOptions } from './topic-options.js'

/** Options of `hermes.admin.createTopic()`. */
export interface CreateTopicOptions<In, Out, View>
  extends Omit<TopicOptions<In, Out, View>, 'lowWaterBytes' | 'create'>,
    WaitOptions {}

/** Options of `hermes.admin.alterTopic()`. */
export interface AlterTopicOptions extends WaitOptions {
  /** Replaces the topic's as a whole: `{}` keeps everything from now on. Applied at once. */
  readonly retention: Retention
}

/** Options of calls that take something away from those who use it. */
export interface ForceOptions extends WaitOptions {
  /** True: also while it is in use. Default false: `BUSY` then. */
  readonly force?: boolean
}

/** Looks after topics and groups: `hermes.admin`. Through a broker it takes an access entry with `administer`. */
export class Administration {
  readonly #port: () => AdminPort

  /** @internal @param port throws if the place is closed, or has none */
  constructor(port: () => AdminPort) {
    this.#port = port
  }

  /**
   * Makes a topic. One that is there already has to be of this codec and these sizes, and is left as it is, but for a retention that is named.
   *
   * @throws HermesError `CODEC_MISMATCH`, `CONFIG_MISMATCH`, `INVALID_NAME`, `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `ACCESS_DENIED`, `DISK_FULL`, `UNAUTHORIZED`, …
   */
  createTopic<In = unknown, Out = In, View = Out>(
    name: string,
    options: CreateTopicOptions<In, Out, View> = {},
  ): Promise<TopicInfo> {
    return this.#call('createTopic()', options, creating, (port, signal) => {
      checkTopicName(name)
      const { signal: _, timeoutMs: __, ...topic } = options
      const settings = checkTopicOptions(topic, 'createTopic()', creating)
      const { codec = json as unknown as Codec<In, Out, View> } = options
      checkCodec(codec)
      const { name: codecName, fingerprint, schema } = codec
      return port.createTopic(
        name,
        { ...settings, codec: { name: codecName, fingerprint, schema }, create: true },
        signal,
      )
    })
  }

  /** Changes what a topic keeps. @throws HermesError `NOT_FOUND`, `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `ACCESS_DENIED`, `UNAUTHORIZED`, … */
  alterTopic(name: string, options: AlterTopicOptions): Promise<TopicInfo> {
    return this.#call('alterTopic()', options, ['retention'], (port, signal) => {
      checkTopicName(name)
      checkRetention(options.retention)
      return port.alterTopic(name, options.retention, signal)
    })
  }

  /**
   * Deletes a topic: its messages, groups and positions. It is gone as a whole or not at all, also if this process is killed in the middle. With `force`, those who
   * use it get `TOPIC_DELETED` from then on, in all processes and through a broker.
   *
   * @throws HermesError `BUSY` while a process has it open, unless `force`; `NOT_FOUND`; `TIMED_OUT` if a process that works on its files was stopped; `ACCESS_DENIED`, `UNAUTHORIZED`, …
   */
  deleteTopic(name: string, options: ForceOptions = {}): Promise<void> {
    return this.#call('deleteTopic()', options, ['force'], (port, signal) => {
      checkTopicName(name)
      return port.deleteTopic(name, isForced(options), signal)
    })
  }

  /**
   * The groups and durable subscriptions of a topic, by name.
   *
   * @throws HermesError `NOT_FOUND`, `UNAUTHORIZED`; `CORRUPT` if the file of one is damaged, `POSITION_LOST` if it is of an earlier topic of this name, …:
   *   then `details.group` names it, and `details.groups` lists the others
   */
  groups(topic: string, options: WaitOptions = {}): Promise<GroupSummary[]> {
    return this.#call('groups()', options, [], (port, signal) => {
      checkTopicName(topic)
      return port.groups(topic, signal)
    })
  }

  /** What a group and its members are doing, and how far behind they are. @throws HermesError `NOT_FOUND`, `UNAUTHORIZED`, … */
  describeGroup(topic: string, group: string, options: WaitOptions = {}): Promise<DescribedGroup> {
    return this.#call('describeGroup()', options, [], (port, signal) => {
      checkNames(topic, group)
      return port.group(topic, group, signal)
    })
  }

  /**
   * Has a group or durable subscription go on elsewhere: everything before is settled, everything from there on is new, and what members hold is no longer theirs.
   *
   * @param to `earliest`, `latest` (what is published next), a sequence, or a Date: the first message stamped then or later
   * @returns the sequence that is handed out next
   * @throws HermesError `BUSY` while it has members, unless `force`; `NOT_FOUND`, `OUT_OF_RANGE`, `BEHIND_RETENTION`, `UNAUTHORIZED`, …
   */
  resetGroup(topic: string, group: string, to: From, options: ForceOptions = {}): Promise<number> {
    return this.#call('resetGroup()', options, ['force'], (port, signal) => {
      checkNames(topic, group)
      return port.resetGroup(topic, group, checkFrom('resetGroup()', to), isForced(options), signal)
    })
  }

  /** Forgets a group or durable subscription. With `force`, its members get `NOT_FOUND`. @throws HermesError `BUSY` while it has members, unless `force`; `NOT_FOUND`, `UNAUTHORIZED`, … */
  deleteGroup(topic: string, group: string, options: ForceOptions = {}): Promise<void> {
    return this.#call('deleteGroup()', options, ['force'], (port, signal) => {
      checkNames(topic, group)
      return port.deleteGroup(topic, group, isForced(options), signal)
    })
  }

  async #call<T>(
    where: string,
    options: WaitOptions,
    others: readonly string[],
    work: (port: AdminPort, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    checkWaitOptions(where, options, others)
    const port = this.#port()
    const { signal, timeoutMs } = options
    const late = () =>
      new HermesError('TIMED_OUT', `${where} was not answered within ${timeoutMs} ms.`, { details: { timeoutMs } })
    return bounded({ signal, timeoutMs }, async (either) => work(port, either), late)
  }
}

const creating = ['codec', 'segmentBytes', 'maxPayloadBytes', 'retention']

function isForced({ force = false }: ForceOptions): boolean {
  checkBoolean('force', force)
  return force
}

function checkNames(topic: string, group: string): void {
  checkTopicName(topic)
  checkTopicName(group, 'group')
}
