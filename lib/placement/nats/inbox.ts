import type { Region } from '../../codec/codec.js'
import { frameBytes } from '../../frame/frame.js'
import type { Claim } from '../consumer-port.js'
import type { StoredBatch } from './batches.js'
import type { Run } from './ledger.js'

/** One message that was claimed, and the batch that holds it. */
export interface Fetched {
  readonly sequence: number
  readonly batch: StoredBatch
  readonly run: Run
}

const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/** Messages that were claimed and fetched, and are not handed out yet; and those that were handed out last, in one region. */
export class Inbox {
  region = noRegion
  #waiting: Fetched[] = []
  #current: readonly Fetched[] = []
  /** Of each message of the last hand-out: where its frame begins in the region. */
  #offsets: number[] = []

  get left(): number {
    return this.#waiting.length
  }

  add(fetched: readonly Fetched[]): void {
    this.#waiting.push(...fetched)
  }

  /** Hands out up to `limit`. @returns how many */
  take(limit: number): number {
    const taken = this.#waiting.splice(0, limit)
    this.#current = taken
    this.#offsets = []
    let bytes = 0
    for (const { batch, sequence } of taken) {
      this.#offsets.push(bytes)
      bytes += frameBytes(batch.lengthOf(sequence))
    }
    if (taken.length === 0) return 0
    const own = new Uint8Array(bytes)
    for (const [index, { batch, sequence }] of taken.entries()) {
      const at = batch.frameAt(sequence)
      own.set(batch.bytes.subarray(at, at + frameBytes(batch.lengthOf(sequence))), this.#offsets[index])
    }
    this.region = { bytes: own, data: new DataView(own.buffer) }
    return taken.length
  }

  /** Those that were not handed out are forgotten. */
  clear(): Claim[] {
    return this.#waiting.splice(0).map((one) => claimOf(one))
  }

  at(index: number): Fetched {
    return this.#current[index] as Fetched
  }

  offsetOf(index: number): number {
    return this.#offsets[index] as number
  }

  claims(from: number, to: number): Claim[] {
    return this.#current.slice(from, to).map((one) => claimOf(one))
  }
}

const claimOf = ({ sequence, run: { deliveries, number } }: Fetched): Claim => ({ sequence, deliveries, number })
