/** What a message got when it was published. */
export class Receipt {
  /** Dense per topic, from 1. */
  readonly sequence: number
  /** Nanoseconds since 1970. */
  readonly timestampNs: bigint

  /** @internal */
  constructor(sequence: number, timestampNs: bigint) {
    this.sequence = sequence
    this.timestampNs = timestampNs
  }

  /** The timestamp as a Date: to the millisecond, rounded down. */
  get date(): Date {
    return new Date(Number(this.timestampNs / 1_000_000n))
  }

  /** What `JSON.stringify` takes: the timestamp as decimal text, as messages have it. */
  toJSON(): { readonly sequence: number; readonly timestampNs: string } {
    return { sequence: this.sequence, timestampNs: String(this.timestampNs) }
  }
}
