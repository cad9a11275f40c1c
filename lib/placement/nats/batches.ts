import { HermesError } from '../../base/errors.js'
import { frameBytes, frameHeaderBytes, frameOffset, frameType } from '../../frame/frame.js'
import type { StoredMsg } from './peer.js'
import { sequencesIn, sequencesOf, soundBytes } from './piece.js'
import type { TopicStream } from './stream.js'

/** Of messages that were read lately. */
const keptBytes = 8 * 1024 * 1024

/** A message of the stream, with where its frames lie. */
export class StoredBatch {
  readonly at: number
  readonly first: number
  readonly next: number
  /** A copy, at a multiple of 8 bytes. */
  readonly bytes: Uint8Array
  readonly data: DataView
  /** Of each sequence from `first` on: where its frame begins. -1: it has no message (a void). */
  readonly #offsets: Int32Array

  constructor(at: number, first: number, next: number, bytes: Uint8Array) {
    this.at = at
    this.first = first
    this.next = next
    this.bytes = new Uint8Array(bytes)
    this.data = new DataView(this.bytes.buffer)
    this.#offsets = new Int32Array(next - first).fill(-1)
    let offset = 0
    for (let sequence = first; sequence < next; ) {
      const length = this.data.getUint32(offset + frameOffset.payloadLength, true)
      if (this.data.getUint8(offset + frameOffset.type) === frameType.data) this.#offsets[sequence - first] = offset
      sequence += sequencesOf(this.data, offset, length)
      offset += frameBytes(length)
    }
  }

  /** Where the frame of a sequence begins; -1: it has no message. REQUIRES: it is in this batch */
  frameAt(sequence: number): number {
    return this.#offsets[sequence - this.first] as number
  }

  /** @throws HermesError `CORRUPT` if the frame is damaged */
  check(sequence: number, topic: string, maxPayloadBytes: number): void {
    const at = this.frameAt(sequence)
    if (soundBytes(this, at, this.bytes.length, maxPayloadBytes, true) > 0) return
    throw new HermesError('CORRUPT', `Message ${sequence} of topic '${topic}' is damaged. The others go on.`, {
      details: { topic, sequence },
    })
  }

  lengthOf(sequence: number): number {
    return this.data.getUint32(this.frameAt(sequence) + frameOffset.payloadLength, true)
  }

  payloadAt(sequence: number): number {
    return this.frameAt(sequence) + frameHeaderBytes
  }

  timestampOf(sequence: number): bigint {
    return this.data.getBigUint64(this.frameAt(sequence) + frameOffset.timestampNs, true)
  }
}

/** Messages of a stream by their numbers and by the topic's sequences. Those that were read lately are kept. */
export class Batches {
  readonly #stream: TopicStream
  readonly #kept = new Map<number, Promise<StoredBatch | undefined>>()
  #bytes = 0

  constructor(stream: TopicStream) {
    this.#stream = stream
  }

  /** The message that holds a sequence. @param at its number, or that of one before @returns `undefined` if retention has removed it @throws HermesError */
  async holding(sequence: number, at: number): Promise<StoredBatch | undefined> {
    let low = at
    // (a message holds one sequence at least)
    let high = at
    for (let looks = 0; ; looks++) {
      const found = await this.#at(looks === 0 ? at : low + Math.floor((high - low) / 2))
      if (found === undefined || found.first > sequence) {
        if (found === undefined || looks === 0) return undefined
        high = found.at - 1
      } else if (found.next > sequence) return found
      else {
        if (looks === 0) high = found.at + (sequence - found.next) + 1
        low = found.at + 1
      }
      if (high < low) return undefined
    }
  }

  /** The message of this number, or the next one behind it that is there. */
  #at(number: number): Promise<StoredBatch | undefined> {
    const kept = this.#kept.get(number)
    if (kept !== undefined) {
      this.#kept.delete(number)
      this.#kept.set(number, kept)
      return kept
    }
    const reading = this.#read(number)
    this.#kept.set(number, reading)
    reading.then(
      (batch) => {
        if (batch === undefined || batch.at !== number) this.#kept.delete(number)
        else this.#keep(batch)
      },
      () => this.#kept.delete(number),
    )
    return reading
  }

  #keep({ bytes }: StoredBatch): void {
    this.#bytes += bytes.length
    for (const [number, oldest] of this.#kept) {
      if (this.#bytes <= keptBytes || this.#kept.size <= 1) return
      this.#kept.delete(number)
      void oldest.then((batch) => {
        this.#bytes -= batch?.bytes.length ?? 0
      })
    }
  }

  async #read(number: number): Promise<StoredBatch | undefined> {
    const found = await this.#stream.stored(number)
    return found && this.#batchOf(found)
  }

  #batchOf(message: StoredMsg): StoredBatch {
    const { topic } = this.#stream
    const { first, next } = this.#stream.head(message)
    if (sequencesIn(message.data) === next - first) return new StoredBatch(message.seq, first, next, message.data)
    throw new HermesError(
      'CORRUPT',
      `Message ${message.seq} in the stream of topic '${topic}' does not hold what its headers say.`,
      { details: { topic, sequence: first, streamSequence: message.seq } },
    )
  }
}
