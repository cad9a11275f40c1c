import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { refusePromise } from '../base/handler.js'
import { checkInteger, checkOptions, invalid } from '../base/options.js'
import type { Codec, Reader } from '../codec/codec.js'
import { frameHeaderBytes } from '../frame/frame.js'
import type { GroupReport } from '../model/group.js'
import type { ConsumerPort, Outcome } from '../placement/consumer-port.js'
import { Claimed, mostClaim } from './claimed.js'
import { type CloseOptions, checkCloseOptions } from './close-options.js'
import { DeadLetters } from './dead-letters.js'
import { keylessBucket, type MemberOptions } from './group-options.js'
import { type HandleOptions, runHandlers } from './group-run.js'
import { InFlight } from './in-flight.js'
import { backOff, inUse, Job, type JobHost, leaseLost, noOptions, sequencesOf } from './job.js'
import { JobCursor, type JobHandler } from './job-view.js'
import { ofMessage } from './message-error.js'
import { waitForMessages } from './wait.js'

/** How long `close` waits for jobs that are not settled, unless it is told. */
const closeTimeoutMs = 5000

/**
 * One member of a group: the members of all processes share the topic's messages. Each is handled by one of them at least once; what a member that died or hung had not settled goes to others. Made by `topic.group()`.
 *
 * @typeParam Out  what iterators yield: jobs with owned values
 * @typeParam View what `poll` hands out: valid until the handler returns
 */
export class Group<Out, View> implements AsyncDisposable, AsyncIterable<Job<Out>> {
  readonly topic: string
  readonly name: string
  readonly #codec: Codec<never, Out, View>
  readonly #port: ConsumerPort
  readonly #options: MemberOptions
  readonly #reader: Reader<View>
  readonly #cursor: JobCursor
  readonly #host: JobHost
  readonly #claimed: Claimed
  readonly #inFlight = new InFlight()
  readonly #deadLetters: DeadLetters
  #consumer: 'none' | 'poll' | 'iterator' = 'none'
  #closing: Promise<void> | undefined
  #isClosed = false
  #hasLeft = false
  readonly #closed = new Deferred<void>()

