import { chmod, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HermesError } from '../base/errors.js'
import { fromFs, modeOf, readMarked } from '../store/directory.js'
import { inheritOwnership } from '../store/folder.js'
import type { TopicLog } from '../store/topic-log.js'
import { Producer } from './producer.js'

const fileName = 'producers.json'
const format = 'hermes-producers'
const mostSlots = 65_535
/** What one identity may have of a topic's producers, connected and remembered. */
const identityShare = 1 / 4
/** While the broker was down, no producer could reconnect: so long after its start it remembers every producer. */
const graceMs = 3_600_000
/** How often it is looked for producers that may be forgotten. */
const forgetEveryMs = 60_000
/** Batches of all producers of a topic that are not connected: beyond, those who have left first are only known to be stored, but not where. */
const mostIdleRuns = 65_536
/** So many entries are made into text at once, when the file is written. */
const entriesPerTurn = 512
/** Of how many of them the file tells. What is left out is still known to be stored, but not where. */
const mostSavedRuns = 64

export interface ProducersOptions {
  /** That a topic may have, connected and remembered. */
  readonly most: number
  /** For how long a producer without a connection is remembered. */
  readonly memoryMs: number
  /** When the broker was started, by `performance.now()`. */
  readonly startedMs: number
}

/**
 * What the broker remembers of a topic's remote publishers, so that a message that is sent again is stored once. See "What the broker
 * remembers" in docs/wire-protocol.md: the file says whose the slots are, the log itself how far they got.
 */
export class Producers {
  readonly #folder: string
  readonly #options: ProducersOptions
  readonly #byId = new Map<string, Producer>()
  readonly #slots = new Set<number>()
  readonly #byIdentity = new Map<string, number>()
  /** Those that are not connected and of whose batches it is remembered where they are, in the order in which they have left. */
  readonly #resting = new Set<Producer>()
  #restingRuns = 0
  #nextSlot = 1
  /** By `performance.now()`, as all times here but those in the file: a clock that is set makes nobody older. */
  #lookedAt = Number.NEGATIVE_INFINITY
  #saving: Promise<void> | undefined
  #nextSave: Promise<void> | undefined
  /** Something was stored since the file was written. */
  isDirty = false

  private constructor(folder: string, options: ProducersOptions) {
    this.#folder = folder
    this.#options = options
  }

