import { bounded, checkWaitOptions, noOptions, type WaitOptions } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { isAsyncFunction } from '../base/kinds.js'
import { checkInteger, invalid } from '../base/options.js'
import type { Codec, Reader } from '../codec/codec.js'
import { isOurs } from '../codec/failures.js'
import { frameBytes, frameHeaderBytes, frameOffset, frameType } from '../frame/frame.js'
import type { From } from '../model/topic.js'
import type { SubscriberPort } from '../placement/port.js'
import type { Boundary } from './boundary.js'
import { type CloseOptions, checkCloseOptions } from './close-options.js'
import { checkFrom } from './from.js'
import { deliver, type Handler } from './handler.js'
import { Message, MessageCursor } from './message.js'
import { ofMessage } from './message-error.js'
import type { CommitOptions, Progress } from './progress.js'
import { busyError, changedError, closedError, endError, lateError, unnamedError } from './subscriber-errors.js'
import { type Wait, type WaitingPort, waitForMessages } from './wait.js'

const defaultLimit = 256
const maxLimit = 65_535
/** Damage may follow what retention has removed, and the other way round. */
const mostPassed = 3

/** How a subscriber reads, waits and fails. */
export interface SubscriberManner {
  readonly wait: Wait
  readonly signal: AbortSignal | undefined
  readonly skipDamage: boolean
  readonly onAbort: 'throw' | 'end'
  readonly onError: ((error: HermesError) => void) | undefined
  readonly onBehind: 'error' | 'earliest'
  readonly progress: Progress | undefined
  readonly boundary: Boundary | undefined
}

/**
 * Reads one topic from a position on. Made by `topic.subscriber()`. Each subscriber sees every message, in sequence; it never blocks others, and needs no publisher.
 *
 * @typeParam Out  what iterators yield: owned values
 * @typeParam View what `poll` hands out: valid until the handler returns
 */
export class Subscriber<Out, View> implements AsyncDisposable, AsyncIterable<Message<Out>> {
  readonly topic: string
  readonly wait: Wait
  readonly #codec: Codec<never, Out, View>
  /** Replaced by another one when a topic that was waited for is there. */
  #port: SubscriberPort
  readonly #reader: Reader<View>
  readonly #cursor: MessageCursor
  readonly #signal: AbortSignal | undefined
  readonly #skipDamage: boolean
  readonly #endsOnAbort: boolean
  readonly #onError: ((error: HermesError) => void) | undefined
  readonly #skipsRemoved: boolean
  /** Of a durable subscription. */
  readonly #progress: Progress | undefined
  /** Was looked at already. */
  #handler: unknown
  #consumer: 'none' | 'poll' | 'iterator' = 'none'
  #isClosed = false
  readonly #boundary: Boundary | undefined
  /** Nothing more will come. */
  readonly #hasClosed = () => this.#isClosed || this.#boundary?.isReached(this.#port) === true
  /** Made for the first wait: one object serves all. */
  #waiting: WaitingPort | undefined
  #closed = new Deferred<void>()

  /** @internal */
  constructor(topic: string, codec: Codec<never, Out, View>, port: SubscriberPort, how: SubscriberManner) {
    this.topic = topic
    this.wait = how.wait
    this.#codec = codec
    this.#port = port
    this.#reader = codec.reader()
    this.#cursor = new MessageCursor(port.region)
    this.#signal = how.signal
    this.#skipDamage = how.skipDamage
    this.#endsOnAbort = how.onAbort === 'end'
    this.#onError = how.onError
    this.#skipsRemoved = how.onBehind === 'earliest'
    this.#progress = how.progress
    this.#boundary = how.boundary
    this.#progress?.onLost(() => this.#port.cancel?.())
  }

  /** The sequence of the next message to come. */
  get position(): number {
    return this.#port.sequence
  }

