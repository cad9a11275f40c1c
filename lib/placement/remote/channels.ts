import type { HermesError } from '../../base/errors.js'

/** The owner of a channel: a publisher, a subscriber or a request. It gets a new one with every connection. */
export interface LinkUser {
  /** There is a connection: open the channel. */
  connected(channel: number): void
  /**
   * The connection is lost, or the broker has ended the channel; another one will follow.
   *
   * @param reason what the broker says has failed there
   */
  disconnected(reason?: HermesError): void
  packet(type: number, bytes: Buffer, start: number, end: number): void
  /** The broker has ended the channel, or no connection will follow. */
  failed(error: HermesError): void
  /** Whether it waits for nothing that it has sent. */
  readonly idle: boolean
  /** There is a topic of this name from now on. */
  topicMade?(topic: string): void
}

/** The owners of the channels of the present connection: one channel each. There may be thousands, which all leave together. */
export class Channels {
  readonly #users = new Map<number, LinkUser>()
  readonly #numbers = new Map<LinkUser, number>()
  #next = 1

  /** Gives the user a channel, and has it opened. REQUIRES: it has none */
  assign(user: LinkUser): void {
    const channel = this.#next++
    this.#users.set(channel, user)
    this.#numbers.set(user, channel)
    user.connected(channel)
  }

  user(channel: number): LinkUser | undefined {
    return this.#users.get(channel)
  }

  has(user: LinkUser): boolean {
    return this.#numbers.has(user)
  }

  /** The channel has ended. Its number is not given out again on this connection. */
  end(channel: number): void {
    const user = this.#users.get(channel)
    if (user !== undefined) this.release(user)
  }

  /** Takes a user's channel away. @returns it, if there was one */
  release(user: LinkUser): number | undefined {
    const channel = this.#numbers.get(user)
    if (channel === undefined) return undefined
    this.#numbers.delete(user)
    this.#users.delete(channel)
    return channel
  }

  /** For another connection. */
  clear(): void {
    this.#users.clear()
    this.#numbers.clear()
    this.#next = 1
  }
}
