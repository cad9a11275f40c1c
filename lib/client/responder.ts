import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { checkInteger, invalid } from '../base/options.js'
import { type Call, type CallFailure, type CallView, callKind } from '../codec/call.js'
import { ofService } from './call-errors.js'
import { type CallOptions, type CallPlace, callTopics } from './call-options.js'
import { Cancellations } from './cancellations.js'
import { type CloseOptions, checkCloseOptions } from './close-options.js'
import type { Group } from './group.js'
import type { Job } from './job.js'
import type { Publisher } from './publisher.js'
import type { Subscriber } from './subscriber.js'

/** Options of `hermes.responder()`. */
export interface ResponderOptions<Request, Reply> extends CallOptions<Request, Reply> {
  /** Handlers at a time: 1 to 10,000. Default 16. */
  readonly concurrency?: number
}

/** What a handler is told besides the request. */
export interface RequestContext {
  /** Fires when the caller does not wait for the reply any more, and when the responder is closed. */
  readonly signal: AbortSignal
  /** When the caller stops waiting. By the requester's clock. */
  readonly deadline: Date
  /** How often the request was handed out, this time included: more than once if a responder died with it. */
  readonly deliveries: number
}

/** Answers a request. What it throws travels to who asked. */
export type RequestHandler<Request, Reply> = (request: Request, context: RequestContext) => Reply | Promise<Reply>

/** The responders of all processes are one group: each request goes to one of them. */
const groupName = 'responders'
const mostDeliveries = 3

/** Answers the requests of a service, together with those of other processes. Made by `hermes.responder()`. */
export class Responder<Request, Reply> implements AsyncDisposable {
  readonly name: string
  readonly #requests: Group<Call<Request>, CallView<Request>>
  /** Follows all requests for those that are given up: a group would hand such a message to any member. */
  readonly #cancels: Subscriber<Call<Request>, CallView<Request>>
  readonly #replies: Publisher<Call<Reply>>
  readonly #handler: RequestHandler<Request, Reply>
  readonly #cancellations = new Cancellations()
  readonly #stop = new AbortController()
  #ended: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined
  readonly #closed = new Deferred<void>()

  private constructor(
    name: string,
    requests: Group<Call<Request>, CallView<Request>>,
    cancels: Subscriber<Call<Request>, CallView<Request>>,
    replies: Publisher<Call<Reply>>,
    handler: RequestHandler<Request, Reply>,
    concurrency: number,
  ) {
    this.name = name
    this.#requests = requests
    this.#cancels = cancels
    this.#replies = replies
    this.#handler = handler
    const serving = requests.run((job) => this.#answer(job), { concurrency, signal: this.#stop.signal, graceMs: 5000 })
    // What ends it is told by `closed()`.
    this.#ended = Promise.allSettled([serving, this.#follow()])
    void serving.catch((error: unknown) => {
      this.#closing ??= this.#close({}, error)
      // `closed()` tells of it: closing may fail for the same reason, and no call of close() waits for it.
      this.#closing.catch(() => undefined)
    })
  }

  /** @internal */
  static async open<Request, Reply>(
    hermes: CallPlace,
    name: string,
    handler: RequestHandler<Request, Reply>,
    options: ResponderOptions<Request, Reply>,
  ): Promise<Responder<Request, Reply>> {
    const topics = callTopics(hermes, 'responder()', name, options, ['concurrency'])
    const { concurrency = 16 } = options
    checkInteger('concurrency', concurrency, 1, 10_000)
    if (typeof handler !== 'function') throw invalid('responder() takes a handler function as its second argument.')
    const opened: { close(): Promise<void> }[] = []
    try {
      const replies = await topics.replies.publisher()
      opened.push(replies)
      const cancels = await topics.requests.subscriber({ from: 'latest', create: true, wait: 'park' })
      opened.push(cancels)
      const group = await topics.requests.group(groupName, {
        maxDeliveries: mostDeliveries,
        deadLetter: false,
        maxInFlight: Math.min(65_536, 2 * concurrency),
      })
      return new Responder(name, group, cancels, replies, handler, concurrency)
    } catch (error) {
      await Promise.allSettled(opened.map((one) => one.close()))
      throw ofService(error, name)
    }
  }

  /** How many requests are being answered. */
  get running(): number {
    return this.#cancellations.running
  }

  /** Takes no more requests, has the signals of those under way fire, waits up to 5 s for their handlers, and closes. What was not answered goes to other responders. Idempotent. */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#closing ??= this.#close(options, undefined)
    return this.#closing
  }

  /** Resolves once closed; rejects with what ended it if that was not `close()`: `TOPIC_DELETED`, `CORRUPT`, … */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: CloseOptions, reason: unknown): Promise<void> {
    this.#closed.promise.catch(() => undefined)
    this.#stop.abort()
    this.#cancellations.stop()
    await this.#cancels.close()
    await this.#ended
    try {
      await this.#requests.close(options)
    } finally {
      await this.#replies.close(options).finally(() => {
        if (reason === undefined) this.#closed.resolve()
        else this.#closed.reject(reason)
      })
    }
  }

  async #answer(job: Job<Call<Request>>): Promise<void> {
    const { client, number, kind, deadlineMs, value } = job.value
    // The caller does not wait for it any more: it is skipped.
    if (kind !== callKind.request || deadlineMs <= Date.now()) return
    const id = `${client}/${number}`
    const cancel = this.#cancellations.begin(id)
    if (cancel === undefined) return this.#stop.signal.aborted ? job.release() : undefined
    const context = { signal: cancel.signal, deadline: new Date(deadlineMs), deliveries: job.deliveries }
    let reply: Call<Reply>
    try {
      const answer = await this.#handler(value as Request, context)
      reply = { client, number, kind: callKind.reply, deadlineMs: 0, value: answer }
    } catch (error) {
      reply = { client, number, kind: callKind.failure, deadlineMs: 0, failure: failureOf(error) }
    } finally {
      this.#cancellations.end(id, cancel)
    }
    // Closed in the middle: another responder may do it.
    if (this.#stop.signal.aborted && cancel.signal.aborted && reply.kind === callKind.failure) throw aborting(this.name)
    await this.#send(reply)
  }

  async #send(reply: Call<Reply>): Promise<void> {
    try {
      if (!this.#replies.publish(reply)) await this.#replies.ready()
    } catch (error) {
      // A reply that can't be encoded is a failure of the handler.
      if (reply.kind !== callKind.reply || !(error instanceof HermesError) || error.code === 'CLOSED') throw error
      const { client, number } = reply
      const failure = failureOf(ofService(error, this.name))
      this.#replies.publish({ client, number, kind: callKind.failure, deadlineMs: 0, failure })
    }
  }

  async #follow(): Promise<void> {
    for (;;) {
      await this.#cancels.ready()
      this.#cancels.poll(({ client, number, kind }) => {
        if (kind === callKind.cancel) this.#cancellations.cancel(`${client}/${number}`)
      })
    }
  }
}

function aborting(name: string): HermesError {
  return new HermesError('CLOSED', `The responder of '${name}' was closed before the handler was done.`)
}

/** Longer messages are cut: a failure has to fit into the topic. */
const mostMessage = 2000

function failureOf(error: unknown): CallFailure {
  const { name, code, message } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>
  const text = typeof message === 'string' ? message : String(error)
  return {
    name: typeof name === 'string' ? name.slice(0, 100) : 'Error',
    code: typeof code === 'string' ? code.slice(0, 100) : '',
    message: text.slice(0, mostMessage),
  }
}
