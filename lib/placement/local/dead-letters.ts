import { HermesError } from '../../base/errors.js'
import { msgpack } from '../../codec/msgpack.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../../frame/frame.js'
import type { NativeLog } from '../../native/types.js'
import { LogCursor } from '../../store/log-cursor.js'
import { type DeadLetter, mostReason } from '../dead-letter.js'
import type { PublisherPort } from '../port.js'

/** Puts what a group gives up into a topic of its own, with where it came from and why. */
export class DeadLetters {
  readonly #topic: string
  readonly #group: string
  readonly #codec: string
  readonly #log: NativeLog
  readonly #open: () => Promise<PublisherPort>
  #publisher: Promise<PublisherPort> | undefined
  #cursor: LogCursor | undefined

  /** @param open opens the publisher; called when the first letter comes */
  constructor(topic: string, group: string, codec: string, log: NativeLog, open: () => Promise<PublisherPort>) {
    this.#topic = topic
    this.#group = group
    this.#codec = codec
    this.#log = log
    this.#open = open
  }

  /**
   * Resolves once the letter is on stable storage: the kernel may write the settlement that follows before it, and a loss of power would leave a message
   * that nobody has. @throws HermesError what publishing throws
   */
  async put(sequence: number, deliveries: number, reason: string): Promise<void> {
    const message = this.#read(sequence)
    const letter: DeadLetter = {
      topic: this.#topic,
      group: this.#group,
      sequence,
      timestampNs: message?.timestampNs ?? 0n,
      deliveries,
      reason: reason.slice(0, mostReason),
      codec: this.#codec,
      payload: message?.payload ?? null,
    }
    const publisher = await this.#opened()
    const { region, payloadOffset, maxPayloadBytes } = publisher
    const length = msgpack.encode(letter, region, payloadOffset, payloadOffset + maxPayloadBytes)
    const hasRoom = publisher.append(length)
    const { ticket } = publisher
    if (!hasRoom) await publisher.ready(undefined)
    await publisher.reached(ticket, 'synced', undefined)
  }

  async #opened(): Promise<PublisherPort> {
    this.#publisher ??= this.#open()
    try {
      return await this.#publisher
    } catch (error) {
      // The next letter tries again.
      this.#publisher = undefined
      throw error
    }
  }

  #read(sequence: number): { payload: Uint8Array; timestampNs: bigint } | undefined {
    this.#cursor ??= new LogCursor(this.#topic, this.#log, true)
    const cursor = this.#cursor
    try {
      cursor.seek(sequence)
    } catch (error) {
      if (error instanceof HermesError && error.code === 'BEHIND_RETENTION') return undefined
      throw error
    }
    if (cursor.scan(1) === 0) throw cursor.damaged()
    const { data, bytes } = cursor.region
    // Voids may stand in front of it; it is the last of the run.
    for (let at = cursor.begin; at < cursor.end; ) {
      const length = data.getUint32(at + frameOffset.payloadLength, true)
      const next = at + frameBytes(length)
      if (next >= cursor.end) {
        const payloadAt = at + frameHeaderBytes
        return {
          payload: bytes.slice(payloadAt, payloadAt + length),
          timestampNs: data.getBigUint64(at + frameOffset.timestampNs, true),
        }
      }
      at = next
    }
    return undefined
  }

  async close(): Promise<void> {
    this.#cursor?.close()
    const publisher = await this.#publisher?.catch(() => undefined)
    await publisher?.close()
  }
}
