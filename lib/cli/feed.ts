import { setImmediate as turn } from 'node:timers/promises'
import { type ErrorCode, HermesError } from '../base/errors.js'
import type { Publisher } from '../client/publisher.js'
import type { Codec } from '../codec/codec.js'
import { Encoder } from '../codec/encoder.js'
import { defaultMaxPayloadBytes, frameBytes } from '../frame/frame.js'
import type { Session } from './session.js'
import { counted } from './text-format.js'

/** After this many messages the event loop gets a turn, so that signals are seen. */
const messagesPerTurn = 4096
/** Failures that are the value's, and not the log's. */
const refusals: readonly ErrorCode[] = ['ENCODE_FAILED', 'VALIDATION_FAILED', 'PAYLOAD_TOO_LARGE']

const isRefusal = (error: unknown) => error instanceof HermesError && refusals.includes(error.code)

/** Publishes values one by one or in batches, with back-pressure, and names the line of a value that is refused. */
export class Feed {
  published = 0
  readonly #publisher: Publisher<unknown>
  readonly #batch: number
  readonly #signal: AbortSignal
  #values: unknown[] = []
  #origins: string[] = []
  #sinceTurn = 0

  /** @param batch how many values become visible together; 1 for one by one */
  constructor(publisher: Publisher<unknown>, batch: number, signal: AbortSignal) {
    this.#publisher = publisher
    this.#batch = batch
    this.#signal = signal
  }

  /**
   * Takes a value. Await what is returned, if anything, before the next one.
   *
   * @param origin where the value comes from, for messages: `line 12`
   */
  add(value: unknown, origin: string): Promise<void> | undefined {
    this.#sinceTurn++
    if (this.#batch === 1) {
      let roomy: boolean
      try {
        roomy = this.#publisher.publish(value)
      } catch (error) {
        throw at(origin, error)
      }
      this.published++
      return this.#breath(roomy)
    }
    this.#values.push(value)
    this.#origins.push(origin)
    return this.#values.length < this.#batch ? undefined : this.flush()
  }

  /** Publishes what is held for a batch. */
  flush(): Promise<void> | undefined {
    if (this.#values.length === 0) return undefined
    const values = this.#values
    const origins = this.#origins
    this.#values = []
    this.#origins = []
    let taken = 0
    const counting = function* (): Iterable<unknown> {
      for (const value of values) {
        taken++
        yield value
      }
    }
    let roomy: boolean
    try {
      roomy = this.#publisher.publishBatch(counting())
    } catch (error) {
      const accepted = this.#salvage(values.slice(0, taken - 1), error)
      // A value that is refused is the one that was taken last. Where there is no room, the first that was not published is the place to go on.
      throw at(origins[isRefusal(error) ? taken - 1 : accepted] ?? (origins[0] as string), error)
    }
    this.published += values.length
    return this.#breath(roomy)
  }

  /** A batch is refused with the whole group of the offending value: publish the ones before that, as one by one would. Returns how many were accepted. */
  #salvage(before: readonly unknown[], error: unknown): number {
    const accepted = error instanceof HermesError ? Number(error.details['accepted'] ?? 0) : 0
    this.published += accepted
    if (!isRefusal(error)) return accepted
    const rest = before.slice(accepted)
    if (rest.length > 0) this.#publisher.publishBatch(rest)
    this.published += rest.length
    return accepted + rest.length
  }

  #breath(roomy: boolean): Promise<void> | undefined {
    if (roomy && this.#sinceTurn < messagesPerTurn) return undefined
    this.#sinceTurn = 0
    return this.#pause(roomy)
  }

  async #pause(roomy: boolean): Promise<void> {
    if (!roomy && !this.#signal.aborted) {
      try {
        await this.#publisher.ready({ signal: this.#signal })
      } catch (error) {
        if (!this.#signal.aborted) throw error
      }
    }
    await turn()
  }
}

/**
 * Encodes the first value of a topic that is still to be made, which one that is refused should not do.
 *
 * @param maxPayload what the topic is to take, in bytes
 * @throws HermesError `ENCODE_FAILED`, `PAYLOAD_TOO_LARGE`, …, with the origin in front
 */
export function checkFirst(
  codec: Codec<never, unknown, unknown>,
  value: unknown,
  origin: string,
  maxPayload = defaultMaxPayloadBytes,
): void {
  try {
    new Encoder(codec, { maxPayload, capacity: frameBytes(maxPayload), timestamp: 'none' }).encode(value as never)
  } catch (error) {
    throw at(origin, error)
  }
}

/** Runs `work`. If it fails, what came before is published all the same, and people are told how much that was. */
export async function feeding(session: Session, feed: Feed, work: () => Promise<void>): Promise<void> {
  try {
    await work()
    await feed.flush()
  } catch (error) {
    await feed.flush()
    if (feed.published > 0) session.note(`${counted(feed.published, 'message')} published before this failure:`)
    throw error
  }
}

/** The error with the origin of the value in front of its message. */
export function at(origin: string, error: unknown): unknown {
  if (!(error instanceof HermesError)) return error
  return new HermesError(error.code, `${origin}: ${error.message}`, {
    cause: error,
    details: { ...error.details, origin },
  })
}
