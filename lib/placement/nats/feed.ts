import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { apiCodeOf, fromNats, passing } from './errors.js'
import type { Msg, Subscription } from './peer.js'
import type { TopicStream } from './stream.js'

/** How long the cluster keeps a request for more. */
const expiryMs = 30_000
/** How often the cluster says that it still has a request, and after what silence it is not believed any more. */
const heartbeatMs = 1000
const silenceMs = 5 * heartbeatMs
/** After so long without a message, the stream's leader is asked whether there are more. */
const doubtMs = 10_000
/** The cluster removes an abandoned consumer after this time. */
const inactiveMs = 60_000
/** At most so many messages of the stream are asked for at once, and the least size that is reckoned with for each. */
const mostMessages = 64
const leastBytes = 4096

const nanoseconds = (ms: number): number => ms * 1_000_000

/** A message of the stream. */
export interface Delivery {
  /** The stream's number of it. */
  readonly seq: number
  readonly message: Msg
}

/** Who takes what comes. */
export interface Taker {
  /** Takes one. What it throws ends the feed. */
  take(delivery: Delivery): void
  /** How many bytes it may be sent now. */
  room(): number
}

/**
 * The messages of a stream from a number on, in order, without a gap: a consumer of its own in the cluster, which is asked for as many as there is room for.
 *
 * It ends at the first thing that is amiss (the connection was made again, the consumer is gone, a message is missing, silence, a server whose copy of the stream stays
 * behind); to continue, the caller opens another
 * one where this one ended. The ordered consumer of the client was left for this: after an answer that it did not expect, it waits for as long as a request may
 * last before it goes on.
 */
export class Feed {
  /** Rejects with what ended it; resolves if it was closed. */
  readonly ended: Promise<void>

  readonly #stream: TopicStream
  readonly #consumer: string
  readonly #taker: Taker
  readonly #end = new Deferred<void>()
  readonly #inbox: string
  readonly #subscription: Subscription
  readonly #watchdog: NodeJS.Timeout
  readonly #reconnected = () => this.#lost('the connection was made again')
  /** Delivered by the consumer so far. */
  #delivered = 0
  /** Asked for and not come. */
  #owed = 0
  /** How large messages were lately. */
  #usualBytes = 64 * 1024
  #heard = performance.now()
  /** The stream's number of the next message, since when it is awaited or was looked for, and the one that the leader had at the last look and that did not come. */
  #next: number
  #awaited = performance.now()
  #doubted = 0
  #isLooking = false
  #isOver = false

