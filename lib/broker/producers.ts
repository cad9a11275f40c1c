import { open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HermesError } from '../errors.js'
import type { NativeLog } from '../native-addon.js'
import { fromNative } from '../native-error.js'
import { fromFs, readMarked } from '../transport/log/directory.js'
import type { Run } from '../wire/packet.js'

const fileName = 'producers.json'
const format = 'hermes-producers'
const mostSlots = 65_535
/** Producers without a connection that are remembered, per topic. */
const mostIdle = 1024
/** Batches of one producer that are remembered; a client has fewer under way. */
const mostRuns = 1024

/** One remote publisher, for as long as it may come back. */
export class Producer {
  readonly id: string
  readonly slot: number
  /** What the file says, or is to say when it is written next. */
  since: number
  last: bigint
  /** The highest number in the log. */
  stored: bigint
  /** What is in the log beyond what the client has seen acknowledged, oldest first. */
  runs: Run[] = []
  connected = true
  idleSince = 0

  constructor(id: string, slot: number, since: number, last: bigint) {
    this.id = id
    this.slot = slot
    this.since = since
    this.last = last
    this.stored = last
  }

  add(run: Run): void {
    this.stored = run.first + BigInt(run.count) - 1n
    this.runs.push(run)
    if (this.runs.length > 2 * mostRuns) this.runs.splice(0, mostRuns)
  }

  /** The client knows that everything up to `number` is stored. */
  trim(number: bigint): void {
    let known = 0
    for (const run of this.runs) {
      const last = run.first + BigInt(run.count) - 1n
      if (last > number) break
      if (last > this.last) this.last = last
      this.since = run.sequence + run.count
      known++
    }
    if (known > 0) this.runs.splice(0, known)
  }

  /** Where messages that are stored already stand; sequence 0 = not known any more. */
  find(first: bigint, count: number): Run {
    const end = first + BigInt(count)
    const run = this.runs.find((one) => one.first <= first && end <= one.first + BigInt(one.count))
    return { first, count, sequence: run === undefined ? 0 : run.sequence + Number(first - run.first) }
  }
}

/**
 * What the broker remembers of a topic's remote publishers, so that a message that is sent again is stored once. See "What the broker
 * remembers" in docs/wire-protocol.md: the file says whose the slots are, the log itself how far they got.
 */
export class Producers {
  readonly #folder: string
  readonly #byId = new Map<string, Producer>()
  readonly #slots = new Set<number>()

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** REQUIRES: the topic is recovered, and no other broker serves it. */
  static async load(folder: string, log: NativeLog): Promise<Producers> {
    const all = new Producers(folder)
    const content = await readMarked(join(folder, fileName), format)
    if (content === undefined) return all
    const entries = content['producers']
    if (!Array.isArray(entries)) throw damaged(folder)
    // What a power cut took away is given out again, to whomever.
    const next = log.nextSequence()
    for (const entry of entries as Record<string, unknown>[]) {
      const { id, slot, since, last } = entry
      const sound =
        typeof id === 'string' &&
        Number.isInteger(slot) &&
        (slot as number) >= 1 &&
        (slot as number) <= mostSlots &&
        Number.isSafeInteger(since) &&
        (since as number) >= 1 &&
        typeof last === 'string' &&
        /^\d{1,20}$/.test(last)
      if (!sound || all.#byId.has(id) || all.#slots.has(slot as number)) throw damaged(folder)
      const producer = new Producer(id, slot as number, Math.min(since as number, next), BigInt(last))
      producer.connected = false
      all.#byId.set(id, producer)
      all.#slots.add(producer.slot)
    }
    const producers = [...all.#byId.values()]
    try {
      const traces = await log.traceProducers(producers.map(({ slot, since }) => ({ slot, since })))
      const bySlot = new Map(traces.map((trace) => [trace.slot, trace]))
      for (const producer of producers) {
        const trace = bySlot.get(producer.slot)
        if (trace === undefined) continue
        if (trace.last > producer.stored) producer.stored = trace.last
        producer.runs = [...trace.runs]
      }
    } catch (error) {
      throw fromNative(error)
    }
    await all.save()
    return all
  }

  /** The producer of this id; a new one, on stable storage, if it is not known. `next` is the sequence that the topic's next message will get. */
  async enter(id: string, next: number): Promise<Producer> {
    const known = this.#byId.get(id)
    if (known !== undefined) {
      known.connected = true
      return known
    }
    this.#forgetIdle()
    const slot = this.#freeSlot()
    const producer = new Producer(id, slot, next, 0n)
    this.#byId.set(id, producer)
    this.#slots.add(slot)
    try {
      await this.save()
    } catch (error) {
      this.forget(producer)
      throw error
    }
    return producer
  }

  /** The connection is gone; the producer may come back. */
  leave(producer: Producer): void {
    producer.connected = false
    producer.idleSince = Date.now()
  }

  /** It closed in order and will not come back. The file may say otherwise for a while. */
  forget(producer: Producer): void {
    if (this.#byId.get(producer.id) !== producer) return
    this.#byId.delete(producer.id)
    this.#slots.delete(producer.slot)
  }

  get size(): number {
    return this.#byId.size
  }

  /** Puts the table on stable storage, as a whole. */
  async save(): Promise<void> {
    const producers = [...this.#byId.values()].map(({ id, slot, since, last }) => ({
      id,
      slot,
      since,
      last: String(last),
    }))
    const path = join(this.#folder, fileName)
    const temporary = `${path}.tmp-${process.pid}`
    try {
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(`${JSON.stringify({ format, version: 1, producers })}\n`)
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
      await rm(temporary, { force: true })
      throw fromFs(error, `write ${path}`)
    }
  }

  #freeSlot(): number {
    for (let slot = 1; slot <= mostSlots; slot++) if (!this.#slots.has(slot)) return slot
    throw new HermesError('LIMIT', `The topic has ${mostSlots} remote publishers, as many as it can have.`)
  }

  #forgetIdle(): void {
    const idle = [...this.#byId.values()].filter((one) => !one.connected).sort((a, b) => a.idleSince - b.idleSince)
    for (const one of idle.slice(0, Math.max(0, idle.length - mostIdle + 1))) this.forget(one)
  }
}

function damaged(folder: string): HermesError {
  return new HermesError(
    'CORRUPT',
    `${join(folder, fileName)} is damaged. Without it, messages that publishers send again after a crash may be stored twice: ` +
      'remove the file once no publisher is waiting for the broker.',
  )
}
