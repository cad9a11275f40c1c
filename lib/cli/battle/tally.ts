/** Numbers that were passed over: `from` up to, and without, `to`. */
interface Gap {
  from: number
  to: number
}

/** Which of the messages 0, 1, 2, … of one publisher have come, and in which order. */
export class Tally {
  /** Different ones. */
  received = 0
  duplicates = 0
  /** Those that came behind a later one. */
  outOfOrder = 0
  #next = 0
  readonly #gaps: Gap[] = []

  /** Notes message `id`. False if it was there before. */
  take(id: number): boolean {
    if (id >= this.#next) {
      if (id > this.#next) this.#gaps.push({ from: this.#next, to: id })
      this.#next = id + 1
      this.received++
      return true
    }
    const index = this.#gaps.findIndex(({ from, to }) => id >= from && id < to)
    const gap = this.#gaps[index]
    if (gap === undefined) {
      this.duplicates++
      return false
    }
    const rest = [
      { from: gap.from, to: id },
      { from: id + 1, to: gap.to },
    ].filter(({ from, to }) => from < to)
    this.#gaps.splice(index, 1, ...rest)
    this.received++
    this.outOfOrder++
    return true
  }

  /** Whether all of the first `count` have come. */
  has(count: number): boolean {
    return this.#next >= count && this.received >= count
  }
}