  private constructor(stream: TopicStream, consumer: string, from: number, taker: Taker) {
    this.#next = from
    this.#stream = stream
    this.#consumer = consumer
    this.#taker = taker
    this.ended = this.#end.promise
    this.ended.catch(() => {})
    const { connection, peer, reconnected } = stream.cluster
    this.#inbox = peer.transport.createInbox()
    this.#subscription = connection.subscribe(this.#inbox, {
      callback: (error, message) => {
        if (error) this.#fail(fromNats(error, `hand out messages of '${stream.topic}'`))
        else this.#heardOf(message)
      },
    })
    this.#watchdog = setInterval(() => this.#watch(), heartbeatMs).unref()
    // With the connection the requests are gone that came by it.
    reconnected.add(this.#reconnected)
    this.more()
  }

  /** @param from the stream's number to begin with @param headersOnly what they head is left out @throws HermesError */
  static async open(stream: TopicStream, from: number, taker: Taker, headersOnly = false): Promise<Feed> {
    const { cluster, name, topic } = stream
    const { AckPolicy, DeliverPolicy, ReplayPolicy } = cluster.peer.jetstream
    try {
      const { name: consumer } = await cluster.manager.consumers.add(name, {
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: from,
        replay_policy: ReplayPolicy.Instant,
        inactive_threshold: nanoseconds(inactiveMs),
        num_replicas: 1,
        mem_storage: true,
        ...(headersOnly && { headers_only: true }),
      })
      // Of a stream that was made anew under the name, it would read what is not meant.
      await stream.info()
      return new Feed(stream, consumer, from, taker)
    } catch (error) {
      // (one that is gone for good says so)
      if (apiCodeOf(error) !== undefined) await stream.info()
      throw fromNats(error, `hand out messages of '${topic}'`, { topic })
    }
  }

  /** Asks for more, if there is room. */
  more(): void {
    if (this.#isOver) return
    const room = Math.floor(this.#taker.room() / this.#usualBytes)
    const wanted = Math.min(mostMessages, Math.max(room, 0)) - this.#owed
    // (no credit is due: a single large message has to come through, too)
    const batch = this.#owed === 0 && this.#taker.room() > 0 ? Math.max(wanted, 1) : wanted
    if (batch < 1 || (this.#owed > 0 && batch < this.#owed)) return
    if (this.#owed === 0) this.#heard = performance.now()
    this.#owed += batch
    const request = { batch, expires: nanoseconds(expiryMs), idle_heartbeat: nanoseconds(heartbeatMs) }
    const { connection } = this.#stream.cluster
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.#stream.name}.${this.#consumer}`, JSON.stringify(request), {
      reply: this.#inbox,
    })
  }

  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#watchdog)
    const { connection, manager, reconnected } = this.#stream.cluster
    reconnected.delete(this.#reconnected)
    if (!connection.isClosed()) {
      this.#subscription.unsubscribe()
      // (the cluster removes it by itself otherwise)
      manager.consumers.delete(this.#stream.name, this.#consumer).catch(() => {})
    }
    this.#end.resolve()
  }

  #fail(error: HermesError): void {
    this.#end.reject(error)
    this.close()
  }

  #lost(why: string): void {
    this.#fail(new HermesError('CONNECTION_FAILED', `The cluster no longer hands out '${this.#stream.topic}': ${why}.`))
  }

  #heardOf(message: Msg): void {
    if (this.#isOver) return
    this.#heard = performance.now()
    const code = message.subject === this.#inbox ? (message.headers?.code ?? 0) : 0
    if (code === 100) return
    if (code !== 0) this.#requestOver(code, message)
    else if (message.subject === this.#inbox) this.#lost('it sent what is no message')
    else this.#arrived(message)
  }

  /** A request has ended by itself; what it had left is not owed any more. */
  #requestOver(code: number, message: Msg): void {
    const left = Number(message.headers?.get('Nats-Pending-Messages') ?? '')
    const { description = '' } = message.headers ?? {}
    const isOrdinary = code === 408 && left > 0
    if (!isOrdinary) {
      this.#lost(`${code} ${description}`)
      return
    }
    this.#owed = Math.max(0, this.#owed - left)
    this.more()
  }

  #arrived(message: Msg): void {
    const place = placeOf(message.reply ?? '')
    // One that got lost on the way is not one that the stream does not have.
    if (place === undefined || place.delivered !== this.#delivered + 1) {
      this.#lost('a message did not come')
      return
    }
    this.#delivered = place.delivered
    this.#next = place.seq + 1
    this.#awaited = this.#heard
    this.#owed = Math.max(0, this.#owed - 1)
    const { length } = message.data
    this.#usualBytes = Math.max(leastBytes, length, this.#usualBytes - (this.#usualBytes >> 3))
    try {
      this.#taker.take({ seq: place.seq, message })
    } catch (error) {
      this.#fail(error as HermesError)
      return
    }
    this.more()
  }

  #watch(): void {
    if (this.#owed === 0) return
    const now = performance.now()
    if (now - this.#heard > silenceMs) this.#lost('it is silent')
    else if (now - this.#awaited > doubtMs && !this.#isLooking) void this.#look()
  }

  /**
   * Asks the leader whether there is what this consumer does not hand out, in two looks, since a message may be on its way at one. A replica that was killed has been
   * seen to stay behind after its return: its consumers' heartbeats went on, and no message came.
   */
  async #look(): Promise<void> {
    const next = this.#next
    this.#isLooking = true
    try {
      const { messages, last_seq: last } = (await this.#stream.info()).state
      if (this.#isOver || next !== this.#next || messages === 0 || last < next) return
      if (this.#doubted === next) this.#lost('its server stays behind the others')
      else this.#doubted = next
    } catch (error) {
      // (of a cluster that does not answer, the heartbeats tell)
      if (!this.#isOver && error instanceof HermesError && !passing.has(error.code)) this.#fail(error)
    } finally {
      this.#isLooking = false
      this.#awaited = performance.now()
    }
  }
}

/** Which one it is: `$JS.ACK.<stream>.<consumer>.<deliveries>.<in stream>.<delivered>.<time>.<pending>`, newer servers put a domain and an account in front. */
function placeOf(reply: string): { readonly seq: number; readonly delivered: number } | undefined {
  const parts = reply.split('.')
  if (parts[0] !== '$JS' || parts[1] !== 'ACK' || parts.length < 9) return undefined
  const shift = parts.length > 9 ? 2 : 0
  const seq = Number(parts[5 + shift])
  const delivered = Number(parts[6 + shift])
  return Number.isSafeInteger(seq) && Number.isSafeInteger(delivered) ? { seq, delivered } : undefined
}
