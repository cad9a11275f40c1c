import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import { pause } from '../../base/pause.js'
import type { LeaseOptions, LeasePort } from '../lease-port.js'
import { Bucket } from './bucket.js'
import { fromNats, passing } from './errors.js'
import type { Cluster } from './stream.js'

/** A bucket as the key-value stores of NATS are: `nats kv` shows it. */
const bucket = 'HERMES_LEASES'
/** How often who waits looks, at most: a leader that steps down is followed within this time. */
const mostPollMs = 500

/** What a lease's entry says. */
interface Entry {
  /** Tells two holders apart. */
  readonly id: string
  readonly holder: string
  readonly leaseMs: number
  /** The number of the entry with which this holder took it; 0 in that one. */
  readonly revision: number
  readonly isReleased: boolean
}

const free: Entry = { id: '', holder: '', leaseMs: 1, revision: 0, isReleased: true }

/**
 * A lease in a bucket of the cluster.
 *
 * Who holds it writes its entry again and again, each time over the one that it wrote before; who wants it takes it over an entry that has not changed for as long as it holds. No clock is
 * compared with another machine's: each measures how long it sees nothing new. A holder that could not renew it for two thirds of its time gives up by itself, a third before anybody can follow.
 */
export class NatsLease implements LeasePort {
  readonly revision: number
  readonly ended: AbortSignal
  readonly #bucket: LeaseEntry
  readonly #options: LeaseOptions
  readonly #id: string
  readonly #end = new AbortController()
  #last: number
  /** When the newest entry was sent. */
  #renewedMs: number
  #renewing: Promise<void>

  private constructor(leases: LeaseEntry, options: LeaseOptions, id: string, revision: number, sentMs: number) {
    this.#bucket = leases
    this.#options = options
    this.#id = id
    this.revision = revision
    this.#last = revision
    this.#renewedMs = sentMs
    this.ended = this.#end.signal
    this.#renewing = this.#renew()
  }

  static async take(cluster: Cluster, name: string, options: LeaseOptions): Promise<NatsLease> {
    const { signal, leaseMs } = options
    const id = crypto.randomUUID()
    const leases = new LeaseEntry(cluster, name)
    const first: Entry = { id, holder: options.holder, leaseMs, revision: 0, isReleased: false }
    let seen = { seq: -1, ms: 0 }
    for (let isThere = false; ; await pause(Math.min(leaseMs / 8, mostPollMs), signal)) {
      if (signal?.aborted) throw aborted(signal)
      try {
        if (!isThere) await leases.make()
        isThere = true
        const found = await leases.read()
        // (an answer that was lost)
        if (found?.entry.id === id) return new NatsLease(leases, options, id, found.seq, seen.ms)
        const now = performance.now()
        if (found !== undefined && found.seq !== seen.seq) seen = { seq: found.seq, ms: now }
        if (found !== undefined && !found.entry.isReleased && now - seen.ms < found.entry.leaseMs) continue
        seen = { seq: found?.seq ?? 0, ms: now }
        const revision = await leases.write(first, found?.seq ?? 0)
        if (revision !== undefined) return new NatsLease(leases, options, id, revision, now)
      } catch (error) {
        if (!(error instanceof HermesError && passing.has(error.code)) || cluster.connection.isClosed()) throw error
      }
    }
  }

  async #renew(): Promise<void> {
    const { leaseMs, holder } = this.#options
    const entry: Entry = { id: this.#id, holder, leaseMs, revision: this.revision, isReleased: false }
    const giveUpMs = (leaseMs * 2) / 3
    // By itself, whatever the cluster says or does not say.
    const watchdog = setInterval(() => {
      if (performance.now() - this.#renewedMs > giveUpMs) this.#end.abort()
    }, leaseMs / 20)
    try {
      while (!this.ended.aborted) {
        await pause(leaseMs / 6, this.ended)
        if (this.ended.aborted) return
        const sent = performance.now()
        try {
          const written = await this.#bucket.write(entry, this.#last)
          const seq = written ?? (await this.#mine())
          if (seq === undefined) return
          this.#last = seq
          if (written !== undefined) this.#renewedMs = sent
        } catch (error) {
          if (!(error instanceof HermesError && passing.has(error.code))) return
        }
      }
    } finally {
      clearInterval(watchdog)
      this.#end.abort()
    }
  }

  /** The number of the entry, if it still is this holder's: one whose answer was lost. */
  async #mine(): Promise<number | undefined> {
    const found = await this.#bucket.read()
    return found?.entry.id === this.#id ? found.seq : undefined
  }

  async release(): Promise<void> {
    if (this.ended.aborted) return
    this.#end.abort()
    await this.#renewing
    const { leaseMs, holder } = this.#options
    const entry: Entry = { id: '', holder, leaseMs, revision: this.revision, isReleased: true }
    // (if nobody hears of it, the lease ends by itself)
    await this.#bucket.write(entry, this.#last).catch(() => undefined)
  }
}

/** The entry of one lease. */
class LeaseEntry {
  readonly #bucket: Bucket
  readonly #name: string

  constructor(cluster: Cluster, name: string) {
    this.#name = name
    this.#bucket = new Bucket(cluster, bucket, (error) => fromNats(error, `keep lease '${name}'`, { name }))
  }

  make(): Promise<void> {
    return this.#bucket.make()
  }

  async read(): Promise<{ readonly seq: number; readonly entry: Entry } | undefined> {
    const found = await this.#bucket.read(this.#name)
    // (one that somebody has deleted is held by nobody)
    if (found === undefined || found.data.length === 0) return found && { seq: found.seq, entry: free }
    return { seq: found.seq, entry: this.#entryOf(found.data) }
  }

  /** @param over the entry that it replaces @returns its number, `undefined` if another one is there */
  write(entry: Entry, over: number): Promise<number | undefined> {
    const timeoutMs = Math.min(5000, Math.max(250, entry.leaseMs / 4))
    return this.#bucket.write(this.#name, JSON.stringify(entry), over, timeoutMs)
  }

  #entryOf(data: Uint8Array): Entry {
    try {
      const entry = JSON.parse(new TextDecoder().decode(data)) as Partial<Entry>
      const { id, leaseMs, isReleased } = entry
      if (typeof id === 'string' && typeof leaseMs === 'number' && leaseMs > 0 && typeof isReleased === 'boolean')
        return entry as Entry
    } catch {
      // told below
    }
    throw new HermesError(
      'CORRUPT',
      `The entry of lease '${this.#name}' in bucket ${bucket} was not written by Hermes. Delete it: nats kv del ${bucket} ${this.#name}`,
      { details: { name: this.#name } },
    )
  }
}
