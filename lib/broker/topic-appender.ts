import { HermesError } from '../base/errors.js'
import { callNative, fromNative } from '../native/error.js'
import type { NativeIntake } from '../native/intake-types.js'
import { IngestScratch } from '../native/scratch.js'
import type { NativeAppender } from '../native/types.js'
import { closeAppender } from '../store/native-log.js'
import type { TopicLog } from '../store/topic-log.js'
import { protocolError } from '../wire/packet.js'

/** The native appender that all remote publishers of a topic share. Open while there are any, so that others may have the topic to themselves. */
export class TopicAppender {
  readonly #log: TopicLog
  readonly #scratch = new IngestScratch()
  #appender: NativeAppender | undefined
  #ingest: (bytes: Uint8Array) => void = closed
  #exclusive = false

  constructor(log: TopicLog) {
    this.#log = log
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
    this.#appender = await this.#log.openAppender(exclusive)
    this.#exclusive = exclusive
    this.#ingest = this.#appender.ingestFunction(this.#scratch.buffer)
  }

  /**
   * Checks and appends a batch: one native call.
   *
   * @returns the sequence of its first message
   * @throws HermesError `PROTOCOL`, `PAYLOAD_TOO_LARGE`, `DISK_FULL`, …
   */
  append(bytes: Uint8Array, start: number, end: number, count: number, slot: number): number {
    this.#scratch.setBatch(start, end, count, slot)
    this.#ingest(bytes)
    if (this.#scratch.status < 0) this.#throwLastError()
    return this.#scratch.sequence
  }

  #throwLastError(): never {
    try {
      this.#appender?.lastError()
    } catch (error) {
      const known = fromNative(error, { topic: this.#log.topic })
      if (known instanceof HermesError && known.code === 'INVALID_ARGUMENT') {
        throw protocolError(
          'The frames of a batch are not as the protocol wants them: lengths, numbers or checksums are wrong.',
        )
      }
      throw known
    }
    return closed()
  }

  /** Has `intake` append what comes on a channel of its own. REQUIRES: it is open. */
  attachTo(intake: NativeIntake, channel: number, slot: number, maxBatchBytes: number, stored: bigint): void {
    const appender = this.#appender ?? closed()
    callNative(() => intake.attach(channel, appender, slot, maxBatchBytes, stored), { topic: this.#log.topic })
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
    await closeAppender(appender)
  }
}

function closed(): never {
  throw new HermesError('CLOSED', 'The publisher is closed.')
}
