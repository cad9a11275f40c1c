import { HermesError } from '../../base/errors.js'
import { passing } from './errors.js'
import { Feed } from './feed.js'
import { readHead } from './head.js'
import type { TopicStream } from './stream.js'

/** Messages of the stream that are known ahead, at most. */
const mostAhead = 4096
/** What the feed reckons with for each, at first. */
const roomForEach = 64 * 1024
/** Between two attempts to go on after the cluster did not answer. */
const retryMs = 500

interface Indexed {
  readonly at: number
  readonly first: number
  readonly next: number
}

/** Which sequences are in which message of a stream, from one on: its headers, without what they head. */
export class BatchIndex {
  /** Behind the newest message that is known. */
  end: number
  /** The topic has lost what came before: the first sequence that is there, and the number of its message. */
  lost: { readonly first: number; readonly at: number; readonly isCounted: boolean } | undefined
  failure: HermesError | undefined
  readonly #stream: TopicStream
  readonly #changed: () => void
  #batches: Indexed[] = []
  /** The stream's number of the next message to come. */
  #at: number
  #feed: Feed | undefined
  #isClosed = false

  /** @param sequence to begin with @param at the number of the message that holds it, or will @param changed called when there is more, or when it has failed */
  constructor(stream: TopicStream, sequence: number, at: number, changed: () => void) {
    this.#stream = stream
    this.end = sequence
    this.#at = at
    this.#changed = changed
    void this.#receive()
  }

  /** The first sequence that is known of. */
  get begin(): number {
    return this.#batches[0]?.first ?? this.end
  }

  /** Where a sequence is, and how many there are from it on in the same message. */
  find(sequence: number): { readonly at: number; readonly left: number } | undefined {
    let low = 0
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#batches[middle] as Indexed).next <= sequence) low = middle + 1
      else high = middle
    }
    const found = this.#batches[low]
    return found === undefined || found.first > sequence ? undefined : { at: found.at, left: found.next - sequence }
  }

  /** What lies before is not asked for any more. */
  forget(before: number): void {
    let count = 0
    for (const { next } of this.#batches) {
      if (next > before) break
      count++
    }
    if (count === 0) return
    this.#batches.splice(0, count)
    this.#feed?.more()
  }

  /** Begins anew. */
  restart(sequence: number, at: number): void {
    this.#batches = []
    this.end = sequence
    this.#at = at
    this.lost = undefined
    // (it is opened again where the index is now)
    this.#feed?.close()
  }

  async #receive(): Promise<void> {
    while (!this.#isClosed) {
      let isAnew = false
      try {
        isAnew = await this.#consume()
      } catch (error) {
        if (this.#isClosed) return
        if (!(error instanceof HermesError) || !passing.has(error.code)) {
          this.failure = error as HermesError
          this.#changed()
          return
        }
      }
      if (this.#isClosed) return
      if (!isAnew) await new Promise((resolve) => setTimeout(resolve, retryMs).unref())
    }
  }

  /** @returns true: the feed was closed here */
  async #consume(): Promise<boolean> {
    const begun = this.#at
    const feed: Feed = await Feed.open(
      this.#stream,
      begun,
      {
        take: ({ seq, message }) => {
          if (this.#feed !== undefined && this.#feed !== feed) return
          if (message.subject !== this.#stream.subject) throw this.#stream.strewn()
          const { first, next } = readHead(message.headers, this.#stream.topic, seq)
          // (a topic goes on above its old sequences when all its messages have expired: nothing is lost if all had come)
          if (first > this.end)
            this.lost = { first, at: seq, isCounted: seq > this.#at || (this.lost?.isCounted ?? false) }
          this.#at = seq + 1
          if (next <= this.end) return
          this.#batches.push({ at: seq, first: Math.max(first, this.end), next })
          this.end = next
          this.#changed()
        },
        room: () => (mostAhead - this.#batches.length) * roomForEach,
      },
      true,
    )
    if (this.#isClosed || this.#at !== begun) {
      feed.close()
      return true
    }
    this.#feed = feed
    try {
      await feed.ended
      return true
    } finally {
      if (this.#feed === feed) this.#feed = undefined
    }
  }

  close(): void {
    this.#isClosed = true
    this.#feed?.close()
  }
}
