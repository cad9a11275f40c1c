import type { HermesError } from '../../base/errors.js'

/** A publisher, a subscriber or a request: whoever has a channel. It gets a new one with every connection. */
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

/** Who has which channel of the present connection. */
export class Channels {
  readonly #users = new Map<number, LinkUser>()
  #next = 1

  /** Gives the user a channel, and has it opened. */
  assign(user: LinkUser): void {
    const channel = this.#next++
    this.#users.set(channel, user)
    user.connected(channel)
  }

  user(channel: number): LinkUser | undefined {
    return this.#users.get(channel)
  }

  has(user: LinkUser): boolean {
    for (const one of this.#users.values()) if (one === user) return true
    return false
  }

  /** The channel has ended. Its number is not given out again on this connection. */
  end(channel: number): void {
    this.#users.delete(channel)
  }

  /** Takes a user's channels away. @returns them */
  release(user: LinkUser): number[] {
    const released = [...this.#users].flatMap(([channel, one]) => (one === user ? [channel] : []))
    for (const channel of released) this.#users.delete(channel)
    return released
  }

  /** For another connection. */
  clear(): void {
    this.#users.clear()
    this.#next = 1
  }
}
