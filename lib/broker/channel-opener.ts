import { HermesError } from '../base/errors.js'
import type { From, TopicSettings } from '../model/topic.js'
import { parseOpenPublisher, parseSubscribe, publisherOpenedToWire } from '../wire/messages.js'
import { packetType } from '../wire/packet.js'
import { emptyPacket, jsonPacket } from '../wire/packet-writer.js'
import type { Rights } from './access.js'
import type { ChannelTable } from './channel-table.js'
import type { Delivering } from './deliveries.js'
import type { Holder } from './holder.js'
import { PublisherChannel } from './publisher-channel.js'
import type { SessionHost, SessionPort } from './session-port.js'
import { SubscriberChannel, type SubscriberHost } from './subscriber-channel.js'
import type { BrokerTopic } from './topic.js'

/** The session whose channels are opened. */
export interface OpeningSession extends SubscriberHost {
  readonly isOpen: boolean
  readonly identity: string | undefined
  /** Set while it is open. */
  readonly rights: Rights | undefined
  /** Does the work in a turn of this client's. */
  inTurn<T>(work: () => T): Promise<T>
  /** The publisher may publish from now on. */
  opened(channel: number, publisher: PublisherChannel): void
  /** Nothing more is to be delivered to it. */
  forget(channel: Delivering): void
}

/** Opens the publishers and subscribers of one client: its rights, the topic, the position in it, and the answer. */
export class ChannelOpener {
  readonly #host: SessionHost
  readonly #port: SessionPort
  readonly #channels: ChannelTable
  readonly #session: OpeningSession

  constructor(host: SessionHost, port: SessionPort, channels: ChannelTable, session: OpeningSession) {
    this.#host = host
    this.#port = port
    this.#channels = channels
    this.#session = session
  }

