import { HermesError } from '../base/errors.js'
import type { Rights } from './access.js'
import type { Channel, ChannelTable } from './channel-table.js'
import type { Hello } from './greeting.js'
import type { SessionHost, SessionPort } from './session-port.js'

/** The session that is looked at. */
export interface ReviewedSession {
  /** Ends the channel with an ERROR. */
  failChannel(channel: number, error: HermesError): void
  /** What a publisher may store is another amount now. */
  limited(channel: number): void
  /** Says why, and ends the connection. */
  refuse(error: unknown): void
  /** Resolves with what `work` returns, once it was the client's turn. */
  inTurn<T>(work: () => T): Promise<T>
}

/**
 * What a client may do, from its HELLO on. The broker's access entries may change while it is connected: then its rights are looked up anew,
 * channels that it has no right to any more end, and the connection ends if no entry knows its token or certificate.
 */
export class Review {
  readonly #host: SessionHost
  readonly #port: SessionPort
  readonly #channels: ChannelTable
  readonly #session: ReviewedSession
  #hello: Hello | undefined
  /** At least once, entries have changed since the HELLO. */
  #hasChanged = false

  constructor(host: SessionHost, port: SessionPort, channels: ChannelTable, session: ReviewedSession) {
    this.#host = host
    this.#port = port
    this.#channels = channels
    this.#session = session
    // Its rights may have been looked at before a change, and it opens after it.
    channels.opened = (number, channel) => {
      if (this.#hasChanged) session.inTurn(() => this.#check(number, channel)).catch(() => {})
    }
  }

  get rights(): Rights | undefined {
    return this.#hello?.rights
  }

  begin(hello: Hello): void {
    this.#hello = hello
  }

  /** The entries have changed. */
  again(): void {
    const hello = this.#hello
    if (hello === undefined) return
    const before = hello.rights
    let rights: Rights
    try {
      rights = this.#host.settings.access.identify(hello.credentials)
      // What the connection has is counted under the other name: the client makes a new one by itself.
      if (rights.name !== before.name)
        throw new HermesError('CLOSED', `The access entry is now called '${rights.name}'.`)
    } catch (error) {
      this.#session.refuse(error)
      return
    }
    this.#hasChanged = true
    this.#hello = { ...hello, rights }
    this.#port.reviewed(rights)
    for (const [number, channel] of [...this.#channels.entries()]) {
      this.#check(number, channel)
      if (channel.kind !== 'publisher' || rights.maxBytes === before.maxBytes) continue
      channel.limitBy(this.#host.quota(channel.topic, rights))
      this.#session.limited(number)
    }
  }

  #check(number: number, channel: Channel): void {
    const rights = this.#hello?.rights
    const denied = rights && whatIsDenied(channel, rights)
    if (denied === undefined) return
    const { name: topic } = channel.topic
    this.#host.report('denied', { address: this.#port.address, identity: rights?.name, doing: denied, topic })
    const message = `'${rights?.name}' may no longer ${denied} '${topic}'.`
    const error = new HermesError('UNAUTHORIZED', message, { details: { topic } })
    // What a member holds goes to others at once.
    if (channel.kind === 'member') channel.giveUp(error)
    else this.#session.failChannel(number, error)
  }
}

/** What a client does with an open channel that it has no right to; `undefined` if it has. */
function whatIsDenied(channel: Channel, rights: Rights): string | undefined {
  const topic = channel.topic.name
  switch (channel.kind) {
    case 'publisher':
      return rights.mayPublish(topic) ? undefined : 'publish to'
    case 'subscriber':
      return rights.maySubscribe(topic) ? undefined : 'subscribe to'
    case 'member': {
      const { group } = channel.membership.of
      return rights.mayConsume(topic, group) ? undefined : `be in group '${group}' of`
    }
  }
}
