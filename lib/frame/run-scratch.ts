/*
 * What a caller and a sealer or scanner of frames tell each other, in memory that both know: arguments and results of a native call would cost as much as
 * the work. native/binding/scratch_layout.h is the other side; runs.ts is that where there is no addon.
 */

/** Offsets in bytes. native/load.ts compares them with the addon's own. */
export const sealLayout = { offset: 0, bytes: 4, count: 8, done: 12, timestamp: 16, size: 64 } as const
export const frameScanLayout = {
  offset: 0,
  end: 4,
  limit: 8,
  messages: 12,
  found: 16,
  damage: 20,
  sequence: 24,
  size: 64,
} as const

/** An offset as an index of 32-bit words, or of 64-bit ones. */
const word = (offset: number): number => offset / 4
const long = (offset: number): number => offset / 8

export const sealField = {
  offset: word(sealLayout.offset),
  bytes: word(sealLayout.bytes),
  count: word(sealLayout.count),
  done: word(sealLayout.done),
  timestamp: long(sealLayout.timestamp),
}

/** For frames that are completed in a buffer. */
export class SealScratch {
  readonly buffer = new ArrayBuffer(sealLayout.size)
  readonly #words = new Int32Array(this.buffer)
  readonly #longs = new BigUint64Array(this.buffer)

  setFrames(offset: number, bytes: number, count: number): void {
    this.#words[sealField.offset] = offset
    this.#words[sealField.bytes] = bytes
    this.#words[sealField.count] = count
  }

  get isDone(): boolean {
    return this.#words[sealField.done] === 1
  }

  /** Before: what the first frame's timestamp is at least. Afterwards: what it is. */
  get timestampNs(): bigint {
    return this.#longs[sealField.timestamp] as bigint
  }

  set timestampNs(value: bigint) {
    this.#longs[sealField.timestamp] = value
  }
}

export const frameScanField = {
  offset: word(frameScanLayout.offset),
  end: word(frameScanLayout.end),
  limit: word(frameScanLayout.limit),
  messages: word(frameScanLayout.messages),
  found: word(frameScanLayout.found),
  damage: word(frameScanLayout.damage),
  sequence: long(frameScanLayout.sequence),
}

/** For frames that have arrived in a buffer. */
export class FrameScanScratch {
  readonly buffer = new ArrayBuffer(frameScanLayout.size)
  readonly #words = new Int32Array(this.buffer)
  readonly #numbers = new Float64Array(this.buffer)

  setFrames(offset: number, end: number, limit: number, sequence: number): void {
    const words = this.#words
    words[frameScanField.offset] = offset
    words[frameScanField.end] = end
    words[frameScanField.limit] = limit
    this.#numbers[frameScanField.sequence] = sequence
  }

  get messages(): number {
    return this.#words[frameScanField.messages] as number
  }

  /** Behind the messages that were found. */
  get end(): number {
    return this.#words[frameScanField.found] as number
  }

  get isDamaged(): boolean {
    return this.#words[frameScanField.damage] !== 0
  }

  /** Expected at `end`. */
  get endSequence(): number {
    return this.#numbers[frameScanField.sequence] as number
  }
}
