import { HermesError } from '../base/errors.js'
import type { ChannelTable } from './channel-table.js'
import type { SubscriberChannel } from './subscriber-channel.js'

/**
 * The subscribers of one connection that have not received all there is. Each is looked after several times per heartbeat. There may be thousands, so that
 * is done in turns of the client's: others do not wait for it.
 */
export class Lagging {
  readonly #channels: ChannelTable
  readonly #later: () => void
  readonly #due = new Set<SubscriberChannel>()

  /** @param later asks for `run` to be called in a turn of the client's */
  constructor(channels: ChannelTable, later: () => void) {
    this.#channels = channels
    this.#later = later
  }

  /** Whether no noted client is left. */
  get isEmpty(): boolean {
    return this.#due.size === 0
  }

  /** Notes those that lag now: one atomic load for each subscriber. */
  note(): void {
    for (const channel of this.#channels.values())
      if (channel.kind === 'subscriber' && channel.lags) this.#due.add(channel)
    if (!this.isEmpty) this.#later()
  }

  /** Looks after one after the other, until about `until` (of `performance.now()`). */
  run(until: number): void {
    for (const channel of this.#due) {
      this.#due.delete(channel)
      const now = performance.now()
      try {
        channel.tick(now)
      } catch (error) {
        if (!(error instanceof HermesError)) throw error
        channel.fail(error)
      }
      if (now >= until) break
    }
  }
}
