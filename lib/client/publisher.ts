import { bounded, checkWaitOptions, noOptions, type WaitOptions } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { checkChoice, invalid } from '../base/options.js'
import type { Codec } from '../codec/codec.js'
import { isOurs } from '../codec/failures.js'
import { frameAlignment, frameBytes, frameHeaderBytes, frameOffset } from '../frame/frame.js'
import type { RecoveryReport } from '../model/recovery.js'
import { type Durability, type PublisherDurability, publisherDurabilities } from '../model/topic.js'
import { type Capabilities, requireAbility } from '../placement/capabilities.js'
import type { PublisherPort } from '../placement/port.js'
import { CloseBound, type CloseOptions, checkCloseOptions } from './close-options.js'
import { busyError, closedError, explained, moreThanValues } from './publisher-errors.js'
import { Receipt } from './receipt.js'

export interface PublishOptions extends WaitOptions {
  /** What the acknowledgement of this message means. Default: the publisher's own durability. */
  readonly durability?: PublisherDurability | undefined
}

/** How long `close` waits for acknowledgements, and for a broker to confirm the end, unless it is told. */
const closeTimeoutMs = 30_000
const leaveTimeoutMs = 5000

/** Messages that become visible together in a batch, at most. */
const batchLimit = 256
/** A `synced` publisher that has this many messages under way is asked to wait. */
const unsyncedLimit = 100_000

/**
 * Publishes messages to one topic. Made by `topic.publisher()`. Ordered: a subscriber sees the messages of one publisher in the order of its calls.
 *
 * @typeParam In what the topic's codec takes
 */
export class Publisher<In> implements AsyncDisposable {
  readonly topic: string
  /** What an acknowledgement means: for `publishAsync`, `flush` and `close`. */
  readonly durability: PublisherDurability
  readonly #codec: Codec<In, unknown, unknown>
  readonly #port: PublisherPort
  readonly #payloadOffset: number
  readonly #payloadLimit: number
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Open, and not in the middle of a batch or of a value's encoding: these use the memory that every publish uses. */
  #accepts = true
  #closing: Promise<void> | undefined
  readonly #closeBound = new CloseBound()
  #closed = new Deferred<void>()
  /** What close() waits for. */
  readonly #closeDurability: PublisherDurability
  readonly #abilities: Pick<Capabilities, 'syncing' | 'replication'>
  /** Of a `synced` publisher: all before and with this one are known to be synced; `undefined` before the first message. */
  #synced: number | undefined
  #syncing = false
  #failed: unknown

  /** @internal */
  constructor(
    topic: string,
    codec: Codec<In, unknown, unknown>,
    port: PublisherPort,
    durability: PublisherDurability,
    closeDurability: PublisherDurability,
    abilities: Pick<Capabilities, 'syncing' | 'replication'>,
  ) {
    this.topic = topic
    this.durability = durability
    this.#closeDurability = closeDurability
    this.#abilities = abilities
    this.#codec = codec
    this.#port = port
    this.#payloadOffset = port.payloadOffset
    this.#payloadLimit = port.payloadOffset + port.maxPayloadBytes
  }

  /** What recovery found and did when this publisher was opened; `undefined` where the placement has none. */
  get recovery(): RecoveryReport | undefined {
    return this.#port.recovery
  }

  /** The sequence of the newest message of this publisher (over TCP: of those that were acknowledged); 0 before the first. */
  get lastSequence(): number {
    return this.#port.lastSequence
  }

