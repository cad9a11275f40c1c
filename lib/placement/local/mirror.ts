import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import { frameBytes, frameOffset } from '../../frame/frame.js'
import { type Directory, topicFolder } from '../../store/directory.js'
import type { MirrorOptions, MirrorOrigin, MirrorPiece, MirrorPort } from '../mirror-port.js'
import type { SubscriberPort } from '../port.js'
import { type MirrorMark, readMirrorMark, writeMirrorMark } from './mirror-mark.js'
import { newestMessage } from './newest-message.js'
import type { LocalPublisher } from './publisher.js'

/** What `LocalPublisher` takes as a batch. */
const mostFrames = 256

/** Of the topic that is the mirror. */
export interface MirrorTarget {
  readonly firstSequence: number
  /** What its next message gets. */
  readonly nextSequence: number
  /** Reads it from a sequence on. */
  read(from: number): Promise<SubscriberPort>
}

/**
 * Appends messages of another topic to a local one, whose only publisher it is.
 *
 * Where the mirror is follows from how many messages it has, and from a mark beside them, which is written anew only where the two have drifted apart: where the origin has left a gap,
 * and where a bridge was killed between the claim of its batch and the commit. Recovery makes such a claim void: it takes sequences, and none of its messages is there.
 */
export class LocalMirror implements MirrorPort {
  readonly pieceBytes: number
  next: number | undefined
  readonly #publisher: LocalPublisher
  readonly #folder: string
  readonly #fileMode: number
  readonly #origin: MirrorOrigin
  readonly #signal: AbortSignal
  /** The topic's own next sequence. */
  #target: number

  private constructor(
    publisher: LocalPublisher,
    directory: Directory,
    topic: string,
    { origin, signal }: MirrorOptions,
    target: number,
    next: number | undefined,
  ) {
    this.#publisher = publisher
    this.#folder = topicFolder(directory, topic)
    this.#fileMode = directory.fileMode
    this.#origin = origin
    this.#signal = signal
    this.#target = target
    this.next = next
    this.pieceBytes = publisher.batchLimit - publisher.batchOffset
  }

  /** REQUIRES: the log was recovered. @throws HermesError `CONFIG_MISMATCH`, `CORRUPT` */
  static async open(
    publisher: LocalPublisher,
    directory: Directory,
    topic: string,
    options: MirrorOptions,
    found: MirrorTarget,
  ): Promise<LocalMirror> {
    const { origin } = options
    const { nextSequence: target } = found
    const mark = await readMirrorMark(topicFolder(directory, topic))
    if (mark === undefined) {
      if (target === 1) return new LocalMirror(publisher, directory, topic, options, target, undefined)
      throw new HermesError(
        'CONFIG_MISMATCH',
        `Topic '${topic}' has messages of its own. Mirror into a topic that does not exist yet.`,
        { details: { topic } },
      )
    }
    checkMark(mark, origin, topic, target)
    const voids = await voidsAtEnd(found, mark.target)
    const next = mark.source + target - mark.target - voids
    const mirror = new LocalMirror(publisher, directory, topic, options, target, next)
    if (voids > 0) await mirror.#note(next)
    return mirror
  }

  async newest(): Promise<undefined> {}

  async append({ first, count, bytes }: MirrorPiece): Promise<boolean> {
    if (first !== this.next) await this.#note(first)
    const publisher = this.#publisher
    const { region, batchOffset } = publisher
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    let at = 0
    for (let left = count; left > 0; ) {
      const frames = Math.min(left, mostFrames)
      const end = endOf(data, at, frames)
      region.bytes.set(bytes.subarray(at, end), batchOffset)
      const isRoomy = publisher.appendBatch(frames, end - at)
      this.#target += frames
      this.next = (this.next as number) + frames
      at = end
      left -= frames
      if (!isRoomy) await publisher.ready(this.#signal)
      if (this.#signal.aborted) throw aborted(this.#signal)
    }
    return true
  }

  /** Messages from here on are those from `source` on: what lies before is on the disk by then, so that their number can be believed. */
  async #note(source: number): Promise<void> {
    // (also what an earlier bridge has left)
    await this.#publisher.reached(this.#target - 1, 'synced', this.#signal)
    await writeMirrorMark(this.#folder, { origin: this.#origin, source, target: this.#target }, this.#fileMode)
    this.next = source
  }

  close(): Promise<void> {
    return this.#publisher.close()
  }
}

function checkMark(
  { origin: found, target: least }: MirrorMark,
  origin: MirrorOrigin,
  topic: string,
  target: number,
): void {
  if (found.topic !== origin.topic || found.createdMs !== origin.createdMs) {
    throw new HermesError(
      'CORRUPT',
      `Topic '${topic}' is a mirror of a topic '${found.topic}' that was made at ${new Date(found.createdMs).toISOString()}; this one was made at ${new Date(origin.createdMs).toISOString()}. Mirror it into another topic.`,
      { details: { topic, found, wanted: origin } },
    )
  }
  if (target >= least) return
  throw new HermesError(
    'CORRUPT',
    `Mirror '${topic}' has fewer messages than it had: ${target - 1} of ${least - 1}. It was restored from an older copy, or its disk forgot what was synced. Mirror into another topic.`,
    { details: { topic } },
  )
}

/**
 * How many sequences behind the newest message nothing has: those of one batch that was never committed. (What damage has made void further in front was copied, and counts.)
 *
 * @param least no further back than this
 */
async function voidsAtEnd({ firstSequence, nextSequence, read }: MirrorTarget, least: number): Promise<number> {
  const from = Math.max(firstSequence, least, nextSequence - mostFrames)
  if (from >= nextSequence) return 0
  const port = await read(from)
  try {
    return nextSequence - 1 - (newestMessage(port) ?? from - 1)
  } finally {
    port.close()
  }
}

/** Where so many frames end. */
function endOf(data: DataView, at: number, frames: number): number {
  for (let left = frames; left > 0; left--) at += frameBytes(data.getUint32(at + frameOffset.payloadLength, true))
  return at
}
