import { chmod, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../base/errors.js'
import { type Directory, fromFs, readMarked } from '../store/directory.js'
import { inheritOwnership } from '../store/folder.js'
import { isDescribed } from '../store/topic-file.js'

const fileName = 'quotas.json'
const format = 'hermes-quotas'
const remedy = ' Without it, what was stored so far is not counted: remove it.'
/** What topics hold is looked up again after so long, or after so many more bytes. */
const staleMs = 1000
const staleBytes = 1024 * 1024

/** A topic whose size can be asked for. */
export interface Sized {
  readonly name: string
  /** In its segments now, in bytes. */
  storedBytes(): number
}

/**
 * How many bytes the access entries have stored in each topic, for those with a `maxBytes`. Retention makes room again: of a topic no more is
 * counted than it holds. Kept in `quotas.json`; a crash may lose the count of the last second.
 */
export class Quotas {
  readonly #directory: Directory
  /** By identity, then by topic. */
  readonly #used = new Map<string, Map<string, number>>()
  readonly #open: (topic: string) => Sized | undefined
  #dirty = false
  #saving: Promise<void> | undefined

  private constructor(directory: Directory, open: (topic: string) => Sized | undefined) {
    this.#directory = directory
    this.#open = open
  }

  /** @param open the topic, if the broker has it open */
  static async load(directory: Directory, open: (topic: string) => Sized | undefined): Promise<Quotas> {
    const quotas = new Quotas(directory, open)
    const path = join(directory.path, fileName)
    const content = await readMarked(path, format, remedy)
    for (const [identity, topics] of Object.entries((content?.['used'] ?? {}) as object)) {
      const used = new Map<string, number>()
      if (typeof topics !== 'object' || topics === null)
        throw new HermesError('CORRUPT', `${path} is damaged.${remedy}`)
      for (const [topic, bytes] of Object.entries(topics)) {
        if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0)
          throw new HermesError('CORRUPT', `${path} is damaged.${remedy}`)
        if (await isDescribed(directory, topic)) used.set(topic, bytes)
      }
      quotas.#used.set(identity, used)
    }
    return quotas
  }

  /** Bytes that count for the identity now. */
  usedBy(identity: string): number {
    let sum = 0
    const topics = this.#used.get(identity)
    for (const [name, bytes] of topics ?? []) {
      const held = Math.min(bytes, this.#open(name)?.storedBytes() ?? bytes)
      if (held < bytes) topics?.set(name, held)
      sum += held
    }
    return sum
  }

  add(identity: string, topic: string, bytes: number): void {
    let topics = this.#used.get(identity)
    if (topics === undefined) {
      topics = new Map()
      this.#used.set(identity, topics)
    }
    topics.set(topic, (topics.get(topic) ?? 0) + bytes)
    this.#dirty = true
  }

  /** Puts the counts on disk if they have changed. */
  async save(): Promise<void> {
    await this.#saving?.catch(() => {})
    if (!this.#dirty) return
    this.#dirty = false
    this.#saving = this.#write().finally(() => {
      this.#saving = undefined
    })
    await this.#saving
  }

  async #write(): Promise<void> {
    const used = Object.fromEntries([...this.#used].map(([identity, topics]) => [identity, Object.fromEntries(topics)]))
    const path = join(this.#directory.path, fileName)
    const temporary = `${path}.tmp-${process.pid}`
    try {
      const file = await open(temporary, 'w', this.#directory.fileMode)
      try {
        await inheritOwnership(temporary)
        await chmod(temporary, this.#directory.fileMode)
        await file.writeFile(`${JSON.stringify({ format, version: 1, used })}\n`)
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw fromFs(error, `write ${path}`)
    }
  }
}

/** What one publisher may still store: within the topic's limit, and within its identity's. */
export class Quota {
  readonly #quotas: Quotas
  readonly #topic: Sized
  readonly #identity: string
  readonly #mostOfIdentity: number | undefined
  readonly #mostOfTopic: number
  #left = 0
  #looked = Number.NEGATIVE_INFINITY
  #sinceLook = 0

  constructor(quotas: Quotas, topic: Sized, identity: string, mostOfIdentity: number | undefined, mostOfTopic: number) {
    this.#quotas = quotas
    this.#topic = topic
    this.#identity = identity
    this.#mostOfIdentity = mostOfIdentity
    this.#mostOfTopic = mostOfTopic
  }

  /** @throws HermesError `LIMIT` if so many bytes more would be too many */
  check(bytes: number): void {
    const now = performance.now()
    if (bytes > this.#left || this.#sinceLook > staleBytes || now - this.#looked > staleMs) {
      this.#looked = now
      this.#sinceLook = 0
      this.#left = this.#look(bytes)
    }
  }

  #look(bytes: number): number {
    const { name } = this.#topic
    const held = this.#mostOfTopic === Number.MAX_SAFE_INTEGER ? 0 : this.#topic.storedBytes()
    if (held + bytes > this.#mostOfTopic) {
      throw new HermesError(
        'LIMIT',
        `Topic '${name}' holds ${held} bytes, and may hold ${this.#mostOfTopic}: shorten its retention, or raise maxTopicBytes.`,
        { details: { topic: name, limit: 'maxTopicBytes', most: this.#mostOfTopic, used: held } },
      )
    }
    const most = this.#mostOfIdentity
    if (most === undefined) return this.#mostOfTopic - held
    const used = this.#quotas.usedBy(this.#identity)
    if (used + bytes > most) {
      throw new HermesError(
        'LIMIT',
        `'${this.#identity}' has stored ${used} bytes, and may store ${most}: shorten the retention of its topics, or raise maxBytes.`,
        { details: { topic: name, limit: 'maxBytes', identity: this.#identity, most, used } },
      )
    }
    return Math.min(this.#mostOfTopic - held, most - used)
  }

  /** So many were stored. */
  add(bytes: number): void {
    this.#left -= bytes
    this.#sinceLook += bytes
    if (this.#mostOfIdentity !== undefined) this.#quotas.add(this.#identity, this.#topic.name, bytes)
  }
}
