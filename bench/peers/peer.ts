import { messageBytes, Quote, QuotePool, type Region } from '../support/quote.js'

/** What a peer is asked to do. Roles of the file `peers/<name>` play it. */
export interface PeerArgs {
  readonly warmup: number
  readonly count: number
  /** Messages handed over at once, where the peer has a way to. */
  readonly batch: number
  /** A folder for sockets. */
  readonly folder: string
}

export const peerBytes = messageBytes

/** Encodes the messages that Hermes's side sends, with the same codec, so that what differs is the way they go. */
export class PeerSource {
  readonly #pool = new QuotePool()

  /** Message `id` at `offset` of `target`. */
  encode(id: number, target: Region, offset: number): void {
    Quote.encode(this.#pool.at(id), target, offset, offset + peerBytes)
  }

  /** Message `id` in memory of its own. */
  message(id: number): Uint8Array {
    const bytes = new Uint8Array(peerBytes)
    this.encode(id, regionOf(bytes), 0)
    return bytes
  }
}

export function regionOf(bytes: Uint8Array): Region {
  return { bytes, data: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

/** One message's memory, for ways that copy what they're given before they return. */
export class PeerScratch {
  readonly #region = regionOf(new Uint8Array(peerBytes))
  readonly #source = new PeerSource()

  encode(id: number): Uint8Array {
    this.#source.encode(id, this.#region, 0)
    return this.#region.bytes
  }
}

/** Checks that messages come complete and in order, and says when the first `warmup` and when all are there. */
export class PeerReceiver {
  #count = 0
  readonly #marks: readonly number[]
  readonly #onMark: (count: number) => void

  constructor(marks: readonly number[], onMark: (count: number) => void) {
    this.#marks = marks
    this.#onMark = onMark
  }

  take(bytes: Uint8Array, offset: number, length: number): void {
    const number =
      ((bytes[offset] as number) |
        ((bytes[offset + 1] as number) << 8) |
        ((bytes[offset + 2] as number) << 16) |
        ((bytes[offset + 3] as number) << 24)) >>>
      0
    if (length !== peerBytes || number !== this.#count + 1) {
      throw new Error(`message ${this.#count + 1} arrived as ${number} with ${length} bytes`)
    }
    this.#count++
    if (this.#marks.includes(this.#count)) this.#onMark(this.#count)
  }
}

/** Waits for things that are said by number. */
export class Marks {
  readonly #reached = new Set<number>()
  readonly #waiting = new Map<number, () => void>()

  reach(mark: number): void {
    this.#reached.add(mark)
    this.#waiting.get(mark)?.()
  }

  wait(mark: number): Promise<void> {
    if (this.#reached.has(mark)) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.set(mark, resolve))
  }
}

/** Seconds for `count` messages: sends a warm-up, waits until it has arrived, then times the rest. */
export async function timeMessages(
  { warmup, count }: PeerArgs,
  marks: Marks,
  send: (first: number, last: number) => Promise<void>,
): Promise<number> {
  await send(1, warmup)
  await marks.wait(warmup)
  const begun = performance.now()
  await send(warmup + 1, warmup + count)
  await marks.wait(warmup + count)
  return (performance.now() - begun) / 1000
}
