import { checkWaitOptions, onAbort, type WaitOptions } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { aborted, checkInteger } from '../base/options.js'
import { type Call, type CallView, callKind } from '../codec/call.js'
import { isOurs } from '../codec/failures.js'
import { ofService } from './call-errors.js'
import { type CallOptions, type CallPlace, callTopics } from './call-options.js'
import { type CloseOptions, checkCloseOptions } from './close-options.js'
import type { Publisher } from './publisher.js'
import type { Subscriber } from './subscriber.js'

/** Options of `hermes.requester()`. */
export interface RequesterOptions<Request, Reply> extends CallOptions<Request, Reply> {
  /** How long a reply is waited for, unless the request says otherwise: 1 to 3,600,000 ms. Default 30,000. */
  readonly timeoutMs?: number
}

/** One that waits. */
interface Waiting<Reply> {
  readonly reply: Deferred<Reply>
  forget(): void
}

const defaultTimeoutMs = 30_000

/** Asks responders, and gives each reply to who waits for it. Made by `hermes.requester()`. Any number of requests may be under way. */
export class Requester<Request, Reply> implements AsyncDisposable {
  readonly name: string
  readonly #requests: Publisher<Call<Request>>
  readonly #replies: Subscriber<Call<Reply>, CallView<Reply>>
  readonly #timeoutMs: number
  /** Tells this requester's replies from those of others, in all processes. */
  readonly #client: bigint
  readonly #waiting = new Map<number, Waiting<Reply>>()
  #number = 0
  #closing: Promise<void> | undefined
  /** What ended it, if that was not `close()`. */
  #ended: HermesError | undefined
  readonly #closed = new Deferred<void>()

  private constructor(
    name: string,
    requests: Publisher<Call<Request>>,
    replies: Subscriber<Call<Reply>, CallView<Reply>>,
    timeoutMs: number,
  ) {
    this.name = name
    this.#requests = requests
    this.#replies = replies
    this.#timeoutMs = timeoutMs
    this.#client = crypto.getRandomValues(new BigUint64Array(1))[0] as bigint
    void this.#receive()
  }

  /** @internal */
  static async open<Request, Reply>(
    hermes: CallPlace,
    name: string,
    options: RequesterOptions<Request, Reply>,
  ): Promise<Requester<Request, Reply>> {
    const topics = callTopics(hermes, 'requester()', name, options, ['timeoutMs'])
    const { timeoutMs = defaultTimeoutMs } = options
    checkInteger('timeoutMs', timeoutMs, 1, 3_600_000)
    try {
      // First who receives: no reply comes before it listens.
      const replies = await topics.replies.subscriber({ from: 'latest', create: true })
      try {
        return new Requester(name, await topics.requests.publisher(), replies, timeoutMs)
      } catch (error) {
        await replies.close()
        throw error
      }
    } catch (error) {
      throw ofService(error, name)
    }
  }

  /**
   * Asks, and waits for the reply of one responder.
   *
   * @throws HermesError `REQUEST_FAILED` if the handler failed (`details` has the `name`, `code` and `message` of its error), `TIMED_OUT`, `ABORTED` (the handler's signal fires then), `CLOSED`,
   *   and what publishing throws: `ENCODE_FAILED`, `PAYLOAD_TOO_LARGE`, …
   */
  async request(value: Request, options: WaitOptions = {}): Promise<Reply> {
    checkWaitOptions('request()', options)
    if (this.#closing !== undefined) throw this.#ended ?? this.#closedError()
    const { signal, timeoutMs = this.#timeoutMs } = options
    const number = ++this.#number
    const deadlineMs = Date.now() + timeoutMs
    const client = this.#client
    const goesOn = this.#publish({ client, number, kind: callKind.request, deadlineMs, value })
    const reply = new Deferred<Reply>()
    const timer = setTimeout(() => this.#giveUp(number, this.#late(timeoutMs)), timeoutMs)
    const forgetSignal = signal && onAbort(signal, () => this.#giveUp(number, aborted(signal)))
    this.#waiting.set(number, {
      reply,
      forget: () => {
        clearTimeout(timer)
        forgetSignal?.()
      },
    })
    // The reply may be there before there is room for more requests.
    if (!goesOn) void this.#requests.ready().catch(() => undefined)
    return reply.promise
  }

  #publish(call: Call<Request>): boolean {
    try {
      return this.#requests.publish(call)
    } catch (error) {
      throw ofService(error, this.name)
    }
  }

  /** How many requests wait for their replies. */
  get pending(): number {
    return this.#waiting.size
  }

  /** Ends all waits (`CLOSED`), of which the handlers are told, and closes what was opened for them. Idempotent. */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#closing ??= this.#close(options, this.#closedError())
    return this.#closing
  }

  /** Resolves once closed. */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: CloseOptions, reason: unknown): Promise<void> {
    for (const number of [...this.#waiting.keys()]) this.#giveUp(number, reason)
    try {
      await this.#replies.close(options)
      await this.#requests.close(options)
    } finally {
      this.#closed.resolve()
    }
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        await this.#replies.ready()
        this.#replies.poll((call) => this.#received(call))
      }
    } catch (error) {
      // Closed, or the topic can't be read any more: no caller gets a reply.
      if (this.#closing === undefined && isOurs(error) && error.code !== 'CLOSED') this.#ended = error
      this.#closing ??= this.#close({}, error).catch(() => undefined)
    }
  }

  #received(call: CallView<Reply>): void {
    if (call.client !== this.#client) return
    const waiting = this.#take(call.number)
    // (a second reply, of a responder that was taken for dead; or one that came too late)
    if (waiting === undefined) return
    try {
      const { value, failure } = call.read()
      if (failure === undefined) waiting.reply.resolve(value as Reply)
      else waiting.reply.reject(requestFailed(this.name, failure))
    } catch (error) {
      waiting.reply.reject(error)
    }
  }

  #take(number: number): Waiting<Reply> | undefined {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    waiting?.forget()
    return waiting
  }

  /** The caller does not wait any more: the handler may stop. */
  #giveUp(number: number, reason: unknown): void {
    const waiting = this.#take(number)
    if (waiting === undefined) return
    waiting.reply.reject(reason)
    try {
      this.#requests.publish({ client: this.#client, number, kind: callKind.cancel, deadlineMs: 0 })
    } catch {
      // It runs to its end for nothing.
    }
  }

  #late(timeoutMs: number): HermesError {
    return new HermesError(
      'TIMED_OUT',
      `'${this.name}' did not reply within ${timeoutMs} ms. Look whether a responder is there, and how long its handler takes.`,
      { details: { name: this.name, timeoutMs } },
    )
  }

  #closedError(): HermesError {
    return new HermesError(
      'CLOSED',
      `The requester of '${this.name}' is closed. Make a new one with hermes.requester().`,
    )
  }
}

function requestFailed(name: string, failure: { name: string; code: string; message: string }): HermesError {
  return new HermesError('REQUEST_FAILED', `The handler of '${name}' failed: ${failure.message}`, {
    details: { ...failure },
  })
}