  /** REQUIRES: the topic is recovered, and no other broker serves it. */
  static async load(folder: string, log: TopicLog, options: ProducersOptions): Promise<Producers> {
    const all = new Producers(folder, options)
    const content = await readMarked(join(folder, fileName), format, remedy)
    if (content === undefined) return all
    const entries = content['producers']
    if (!Array.isArray(entries)) throw damaged(folder)
    const { firstSequence, nextSequence } = log.info()
    const claims = new Map<Producer, Claim>()
    for (const entry of entries as Record<string, unknown>[]) {
      const parsed = parseEntry(entry, nextSequence)
      if (parsed === undefined || all.#byId.has(parsed.producer.id) || all.#slots.has(parsed.producer.slot))
        throw damaged(folder)
      const { producer, claim } = parsed
      all.#keep(producer)
      claims.set(producer, claim)
    }
    const producers = [...all.#byId.values()]
    const traces = await log.traceProducers(producers.map(({ slot, since }) => ({ slot, since })))
    const bySlot = new Map(traces.map((trace) => [trace.slot, trace]))
    for (const producer of producers) {
      const trace = bySlot.get(producer.slot)
      for (const run of trace?.runs ?? []) if (run.first > producer.stored) producer.add(run)
      if (trace !== undefined && trace.last > producer.stored) producer.stored = trace.last
      // What retention has removed was stored all the same. What the log should hold and does not, a power cut took away.
      const { stored, at } = claims.get(producer) as Claim
      if (stored > producer.stored && at > 0 && at < firstSequence) {
        producer.stored = stored
        producer.at = at
      }
    }
    for (const producer of producers) all.#rest(producer)
    all.#forgetOld()
    await all.save()
    return all
  }

  /**
   * The producer of this id; a new one if it is not known. `next` is the sequence that the topic's next message will get.
   * Nothing may be stored of it before `saved` has resolved.
   *
   * @throws HermesError `LIMIT`
   */
  enter(id: string, next: number, identity?: string): Producer {
    const known = this.#byId.get(id)
    if (known !== undefined) {
      known.connected = true
      this.#wake(known)
      if (known.identity !== identity) {
        this.#count(known, -1)
        known.identity = identity
        this.#count(known, 1)
      }
      return known
    }
    if (performance.now() - this.#lookedAt >= forgetEveryMs || this.#slots.size >= this.#most) this.#forgetOld()
    this.#checkShare(identity)
    const producer = new Producer(id, this.#freeSlot(), next, 0n)
    producer.identity = identity
    this.#keep(producer)
    return producer
  }

  #keep(producer: Producer): void {
    this.#byId.set(producer.id, producer)
    this.#slots.add(producer.slot)
    this.#count(producer, 1)
  }

  #count({ identity }: Producer, by: number): void {
    if (identity === undefined) return
    const count = (this.#byIdentity.get(identity) ?? 0) + by
    if (count === 0) this.#byIdentity.delete(identity)
    else this.#byIdentity.set(identity, count)
  }

  get #most(): number {
    return Math.min(this.#options.most, mostSlots)
  }

  /** Who leaves publishers behind, and never comes back for them, must leave room for others. */
  #checkShare(identity: string | undefined): void {
    if (identity === undefined) return
    const share = Math.max(1, Math.floor(this.#most * identityShare))
    if ((this.#byIdentity.get(identity) ?? 0) < share) return
    this.#forgetOld()
    if ((this.#byIdentity.get(identity) ?? 0) < share) return
    throw this.#tooMany(`'${identity}' has ${share} remote publishers in the topic, its part of ${this.#most},`)
  }

  /** Resolves once the file says whose the producer's slot is. Many that come at once share one write. */
  async saved(producer: Producer): Promise<void> {
    if (producer.isSaved) return
    try {
      await this.save()
    } catch (error) {
      if (!producer.isSaved) this.forget(producer)
      throw error
    }
  }

  /** The connection is gone; the producer may come back. */
  leave(producer: Producer): void {
    if (this.#byId.get(producer.id) !== producer || !producer.connected) return
    producer.connected = false
    producer.idleSinceMs = performance.now()
    this.#rest(producer)
  }

  /** Bounds what is remembered of those who are not there. */
  #rest(producer: Producer): void {
    if (producer.runs.length === 0) return
    this.#resting.add(producer)
    this.#restingRuns += producer.runs.length
    for (const oldest of this.#resting) {
      if (this.#restingRuns <= mostIdleRuns) break
      this.#wake(oldest)
      oldest.runs = []
    }
  }

  #wake(producer: Producer): void {
    if (this.#resting.delete(producer)) this.#restingRuns -= producer.runs.length
  }

  /** It closed in order and will not come back. The file may say otherwise for a while. */
  forget(producer: Producer): void {
    if (this.#byId.get(producer.id) !== producer) return
    this.#wake(producer)
    this.#byId.delete(producer.id)
    this.#slots.delete(producer.slot)
    this.#count(producer, -1)
  }

  get size(): number {
    return this.#byId.size
  }

  /** The lowest sequence from which on the log would have to be walked. */
  get since(): number {
    let lowest = Number.MAX_SAFE_INTEGER
    for (const { since } of this.#byId.values()) if (since < lowest) lowest = since
    return lowest
  }

  /** Everything before `sequence` is on stable storage, and this table knows what of it is whose: no need to walk it again. */
  allSafeBefore(sequence: number): void {
    for (const producer of this.#byId.values()) {
      if (producer.connected || producer.since >= sequence) continue
      producer.since = sequence
      producer.last = producer.stored
    }
  }

  /** Puts the table on stable storage, as a whole. Those who come while it is being written share the next time. */
  save(): Promise<void> {
    if (this.#nextSave !== undefined) return this.#nextSave
    if (this.#saving === undefined) return this.#startSaving()
    this.#nextSave = this.#saving
      .catch(() => {})
      .then(() => {
        this.#nextSave = undefined
        return this.#startSaving()
      })
    return this.#nextSave
  }

  #startSaving(): Promise<void> {
    const saving = this.#write().finally(() => {
      this.#saving = undefined
    })
    this.#saving = saving
    return saving
  }

  async #write(): Promise<void> {
    const written = [...this.#byId.values()]
    const now = performance.now()
    this.isDirty = false
    const entries: string[] = []
    for (const [index, one] of written.entries()) {
      // Others have their turn: there may be tens of thousands.
      if (index % entriesPerTurn === entriesPerTurn - 1) await new Promise((resolve) => setImmediate(resolve))
      entries.push(JSON.stringify(entryOf(one, now)))
    }
    const path = join(this.#folder, fileName)
    const temporary = `${path}.tmp-${process.pid}`
    try {
      const mode = await modeOf(this.#folder)
      const file = await open(temporary, 'w', mode)
      try {
        // Another broker, of another user of the same group, may be the next one to serve the topic.
        await inheritOwnership(temporary)
        await chmod(temporary, mode)
        await file.writeFile(`{"format":"${format}","version":1,"producers":[${entries.join(',')}]}\n`)
        await file.datasync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
      const folder = await open(dirname(path), 'r')
      try {
        await folder.sync()
      } finally {
        await folder.close()
      }
    } catch (error) {
      this.isDirty = true
      // What it was written with has failed; that it can't be removed either is no news.
      await rm(temporary, { force: true }).catch(() => {})
      throw fromFs(error, `write ${path}`)
    }
    for (const one of written) one.isSaved = true
  }

  #freeSlot(): number {
    for (let tried = 0; tried < mostSlots && this.#slots.size < this.#most; tried++) {
      const slot = this.#nextSlot
      this.#nextSlot = slot === mostSlots ? 1 : slot + 1
      if (!this.#slots.has(slot)) return slot
    }
    throw this.#tooMany(`The topic has ${this.#most} remote publishers, as many as it can have,`)
  }

  #tooMany(what: string): HermesError {
    return new HermesError(
      'LIMIT',
      `${what} that are connected or may come back. Those that were killed are forgotten after ` +
        `${Math.round(this.#options.memoryMs / 1000)} s; close publishers in order, or share some.`,
      { details: { limit: 'maxProducers', most: this.#most } },
    )
  }

  /** By age alone, never to make room: the messages of a producer that is forgotten too early are stored twice. */
  #forgetOld(): void {
    const now = performance.now()
    this.#lookedAt = now
    const { memoryMs, startedMs } = this.#options
    if (now - startedMs < Math.min(memoryMs, graceMs)) return
    for (const one of [...this.#byId.values()]) if (!one.connected && now - one.idleSinceMs > memoryMs) this.forget(one)
  }
}

/** What the file says that a producer had stored, beyond what the log is walked for. */
interface Claim {
  readonly stored: bigint
  readonly at: number
}

function entryOf(one: Producer, now: number): Record<string, unknown> {
  const { id, slot, identity, since, last, stored, at, runs, connected, idleSinceMs } = one
  const known = runs.filter((run) => run.sequence + run.count <= since).slice(-mostSavedRuns)
  return {
    id,
    slot,
    ...(identity === undefined ? {} : { identity }),
    since,
    last: String(last),
    stored: String(stored),
    at,
    idleSinceMs: Math.max(0, Math.round(Date.now() - (connected ? 0 : now - idleSinceMs))),
    ...(known.length === 0 ? {} : { runs: known.map((run) => [String(run.first), run.count, run.sequence]) }),
  }
}

const isNumber = (value: unknown): value is string => typeof value === 'string' && /^\d{1,20}$/.test(value)
const isCount = (value: unknown, least: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least

/** `undefined` if it is damaged. */
function parseEntry(
  entry: Record<string, unknown>,
  next: number,
): { readonly producer: Producer; readonly claim: Claim } | undefined {
  const { id, slot, identity, since, last, stored = last, at = 0, idleSinceMs = Date.now(), runs = [] } = entry
  if (typeof id !== 'string' || !isCount(slot, 1) || slot > mostSlots || !isCount(since, 1)) return undefined
  if (!isNumber(last) || !isNumber(stored) || !isCount(at, 0) || !isCount(idleSinceMs, 0)) return undefined
  if (!Array.isArray(runs) || (identity !== undefined && typeof identity !== 'string')) return undefined
  // What a power cut took away is given out again, to whomever.
  const producer = new Producer(id, slot, Math.min(since, next), BigInt(last))
  producer.identity = identity
  producer.connected = false
  producer.isSaved = true
  producer.hasLost = since > next
  // A clock that was ahead must not keep it for ever.
  producer.idleSinceMs = performance.now() - Math.max(0, Date.now() - idleSinceMs)
  for (const run of runs as unknown[]) {
    const [first, count, sequence] = Array.isArray(run) ? (run as unknown[]) : []
    if (!isNumber(first) || !isCount(count, 1) || !isCount(sequence, 0)) return undefined
    producer.runs.push({ first: BigInt(first), count, sequence })
  }
  return { producer, claim: { stored: BigInt(stored), at } }
}

const remedy =
  ' Without it, messages that publishers send again after a crash may be stored twice: remove the file once no publisher is waiting for the broker.'

function damaged(folder: string): HermesError {
  return new HermesError('CORRUPT', `${join(folder, fileName)} is damaged.${remedy}`)
}
