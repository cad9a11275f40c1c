import type { Region } from '../../codec/codec.js'
import { crc32Range } from '../../frame/crc32.js'
import type { GroupRules } from '../../model/group.js'
import type { StoredBatch } from './batches.js'

/** As many as groups of a directory have. */
const keyBuckets = 1024

/** Of a keyed group: in which bucket the keys of messages are that may be claimed next. */
export class KeyBuckets {
  readonly #key: GroupRules['key']
  readonly #hashOf: ((region: Region, offset: number, length: number) => number) | undefined
  readonly #known = new Map<number, number>()

  constructor(
    key: GroupRules['key'],
    hashOf: ((region: Region, offset: number, length: number) => number) | undefined,
  ) {
    this.#key = key
    this.#hashOf = hashOf
  }

  get(sequence: number): number | undefined {
    return this.#known.get(sequence)
  }

  /** Learns those of a batch from `sequence` up to `end`. @returns the sequence behind */
  learn(batch: StoredBatch, sequence: number, end: number): number {
    let next = sequence
    for (; next < Math.min(batch.next, end); next++) {
      if (this.#known.has(next)) continue
      const isVoid = batch.frameAt(next) < 0
      this.#known.set(next, isVoid ? 0 : this.of(batch, batch.payloadAt(next), batch.lengthOf(next)))
    }
    return next
  }

  forget(before: number): void {
    for (const sequence of this.#known.keys()) if (sequence < before) this.#known.delete(sequence)
  }

  /** Of a payload. */
  of(region: Region, at: number, length: number): number {
    if (this.#hashOf !== undefined) return this.#hashOf(region, at, length) % keyBuckets
    const { offset, bytes } = this.#key ?? { offset: 0, bytes: 0 }
    const [from, to] = [at + Math.min(offset, length), at + Math.min(offset + bytes, length)]
    return crc32Range(region.bytes, from, to, 0) % keyBuckets
  }
}
