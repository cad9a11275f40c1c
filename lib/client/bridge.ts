import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import { aborted } from '../base/options.js'
import { frameBytes, frameOffset, frameType } from '../frame/frame.js'
import type { MirrorStatus } from '../model/mirror.js'
import type { From, TopicSettings } from '../model/topic.js'
import type { MirrorPiece, MirrorPort } from '../placement/mirror-port.js'
import type { Placement, SubscriberPort } from '../placement/port.js'

/** Messages that are looked for at once. */
const fetchLimit = 4096
/** How long it sleeps at most while there is nothing, and while it waits for the end to be reached. */
const parkMs = 1000
/** Over what time the rate is taken. */
const rateMs = 5000

/** What is read. */
export interface BridgeSource {
  readonly topic: string
  readonly settings: TopicSettings
  /** Hand over only what is synced. */
  readonly synced: boolean
}

/** Takes frames out of a topic and puts them into its mirror, in order, each once. */
export class Bridge {
  readonly #topic: string
  readonly #reader: SubscriberPort
  readonly #mirror: MirrorPort
  readonly #until: number | undefined
  readonly #signal: AbortSignal
  #messages = 0
  #bytes = 0
  #outrun = 0
  /** What was counted at the beginning of the time that the rate is of. */
  #since = { ms: performance.now(), messages: 0 }
  #before = this.#since
  #last: MirrorStatus | undefined

  private constructor(
    topic: string,
    reader: SubscriberPort,
    mirror: MirrorPort,
    until: number | undefined,
    signal: AbortSignal,
  ) {
    this.#topic = topic
    this.#reader = reader
    this.#mirror = mirror
    this.#until = until
    this.#signal = signal
  }

  /** @param until where to end; `undefined`: never @throws HermesError `CORRUPT` if the mirror is not of this topic, `BEHIND_RETENTION`, … */
  static async open(
    from: Placement,
    { topic, settings, synced }: BridgeSource,
    mirror: MirrorPort,
    until: number | undefined,
    signal: AbortSignal,
  ): Promise<Bridge> {
    const open = (from_: From, upToSynced: boolean) =>
      from.subscriber(topic, { ...settings, create: false }, { from: from_, verify: true, upToSynced, signal })
    const newest = await mirror.newest()
    if (newest !== undefined) await checkNewest(topic, newest, (from_) => open(from_, false))
    try {
      const reader = await open(mirror.next ?? 'earliest', synced)
      return new Bridge(topic, reader, mirror, until, signal)
    } catch (error) {
      throw ahead(topic, error)
    }
  }

  /** As of the end, once it is closed. */
  status(): MirrorStatus {
    return this.#last ?? this.#status()
  }

