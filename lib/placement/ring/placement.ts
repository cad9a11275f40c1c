import { HermesError } from '../../base/errors.js'
import type { From, TopicInfo, TopicSettings } from '../../model/topic.js'
import { word } from '../../ring/layout.js'
import { participantStates, stateOf } from '../../ring/participant.js'
import { definitionNow, topicRevision } from '../../store/definition.js'
import { type Directory, topicFolder } from '../../store/directory.js'
import { listTopics, readTopicFile, type TopicFile } from '../../store/topic-file.js'
import { AwaitedSubscriber, topicDefined } from '../awaited-subscriber.js'
import type { Placement, PortOptions, SubscriberPort, SubscriberPortOptions } from '../port.js'
import { ringCapabilities } from './capabilities.js'
import { RingPublisher } from './publisher.js'
import { RingSubscriber } from './subscriber.js'
import {
  consumerEntry,
  describeRing,
  firstSequenceOf,
  nextSequenceOf,
  openRing,
  producerEntry,
  unsupported,
} from './topic.js'

/** Topics that are rings in shared memory: volatile, from one publisher to one subscriber, with back-pressure. */
export class RingPlacement implements Placement {
  /** A queue: nothing that waits in it is to be lost because its subscriber came late. */
  readonly defaultFrom = 'earliest'
  readonly capabilities = ringCapabilities
  readonly #directory: Directory

  constructor(directory: Directory) {
    this.#directory = directory
  }

  topics(): Promise<string[]> {
    return listTopics(this.#directory)
  }

  async info(name: string): Promise<TopicInfo> {
    const file = await readTopicFile(this.#directory, name)
    if (file === undefined) throw this.#missing(name)
    const memory = openRing(this.#directory, file)
    try {
      memory.file?.probe()
      const { words, capacity } = memory
      const attached = (entry: number) => (stateOf(words, entry) === participantStates.attached ? 1 : 0)
      const firstSequence = firstSequenceOf(memory)
      const nextSequence = Math.max(firstSequence, nextSequenceOf(words))
      const consumed = Atomics.load(words, word.consumerIndex)
      const used = (Atomics.load(words, word.producerIndex) - consumed) >>> 0
      return {
        name,
        codec: file.codec,
        createdMs: file.createdMs,
        firstSequence,
        nextSequence,
        syncedSequence: 1,
        watermarks: { claimed: nextSequence, written: nextSequence, synced: 1 },
        segments: 1,
        bytes: capacity,
        usedBytes: Math.min(used, capacity),
        segmentBytes: capacity,
        maxPayloadBytes: file.maxPayloadBytes,
        retention: {},
        publishers: attached(producerEntry),
        diskAlarm: false,
        ring: {
          usedBytes: Math.min(used, capacity),
          subscribers: attached(consumerEntry),
          droppedNewest: Atomics.load(words, word.droppedNewest) >>> 0,
          droppedOldest: Atomics.load(words, word.droppedOldest) >>> 0,
        },
      }
    } finally {
      memory.close()
    }
  }

  async publisher(topic: string, settings: TopicSettings, options: PortOptions): Promise<RingPublisher> {
    const { overflow = 'block' } = options
    if (overflow === 'drop-oldest') {
      throw unsupported(
        topic,
        "its oldest message belongs to the subscriber, which may be reading it. Use overflow: 'drop-newest', or an MpmcRing.",
      )
    }
    const file = await describeRing(this.#directory, topic, settings)
    const memory = openRing(this.#directory, file)
    const publisher = memory.attempt(() => new RingPublisher(topic, memory, file.maxPayloadBytes, overflow))
    await topicDefined(topicFolder(this.#directory, topic))
    return publisher
  }

  async subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<SubscriberPort> {
    // One that may make the topic does so now; one that must not wait for it is told now.
    const create = options.create === true
    const described = await this.#described(topic, { ...settings, create })
    if (described !== undefined) return this.#subscribe(topic, described, options.from)
    if (!settings.create) throw this.#missing(topic)
    const open = async (from: From) => {
      const file = await this.#described(topic, { ...settings, create: false })
      if (file === undefined) throw this.#missing(topic)
      return this.#subscribe(topic, file, from)
    }
    const openNow = (from: From) => {
      if (topicRevision(this.#directory, topic) === '') return undefined
      return this.#subscribe(topic, definitionNow(this.#directory, topic, settings, false), from)
    }
    const key = topicFolder(this.#directory, topic)
    return AwaitedSubscriber.open({ key, topic, open, openNow, revision: () => '', check: () => {} }, options.from)
  }

  #subscribe(topic: string, file: TopicFile, from: From): RingSubscriber {
    const memory = openRing(this.#directory, file)
    return memory.attempt(() => new RingSubscriber(topic, memory, from))
  }

  /** @returns `undefined` if the topic does not exist, and is not to be created */
  async #described(topic: string, settings: TopicSettings): Promise<TopicFile | undefined> {
    try {
      return await describeRing(this.#directory, topic, settings)
    } catch (error) {
      if (error instanceof HermesError && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }

  #missing(topic: string): HermesError {
    return new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${this.#directory.path}.`, {
      details: { topic },
    })
  }

  async close(): Promise<void> {}
}
