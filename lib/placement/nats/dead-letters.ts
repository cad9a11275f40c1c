import { msgpack } from '../../codec/msgpack.js'
import { type DeadLetter, mostReason } from '../dead-letter.js'
import type { StoredBatch } from './batches.js'
import type { NatsPublisher } from './publisher.js'

/** Puts what a group gives up into a topic of its own, with where it came from and why. */
export class DeadLetters {
  readonly #topic: string
  readonly #group: string
  readonly #codec: string
  readonly #open: () => Promise<NatsPublisher>
  #publisher: Promise<NatsPublisher> | undefined

  /** @param open opens the publisher; called when the first letter comes */
  constructor(topic: string, group: string, codec: string, open: () => Promise<NatsPublisher>) {
    this.#topic = topic
    this.#group = group
    this.#codec = codec
    this.#open = open
  }

  /** Resolves once a quorum has the letter. @param batch that holds the message; `undefined`: retention has removed it @throws HermesError what publishing throws */
  async put(sequence: number, batch: StoredBatch | undefined, deliveries: number, reason: string): Promise<void> {
    const at = batch?.payloadAt(sequence) ?? 0
    const letter: DeadLetter = {
      topic: this.#topic,
      group: this.#group,
      sequence,
      timestampNs: batch?.timestampOf(sequence) ?? 0n,
      deliveries,
      reason: reason.slice(0, mostReason),
      codec: this.#codec,
      payload: batch?.bytes.slice(at, at + batch.lengthOf(sequence)) ?? null,
    }
    const publisher = await this.#opened()
    const { region, payloadOffset, maxPayloadBytes } = publisher
    const length = msgpack.encode(letter, region, payloadOffset, payloadOffset + maxPayloadBytes)
    publisher.append(length)
    await publisher.receipt(undefined)
  }

  async #opened(): Promise<NatsPublisher> {
    this.#publisher ??= this.#open()
    try {
      return await this.#publisher
    } catch (error) {
      // The next letter tries again.
      this.#publisher = undefined
      throw error
    }
  }

  async close(): Promise<void> {
    const publisher = await this.#publisher?.catch(() => undefined)
    await publisher?.close()
  }
}
