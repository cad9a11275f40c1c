import { bounded, checkWaitOptions, type WaitOptions } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { processWords } from '../base/node.js'
import {
  aborted,
  checkBoolean,
  checkChoice,
  checkInteger,
  checkOptions,
  checkSignal,
  invalid,
} from '../base/options.js'
import { pause } from '../base/pause.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Codec } from '../codec/codec.js'
import { guarded } from '../codec/guarded.js'
import {
  type From,
  type Overflow,
  overflows,
  type PublisherDurability,
  publisherDurabilities,
  type TopicInfo,
  type TopicSettings,
} from '../model/topic.js'
import { type Ability, type Capabilities, requireAbility } from '../placement/capabilities.js'
import type { GroupPlacement, Placement, SubscriberPort } from '../placement/port.js'
import { Boundary } from './boundary.js'
import type { CloseOptions } from './close-options.js'
import { checkFrom, checkUntil } from './from.js'
import { Group } from './group.js'
import { checkGroupOptions, type GroupOptions } from './group-options.js'
import { Leadership } from './leadership.js'
import { Progress } from './progress.js'
import { Publisher } from './publisher.js'
import { Subscriber } from './subscriber.js'
import { type Wait, waits } from './wait.js'

export interface PublisherOptions {
  /**
   * What an acknowledgement means. Default `written`: the message survives the end of any process, not of the machine. `replicated`: a quorum of the topic's servers has it; in a cluster only
   * (`UNSUPPORTED` elsewhere), and of topics with replicas only (`CONFIG_MISMATCH`).
   */
  readonly durability?: PublisherDurability
  /** Be the only publisher of the topic, in all processes, or fail with `EXCLUSIVE_HELD`. Somewhat faster. Default false. */
  readonly exclusive?: boolean
  /**
   * In a `ring:` place, what to do when the ring is full. Default `block`: `publish` throws `BACK_PRESSURE`. `drop-newest` gives the new message
   * up, which `info().ring` counts: `publish` returns false then, and only then; `publishBatch` if any was dropped.
   */
  readonly overflow?: Overflow
  /**
   * Sync what was written so many milliseconds after it was, at most, without anyone awaiting it: 1 to 3,600,000. That bounds what a loss of
   * power can take, at the price of a sync per interval while messages come. Not over TCP, and not in a `ring:` place (`UNSUPPORTED`).
   */
  readonly syncIntervalMs?: number
  /** In a cluster: have it refuse what this publisher sends once a later leader has published (`LEASE_LOST`). */
  readonly leadership?: Leadership
  /** Gives up the opening with an `ABORTED` error. A publisher that is open goes on. */
  readonly signal?: AbortSignal | undefined
}

export interface SubscriberOptions {
  /** Where to begin. Default `latest`: what is published from now on; in a `ring:` place `earliest`: what waits to be consumed. */
  readonly from?: From
  /** How to wait for messages. Default `adaptive`. */
  readonly wait?: Wait
  /** Ends waits and iterations with an `ABORTED` error. */
  readonly signal?: AbortSignal
  /** What a signal does to an iteration: `throw` (default) an `ABORTED` error, or `end` it, as closing does. */
  readonly onAbort?: 'throw' | 'end'
  /**
   * Called by iterations with the error of a message that can't be decoded or is not valid, in place of throwing it: the iteration goes on with the
   * next one. `details` has its `topic` and `sequence`.
   */
  readonly onError?: (error: HermesError) => void
  /** Check every message's CRC as it is read. Default true. */
  readonly verify?: boolean
  /** What to do at damage in the log: `error` (default) throws `CORRUPT` there, `skip` goes on with the next message that is whole. */
  readonly onDamage?: 'error' | 'skip'
  /**
   * Make the topic, with the settings given to `hermes.topic()`, if there is none, and set the retention that they name. Default false: the subscriber waits for the first publisher, who says
   * what the topic is; with `create: false` in the topic's options it is refused (`NOT_FOUND`).
   */
  readonly create?: boolean
  /**
   * Makes it a durable subscription: it goes on where it has committed, in whatever process it is opened next. One subscriber at a time holds a name (`EXCLUSIVE_HELD`). `from` says where a new name
   * begins.
   */
  readonly name?: string
  /** With `name`: `manual` (default): by `commit()`; `auto`: also when an iteration asks for what comes next, and when `poll` returns. */
  readonly commit?: 'manual' | 'auto'
  /** With `name`: how long a subscriber whose event loop does not turn keeps the name: 100 to 86,400,000 ms. Default 30,000. */
  readonly leaseMs?: number
  /** `synced`: hand out only what no loss of power can take back; of use where publishers sync. Default `written`: whatever is there. */
  readonly upTo?: 'written' | 'synced'
  /**
   * Where to end: iterations end there, and `poll` finds nothing more. `latest`: behind what is there when the subscriber is opened. A sequence: behind that message. A Date: in front of the
   * first message stamped then or later; where that is past, and there is none, as `latest`. With `upTo: 'synced'`, what is there is what is synced by then; a sequence that is not is waited
   * for. Default: never.
   */
  readonly until?: 'latest' | number | Date
  /** What to do where retention has removed the next message: `error` (default) throws `BEHIND_RETENTION`, `earliest` goes on with the first one that is left. */
  readonly onBehind?: 'error' | 'earliest'
}

