import { HermesError } from '../../base/errors.js'
import { pause } from '../../base/pause.js'
import { Bucket } from './bucket.js'
import { fromNats, passing } from './errors.js'
import { copyOf, type Ledger } from './ledger.js'
import { ledgerText, readLedger } from './ledger-text.js'
import type { Subscription } from './peer.js'
import type { Cluster } from './stream.js'

export const groupsBucket = 'HERMES_GROUPS'

const writeMs = { first: 1000, most: 5000 } as const
/** Between two attempts while the cluster does not answer. */
const againMs = { first: 20, most: 1000 } as const
/** Between two attempts after another one's change came first, at most: times a random number, and the attempts so far. */
const jostledMs = 2

const flat = (name: string): string => name.replaceAll('.', '~')
const keyOf = (topic: string, group: string): string => `${flat(topic)}.${flat(group)}`

function bucketOf(cluster: Cluster, topic: string, group: string): Bucket {
  return new Bucket(cluster, groupsBucket, (error) =>
    fromNats(error, `keep group '${group}' of '${topic}'`, { topic, group }),
  )
}

/** The names of a topic's groups, sorted; those that were deleted, too. */
export async function groupNames(cluster: Cluster, topic: string): Promise<string[]> {
  const prefix = `${flat(topic)}.`
  const keys = await bucketOf(cluster, topic, '*').keys(prefix)
  return keys.map((key) => key.slice(prefix.length).replaceAll('~', '.'))
}

/**
 * The entry of one group, as it was at the last look. It is changed by comparison: of two changes of one state the second is refused, looks again, and is made of what it
 * finds. A change whose answer was lost is looked for, and tried again as it was while its place is free: so it is made once.
 */
export class GroupEntry {
  readonly topic: string
  readonly name: string
  /** `undefined`: there is no such group. */
  ledger: Ledger | undefined
  /** When it was written, by the servers' clocks: of an entry that was read. */
  writtenMs = 0
  readonly #cluster: Cluster
  readonly #bucket: Bucket
  readonly #key: string
  #revision = 0
  #writeMs: number = writeMs.first
  #isStale = true

  constructor(cluster: Cluster, topic: string, name: string) {
    this.#cluster = cluster
    this.topic = topic
    this.name = name
    this.#bucket = bucketOf(cluster, topic, name)
    this.#key = keyOf(topic, name)
  }

  /** Makes the bucket, if it is not there. */
  make(): Promise<void> {
    return this.#bucket.make()
  }

  /** Looks. @throws HermesError `CORRUPT`, `CONNECTION_FAILED`, … */
  async read(): Promise<void> {
    const found = await this.#bucket.read(this.#key)
    this.#revision = found?.seq ?? 0
    this.writtenMs = found?.writtenMs ?? 0
    this.ledger =
      found === undefined || found.data.length === 0
        ? undefined
        : readLedger(new TextDecoder().decode(found.data), this.topic, this.name)
    this.#isStale = false
  }

  /** False: the place was closed. */
  get isConnected(): boolean {
    return !this.#cluster.connection.isClosed()
  }

  /** The next change looks first. */
  stale(): void {
    this.#isStale = true
  }

  /** How long ago it was written, by the servers' clocks. */
  async ageMs(): Promise<number> {
    return Math.max(0, (await this.#bucket.nowMs()) - this.writtenMs)
  }

  /**
   * Changes it.
   *
   * @param build makes a copy of what is there (`undefined`: nothing is) into what is to be there; called again where another change came first. Its answer `undefined`: nothing is to be done
   * @param isMade whether an entry that was found has this change in it
   * @returns what `build` has answered when the change was made
   * @throws HermesError what `build` throws; what the cluster refuses with; `ABORTED`; what passes (`passing`) too, if `patience` says no
   */
  async change<T>(
    build: (draft: Ledger | undefined) => { readonly ledger: Ledger; readonly answer: T } | undefined,
    isMade: (found: Ledger | undefined) => boolean,
    patience: (error: HermesError) => boolean,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    let waitMs: number = againMs.first
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      for (;;) {
        try {
          await work()
          waitMs = againMs.first
          return
        } catch (error) {
          if (!(error instanceof HermesError) || !passing.has(error.code) || !patience(error)) throw error
        }
        await pause(waitMs, signal)
        waitMs = Math.min(2 * waitMs, againMs.most)
        if (signal?.aborted) throw new HermesError('ABORTED', `The change of group '${this.name}' was given up.`)
      }
    }
    for (let tries = 1; ; tries++) {
      if (this.#isStale) await attempt(() => this.read())
      const built = build(this.ledger && copyOf(this.ledger))
      if (built === undefined) return undefined
      const text = ledgerText(built.ledger)
      const over = this.#revision
      let isDone = false
      await attempt(async () => {
        // (what is not known from the last attempt: whether it was made)
        if (this.#isStale) {
          await this.read()
          isDone = isMade(this.ledger)
          if (isDone || this.#revision !== over) return
        }
        this.#isStale = true
        const written = await this.#write(text, over)
        if (written === undefined) {
          await this.read()
          // (one that is refused may have been made by this very attempt, if the client has sent it twice)
          isDone = isMade(this.ledger)
          return
        }
        this.#revision = written
        this.ledger = built.ledger
        this.#isStale = false
        isDone = true
      })
      if (isDone) return built.answer
      await pause(Math.random() * jostledMs * tries, signal)
    }
  }

  async #write(text: string, over: number): Promise<number | undefined> {
    try {
      const written = await this.#bucket.write(this.#key, text, over, this.#writeMs)
      this.#writeMs = writeMs.first
      return written
    } catch (error) {
      if ((error as HermesError).code === 'TIMED_OUT') this.#writeMs = Math.min(2 * this.#writeMs, writeMs.most)
      throw error
    }
  }

  /** Removes the entry as it was at the last look. False: it has changed since. */
  async remove(): Promise<boolean> {
    const written = await this.#bucket.remove(this.#key, this.#revision, writeMs.most)
    this.#isStale = true
    return written !== undefined
  }

  /* What concerns other members is told to them, so that they look at once; who misses it looks by himself a little later. */

  #tellSubject(): string {
    return `hermes.group.${this.#key}`
  }

  tell(): void {
    const { connection } = this.#cluster
    if (!connection.isClosed()) connection.publish(this.#tellSubject())
  }

  told(callback: () => void): Subscription {
    return this.#cluster.connection.subscribe(this.#tellSubject(), {
      callback: (error) => {
        if (error === null) callback()
      },
    })
  }
}
