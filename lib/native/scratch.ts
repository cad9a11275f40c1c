import { frameScanLayout, sealLayout } from '../frame/run-scratch.js'

/*
 * Scratch memory: what JavaScript and the addon share for the arguments, results and payloads of hot calls, because each argument of a
 * native call would cost as much as the work itself. One class for each such call; native/binding/scratch_layout.h is the other side,
 * and says what each field means.
 */

/** Offsets in bytes. `load.ts` compares them with the addon's own when it loads it. */
const layouts = {
  append: { length: 0, bytes: 4, status: 8, sequence: 16, timestamp: 24, frames: 64 },
  scan: { offset: 0, limit: 4, messages: 8, end: 12, stop: 16, sequence: 24, beginSequence: 32, size: 64 },
  ingest: { offset: 0, bytes: 4, count: 8, slot: 12, status: 16, sequence: 24, size: 64 },
  // (these two also serve where there is no addon)
  seal: sealLayout,
  frameScan: frameScanLayout,
} as const

/** By call, then by field; in bytes. */
export type ScratchLayouts = Readonly<Record<string, Readonly<Record<string, number>>>>

/** The first field of which the addon has another opinion, or `undefined`. */
export function scratchDifference(addon: ScratchLayouts | undefined): string | undefined {
  for (const [call, layout] of Object.entries<Readonly<Record<string, number>>>(layouts)) {
    const other = addon?.[call] ?? {}
    for (const field of new Set([...Object.keys(layout), ...Object.keys(other)])) {
      if (layout[field] !== other[field])
        return `${call}.${field} is at ${layout[field] ?? 'no offset'} here and at ${other[field] ?? 'no offset'} in the addon`
    }
  }
  return undefined
}

/** An offset as an index of 32-bit words, or of 64-bit ones. */
const word = (offset: number): number => offset / 4
const long = (offset: number): number => offset / 8

const append = {
  length: word(layouts.append.length),
  bytes: word(layouts.append.bytes),
  status: word(layouts.append.status),
  sequence: long(layouts.append.sequence),
  timestamp: long(layouts.append.timestamp),
}

/** A publisher's: the payload or frames to append, and what came of it. */
export class AppendScratch {
  /** Where frames begin, in bytes; the payload of a single message begins behind a frame's header. */
  static readonly framesAt = layouts.append.frames

  readonly buffer: ArrayBuffer
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #longs: BigUint64Array

  /** @param bytes of which `framesAt` are not for frames */
  constructor(bytes: number) {
    this.buffer = new ArrayBuffer(Math.ceil(bytes / 8) * 8)
    this.#words = new Int32Array(this.buffer)
    this.#numbers = new Float64Array(this.buffer)
    this.#longs = new BigUint64Array(this.buffer)
  }

  setMessage(length: number): void {
    this.#words[append.length] = length
  }

  setBatch(count: number, bytes: number): void {
    this.#words[append.length] = count
    this.#words[append.bytes] = bytes
  }

  /** 0 = accepted, 1 = accepted but rather wait for room, negative = refused. */
  get status(): number {
    return this.#words[append.status] as number
  }

  /** Of the newest message that was accepted. */
  get sequence(): number {
    return this.#numbers[append.sequence] as number
  }

  get timestampNs(): bigint {
    return this.#longs[append.timestamp] as bigint
  }
}

const scan = {
  offset: word(layouts.scan.offset),
  limit: word(layouts.scan.limit),
  messages: word(layouts.scan.messages),
  end: word(layouts.scan.end),
  stop: word(layouts.scan.stop),
  sequence: long(layouts.scan.sequence),
  beginSequence: long(layouts.scan.beginSequence),
}

/** A reader's of the log: where it stands, and what a scan from there has found. */
export class ScanScratch {
  readonly buffer = new ArrayBuffer(layouts.scan.size)
  readonly #words = new Int32Array(this.buffer)
  readonly #numbers = new Float64Array(this.buffer)

  /** Where the reader is. The addon looks here in every call that begins at the position. */
  setPosition(offset: number, sequence: number): void {
    this.#words[scan.offset] = offset
    this.#numbers[scan.sequence] = sequence
  }

  setLimit(messages: number): void {
    this.#words[scan.limit] = messages
  }

  /** Where the run begins: further on than the position, if messages were passed over. */
  get offset(): number {
    return this.#words[scan.offset] as number
  }

  /** Expected at `offset`, if that was moved. */
  get beginSequence(): number {
    return this.#numbers[scan.beginSequence] as number
  }

  get messages(): number {
    return this.#words[scan.messages] as number
  }

  get end(): number {
    return this.#words[scan.end] as number
  }

  /** Expected at `end`. */
  get endSequence(): number {
    return this.#numbers[scan.sequence] as number
  }

  /** One of the addon's `constants.stop…`. */
  get stop(): number {
    return this.#words[scan.stop] as number
  }
}

const ingest = {
  offset: word(layouts.ingest.offset),
  bytes: word(layouts.ingest.bytes),
  count: word(layouts.ingest.count),
  slot: word(layouts.ingest.slot),
  status: word(layouts.ingest.status),
  sequence: long(layouts.ingest.sequence),
}

/** For batches from a network. */
export class IngestScratch {
  readonly buffer = new ArrayBuffer(layouts.ingest.size)
  readonly #words = new Int32Array(this.buffer)
  readonly #numbers = new Float64Array(this.buffer)

  setBatch(start: number, end: number, count: number, slot: number): void {
    const words = this.#words
    words[ingest.offset] = start
    words[ingest.bytes] = end - start
    words[ingest.count] = count
    words[ingest.slot] = slot
  }

  /** 0 = accepted, 1 = accepted but rather wait for room, negative = refused. */
  get status(): number {
    return this.#words[ingest.status] as number
  }

  /** Of the batch's first message. */
  get sequence(): number {
    return this.#numbers[ingest.sequence] as number
  }
}
