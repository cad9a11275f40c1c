import { checkChoice, checkInteger, invalid, namesOfOptions } from '../base/options.js'
import { isArray } from '../codec/failures.js'
import { type Durability, durabilities } from '../model/topic.js'
import type { MessageId } from './message.js'

/** What was broken, and how. */
export interface Violation {
  readonly kind: 'lost' | 'duplicate' | 'order' | 'gap' | 'invented' | 'moved'
  readonly message: string
}

/** A message as a subscriber saw it. `id` is `undefined` if its payload is none that a writer made. */
export interface Seen {
  readonly sequence: number
  readonly id: MessageId | undefined
}

/** What was read after a fault. */
export interface Reading {
  /** In the order in which they were delivered. */
  readonly seen: readonly Seen[]
  /** Sequences that hold no message, as `verify()` counts them. */
  readonly voids: number
  readonly firstSequence: number
  readonly nextSequence: number
  /**
   * The level that had to survive: what was acknowledged at it, or at a stronger one, must be there. `none`: only what is there is judged.
   */
  readonly level: Durability | 'none'
}

interface Writer {
  /** Numbers below were handed to `publish`, perhaps. */
  attempted: number
  /** Of acknowledged numbers: the level reached, and the sequence if known. */
  readonly acknowledged: Map<number, { level: Durability; sequence: number | undefined }>
}

/**
 * Keeps what writers were promised, and judges what is read after a fault. A writer numbers its messages from 0 and publishes them in that order.
 */
export class Oracle {
  readonly #writers = new Map<number, Writer>()

  /** Before publishing: the writer may publish numbers below `end` from now on. */
  attempt(writer: number, end: number): void {
    checkNumber('writer', writer)
    checkNumber('end', end)
    const known = this.#writer(writer)
    known.attempted = Math.max(known.attempted, end)
  }

  /** After a promise was given. `synced` stays when `written` is told later. */
  acknowledge({ writer, number }: MessageId, level: Durability, sequence?: number): void {
    checkNumber('writer', writer)
    checkNumber('number', number)
    checkChoice('level', level, durabilities)
    const { acknowledged } = this.#writer(writer)
    const before = acknowledged.get(number)
    const reached = before?.level === 'synced' ? 'synced' : level
    acknowledged.set(number, { level: reached, sequence: sequence ?? before?.sequence })
  }

  /** How many messages were acknowledged at this level or a stronger one. */
  acknowledged(level: Durability): number {
    let count = 0
    for (const { acknowledged } of this.#writers.values()) {
      for (const one of acknowledged.values()) if (reaches(one.level, level)) count++
    }
    return count
  }

  /** All that is wrong with a reading; empty if nothing is. At most 20 of a kind are told. */
  check(reading: Reading): Violation[] {
    // A judge that takes a number for what it is not finds nothing.
    if (namesOfOptions(reading) === undefined || !isArray(reading.seen))
      throw invalid('check() takes a reading, as readEverything() returns it.')
    const { seen, voids, firstSequence, nextSequence, level } = reading
    for (const [name, value] of Object.entries({ voids, firstSequence, nextSequence })) checkNumber(name, value)
    checkChoice('level', level, [...durabilities, 'none'])
    const found = new Findings()
    const numbers = new Map<number, Map<number, number>>()
    let previous = firstSequence - 1
    const last = new Map<number, number>()
    for (const { sequence, id } of seen) {
      if (sequence === previous) found.add('duplicate', `sequence ${sequence} was delivered twice`)
      else if (sequence < previous) found.add('order', `sequence ${sequence} was delivered after ${previous}`)
      else if (sequence >= nextSequence)
        found.add('gap', `sequence ${sequence} was delivered, but ${nextSequence} is the next one`)
      previous = Math.max(previous, sequence)
      if (id === undefined) {
        found.add('invented', `sequence ${sequence} has a payload that was never published`)
        continue
      }
      const { writer, number } = id
      const name = nameOf(id)
      if (number >= (this.#writers.get(writer)?.attempted ?? 0))
        found.add('invented', `${name} was never published, and is at sequence ${sequence}`)
      const own = numbers.get(writer) ?? new Map<number, number>()
      numbers.set(writer, own)
      const at = own.get(number)
      if (at !== undefined) found.add('duplicate', `${name} is at sequences ${at} and ${sequence}`)
      else if (number < (last.get(writer) ?? -1))
        found.add('order', `${name}, at sequence ${sequence}, comes after number ${last.get(writer)}`)
      own.set(number, sequence)
      last.set(writer, Math.max(number, last.get(writer) ?? -1))
    }
    const missing = nextSequence - firstSequence - new Set(seen.map(({ sequence }) => sequence)).size
    if (missing !== voids)
      found.add(
        'gap',
        `${missing} sequences from ${firstSequence} to ${nextSequence - 1} hold no message, but ${voids} are void`,
      )
    for (const [writer, { acknowledged }] of this.#writers) {
      for (const [number, { level: reached, sequence }] of acknowledged) {
        const at = numbers.get(writer)?.get(number)
        const name = nameOf({ writer, number })
        if (at === undefined) {
          // What retention has removed is no loss.
          if (level !== 'none' && reaches(reached, level) && (sequence === undefined || sequence >= firstSequence)) {
            found.add(
              'lost',
              `${name} was acknowledged (${reached}) at sequence ${sequence ?? 'unknown'} and is not there`,
            )
          }
        } else if (sequence !== undefined && at !== sequence)
          found.add('moved', `${name} was acknowledged at sequence ${sequence} and is at ${at}`)
      }
    }
    return found.all
  }

  #writer(writer: number): Writer {
    let known = this.#writers.get(writer)
    if (known === undefined) {
      known = { attempted: 0, acknowledged: new Map() }
      this.#writers.set(writer, known)
    }
    return known
  }
}

function checkNumber(name: string, value: unknown): void {
  checkInteger(name, value, 0, Number.MAX_SAFE_INTEGER)
}

function reaches(level: Durability, wanted: Durability): boolean {
  return level === 'synced' || wanted === 'written'
}

function nameOf({ writer, number }: MessageId): string {
  return `message ${number} of writer ${writer}`
}

class Findings {
  readonly all: Violation[] = []
  readonly #counts = new Map<string, number>()

  add(kind: Violation['kind'], message: string): void {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= 20) this.all.push({ kind, message })
  }
}