  #status(): MirrorStatus {
    const sequence = this.#mirror.next ?? this.#reader.sequence
    const now = performance.now()
    const ms = Math.max(1, now - this.#before.ms)
    return {
      sequence,
      lag: Math.max(0, this.#port.nextSequence() - sequence),
      messages: this.#messages,
      bytes: this.#bytes,
      rate: ((this.#messages - this.#before.messages) * 1000) / ms,
      outrun: this.#outrun,
    }
  }

  /** @throws HermesError `ABORTED`, and what ended it */
  async run(): Promise<void> {
    while (!this.#isDone) {
      if (this.#signal.aborted) throw aborted(this.#signal)
      const port = this.#port
      if (port.fetch(fetchLimit) === 0) {
        if (!this.#isDone) await port.park(parkMs, this.#signal)
        this.#rate()
        continue
      }
      await this.#handOver(this.#port)
      this.#rate()
    }
  }

  get #port(): SubscriberPort {
    return this.#reader.opened ?? this.#reader
  }

  get #isDone(): boolean {
    return this.#until !== undefined && this.#port.sequence >= this.#until
  }

  /** All that was fetched, piece by piece. */
  async #handOver(port: SubscriberPort): Promise<void> {
    while (port.offset < port.end && !this.#isDone) {
      const piece = pieceAt(port, this.#mirror.pieceBytes)
      if (piece === undefined) continue
      const { first, count, bytes } = piece
      const { offset } = port
      if (!(await this.#mirror.append(piece))) {
        this.#outrun++
        this.#seek(port)
        return
      }
      this.#messages += count
      this.#bytes += bytes.length
      port.offset = offset + bytes.length
      port.sequence = first + count
    }
    port.release?.()
  }

  #seek(port: SubscriberPort): void {
    try {
      port.seek(this.#mirror.next ?? 'earliest')
    } catch (error) {
      throw ahead(this.#topic, error)
    }
  }

  #rate(): void {
    const ms = performance.now()
    if (ms - this.#since.ms < rateMs) return
    this.#before = this.#since
    this.#since = { ms, messages: this.#messages }
  }

  close(): void {
    try {
      this.#last = this.#status()
    } catch {
      // What is wrong with the topic has been told; the end is not known then.
      const sequence = this.#mirror.next ?? this.#reader.sequence
      this.#last = { sequence, lag: 0, messages: this.#messages, bytes: this.#bytes, rate: 0, outrun: this.#outrun }
    }
    this.#reader.close()
  }
}

/** Messages without a gap, from the position of a port on; `undefined` if there was none at the position, which has moved on then. */
function pieceAt(port: SubscriberPort, mostBytes: number): MirrorPiece | undefined {
  const { region, offset, end, sequence } = port
  let at = offset
  let count = 0
  while (at < end) {
    const length = region.data.getUint32(at + frameOffset.payloadLength, true)
    const size = frameBytes(length)
    if (region.data.getUint8(at + frameOffset.type) !== frameType.data) {
      if (count > 0) break
      // A void stands for sequences that nobody will ever have.
      port.sequence += length >= 8 ? region.data.getUint32(at + frameOffset.payload, true) : 1
      port.offset = at + size
      return undefined
    }
    if (count > 0 && at + size - offset > mostBytes) break
    at += size
    count++
  }
  return { first: sequence, count, bytes: region.bytes.subarray(offset, at) }
}

/** What the mirror has last has to be what the topic has there, byte for byte. */
async function checkNewest(
  topic: string,
  { first, count, bytes }: MirrorPiece,
  open: (from: From) => Promise<SubscriberPort>,
): Promise<void> {
  let reader: SubscriberPort
  try {
    reader = await open(first)
  } catch (error) {
    // What retention has removed can't be compared.
    if (error instanceof HermesError && error.code === 'BEHIND_RETENTION') return
    throw ahead(topic, error)
  }
  try {
    for (let at = 0, next = first; next < first + count; ) {
      const port = reader.opened ?? reader
      if (port.fetch(first + count - next) === 0) {
        if (port.nextSequence() <= next) throw shorter(topic)
        await port.park(100, undefined)
        continue
      }
      const piece = pieceAt(port, bytes.length - at)
      if (piece === undefined) continue
      const size = piece.bytes.length
      if (piece.first !== next || Buffer.compare(piece.bytes, bytes.subarray(at, at + size)) !== 0)
        throw otherTopic(topic, next)
      at += size
      next += piece.count
      port.offset += size
      port.sequence = next
    }
  } finally {
    reader.close()
  }
}

function otherTopic(topic: string, sequence: number): HermesError {
  return new HermesError(
    'CORRUPT',
    `Message ${sequence} of topic '${topic}' is another one than in its mirror: the topic was restored from an older copy, or made anew. Mirror into a topic of another name.`,
    { details: { topic, sequence } },
  )
}

/** A mirror has never more than its topic. */
function ahead(topic: string, error: unknown): unknown {
  return error instanceof HermesError && error.code === 'OUT_OF_RANGE' ? shorter(topic, error) : error
}

function shorter(topic: string, cause?: HermesError): HermesError {
  return new HermesError(
    'CORRUPT',
    `The mirror of topic '${topic}' has messages that the topic does not have: the topic was restored from an older copy. Mirror into a topic of another name.`,
    { cause, details: { topic, ...cause?.details } },
  )
}