/** Between two looks for a topic that is waited for: at first, and at most. */
const firstLookMs = 10
const mostLookMs = 250

/** What a topic needs of the one that made it. */
export interface TopicOwner {
  readonly transport: Placement
  /** Notes what is to be closed with it. Throws if it's closed. */
  adopt<T extends { close(options?: CloseOptions): Promise<void>; closed(): Promise<void> }>(child: T): T
  checkOpen(): void
}

/**
 * One topic. Made by `hermes.topic()`, which touches no file: the first publisher makes the topic, and a subscriber waits for it.
 *
 * @typeParam In   what `publish` takes
 * @typeParam Out  what iterators yield
 * @typeParam View what `poll` hands out
 */
export class Topic<In, Out = In, View = Out> {
  readonly name: string
  readonly codec: Codec<In, Out, View>
  readonly #settings: TopicSettings
  readonly #owner: TopicOwner

  /** @internal */
  constructor(name: string, codec: Codec<In, Out, View>, settings: TopicSettings, owner: TopicOwner) {
    this.name = name
    this.codec = codec
    this.#settings = settings
    this.#owner = owner
  }

  /**
   * Opens a publisher. The first one after a crash recovers the topic: see `publisher.recovery`.
   *
   * @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `CODEC_MISMATCH`, `CONFIG_MISMATCH`, `ACCESS_DENIED`, `CORRUPT`, …
   */
  async publisher(options: PublisherOptions = {}): Promise<Publisher<In>> {
    checkOptions('publisher()', options, [
      'durability',
      'exclusive',
      'overflow',
      'syncIntervalMs',
      'leadership',
      'signal',
    ])
    const {
      durability = 'written',
      exclusive = false,
      overflow = 'block',
      syncIntervalMs,
      leadership,
      signal,
    } = options
    if (leadership !== undefined && !(leadership instanceof Leadership))
      throw invalid("'leadership' must be what hermes.lead() returned.")
    checkSignal(signal)
    checkChoice('durability', durability, publisherDurabilities)
    checkBoolean('exclusive', exclusive)
    checkChoice('overflow', overflow, overflows)
    if (syncIntervalMs !== undefined) checkInteger('syncIntervalMs', syncIntervalMs, 1, 3_600_000)
    this.#owner.checkOpen()
    const { transport } = this.#owner
    const { capabilities } = transport
    this.#checkSettings(capabilities)
    if (exclusive) this.#require(capabilities.exclusivity)
    if (leadership !== undefined) this.#require(capabilities.leases)
    if (overflow !== 'block') this.#require(capabilities.overflow)
    if (durability === 'synced') this.#require(capabilities.syncing)
    if (durability === 'replicated') this.#require(capabilities.replication)
    if (syncIntervalMs !== undefined) this.#require(capabilities.intervalSyncing)
    const port = await transport.publisher(this.name, this.#settings, {
      exclusive,
      durability: durability === 'synced' ? 'synced' : 'written',
      replicated: durability === 'replicated',
      overflow,
      syncIntervalMs,
      fence: leadership?.revision,
      signal,
    })
    const settled = syncIntervalMs === undefined ? durability : 'synced'
    return this.#owner.adopt(new Publisher<In>(this.name, guarded(this.codec), port, durability, settled, capabilities))
  }

  /**
   * Opens a subscriber.
   *
   * @throws HermesError `CODEC_MISMATCH`, `BEHIND_RETENTION`, `OUT_OF_RANGE`, `ACCESS_DENIED`, `CORRUPT`, …
   */
  async subscriber(options: SubscriberOptions = {}): Promise<Subscriber<Out, View>> {
    checkOptions('subscriber()', options, [
      'from',
      'wait',
      'signal',
      'verify',
      'onDamage',
      'create',
      'onAbort',
      'onError',
      'name',
      'commit',
      'leaseMs',
      'onBehind',
      'upTo',
      'until',
    ])
    const {
      from = this.#owner.transport.defaultFrom ?? 'latest',
      wait = 'adaptive',
      signal,
      verify = true,
      onDamage = 'error',
      create = false,
      onAbort = 'throw',
      onError,
      onBehind = 'error',
      upTo = 'written',
    } = options
    const start = checkFrom("'from'", from)
    checkChoice('wait', wait, waits)
    checkSignal(signal)
    checkBoolean('verify', verify)
    checkChoice('onDamage', onDamage, ['error', 'skip'])
    checkBoolean('create', create)
    checkChoice('onAbort', onAbort, ['throw', 'end'])
    if (onError !== undefined && typeof onError !== 'function') throw invalid("'onError' must be a function.")
    checkChoice('onBehind', onBehind, ['error', 'earliest'])
    checkChoice('upTo', upTo, ['written', 'synced'])
    const until = options.until === undefined ? undefined : checkUntil(options.until)
    this.#owner.checkOpen()
    const { capabilities } = this.#owner.transport
    this.#checkSettings(capabilities)
    if (upTo === 'synced') this.#require(capabilities.syncing)
    const progress = await this.#progress(options, start)
    let port: SubscriberPort | undefined
    try {
      port = await this.#subscriberPort(progress?.committed ?? start, options, verify, create, progress)
      const opened = port
      const end = upTo === 'synced' ? () => this.#syncedEnd(signal) : async () => opened.nextSequence()
      const codec = guarded(this.codec) as unknown as Codec<never, Out, View>
      const how = {
        wait,
        signal,
        skipDamage: onDamage === 'skip',
        onAbort,
        onError,
        onBehind,
        progress,
        boundary: until === undefined ? undefined : await Boundary.of(until, end),
      }
      return this.#owner.adopt(new Subscriber<Out, View>(this.name, codec, port, how))
    } catch (error) {
      port?.close()
      await progress?.close()
      throw error
    }
  }

  /** Behind what is synced now. */
  async #syncedEnd(signal: AbortSignal | undefined): Promise<number> {
    try {
      return (await this.#owner.transport.info(this.name, signal)).syncedSequence
    } catch (error) {
      if (error instanceof HermesError && error.code === 'NOT_FOUND') return 1 // (it is waited for)
      throw error
    }
  }

  async #subscriberPort(
    from: From,
    { signal, onBehind, upTo }: SubscriberOptions,
    verify: boolean,
    create: boolean,
    progress: Progress | undefined,
  ): Promise<SubscriberPort> {
    const open = (from: From) =>
      this.#owner.transport.subscriber(this.name, this.#settings, {
        from,
        verify,
        signal,
        create,
        upToSynced: upTo === 'synced',
      })
    try {
      return await open(from)
    } catch (error) {
      if (onBehind !== 'earliest' || !(error instanceof HermesError) || error.code !== 'BEHIND_RETENTION') throw error
      const port = await open('earliest')
      progress?.noteLost(from, port.sequence)
      return port
    }
  }

  /** Of a durable subscription: where it is, and where to note it. */
  async #progress(options: SubscriberOptions, from: From): Promise<Progress | undefined> {
    const { name, commit = 'manual', leaseMs, create = false, signal } = options
    if (name === undefined) {
      for (const option of ['commit', 'leaseMs'] as const) {
        if (options[option] !== undefined)
          throw invalid(`'${option}' is for a durable subscription: give it a 'name', too.`)
      }
      return undefined
    }
    checkTopicName(name, 'subscription')
    checkChoice('commit', commit, ['manual', 'auto'])
    if (leaseMs !== undefined) checkInteger('leaseMs', leaseMs, 100, 86_400_000)
    const { transport } = this.#owner
    requireAbility(`Topic '${this.name}'`, transport.capabilities.groups, { topic: this.name, name })
    const member = processWords()
    const port = await (transport as GroupPlacement).position(this.name, this.#settings, name, {
      from,
      leaseMs,
      member,
      create,
      signal,
    })
    return new Progress(this.name, name, port, commit === 'auto')
  }

  /**
   * Joins a group of the topic, and makes the group if there is none: its members, in all processes and threads, share the topic's messages. Each message is handled by one of them at least once;
   * what a member had not settled when it died, hung or left goes to the others.
   *
   * @param name 1 to 128 characters, as of a topic
   * @throws HermesError `NOT_FOUND` if there is no topic (`waitUntilExists()` waits for it), `CONFIG_MISMATCH` if the group was made with other options, `POSITION_LOST` if it is of an
   *   earlier topic of this name, `LIMIT` if it has 256 members, `CODEC_MISMATCH`, `UNSUPPORTED`, `ACCESS_DENIED`, `CORRUPT`, …
   */
  async group(name: string, options: GroupOptions<Out> = {}): Promise<Group<Out, View>> {
    checkTopicName(name, 'group')
    const codec = guarded(this.codec) as unknown as Codec<never, Out, View>
    const { port, member } = checkGroupOptions(codec, options)
    this.#owner.checkOpen()
    const { transport } = this.#owner
    requireAbility(`Topic '${this.name}'`, transport.capabilities.groups, { topic: this.name, group: name })
    const consumer = await (transport as GroupPlacement).consumer(this.name, this.#settings, name, port)
    return this.#owner.adopt(new Group<Out, View>(this.name, name, codec, consumer, member))
  }

  #require(ability: Ability): void {
    requireAbility(`Topic '${this.name}'`, ability, { topic: this.name })
  }

  #checkSettings({ retention, groupRetention, lowWater }: Capabilities): void {
    if (this.#settings.retention !== undefined) this.#require(retention)
    if (this.#settings.retention?.waitForGroups !== undefined) this.#require(groupRetention)
    if (this.#settings.lowWaterBytes !== undefined) this.#require(lowWater)
  }

  /**
   * Resolves once the topic exists, with what is known of it. Looks again and again, a few times per second at last.
   *
   * @throws HermesError `ABORTED`, `TIMED_OUT`, `CLOSED`; and what `info` throws, but for `NOT_FOUND`
   */
  async waitUntilExists(options: WaitOptions = {}): Promise<TopicInfo> {
    checkWaitOptions('waitUntilExists()', options)
    const late = () =>
      new HermesError('TIMED_OUT', `Topic '${this.name}' was not made within ${options.timeoutMs} ms.`, {
        details: { topic: this.name },
      })
    return bounded(options, (signal) => this.#untilExists(signal), late)
  }

  async #untilExists(signal: AbortSignal | undefined): Promise<TopicInfo> {
    for (let delayMs = firstLookMs; ; delayMs = Math.min(2 * delayMs, mostLookMs)) {
      this.#owner.checkOpen()
      try {
        return await this.#owner.transport.info(this.name, signal)
      } catch (error) {
        if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND') throw error
      }
      await pause(delayMs, signal)
      if (signal?.aborted) throw aborted(signal)
    }
  }

  /** What is known of the topic now. Rejects with `NOT_FOUND` before the topic exists. */
  async info(options: WaitOptions = {}): Promise<TopicInfo> {
    checkWaitOptions('info()', options)
    this.#owner.checkOpen()
    const late = () =>
      new HermesError('TIMED_OUT', `info() of topic '${this.name}' was not answered within ${options.timeoutMs} ms.`, {
        details: { topic: this.name },
      })
    return bounded(options, (signal) => this.#owner.transport.info(this.name, signal), late)
  }
}
