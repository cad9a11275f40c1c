import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import { pause } from '../../base/pause.js'
import type { TopicSettings } from '../../model/topic.js'
import type { MirrorOptions, MirrorPiece, MirrorPort } from '../mirror-port.js'
import { apiCode, apiCodeOf, fromNats, passing } from './errors.js'
import { writeHead } from './head.js'
import { type Cluster, type Tail, TopicStream } from './stream.js'

/** How long the servers may take to store a piece. */
const answerMs = 5000
/** Between two attempts while the cluster does not answer, at most. */
const mostPauseMs = 1000
const pieceBytes = 256 * 1024

/**
 * Appends messages of another topic to a stream, under the sequences that they have there.
 *
 * Each piece names the message of the stream that it is to follow, and is the only one under way: so of two bridges one appends, and the other one finds that the
 * stream has gone on. Both read the same messages: which of them it was does not matter.
 */
export class NatsMirror implements MirrorPort {
  readonly pieceBytes: number
  next: number | undefined
  readonly #stream: TopicStream
  readonly #signal: AbortSignal
  readonly #by = `mirror/${crypto.randomUUID()}`
  #tail: Tail

  private constructor(stream: TopicStream, tail: Tail, signal: AbortSignal) {
    this.#stream = stream
    this.#signal = signal
    this.#tail = tail
    this.next = tail.last === 0 ? undefined : tail.next
    const { max_payload: most = 1024 * 1024 } = stream.cluster.connection.info ?? {}
    this.pieceBytes = Math.min(pieceBytes, most - 1024)
  }

  /** @throws HermesError `CONFIG_MISMATCH`, `CODEC_MISMATCH`, `BEHIND_RETENTION`, … */
  static async open(
    cluster: Cluster,
    topic: string,
    settings: TopicSettings,
    { origin, signal }: MirrorOptions,
  ): Promise<NatsMirror> {
    const stream = await TopicStream.open(cluster, topic, settings, origin)
    const { origin: found } = stream.definition
    if (found?.topic !== origin.topic || found.createdMs !== origin.createdMs) {
      const what =
        found === undefined ? 'is no mirror: programs publish to it' : `is a mirror of another topic '${found.topic}'`
      throw new HermesError(
        'CONFIG_MISMATCH',
        `Topic '${topic}' in the cluster ${what}. Mirror into a topic of another name, or delete this one.`,
        { details: { topic, found, wanted: origin } },
      )
    }
    const tail = await stream.tail()
    if (tail.last > 0 && (await stream.stored(tail.last)) === undefined) {
      throw new HermesError(
        'BEHIND_RETENTION',
        `Retention has removed all messages of mirror '${topic}', so nothing tells how far it had come. Have the cluster keep its newest message, and make the mirror anew.`,
        { details: { topic } },
      )
    }
    return new NatsMirror(stream, tail, signal)
  }

  async newest(): Promise<MirrorPiece | undefined> {
    const found = await this.#stream.stored(this.#tail.last)
    if (found === undefined) return undefined
    const { first, next } = this.#stream.head(found)
    return { first, count: next - first, bytes: found.data }
  }

  async append(piece: MirrorPiece): Promise<boolean> {
    const { first, count } = piece
    // (a copy: the client may hold it while there is no connection, longer than the reader keeps it)
    const bytes = new Uint8Array(piece.bytes)
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, mostPauseMs)) {
      const { last } = this.#tail
      const tail = { last: last + 1, next: first + count }
      if (await this.#send(bytes, first, tail)) {
        this.#reached(tail)
        return true
      }
      await pause(pauseMs, this.#signal)
      if (this.#signal.aborted) throw aborted(this.#signal)
      const found = await this.#findTail()
      if (found === undefined || found.last === last) continue
      // It was stored and the answer was lost, or another bridge was faster.
      this.#reached(found)
      return found.next === tail.next && (await this.#isMine(tail.last))
    }
  }

  #reached(tail: Tail): void {
    this.#tail = tail
    this.next = tail.next
  }

  /** Whether it was acknowledged. */
  async #send(bytes: Uint8Array, first: number, { last, next }: Tail): Promise<boolean> {
    const { subject, cluster, topic } = this.#stream
    const headers = writeHead(cluster.peer.transport.headers(), { first, next, by: this.#by })
    try {
      const expect = { lastSequence: last - 1 }
      await cluster.client.publish(subject, bytes, { headers, expect, timeout: answerMs, retries: 0 })
      return true
    } catch (error) {
      if (apiCodeOf(error) === apiCode.wrongLastSequence) return false
      const known = fromNats(error, `store messages of '${topic}'`, { topic })
      if (!passing.has(known.code) || cluster.connection.isClosed()) throw known
      return false
    }
  }

  /** `undefined` if the cluster does not say, or a server that is behind does. @throws HermesError `NOT_FOUND`, `CORRUPT`, … */
  async #findTail(): Promise<Tail | undefined> {
    try {
      const tail = await this.#stream.tail()
      return tail.last < this.#tail.last ? undefined : tail
    } catch (error) {
      const isPassing = error instanceof HermesError && passing.has(error.code)
      if (isPassing && !this.#stream.cluster.connection.isClosed()) return undefined
      throw error
    }
  }

  /** Whether this bridge stored the message with this number. For counting: what it holds is the same in any case. */
  async #isMine(at: number): Promise<boolean> {
    try {
      const found = await this.#stream.stored(at)
      return found?.seq === at && this.#stream.head(found).by === this.#by
    } catch (error) {
      if (error instanceof HermesError && passing.has(error.code)) return false
      throw error
    }
  }

  async close(): Promise<void> {}
}