  /** @internal */
  constructor(topic: string, name: string, codec: Codec<never, Out, View>, port: ConsumerPort, options: MemberOptions) {
    this.topic = topic
    this.name = name
    this.#codec = codec
    this.#port = port
    this.#options = options
    this.#reader = codec.reader()
    this.#cursor = new JobCursor(port.region)
    this.#claimed = new Claimed(port)
    this.#deadLetters = new DeadLetters(port)
    this.#host = {
      settle: (job, outcome, delayMs) => this.#settle([job], outcome, delayMs),
      reject: (job, reason) => this.#reject(job, reason),
      renew: (job) => {
        this.#checkOpen()
        if (job.isSettled) throw invalid(`Message ${job.sequence} is settled already.`)
        this.#port.renew()
      },
    }
  }

  /** How many messages this member holds that are not settled, those included that were claimed ahead. */
  get inFlight(): number {
    return this.#inFlight.count + this.#claimed.left + (this.#port.ahead ?? 0)
  }

  /**
   * Hands up to `limit` messages that are there to `handler`, without waiting, and settles them: each for which the handler returned is done. One for which it threw is
   * returned, and the error comes out of `poll` with those behind it not handed out. Synchronous; the cheapest way.
   *
   * @returns how many messages were handled
   * @throws HermesError `CLOSED`, `BUSY`, `LEASE_LOST` (the loop had stood still for longer than the lease: what was handled is handled again), `POSITION_LOST`, `DECODE_FAILED`, …
   */
  poll(handler: JobHandler<View>, limit: number = mostClaim): number {
    this.#begin('poll')
    try {
      if (typeof handler !== 'function') throw invalid('poll() takes a handler function first.')
      if (Object.prototype.toString.call(handler) === '[object AsyncFunction]') {
        throw invalid('poll() takes a handler that is done when it returns. Use `for await` or `run()`.')
      }
      checkInteger('limit', limit, 1, mostClaim)
      const port = this.#port
      if (port.arrivesByTurn === true)
        throw new HermesError(
          'UNSUPPORTED',
          'poll() of a group is for places on this host. Use `for await` or `run()`.',
        )
      if (this.#claimed.left === 0 && !this.#claim(limit)) return 0
      return this.#handle(handler, limit)
    } finally {
      this.#consumer = 'none'
    }
  }

  /**
   * Yields jobs one by one, for ever, waiting when there is none. Ends when the group is closed. What was not yielded was not claimed for good: after a `break` it goes to
   * the next iteration, or to the other members when the group is closed.
   *
   * @throws HermesError as `batches`
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Job<Out>> {
    for await (const [job] of this.#iterate(1)) yield job as Job<Out>
  }

  /**
   * Yields what is there, up to `max` jobs at once, waiting when there is nothing. `group.ack(jobs)` settles them together.
   *
   * @param max 1 to 256
   * @throws HermesError `BUSY`, `ABORTED`, `POSITION_LOST` (once; go on), `NOT_FOUND` if the group was deleted, `CORRUPT`, `DECODE_FAILED`
   */
  async *batches(max: number = mostClaim): AsyncIterableIterator<Job<Out>[]> {
    checkInteger('max', max, 1, mostClaim)
    yield* this.#iterate(max)
  }

  /**
   * Handles messages as they come, `concurrency` at a time (in a keyed group one of each key, in an exclusive one no two): one for which the handler's promise resolves is acknowledged, one for which it rejects is returned. Resolves
   * when the signal fires or the group is closed, once the handlers that are under way have ended.
   *
   * @throws HermesError what iterations throw, but for `ABORTED`
   */
  run(
    handler: (job: Job<Out>, context: { readonly signal: AbortSignal }) => unknown,
    options: HandleOptions<Out> = {},
  ): Promise<void> {
    return runHandlers(this, this.topic, this.name, handler, options)
  }

  /** @internal */
  async *jobs(signal: AbortSignal): AsyncIterable<Job<Out>> {
    for await (const [job] of this.#iterate(1, signal)) yield job as Job<Out>
  }

  /** Settles jobs together. @throws HermesError `LEASE_LOST` with those in `details.sequences` that another member has; the others are settled. `INVALID_ARGUMENT`, `CLOSED` */
  async ack(jobs: readonly Job<Out>[]): Promise<void>
  async ack(jobs: readonly Job<Out>[], more?: unknown): Promise<void> {
    if (more !== undefined) throw noOptions('ack()', 'group.sync() waits for stable storage')
    if (!Array.isArray(jobs) || !jobs.every((job) => job instanceof Job)) throw invalid('ack() takes an array of jobs.')
    await this.#settle(jobs, 'done', 0)
  }

  /** What the group and its members are doing. */
  async describe(): Promise<GroupReport> {
    this.#checkOpen()
    return this.#port.describe()
  }

  /**
   * Resolves once everything that was acknowledged before this call is on stable storage. Without it, a loss of power may have messages handled again that were acknowledged
   * shortly before.
   */
  async sync(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOptions('sync()', options, ['signal'])
    this.#checkOpen()
    await this.#port.sync(options.signal)
  }

  /**
   * Ends iterations and waits, waits for jobs that are not settled, and leaves the group: what is still not settled goes to the other members. Idempotent.
   *
   * @throws HermesError `TIMED_OUT` or `ABORTED` if jobs were not settled by then: they come again. The group is closed all the same
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async #close({ signal, timeoutMs = closeTimeoutMs }: CloseOptions): Promise<void> {
    this.#isClosed = true
    this.#claimed.release()
    this.#deadLetters.close()
    this.#inFlight.wake()
    this.#port.cancel()
    const left = await this.#inFlight.none(timeoutMs, signal)
    try {
      await this.#deadLetters.done()
      await this.#port.close()
    } finally {
      this.#hasLeft = true
      this.#closed.resolve()
    }
    if (left > 0) {
      throw new HermesError(
        signal?.aborted ? 'ABORTED' : 'TIMED_OUT',
        `The member left group '${this.name}' of topic '${this.topic}' with ${left} unsettled message${left === 1 ? ', which comes' : 's, which come'} again.`,
        { details: { topic: this.topic, group: this.name, unsettled: left } },
      )
    }
  }

  /** Resolves once the group is closed. */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Hands out what was claimed, and settles it by runs. */
  #handle(handler: JobHandler<View>, limit: number): number {
    const port = this.#port
    const cursor = this.#cursor
    const claimed = this.#claimed
    const { maxDeliveries } = port.rules
    const { checkKey } = this.#options
    const end = Math.min(claimed.count, claimed.next + limit)
    let from = claimed.next
    let handled = 0
    while (claimed.next < end) {
      const at = claimed.next++
      const deliveries = port.deliveriesOf(at)
      if (maxDeliveries > 0 && deliveries > maxDeliveries) {
        this.#finish(from, at)
        from = at + 1
        this.#deadLetters.add({ sequence: port.sequenceOf(at), deliveries, number: port.numberOf(at) })
        continue
      }
      const { region } = port
      const offset = port.payloadAt(at)
      const length = port.lengthOf(at)
      cursor.moveTo(region, offset - frameHeaderBytes, length, port.sequenceOf(at))
      cursor.deliveries = deliveries
      try {
        if (checkKey && port.bucketOf(at) === keylessBucket) checkKey(this.#codec.decode(region, offset, length))
        const answer: unknown = handler(this.#reader.read(region, offset, length), cursor)
        if (typeof answer === 'object') refusePromise('poll()', answer)
      } catch (error) {
        this.#finish(from, at)
        void port.settleClaimed(at, at + 1, 'returned', backOff)
        claimed.release()
        throw ofMessage(error, { topic: this.topic, group: this.name, sequence: port.sequenceOf(at) })
      }
      handled++
    }
    this.#finish(from, end)
    return handled
  }

  /** Messages `from` to `to` of the last claim are done. */
  #finish(from: number, to: number): void {
    if (from === to || this.#port.settleClaimed(from, to, 'done', 0) === to - from) return
    const sequences = Array.from({ length: to - from }, (_, index) => this.#port.sequenceOf(from + index))
    this.#claimed.release()
    throw leaseLost(this.topic, this.name, sequences)
  }

  /* ---- claiming ---- */

  #begin(consumer: 'poll' | 'iterator'): void {
    this.#checkOpen()
    if (this.#consumer !== 'none') throw inUse(this.name)
    this.#consumer = consumer
  }

  /** @param own ends the iteration, and throws nothing */
  async *#iterate(max: number, own?: AbortSignal): AsyncGenerator<Job<Out>[], void, void> {
    this.#begin('iterator')
    const { wait, endsOnAbort } = this.#options
    const outer = this.#options.signal
    const signal = own === undefined ? outer : outer === undefined ? own : AbortSignal.any([own, outer])
    const port = this.#port
    const claimed = this.#claimed
    const waiting = {
      arrivesByTurn: port.arrivesByTurn === true,
      fetch: () => (this.#claim(Math.max(max, claimed.ahead)) ? claimed.left : 0),
      park: (timeoutMs: number, signal: AbortSignal | undefined) => port.park(timeoutMs, signal),
    }
    try {
      for (;;) {
        if (this.#isClosed) return
        if (claimed.left === 0) {
          await this.#inFlight.below(this.#options.maxInFlight, signal, () => this.#isClosed)
          const found = await waitForMessages(waiting, wait, max, signal, () => this.#isClosed)
          if (found === 0) return
        }
        const jobs = this.#take(max)
        if (jobs.length > 0) yield jobs
      }
    } catch (error) {
      const isAborted = error instanceof HermesError && error.code === 'ABORTED' && signal?.aborted === true
      if (!isAborted || !(endsOnAbort || own !== undefined)) throw error
    } finally {
      if (!this.#isClosed) this.#claimed.release()
      this.#consumer = 'none'
    }
  }

  /** Claims up to `limit`, and no more than this member may hold. False: there is nothing. */
  #claim(limit: number): boolean {
    this.#deadLetters.checkFailure()
    return this.#claimed.claim(Math.min(limit, this.#options.maxInFlight - this.#inFlight.count))
  }

  /** Makes jobs of what was claimed, up to `max`. */
  #take(max: number): Job<Out>[] {
    const port = this.#port
    const claimed = this.#claimed
    const { maxDeliveries } = port.rules
    const { checkKey, order } = this.#options
    const jobs: Job<Out>[] = []
    while (claimed.next < claimed.count && jobs.length < max) {
      const at = claimed.next++
      const sequence = port.sequenceOf(at)
      const deliveries = port.deliveriesOf(at)
      const number = port.numberOf(at)
      if (maxDeliveries > 0 && deliveries > maxDeliveries) {
        this.#deadLetters.add({ sequence, deliveries, number })
        continue
      }
      const { region } = port
      let value: Out
      let lane: number | undefined
      try {
        value = this.#codec.decode(region, port.payloadAt(at), port.lengthOf(at))
        if (order !== 'none') lane = order === 'topic' ? 0 : port.bucketOf(at)
        if (checkKey && lane === keylessBucket) checkKey(value)
      } catch (error) {
        if (jobs.length > 0) {
          // What came before it first.
          claimed.next = at
          return jobs
        }
        void port.settle([{ sequence, deliveries, number }], 'returned', backOff)
        const told = ofMessage(error, { topic: this.topic, group: this.name, sequence })
        if (this.#options.onError === undefined || !(told instanceof HermesError)) throw told
        this.#options.onError(told)
        continue
      }
      const stamp = port.timestampOf(at)
      this.#inFlight.add()
      jobs.push(
        new Job(
          this.#host,
          value,
          sequence,
          Number(stamp & 0xffff_ffffn),
          Number(stamp >> 32n),
          deliveries,
          number,
          lane,
        ),
      )
    }
    return jobs
  }

  /* ---- settling ---- */

  async #settle(jobs: readonly Job<unknown>[], outcome: Outcome, delayMs: number): Promise<void> {
    if (this.#hasLeft) throw this.#closedError()
    if (new Set(jobs).size !== jobs.length) throw invalid('A job stands in the list twice.')
    for (const job of jobs) if (job.isSettled) job.markSettled()
    for (const job of jobs) job.markSettled(outcome !== 'done')
    this.#inFlight.remove(jobs.length)
    const lost = this.#port.settle(jobs, outcome, delayMs)
    // Where order counts, nothing behind it goes before it.
    if (outcome !== 'done' && this.#options.order !== 'none') this.#claimed.release()
    this.#inFlight.wake()
    const late = lost instanceof Promise ? await lost : lost
    if (late.length > 0) throw leaseLost(this.topic, this.name, sequencesOf(late))
  }

  async #reject(job: Job<unknown>, reason: string): Promise<void> {
    if (this.#hasLeft) throw this.#closedError()
    job.markSettled()
    let mine: boolean
    try {
      mine = await this.#port.reject(job, reason, job.deliveries)
    } catch (error) {
      job.reopen()
      throw error
    }
    this.#inFlight.remove(1)
    this.#inFlight.wake()
    if (!mine) throw leaseLost(this.topic, this.name, [job.sequence])
  }

  /* ---- errors ---- */

  #checkOpen(): void {
    if (this.#isClosed) throw this.#closedError()
  }

  #closedError(): HermesError {
    return new HermesError('CLOSED', `This member of group '${this.name}' has left. Join again with topic.group().`)
  }
}
