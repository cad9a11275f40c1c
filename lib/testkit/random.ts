import { checkInteger, invalid, show } from '../base/options.js'
import { isArray } from '../codec/failures.js'

/** Repeatable chance: the same seed gives the same numbers on every machine. Not for secrets. */
export class Random {
  readonly seed: number
  #state: number

  /** @param seed an integer; only its low 32 bits count */
  constructor(seed: number) {
    checkInteger('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    this.seed = seed >>> 0
    this.#state = this.seed
  }

  /** From 0 to 2^32 − 1. (Steele and others' SplitMix, in 32 bits: a counter that is mixed well.) */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }

  /** From 0 to `limit` − 1. */
  below(limit: number): number {
    if (typeof limit !== 'number') throw invalid(`'limit' must be a number, not ${show(limit)}.`)
    return Math.floor((this.next() / 2 ** 32) * limit)
  }

  /** True in this part of all cases. */
  chance(part: number): boolean {
    return this.next() < part * 2 ** 32
  }

  pick<T>(choices: readonly T[]): T {
    if (!isArray(choices) || choices.length === 0) throw invalid('pick() takes an array with at least one choice.')
    return choices[this.below(choices.length)] as T
  }

  /** A generator of its own, which does not depend on how often this one is asked afterwards. */
  fork(): Random {
    return new Random(this.next())
  }
}
