import type { BrokerLog } from './options.js'

/** After a warning or error, others of its kind in the same second are only counted. */
const quietMs = 1000
/** Kinds that are told apart within that time; further ones share one line per event. */
const mostKinds = 256
/** Addresses that a line with a count names. */
const mostAddresses = 8

interface Kind {
  readonly level: 'warn' | 'error'
  readonly event: string
  readonly topic: unknown
  readonly identity: unknown
  readonly since: number
  readonly addresses: Map<string, number>
  count: number
}

/**
 * The broker's log. Strangers cannot flood it: of each kind of warning or error, one line per second, and then one with how many more there were
 * and from where. Kinds are told apart by event, code, topic and identity, so that a noisy one does not hide another.
 */
export class Journal {
  readonly #log: BrokerLog
  readonly #kinds = new Map<string, Kind>()

  constructor(log: BrokerLog) {
    this.#log = log
  }

  write(level: 'info' | 'warn' | 'error', event: string, facts: Readonly<Record<string, unknown>>): void {
    if (level !== 'info') {
      const { code, topic, identity, address } = facts
      let key = JSON.stringify([event, code, topic, identity])
      const shared = !this.#kinds.has(key) && this.#kinds.size >= mostKinds
      if (shared) key = event
      const known = this.#kinds.get(key)
      if (known !== undefined) {
        known.count++
        if (typeof address === 'string' && (known.addresses.has(address) || known.addresses.size < mostAddresses))
          known.addresses.set(address, (known.addresses.get(address) ?? 0) + 1)
        return
      }
      this.#kinds.set(key, {
        level,
        event,
        topic: shared ? undefined : topic,
        identity,
        since: performance.now(),
        addresses: new Map(),
        count: 0,
      })
    }
    this.#log({ level, event, ...facts })
  }

  /** Tells of what was only counted. Call several times per second. */
  sweep(now: number): void {
    for (const [key, { level, event, topic, identity, since, count, addresses }] of this.#kinds) {
      if (now - since < quietMs) continue
      this.#kinds.delete(key)
      if (count === 0) continue
      this.#log({
        level,
        event,
        repeated: count,
        ...(topic === undefined ? {} : { topic }),
        ...(identity === undefined ? {} : { identity }),
        addresses: Object.fromEntries(addresses),
      })
    }
  }
}
