const two32 = 0x1_0000_0000
/** Between two looks at the system's clock, and how far it may be off before it is followed, in ms. */
const lookMs = 1000
const toleranceMs = 2

/** Nanoseconds since 1970 in two halves, so that a reading allocates nothing. Finer than a microsecond, and within 2 ms of the system's clock. */
export class WallClock {
  low = 0
  high = 0
  #originLow = 0
  #originHigh = 0
  #looked = 0

  constructor() {
    this.#originAt(BigInt(Math.round(performance.timeOrigin * 1e6)))
  }

  read(): void {
    const now = performance.now()
    if (now - this.#looked > lookMs) this.#look(now)
    // Below 2^53 for a hundred days and more, so exact.
    const low = this.#originLow + Math.round(now * 1e6)
    this.low = low >>> 0
    this.high = this.#originHigh + Math.floor(low / two32)
  }

  /** The system's clock may have been set. */
  #look(now: number): void {
    this.#looked = now
    const origin = ((BigInt(this.#originHigh) << 32n) | BigInt(this.#originLow)) / 1_000_000n
    const here = Date.now() - now
    if (Math.abs(Number(origin) - here) > toleranceMs) this.#originAt(BigInt(Math.round(here * 1e6)))
  }

  #originAt(ns: bigint): void {
    this.#originLow = Number(ns & 0xffff_ffffn)
    this.#originHigh = Number(ns >> 32n)
  }
}
