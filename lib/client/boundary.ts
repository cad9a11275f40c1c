import { nanosecondsOf } from '../base/timestamp.js'
import { endRunAt, type RunBound } from '../frame/bounds.js'
import type { SubscriberPort } from '../placement/port.js'

/** Where a subscriber ends: `until`. */
export class Boundary {
  readonly #bound: RunBound
  /** A message was seen that is behind it, at this sequence. */
  #seen = Number.POSITIVE_INFINITY

  private constructor(bound: RunBound) {
    this.#bound = bound
  }

  /** @param end behind what is there now for the subscriber; asked for if it is needed */
  static async of(until: 'latest' | number | Date, end: () => Promise<number>): Promise<Boundary> {
    if (until === 'latest') return new Boundary({ before: await end(), beforeNs: undefined })
    if (typeof until === 'number') return new Boundary({ before: until + 1, beforeNs: undefined })
    // What is published from now on is stamped later than a time that is past.
    const before = until.getTime() <= Date.now() ? await end() : Number.POSITIVE_INFINITY
    return new Boundary({ before, beforeNs: nanosecondsOf(until) })
  }

  /** Whether nothing more is to be handed out where the port is. */
  isReached({ sequence }: SubscriberPort): boolean {
    return sequence >= this.#bound.before || sequence >= this.#seen
  }

  /** Ends what was fetched here. @returns how many messages are left of it */
  cut(port: SubscriberPort): number {
    const { offset, sequence } = port
    const fetched = port.end
    const messages = endRunAt(port, this.#bound)
    // (what stands in front of it are voids, and those are nothing to wait for)
    if (messages === 0 && port.end < fetched) {
      port.end = offset
      this.#seen = sequence
    }
    return messages
  }

  /** The subscriber goes elsewhere. */
  reset(): void {
    this.#seen = Number.POSITIVE_INFINITY
  }
}