  /**
   * Publishes one message: accepted, or an error. Synchronous; allocates nothing of its own and makes no system call. Once this returns, the message
   * is `written` in local placements: the end of this process doesn't undo it.
   *
   * @returns false if you should await `ready()` before you publish more. The message was accepted all the same. With
   *   `overflow: 'drop-newest'` (in a `ring:` place): false if the message was dropped, and only then.
   * @throws HermesError `CLOSED`, `BUSY` (within the iterable of a batch, or within an encode), `ENCODE_FAILED`, `VALIDATION_FAILED`, `PAYLOAD_TOO_LARGE`, `DISK_FULL`, `FORKED`, `IO_FAILED`
   */
  publish(value: In): boolean
  publish(value: In, more?: unknown): boolean {
    if (more !== undefined) throw moreThanValues('publish()', 'one value')
    if (!this.#accepts) throw this.#refusal()
    const roomy = this.#port.append(this.#encode(value))
    return this.durability !== 'synced' ? roomy : this.#syncSoon(1) && roomy
  }

  /**
   * Publishes many messages with fewer crossings. They become visible in groups of up to 256: each group as a whole, in order, with one timestamp.
   *
   * @returns as `publish`
   * @throws HermesError as `publish`. Then nothing of the group with the offending value was published; `details.accepted` says how many values before it were.
   */
  publishBatch(values: Iterable<In>): boolean
  publishBatch(values: Iterable<In>, more?: unknown): boolean {
    if (more !== undefined) throw moreThanValues('publishBatch()', 'one array')
    if (!this.#accepts) throw this.#refusal()
    if (!isIterable(values)) {
      throw invalid('publishBatch() takes an array or another iterable of values.')
    }
    // A string is an iterable of its characters, which is never what the caller means.
    if (typeof values === 'string') {
      throw invalid('publishBatch() takes an array or another iterable of values, not one string: use publish().')
    }
    const port = this.#port
    const { region, batchOffset, batchLimit: end, maxPayloadBytes } = port
    const { bytes, data } = region
    const codec = this.#codec
    // A frame's payload may need all of maxPayloadBytes: only a codec that says less can be packed closer.
    const most = frameBytes(Math.min(codec.maxBytes ?? maxPayloadBytes, maxPayloadBytes))
    let accepted = 0
    let count = 0
    let offset = batchOffset
    let roomy = true
    this.#accepts = false
    try {
      for (const value of values) {
        // The iterable's own code, or that of a value, may have closed this publisher: what comes then would not be waited for.
        if (this.#state !== 'open') throw this.#closedError()
        if (count === batchLimit || offset + most > end) {
          roomy = port.appendBatch(count, offset - batchOffset) && roomy
          accepted += count
          count = 0
          offset = batchOffset
        }
        const payload = offset + frameHeaderBytes
        const length = codec.encode(value, region, payload, payload + maxPayloadBytes)
        data.setUint32(offset + frameOffset.payloadLength, length, true)
        // As frameBytes() has it, in integers only: here lengths are far below 2^31, and it saves a fifth of the time.
        const next = offset + ((frameHeaderBytes + length + frameAlignment - 1) & -frameAlignment)
        for (let at = payload + length; at < next; at++) bytes[at] = 0
        offset = next
        count++
      }
      if (this.#state !== 'open') throw this.#closedError()
      if (count > 0) roomy = port.appendBatch(count, offset - batchOffset) && roomy
    } catch (error) {
      const told = explained(error, this.topic, this.#port.maxPayloadBytes)
      if (!isOurs(told)) throw told
      throw new HermesError(told.code, told.message, { cause: error, details: { ...told.details, accepted } })
    } finally {
      this.#accepts = this.#state === 'open'
    }
    return this.durability !== 'synced' ? roomy : this.#syncSoon(accepted + count) && roomy
  }

  /**
   * Publishes one message and resolves once it has reached `durability` (the publisher's own unless given). Many calls may be under way: one
   * sync serves all of them.
   *
   * @throws HermesError as `publish`; `ABORTED`, `TIMED_OUT` (the message may be published all the same); `UNSUPPORTED` for a durability that the place does not have
   */
  async publishAsync(value: In, options: PublishOptions = noOptions): Promise<Receipt> {
    checkWaitOptions('publishAsync()', options, ['durability'])
    const { durability = this.durability, signal, timeoutMs } = options
    checkChoice('durability', durability, publisherDurabilities)
    // Before the message is there: what can't be kept must not be half done.
    if (durability !== 'written') this.#require(durability)
    if (!this.#accepts) throw this.#refusal()
    this.#port.append(this.#encode(value))
    if (this.durability === 'synced') this.#synced ??= this.#port.ticket - 1
    if (timeoutMs === undefined) return this.#receipt(durability, signal)
    return bounded(
      { signal, timeoutMs },
      (either) => this.#receipt(durability, either),
      () =>
        this.#late(
          'publishAsync()',
          options,
          `its message is not acknowledged as '${durability}' yet. It may still be: what was published stays published.`,
        ),
    )
  }

  async #receipt(durability: PublisherDurability, signal: AbortSignal | undefined): Promise<Receipt> {
    const port = this.#port
    const { ticket } = port
    const given = port.receipt(signal)
    const { sequence, timestampNs } = given instanceof Promise ? await given : given
    const receipt = new Receipt(sequence, timestampNs)
    if (durability === 'synced') await this.#reached(ticket, durability, signal)
    return receipt
  }

  /** Resolves when `publish` may go on after it returned false. */
  async ready(options: WaitOptions = noOptions): Promise<void> {
    checkWaitOptions('ready()', options)
    if (this.#state === 'closed') throw this.#closedError()
    const wait = async (signal: AbortSignal | undefined) => {
      if (this.durability === 'synced' && this.#underway() > unsyncedLimit / 2) {
        await this.#reached(this.#port.ticket, 'synced', signal)
      }
      await this.#port.ready(signal)
    }
    await bounded(options, wait, () => this.#late('ready()', options, 'there is no room for more messages yet.'))
  }

  /**
   * Resolves once everything published so far has reached `durability` (the publisher's own unless given).
   *
   * @throws HermesError `CLOSED`, `ABORTED`, `TIMED_OUT`, `IO_FAILED`; `UNSUPPORTED` for a durability that the place does not have
   */
  async flush(durability: PublisherDurability = this.durability, options: WaitOptions = noOptions): Promise<void> {
    checkChoice('durability', durability, publisherDurabilities)
    checkWaitOptions('flush()', options)
    if (this.#state === 'closed') throw this.#closedError()
    if (durability !== 'written') this.#require(durability)
    const upto = this.#port.ticket
    await bounded(
      options,
      (signal) => this.#reached(upto, durability, signal),
      () =>
        this.#late(
          'flush()',
          options,
          `not all messages are acknowledged as '${durability}' yet. They may still be: what was published stays published.`,
        ),
    )
  }

  /** Messages that were accepted here and have not, as far as is known, reached the publisher's durability. */
  get unacknowledged(): number {
    return this.#port.unacknowledged ?? this.#underway()
  }

  /**
   * Waits until everything has reached the publisher's durability (with `syncIntervalMs`: `synced`), then gives its slot back. Never waits longer
   * than `timeoutMs`: without a connection to the broker, what is not acknowledged is given up then. Idempotent; a later call may shorten the wait.
   *
   * @throws HermesError `TIMED_OUT`, `ABORTED`: the publisher is closed all the same, and `details.unacknowledged` says of how many messages it
   *   is not known whether they are in the topic. `INVALID_ARGUMENT`, `UNKNOWN_OPTION`: it is not closed.
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    if (this.#state !== 'closed') {
      const defaultMs = this.#closing === undefined ? closeTimeoutMs : undefined
      this.#closeBound.add(options, defaultMs, this.#closed.promise)
    }
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Resolves once the publisher is closed, by whatever cause. */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#state = 'closing'
    this.#accepts = false
    const { signal } = this.#closeBound
    let missing = 0
    try {
      await this.#reached(this.#port.ticket, this.#closeDurability, signal)
    } catch (error) {
      missing = this.unacknowledged
      throw signal.aborted && error instanceof HermesError && error.code === 'ABORTED'
        ? this.#givenUp(missing, error)
        : error
    } finally {
      this.#state = 'closed'
      const left = this.#closeBound.endWithin(leaveTimeoutMs)
      try {
        await this.#port.close(signal)
      } finally {
        left()
        this.#closed.resolve()
      }
    }
  }

  #givenUp(unacknowledged: number, cause: HermesError): HermesError {
    const why = this.#closeBound.isLate ? 'the time to wait is over' : 'its signal fired'
    return new HermesError(
      this.#closeBound.isLate ? 'TIMED_OUT' : 'ABORTED',
      `The publisher of '${this.topic}' was closed with ${unacknowledged === 1 ? '1 message that is' : `${unacknowledged} messages that are`} not acknowledged: ${why}. They may be in the topic or not; close({ timeoutMs }) says how long to wait.`,
      { cause, details: { topic: this.topic, unacknowledged } },
    )
  }

  #late(call: string, { timeoutMs }: WaitOptions, outcome: string): HermesError {
    const { topic, unacknowledged } = this
    return new HermesError('TIMED_OUT', `${call} to '${topic}' has waited ${timeoutMs} ms, and ${outcome}`, {
      details: { topic, unacknowledged, timeoutMs },
    })
  }

  /** @throws HermesError `UNSUPPORTED` */
  #require(durability: 'synced' | 'replicated'): void {
    const { syncing, replication } = this.#abilities
    requireAbility(`Topic '${this.topic}'`, durability === 'synced' ? syncing : replication, { topic: this.topic })
  }

  /** The encoded value stands in the memory that every publish uses: one that the codec makes meanwhile would mix with it, and is refused. */
  #encode(value: In): number {
    this.#accepts = false
    let length: number
    // (`finally` would cost another half of a nanosecond)
    try {
      length = this.#codec.encode(value, this.#port.region, this.#payloadOffset, this.#payloadLimit)
    } catch (error) {
      this.#accepts = this.#state === 'open'
      throw explained(error, this.topic, this.#port.maxPayloadBytes)
    }
    this.#accepts = this.#state === 'open'
    // Closed by the value's own code: `close` does not wait for this message any more.
    if (!this.#accepts) throw this.#closedError()
    return length
  }

  #underway(): number {
    return this.#synced === undefined ? 0 : this.#port.ticket - this.#synced
  }

  async #reached(upto: number, durability: PublisherDurability, signal: AbortSignal | undefined): Promise<void> {
    // (where messages are replicated, none is acknowledged before)
    const level: Durability = durability === 'synced' ? 'synced' : 'written'
    await this.#port.reached(upto, level, signal)
    if (durability === 'synced' && this.#synced !== undefined && upto > this.#synced) this.#synced = upto
  }

  /** Keeps one sync under way while a `synced` publisher publishes without awaiting. */
  #syncSoon(count: number): boolean {
    if (this.#failed !== undefined) throw this.#failed
    if (!this.#syncing) {
      this.#syncing = true
      this.#synced ??= this.#port.ticket - count
      void this.#syncAll()
    }
    return this.#underway() <= unsyncedLimit
  }

  async #syncAll(): Promise<void> {
    try {
      while (this.#state === 'open' && this.#underway() > 0) await this.#reached(this.#port.ticket, 'synced', undefined)
    } catch (error) {
      // The next call reports it: this one is not awaited.
      if (this.#state === 'open') this.#failed = error
    } finally {
      this.#syncing = false
    }
  }

  #refusal(): HermesError {
    return this.#state === 'open' ? busyError(this.topic) : this.#closedError()
  }

  #closedError(): HermesError {
    return closedError(this.topic)
  }
}

function isIterable(values: unknown): boolean {
  try {
    return typeof (values as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] === 'function'
  } catch {
    return false // a revoked Proxy
  }
}
