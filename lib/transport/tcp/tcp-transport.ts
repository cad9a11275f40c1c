import { Deferred } from '../../deferred.js'
import { HermesError } from '../../errors.js'
import { parseJson } from '../../wire/messages.js'
import { jsonPacket, packetType, protocolError } from '../../wire/packet.js'
import type { Durability, From, TopicInfo, TopicSettings, Transport } from '../transport.js'
import { Link, type LinkUser } from './link.js'
import type { TcpSettings } from './options.js'
import { TcpPublisher } from './tcp-publisher.js'
import { TcpSubscriber } from './tcp-subscriber.js'

/** Topics behind a broker. */
export class TcpTransport implements Transport {
  readonly #link: Link

  private constructor(link: Link) {
    this.#link = link
  }

  /** @throws HermesError `CONNECTION_FAILED`, `UNAUTHORIZED`, `VERSION_MISMATCH`, `PROTOCOL` */
  static async connect(settings: TcpSettings): Promise<TcpTransport> {
    const link = new Link(settings)
    try {
      await link.connect()
    } catch (error) {
      link.close()
      throw error
    }
    return new TcpTransport(link)
  }

  async topics(): Promise<string[]> {
    const { topics } = await this.#request({ op: 'topics' })
    if (!Array.isArray(topics) || !topics.every((one) => typeof one === 'string'))
      throw protocolError('The broker sent no list of topics.')
    return topics
  }

  async info(name: string): Promise<TopicInfo> {
    const { info } = await this.#request({ op: 'info', topic: name })
    if (typeof info !== 'object' || info === null) throw protocolError('The broker sent no description of the topic.')
    return info as TopicInfo
  }

  publisher(
    topic: string,
    settings: TopicSettings,
    options: { readonly exclusive: boolean; readonly durability?: Durability },
  ): Promise<TcpPublisher> {
    this.#refuseLocal(settings)
    return TcpPublisher.open(this.#link, topic, settings, {
      exclusive: options.exclusive,
      durability: options.durability ?? 'written',
    })
  }

  subscriber(
    topic: string,
    settings: TopicSettings,
    options: { readonly from: From; readonly verify: boolean },
  ): Promise<TcpSubscriber> {
    this.#refuseLocal(settings)
    return TcpSubscriber.open(this.#link, topic, settings, options.from, options.verify)
  }

  async close(): Promise<void> {
    this.#link.close()
  }

  #refuseLocal(settings: TopicSettings): void {
    if (settings.lowWaterBytes === undefined) return
    throw new HermesError('UNSUPPORTED', "'lowWaterBytes' is the broker's affair: leave it out.")
  }

  async #request(content: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
    const request = new Request(this.#link, content)
    await this.#link.open(request, request.answered, () => request.isAsked)
    return request.reply
  }
}

/** A question to the broker. Asked again if the connection is lost before the answer. */
class Request implements LinkUser {
  readonly answered = new Deferred<void>()
  readonly #link: Link
  readonly #content: Readonly<Record<string, unknown>>
  reply: Readonly<Record<string, unknown>> = {}
  isAsked = false

  constructor(link: Link, content: Readonly<Record<string, unknown>>) {
    this.#link = link
    this.#content = content
  }

  get idle(): boolean {
    return false
  }

  connected(channel: number): void {
    this.isAsked = true
    this.#link.send(jsonPacket(packetType.request, channel, this.#content))
  }

  disconnected(): void {
    this.isAsked = false
  }

  failed(error: HermesError): void {
    this.answered.reject(error)
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    if (type !== packetType.reply) throw protocolError(`A packet of type ${type} came in place of a reply.`)
    this.reply = parseJson(bytes, start, end)
    this.#link.remove(this)
    this.answered.resolve()
  }
}
