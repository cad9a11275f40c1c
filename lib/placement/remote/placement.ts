import { abortable } from '../../base/abort.js'
import type { BrokerHealth, TopicInfo, TopicSettings } from '../../model/topic.js'
import type { Transport } from '../../transport/connection.js'
import { protocolError } from '../../wire/packet.js'
import type { ConsumerOptions, PositionOptions } from '../consumer-port.js'
import type { GroupPlacement, PortOptions, SubscriberPortOptions } from '../port.js'
import { RemoteAdministration } from './administration.js'
import { remoteCapabilities } from './capabilities.js'
import { RemoteConsumer } from './consumer.js'
import { Link } from './link.js'
import type { TcpSettings } from './options.js'
import { RemotePosition } from './position.js'
import { RemotePublisher } from './publisher.js'
import { Request } from './request.js'
import { RemoteSubscriber } from './subscriber.js'
import { listTopics } from './topic-list.js'

/** Topics behind a broker. */
export class RemotePlacement implements GroupPlacement {
  readonly capabilities = remoteCapabilities
  readonly administration: RemoteAdministration
  readonly #links: readonly Link[]

  private constructor(links: readonly Link[]) {
    this.#links = links
    this.administration = new RemoteAdministration((content, what, once, signal) =>
      this.#request(content, what, signal, once),
    )
  }

  /** @throws HermesError `CONNECTION_FAILED`, `UNAUTHORIZED`, `VERSION_MISMATCH`, `PROTOCOL` */
  static async connect(settings: TcpSettings, transport: Transport): Promise<RemotePlacement> {
    const links = Array.from(
      { length: settings.connections },
      (_, index) => new Link(settings, transport, index + 1, listTopics),
    )
    try {
      await abortable(Promise.all(links.map((link) => link.connect())), settings.signal)
    } catch (error) {
      for (const link of links) link.close()
      throw error
    }
    return new RemotePlacement(links)
  }

  /**
   * The connection for the next user: of those that are there, the one that the fewest share. One that is being made again will do where
   * there is no better; one that was given up for good only serves to say why.
   */
  get #link(): Link {
    let best = this.#links.filter((link) => link.ready)
    if (best.length === 0) best = this.#links.filter((link) => !link.hasFailed)
    if (best.length === 0) best = [...this.#links]
    return best.reduce((least, link) => (link.users < least.users ? link : least))
  }

  async topics(signal?: AbortSignal): Promise<string[]> {
    return listTopics(this.#link, signal)
  }

  async info(name: string, signal?: AbortSignal): Promise<TopicInfo> {
    const { info } = await this.#request({ op: 'info', topic: name }, `what it knows of '${name}'`, signal)
    if (typeof info !== 'object' || info === null) throw protocolError('The broker sent no description of the topic.')
    const { bytes, usedBytes = bytes } = info as TopicInfo
    return { ...(info as TopicInfo), usedBytes }
  }

  async health(signal?: AbortSignal): Promise<BrokerHealth> {
    const { health } = await this.#request({ op: 'health' }, 'its health', signal)
    const { canPublish, problems, code } = (health ?? {}) as Partial<BrokerHealth>
    if (
      typeof canPublish !== 'boolean' ||
      !Array.isArray(problems) ||
      !problems.every((one) => typeof one === 'string') ||
      (code !== undefined && typeof code !== 'string')
    )
      throw protocolError('The broker sent no description of its health.')
    return { canPublish, problems, ...(code === undefined ? {} : { code }) }
  }

  async publisher(topic: string, settings: TopicSettings, options: PortOptions): Promise<RemotePublisher> {
    const publisher = await RemotePublisher.open(this.#link, topic, settings, {
      exclusive: options.exclusive,
      durability: options.durability ?? 'written',
      signal: options.signal,
    })
    for (const link of this.#links) link.topicMade(topic)
    return publisher
  }

  async subscriber(topic: string, settings: TopicSettings, options: SubscriberPortOptions): Promise<RemoteSubscriber> {
    return RemoteSubscriber.open(this.#link, topic, settings, options)
  }

  async consumer(
    topic: string,
    settings: TopicSettings,
    group: string,
    options: ConsumerOptions,
  ): Promise<RemoteConsumer> {
    return RemoteConsumer.join(this.#link, topic, settings, group, options)
  }

  async position(
    topic: string,
    settings: TopicSettings,
    name: string,
    options: PositionOptions,
  ): Promise<RemotePosition> {
    return RemotePosition.take(this.#link, topic, settings, name, options)
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.close()
  }

  async #request(
    content: Readonly<Record<string, unknown>>,
    what: string,
    signal: AbortSignal | undefined,
    once = false,
  ): Promise<Readonly<Record<string, unknown>>> {
    const link = this.#link
    const request = new Request(link, content, once)
    await link.open(request, request.answered, what, () => request.isAsked, signal)
    return request.reply
  }
}