  /** @throws HermesError what the client is to be told */
  async openPublisher(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const open = parseOpenPublisher(fields)
    if (!this.#session.rights?.mayPublish(open.topic)) throw this.denied('publish to', open.topic)
    const growth = this.#session.rights.administer ? 'allowed' : 'denied'
    await this.inTopic(open.topic, { ...open.settings, growth }, async (topic) => {
      if (this.isGone(channel)) return
      const shown = (holder: Holder) => this.#shownHolder(holder)
      const owner = this.#host.settings.access.isOpen ? undefined : this.#session.identity
      const publisher = await topic.enter(open.producer, open.exclusive, owner, shown, (producer) => {
        const quota = this.#host.quota(topic, this.#session.rights as Rights)
        return new PublisherChannel(this.#session, channel, topic, producer, open.durability, quota)
      })
      try {
        if (!(await this.#finishOpening(channel, publisher, topic, open))) await publisher.end(false)
      } catch (error) {
        // Else it would keep its slot, and an exclusive one the topic, without a client.
        await publisher.end(false)
        throw error
      }
      this.#host.opening(open.topic, undefined)
    })
  }

  /** Who holds a topic is told to those who look after it, and to clients of the same identity. */
  #shownHolder({ identity, address }: Holder): string {
    if (this.#session.rights?.administer !== true && identity !== this.#session.identity)
      return 'a client of another identity'
    return `'${identity}' at ${address}`
  }

  /** Completes the opening of a publisher that was let in. False if the client has closed the channel. */
  async #finishOpening(
    channel: number,
    publisher: PublisherChannel,
    topic: BrokerTopic,
    open: ReturnType<typeof parseOpenPublisher>,
  ): Promise<boolean> {
    if (this.isGone(channel)) return false
    const { producer } = publisher
    producer.trim(open.acked)
    if (open.durability === 'synced' && producer.runs.length > 0) {
      await new Promise<void>((resolve, reject) =>
        topic.whenSynced(0, (error) => (error === undefined ? resolve() : reject(error))),
      )
    }
    // A newer one with the same id may have come meanwhile: then this one has been told.
    if (publisher.hasEnded || this.isGone(channel)) return false
    const { runs } = producer
    // Of a log that ends too early it can't be said what it still holds.
    const stored = producer.hasLost ? 0n : producer.stored
    producer.hasLost = false
    // What a power cut took away was acknowledged as written only; its numbers are not used again.
    if (open.acked > producer.stored) producer.stored = open.acked
    this.#channels.add(channel, publisher)
    this.#session.opened(channel, publisher)
    this.#session.send(
      jsonPacket(
        packetType.publisherOpened,
        channel,
        publisherOpenedToWire({
          stored,
          runs,
          maxPayloadBytes: topic.file.maxPayloadBytes,
          maxBatchBytes: topic.maxBatchBytes,
          nextSequence: topic.nextSequence(),
        }),
      ),
    )
    return true
  }

  /** @throws HermesError what the client is to be told */
  async openSubscriber(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const subscribe = parseSubscribe(fields)
    if (!this.#session.rights?.maySubscribe(subscribe.topic)) throw this.denied('subscribe to', subscribe.topic)
    await this.inTopic(subscribe.topic, subscribe.settings, async (topic) => {
      if (this.isGone(channel)) return
      const { from, credit, upToSynced } = subscribe
      await topic.whenFindable(from, this.#session.party, () =>
        // Mapping a segment takes a while as well: in a turn of its own.
        this.#session.inTurn(() => this.#startSubscriber(channel, topic, from, credit, upToSynced)),
      )
    })
  }

  #startSubscriber(channel: number, topic: BrokerTopic, from: From, credit: number, upToSynced: boolean): void {
    if (this.isGone(channel)) return
    this.#port.subscribed()
    let subscriber: SubscriberChannel
    try {
      subscriber = new SubscriberChannel(this.#session, channel, topic, credit, upToSynced)
    } catch (error) {
      this.#port.unsubscribed()
      throw error
    }
    this.#channels.add(channel, subscriber)
    try {
      subscriber.start(from)
    } catch (error) {
      this.#channels.remove(channel)
      this.#session.forget(subscriber)
      void subscriber.end()
      throw error
    }
  }

  /** Who asked for a topic to be made is told why it was not. */
  #mayNotMake(error: unknown): unknown {
    if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND') return error
    return new HermesError(
      'NOT_FOUND',
      `${error.message} '${this.#session.identity}' may not make topics: have one with "administer" make it, or wait for it.`,
      { details: error.details, cause: error },
    )
  }

  /** Opens the topic, and keeps it open for as long as `work` takes. */
  async inTopic(name: string, settings: TopicSettings, work: (topic: BrokerTopic) => Promise<void>): Promise<void> {
    const administer = this.#session.rights?.administer === true
    const topic = await this.#host
      .topic(name, administer ? settings : { ...settings, create: false })
      .catch((error: unknown) => {
        throw administer || settings.create === false ? error : this.#mayNotMake(error)
      })
    try {
      if (administer) await topic.setRetention(settings)
      else if (!topic.hasRetention(settings)) this.#report('change the retention of', name)
      await work(topic)
    } catch (error) {
      if (error instanceof HermesError && !isOwnLimit(error)) this.#host.opening(name, error)
      throw error
    } finally {
      topic.release()
    }
  }

  /** Whether the client has closed the channel. Answers a CLOSE that came meanwhile. */
  isGone(channel: number): boolean {
    if (!this.#session.isOpen) return true
    if (!this.#channels.isCancelled(channel)) return false
    this.#session.send(emptyPacket(packetType.closed, channel))
    return true
  }

  #report(doing: string, topic: string): void {
    const identity = this.#session.rights?.name
    this.#host.report('denied', { address: this.#port.address, identity, doing, topic })
  }

  denied(doing: string, topic: string): HermesError {
    const { name } = this.#session.rights as Rights
    this.#report(doing, topic)
    return new HermesError('UNAUTHORIZED', `'${name}' may not ${doing} '${topic}'.`, { details: { topic } })
  }
}

/** What a client can't have because it, or all together, have as much as the broker gives: no failure of the topic. (It has a line in the log.) */
function isOwnLimit({ code, details }: HermesError): boolean {
  return code === 'LIMIT' && typeof details['limit'] === 'string'
}
