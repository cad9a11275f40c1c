import { apiCode, apiCodeOf } from './errors.js'
import type { Cluster } from './stream.js'

/** An entry of a bucket. */
export interface BucketEntry {
  /** What the next one is written over. */
  readonly seq: number
  readonly data: Uint8Array
  /** When it was written, by the servers' clocks. */
  readonly writtenMs: number
}

const operation = 'KV-Operation'

/** A bucket as the key-value stores of NATS are, so that `nats kv` shows it: one entry for each key, which is replaced by comparison. */
export class Bucket {
  readonly #cluster: Cluster
  readonly #name: string
  readonly stream: string
  readonly #explained: (error: unknown) => Error

  /** @param explained what went wrong, in Hermes' terms */
  constructor(cluster: Cluster, name: string, explained: (error: unknown) => Error) {
    this.#cluster = cluster
    this.#name = name
    this.stream = `KV_${name}`
    this.#explained = explained
  }

  /** Makes it, if it is not there. */
  async make(): Promise<void> {
    const { manager, peer, replicas } = this.#cluster
    const { DiscardPolicy, RetentionPolicy, StorageType } = peer.jetstream
    try {
      await manager.streams.info(this.stream)
      return
    } catch (error) {
      if (apiCodeOf(error) !== apiCode.streamNotFound) throw this.#explained(error)
    }
    try {
      await manager.streams.add({
        name: this.stream,
        subjects: [`$KV.${this.#name}.>`],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.New,
        max_msgs_per_subject: 1,
        num_replicas: replicas,
        allow_rollup_hdrs: true,
        deny_delete: true,
        allow_direct: false,
      })
    } catch (error) {
      if (apiCodeOf(error) !== apiCode.streamNameInUse) throw this.#explained(error)
    }
  }

  /** `undefined` if there never was one. One that was removed has no data. */
  async read(key: string): Promise<BucketEntry | undefined> {
    try {
      const found = await this.#cluster.manager.streams.getMessage(this.stream, { last_by_subj: this.subjectOf(key) })
      if (found === null) return undefined
      const isRemoved = (found.header?.get(operation) ?? '') !== ''
      return { seq: found.seq, data: isRemoved ? new Uint8Array(0) : found.data, writtenMs: found.time.getTime() }
    } catch (error) {
      const code = apiCodeOf(error)
      if (code === apiCode.noMessage || code === apiCode.streamNotFound) return undefined
      throw this.#explained(error)
    }
  }

  /** @param over the entry that it replaces; 0: there is none @returns its number, `undefined` if another one is there */
  async write(key: string, data: string, over: number, timeoutMs: number): Promise<number | undefined> {
    return this.#publish(key, data, over, timeoutMs, false)
  }

  async remove(key: string, over: number, timeoutMs: number): Promise<number | undefined> {
    return this.#publish(key, '', over, timeoutMs, true)
  }

  async #publish(
    key: string,
    data: string,
    over: number,
    timeout: number,
    isRemoval: boolean,
  ): Promise<number | undefined> {
    const headers = isRemoval ? this.#cluster.peer.transport.headers() : undefined
    headers?.set(operation, 'DEL')
    try {
      const { seq } = await this.#cluster.client.publish(this.subjectOf(key), data, {
        expect: { lastSubjectSequence: over },
        timeout,
        retries: 0,
        ...(headers !== undefined && { headers }),
      })
      return seq
    } catch (error) {
      if (apiCodeOf(error) === apiCode.wrongLastSequence) return undefined
      throw this.#explained(error)
    }
  }

  /** Keys below `prefix`, sorted; those that were removed, too. */
  async keys(prefix: string): Promise<string[]> {
    try {
      const filter = this.subjectOf(`${prefix}*`)
      const { state } = await this.#cluster.manager.streams.info(this.stream, { subjects_filter: filter })
      const start = this.subjectOf('').length
      return Object.keys(state.subjects ?? {})
        .map((subject) => subject.slice(start))
        .sort()
    } catch (error) {
      if (apiCodeOf(error) === apiCode.streamNotFound) return []
      throw this.#explained(error)
    }
  }

  /** The servers' own time. */
  async nowMs(): Promise<number> {
    try {
      const { ts } = (await this.#cluster.manager.streams.info(this.stream)) as { ts?: string }
      return ts === undefined ? Date.now() : Date.parse(ts)
    } catch (error) {
      throw this.#explained(error)
    }
  }

  subjectOf(key: string): string {
    return `$KV.${this.#name}.${key}`
  }
}
