/** Numbers of one entry: of the SETTLE, and of the message. */
const entryNumbers = 2
/** Room at first, in entries. */
const firstRoom = 64
/** Above this room, in entries, the memory is given back once nothing is kept. */
const keptRoom = 1024

/**
 * Messages that were settled too late, in the order of the SETTLEs that they stood in. One packet may bring 16,384 of them: as an object each, they took
 * the broker's only thread for milliseconds.
 */
export class LateSettlements {
  /** Pairs: the SETTLE's number, the message's sequence. Those from `#from` to `#to` count; both are indexes of numbers. */
  #numbers = new Float64Array(0)
  #from = 0
  #to = 0

  /** How many are kept. */
  get size(): number {
    return (this.#to - this.#from) / entryNumbers
  }

  /** @param settle not below those that were added before */
  add(settle: number, sequence: number): void {
    if (this.#to === this.#numbers.length) this.#makeRoom()
    this.#numbers[this.#to] = settle
    this.#numbers[this.#to + 1] = sequence
    this.#to += entryNumbers
  }

  /** Forgets those of SETTLEs up to this number. */
  forget(settle: number): void {
    this.#from = this.#firstBehind(settle)
    if (this.#from < this.#to) return
    this.#from = 0
    this.#to = 0
    if (this.#numbers.length > keptRoom * entryNumbers) this.#numbers = new Float64Array(0)
  }

  /** Those of SETTLEs behind this number, as pairs one behind the other. Valid until the next `add` or `forget`. */
  behind(settle: number): Float64Array {
    return this.#numbers.subarray(this.#firstBehind(settle), this.#to)
  }

  #firstBehind(settle: number): number {
    let low = this.#from / entryNumbers
    let high = this.#to / entryNumbers
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#numbers[middle * entryNumbers] as number) > settle) high = middle
      else low = middle + 1
    }
    return low * entryNumbers
  }

  #makeRoom(): void {
    const kept = this.#numbers.subarray(this.#from, this.#to)
    const room = Math.max(firstRoom, (kept.length / entryNumbers) * 2)
    const numbers = new Float64Array(room * entryNumbers)
    numbers.set(kept)
    this.#numbers = numbers
    this.#to -= this.#from
    this.#from = 0
  }
}
