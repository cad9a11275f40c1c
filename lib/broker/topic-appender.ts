import { HermesError } from '../base/errors.js'
import { fromNative } from '../native/error.js'
import type { NativeAppender, NativeLog } from '../native/types.js'
import { fromHeld } from '../store/holders.js'
import { protocolError } from '../wire/packet.js'

// The scratch memory: see native/binding/ingest.cc.
const scratchOffset = 0
const scratchBytes = 1
const scratchCount = 2
const scratchSlot = 3
const scratchStatus = 4
const scratchSequence = 3
const scratchSize = 64

/** The place in a topic's log that all its remote publishers share. Open while there are any, so that others may have the topic to themselves. */
export class TopicAppender {
  readonly #topic: string
  readonly #log: NativeLog
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #scratch = new ArrayBuffer(scratchSize)
  #appender: NativeAppender | undefined
  #ingest: (bytes: Uint8Array) => void = closed
  #exclusive = false

  constructor(topic: string, log: NativeLog) {
    this.#topic = topic
    this.#log = log
    this.#words = new Int32Array(this.#scratch)
    this.#numbers = new Float64Array(this.#scratch)
  }

  get isOpen(): boolean {
    return this.#appender !== undefined
  }

  /** As it was opened last. */
  get isExclusive(): boolean {
    return this.#exclusive
  }

  /** @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `DISK_FULL`, … */
  async open(exclusive: boolean): Promise<void> {
    try {
      this.#appender = await this.#log.openAppender(exclusive)
    } catch (error) {
      throw fromHeld(error, this.#topic, this.#log)
    }
    this.#exclusive = exclusive
    this.#ingest = this.#appender.ingestFunction(this.#scratch)
  }

  /**
   * Checks and appends a batch: one native call.
   *
   * @returns the sequence of its first message
   * @throws HermesError `PROTOCOL`, `PAYLOAD_TOO_LARGE`, `DISK_FULL`, …
   */
  append(bytes: Uint8Array, start: number, end: number, count: number, slot: number): number {
    const words = this.#words
    words[scratchOffset] = start
    words[scratchBytes] = end - start
    words[scratchCount] = count
    words[scratchSlot] = slot
    this.#ingest(bytes)
    if ((words[scratchStatus] as number) < 0) this.#throwLastError()
    return this.#numbers[scratchSequence] as number
  }

  #throwLastError(): never {
    try {
      this.#appender?.lastError()
    } catch (error) {
      const known = fromNative(error, { topic: this.#topic })
      if (known instanceof HermesError && known.code === 'INVALID_ARGUMENT') {
        throw protocolError(
          'The frames of a batch are not as the protocol wants them: lengths, numbers or checksums are wrong.',
        )
      }
      throw known
    }
    return closed()
  }

  /** Resolves with the sequence before which everything is on stable storage: above `upto`. */
  async sync(upto: number): Promise<number> {
    if (this.#appender === undefined) closed()
    return this.#appender.sync(upto)
  }

  /** @throws what could not be put on stable storage; it's closed all the same */
  async close(): Promise<void> {
    const appender = this.#appender
    if (appender === undefined) return
    this.#appender = undefined
    this.#ingest = closed
    try {
      await appender.settle()
    } finally {
      appender.close()
    }
  }
}

function closed(): never {
  throw new HermesError('CLOSED', 'The publisher is closed.')
}
