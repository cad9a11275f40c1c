import { HermesError } from '../../base/errors.js'
import { apiCode, apiCodeOf, fromNats, passing } from './errors.js'
import { writeHead } from './head.js'
import type { Tail, TopicStream } from './stream.js'

/**
 * How long the servers may take to store one, at first and at most: twice as long after each time without an answer. What is tried again does no harm, and whoever asks soon
 * finds the leader soon that an election has brought.
 */
const answerMs = { first: 1000, most: 5000 } as const

/** What became of an append: stored; refused, as the stream has gone on; or not known. */
export type Fate = 'stored' | 'refused' | 'unknown'

/** What is appended at once: frames of one publisher. */
export interface Cargo {
  /** How many messages of this publisher came before. */
  readonly before: number
  readonly count: number
  readonly bytes: Uint8Array
}

/** One that was sent, and of which it is not known what became of it. */
interface Doubtful {
  readonly cargo: Cargo
  /** The stream's number that it has if it is stored. */
  readonly at: number
  readonly sequence: number
}

/**
 * Appends batches to a stream, each exactly once.
 *
 * A batch is sent with the number of the message that it is to follow, which is compared with the stream's last one. So it can only be stored as number
 * `at`, and what stands there later tells whether it was: an answer that is lost is found out, and of two attempts one is stored at most, as they
 * name the same place, or the place of the first is taken by then.
 *
 * One at a time. Of two that are under way, the second one could follow another publisher's message that took the first one's place: numbers are
 * compared, not what stands there.
 */
export class Appender {
  readonly #stream: TopicStream
  readonly #by = crypto.randomUUID()
  /** The end of the stream, as far as is known. */
  #tail: Tail
  readonly #fence: number | undefined
  #answerMs: number = answerMs.first
  /** The end has to be found, and what became of the one that was sent. */
  #isLost = false
  #doubtful: Doubtful | undefined

  /** @param fence the revision of the leader that appends; nothing is appended behind a later one @throws HermesError `LEASE_LOST` */
  constructor(stream: TopicStream, tail: Tail, fence: number | undefined) {
    this.#stream = stream
    this.#tail = tail
    this.#fence = fence
    this.#checkFence(tail)
  }

  /**
   * Tries once. REQUIRES: the same cargo again, until it is stored.
   *
   * @param stored told the first sequence
   * @returns `stored`; `refused`, as another publisher was faster; `unknown`: the cluster does not answer
   * @throws HermesError if it is no use to try again; it is not stored then
   */
  async append(cargo: Cargo, stored: (sequence: number) => void): Promise<Fate> {
    if (this.#isLost) {
      const found = await this.#find(cargo, stored)
      if (found !== 'refused') return found
    }
    const tail = this.#tail
    const fate = await this.#send(cargo, tail)
    if (fate === 'stored') {
      this.#tail = { last: tail.last + 1, next: tail.next + cargo.count }
      stored(tail.next)
      return fate
    }
    this.#isLost = true
    // (one that is refused may have been stored by this very attempt, if the client has sent it twice)
    this.#doubtful = { cargo, at: tail.last + 1, sequence: tail.next }
    const found = await this.#find(cargo, stored)
    return found === 'refused' ? fate : found
  }

  /** @returns `stored`: it was; `refused`: it was not, and now it is known where to go on; `unknown`: the cluster does not say */
  async #find(cargo: Cargo, stored: (sequence: number) => void): Promise<Fate> {
    try {
      const doubtful = this.#doubtful
      // The end first: each answer may come from another server, and one that is behind knows nothing of what the other one has.
      const tail = await this.#stream.tail()
      if (tail.last < this.#tail.last) return 'unknown'
      const isStored = doubtful !== undefined && tail.last >= doubtful.at && (await this.#wasStored(doubtful))
      this.#tail = tail
      this.#doubtful = undefined
      this.#isLost = false
      if (!isStored || doubtful === undefined || doubtful.cargo !== cargo) {
        this.#checkFence(tail)
        return 'refused'
      }
      stored(doubtful.sequence)
      return 'stored'
    } catch (error) {
      if (error instanceof HermesError && passing.has(error.code)) return 'unknown'
      throw error
    }
  }

  async #send(cargo: Cargo, { last, next }: Tail): Promise<Fate> {
    const { subject, cluster, topic } = this.#stream
    const headers = cluster.peer.transport.headers()
    writeHead(headers, {
      first: next,
      next: next + cargo.count,
      by: this.#nameOf(cargo),
      ...(this.#fence !== undefined && { fence: this.#fence }),
    })
    try {
      const { seq } = await cluster.client.publish(subject, cargo.bytes, {
        headers,
        expect: { lastSequence: last },
        timeout: this.#answerMs,
        retries: 0,
      })
      this.#answerMs = answerMs.first
      if (seq === last + 1) return 'stored'
    } catch (error) {
      return this.#fateOf(error)
    }
    throw new HermesError('PROTOCOL', `The cluster stored a message of '${topic}' elsewhere than it was told to.`)
  }

  #fateOf(error: unknown): Fate {
    if (apiCodeOf(error) === apiCode.wrongLastSequence) return 'refused'
    const { topic } = this.#stream
    const known = fromNats(error, `store messages of '${topic}'`, { topic })
    const { name } = error as Error
    const isClosed = name === 'ClosedConnectionError' || name === 'DrainingConnectionError'
    if (passing.has(known.code) && !isClosed) {
      if (known.code === 'TIMED_OUT') this.#answerMs = Math.min(2 * this.#answerMs, answerMs.most)
      return 'unknown'
    }
    this.#isLost = true
    throw known
  }

  /** REQUIRES: the stream has come as far. @throws HermesError `TIMED_OUT` if the server that was asked does not know of it */
  async #wasStored({ cargo, at }: Doubtful): Promise<boolean> {
    const stream = this.#stream
    const found = await stream.stored(at)
    if (found === undefined) throw new HermesError('TIMED_OUT', `A server is behind with topic '${stream.topic}'.`)
    if (found.seq === at) return stream.head(found).by === this.#nameOf(cargo)
    throw new HermesError(
      'BEHIND_RETENTION',
      `Retention has removed the place in topic '${stream.topic}' where ${cargo.count} messages were to stand, before the cluster answered: they may have been there or not. Keep messages for longer than an election takes.`,
      { details: { topic: stream.topic, messages: cargo.count } },
    )
  }

  /** Who was the leader before writes nothing any more. */
  #checkFence({ fence = 0 }: Tail): void {
    if (this.#fence === undefined || fence <= this.#fence) return
    const { topic } = this.#stream
    throw new HermesError(
      'LEASE_LOST',
      `Another leader, of revision ${fence}, publishes to '${topic}'; this one had revision ${this.#fence}. Stop, and lead() again.`,
      { details: { topic, revision: this.#fence, newer: fence } },
    )
  }

  #nameOf({ before }: Cargo): string {
    return `${this.#by}/${before}`
  }
}