  /** How many sequences of the topic are still to come: 0 means caught up. Looks at the log; not for the hot path. */
  get lag(): number {
    this.#checkOpen()
    return Math.max(0, this.#port.nextSequence() - this.#port.sequence)
  }

  /**
   * Hands up to `limit` messages that are there to `handler`, without waiting. Synchronous; allocates nothing of its own per message.
   * A message counts as consumed once its handler was called, also if that throws: the error comes out of `poll`, and the next call goes on behind.
   * A handler that returns a promise is refused: its message is gone when the promise goes on.
   *
   * @returns how many messages were handled
   * @throws HermesError `INVALID_ARGUMENT`, `CLOSED`, `BUSY` (called from within a handler, or while an iterator is in use), `CORRUPT`, `BEHIND_RETENTION`, `DECODE_FAILED`
   */
  poll(handler: Handler<View>, limit: number = defaultLimit): number {
    let port = this.#port
    if (this.#consumer !== 'none' || this.#isClosed || typeof handler !== 'function') this.#refuse(handler)
    if (handler !== this.#handler) this.#look(handler)
    // Bit operations make a 32-bit integer of any number: what is not one differs.
    if (typeof limit !== 'number' || (limit | 0) !== limit || limit < 1 || limit > maxLimit)
      checkInteger('limit', limit, 1, maxLimit)
    if (port.offset >= port.end) {
      if (this.#fetch(limit) === 0) return 0
      port = this.#port
    }
    const { region } = port
    const { data } = region
    const cursor = this.#cursor
    const reader = this.#reader
    let handled = 0
    this.#consumer = 'poll'
    try {
      // The handler may seek or close: then the region is another one.
      while (port.offset < port.end && handled < limit && port.region === region) {
        const { offset, sequence } = port
        const length = data.getUint32(offset + frameOffset.payloadLength, true)
        const next = offset + frameBytes(length)
        if (next > port.end) throw changedError(this.topic, port.sequence)
        port.offset = next
        if (data.getUint8(offset + frameOffset.type) === frameType.data) {
          port.sequence = sequence + 1
          cursor.moveTo(region, offset, length, sequence)
          handled++
          deliver(handler, reader.read(region, offset + frameHeaderBytes, length), cursor)
        } else {
          port.sequence = sequence + voidCount(data, offset, length)
        }
      }
    } catch (error) {
      throw ofMessage(error, { topic: this.topic, sequence: cursor.sequence })
    } finally {
      this.#consumer = 'none'
      if (port.release !== undefined) port.release()
    }
    if (this.#progress?.isAutomatic === true && !this.#isClosed) void this.#progress.commitHandled(port.sequence)
    return handled
  }

  /**
   * Resolves once `poll` will find a message, in the subscriber's way of waiting.
   *
   * @throws HermesError `ABORTED`, `TIMED_OUT`, `CLOSED`
   */
  async ready(options: WaitOptions = noOptions): Promise<void> {
    checkWaitOptions('ready()', options)
    this.#checkOpen()
    if (this.#port.offset < this.#port.end) return
    const { signal = this.#signal, timeoutMs } = options
    if (timeoutMs === undefined) await this.#found(signal)
    else
      await bounded(
        { signal, timeoutMs },
        (either) => this.#found(either),
        () => lateError(this.topic, timeoutMs),
      )
  }

  /**
   * Yields messages one by one, for ever, waiting when there is none. Ends when the subscriber is closed. What was not yielded was not consumed:
   * after a `break`, the next iteration or poll goes on behind the last message that was.
   *
   * @throws HermesError as `batches`
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Message<Out>> {
    for await (const [message] of this.#iterate(1, defaultLimit)) yield message as Message<Out>
  }

  /**
   * Yields what is there, up to `max` messages at once, waiting when there is nothing. Several times cheaper per message than one by one.
   * Ends when the subscriber is closed.
   *
   * @throws HermesError `BUSY`, `ABORTED`, `CORRUPT`, `BEHIND_RETENTION`, `DECODE_FAILED`
   */
  async *batches(max: number = defaultLimit): AsyncIterableIterator<Message<Out>[]> {
    checkInteger('max', max, 1, maxLimit)
    yield* this.#iterate(max, max)
  }

  /** Yields up to `max` messages at once, and fetches up to `ahead`. */
  async *#iterate(max: number, ahead: number): AsyncGenerator<Message<Out>[], void, void> {
    // (An iterator that was left open by hand, and then the subscriber closed: that it is closed says what to do.)
    this.#checkOpen()
    if (this.#consumer !== 'none') throw this.#busyError()
    this.#consumer = 'iterator'
    try {
      for (;;) {
        if (this.#port.offset >= this.#port.end) {
          const found = await waitForMessages(this.#fetchingPort(), this.wait, ahead, this.#signal, this.#hasClosed)
          // (it may have been closed since they were found)
          if (found === 0 || this.#isClosed) return
        }
        const batch = this.#take(max)
        this.#port.release?.()
        if (batch.length > 0) {
          yield batch
          // Who asks for more is done with it.
          if (this.#progress?.isAutomatic === true && !this.#isClosed)
            await this.#progress.commitHandled(this.#port.sequence)
        }
        if (this.#isClosed) return
      }
    } catch (error) {
      const isAborted = isOurs(error) && error.code === 'ABORTED' && this.#signal?.aborted === true
      if (!isAborted || !this.#endsOnAbort) throw error
    } finally {
      this.#consumer = 'none'
    }
  }

  /**
   * Of a durable subscription: notes that everything up to a message is done, so that the next subscriber of this name goes on behind it. Cumulative.
   *
   * @param sequence of the last message that is done. Default: everything that was handed out
   * @throws HermesError `LEASE_LOST` if another subscriber has taken the name over, `OUT_OF_RANGE` for what was not received yet, `UNSUPPORTED` without a name, `CLOSED`
   */
  async commit(sequence?: number, options: CommitOptions = {}): Promise<void> {
    this.#checkOpen()
    await this.#named().commit(sequence, this.#port.sequence, options)
  }

  /** Of a durable subscription: the sequence that the next subscriber of this name begins with. @throws HermesError `UNSUPPORTED`, `CLOSED` */
  get committed(): number {
    this.#checkOpen()
    return this.#named().committed
  }

  #named(): Progress {
    if (this.#progress !== undefined) return this.#progress
    throw unnamedError(this.topic)
  }

  /**
   * Goes elsewhere. A Date leads to the first message that was published then or later.
   *
   * It is done when this returns. In a directory, the first one into a part of the log that was not searched before looks through whole
   * segments, some 30 ms for 100 MiB, and for a Date through all before. The option `from` of a subscriber does that off the event loop, as a broker does.
   *
   * @throws HermesError `BEHIND_RETENTION`, `OUT_OF_RANGE`, `CLOSED`, `INVALID_ARGUMENT`
   */
  seek(target: From): void {
    this.#checkOpen()
    this.#port.seek(checkFrom('seek()', target))
    this.#boundary?.reset()
  }

  /** Ends iterations and waits, and releases the mapping. Never waits, whatever the options say. Idempotent. */
  async close(options: CloseOptions = {}): Promise<void> {
    checkCloseOptions(options)
    if (this.#isClosed) return
    this.#isClosed = true
    this.#port.close()
    await this.#progress?.close()
    this.#closed.resolve()
  }

  /** Resolves once the subscriber is closed. */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #fetch(limit: number): number {
    const boundary = this.#boundary
    if (boundary?.isReached(this.#port) === true) return 0
    const lost = this.#progress?.lost
    if (lost !== undefined) throw lost
    let found: number
    try {
      found = this.#port.fetch(limit)
    } catch (error) {
      found = this.#fetchBehind(error, limit)
    }
    if (this.#port.opened !== undefined) this.#port = this.#port.opened
    return found === 0 || boundary === undefined ? found : boundary.cut(this.#port)
  }

  /** Goes on behind what the subscriber was told to go on behind: damage, or what retention has removed. @throws what it can't pass */
  #fetchBehind(failure: unknown, limit: number): number {
    let error = failure
    for (let passed = 0; ; passed++) {
      if (!(error instanceof HermesError) || passed === mostPassed) throw error
      if (this.#skipDamage && error.code === 'CORRUPT') {
        if (this.#port.skipDamage() === 0) throw error
      } else if (this.#skipsRemoved && error.code === 'BEHIND_RETENTION') {
        const { sequence } = this.#port
        this.#port.seek('earliest')
        this.#progress?.noteLost(sequence, this.#port.sequence)
      } else {
        throw error
      }
      try {
        return this.#port.fetch(limit)
      } catch (next) {
        error = next
      }
    }
  }

  /** What waits look at: the port as it is by then, with damage handled as the subscriber was told. */
  #fetchingPort(): WaitingPort {
    this.#waiting ??= {
      fetch: (limit) => this.#fetch(limit),
      park: (timeoutMs, signal) => this.#port.park(timeoutMs, signal),
    }
    this.#waiting.arrivesByTurn = this.#port.arrivesByTurn === true
    return this.#waiting
  }

  async #found(signal: AbortSignal | undefined): Promise<void> {
    const found = await waitForMessages(this.#fetchingPort(), this.wait, 1, signal, this.#hasClosed)
    if (found > 0) return
    throw this.#isClosed ? closedError(this.topic) : endError(this.topic, this.#port.sequence)
  }

  /** Decodes what was fetched, up to `max` messages. */
  #take(max: number): Message<Out>[] {
    const port = this.#port
    const { region } = port
    const { data } = region
    const batch: Message<Out>[] = []
    while (port.offset < port.end && batch.length < max) {
      const { offset, sequence } = port
      const length = data.getUint32(offset + frameOffset.payloadLength, true)
      const next = offset + frameBytes(length)
      if (next > port.end) throw changedError(this.topic, port.sequence)
      if (data.getUint8(offset + frameOffset.type) === frameType.data) {
        // A message that could not be decoded was not consumed: deliver the messages before it first.
        let value: Out
        try {
          value = this.#codec.decode(region, offset + frameHeaderBytes, length)
        } catch (error) {
          if (batch.length > 0) return batch
          port.offset = next
          port.sequence = sequence + 1
          const told = ofMessage(error, { topic: this.topic, sequence })
          if (this.#onError === undefined || !isOurs(told)) throw told
          this.#onError(told)
          continue
        }
        const low = data.getUint32(offset + frameOffset.timestampNs, true)
        const high = data.getUint32(offset + frameOffset.timestampNs + 4, true)
        batch.push(new Message(value, sequence, low, high))
        port.sequence = sequence + 1
      } else {
        port.sequence = sequence + voidCount(data, offset, length)
      }
      port.offset = next
    }
    return batch
  }

  /** A handler that goes on after it has returned would find another message in its view. */
  #look(handler: Handler<View>): void {
    if (isAsyncFunction(handler)) {
      throw invalid(
        'poll() takes a handler that is done when it returns: its message is gone afterwards. Use `for await`, or copy what is needed and await outside.',
      )
    }
    this.#handler = handler
  }

  #refuse(handler: unknown): never {
    this.#checkOpen()
    if (typeof handler !== 'function') throw invalid('poll() takes a handler function first.')
    throw this.#busyError()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError(this.topic)
  }

  #busyError(): HermesError {
    const how = this.#consumer === 'poll' ? 'poll() was called from within a handler' : 'an iterator is in use'
    return busyError(this.topic, how)
  }
}

function voidCount(data: DataView, offset: number, length: number): number {
  return length >= 8 ? data.getUint32(offset + frameOffset.payload, true) : 1
}
