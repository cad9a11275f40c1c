import { HermesError } from '../base/errors.js'
import type { ScratchLayouts } from './scratch.js'

/**
 * Offsets in bytes, of the scratch memory that a group's member shares with the addon: see native/binding/scratch_layout.h. Compared when a
 * member is made, and not when the addon is loaded: one without groups serves all who have none.
 */
const layout = {
  limit: 0,
  count: 4,
  stop: 8,
  status: 12,
  needed: 16,
  sequence: 24,
  outcome: 32,
  delay: 40,
  claimed: 64,
  settling: 6208,
  lost: 12352,
  frames: 12608,
  recordSequence: 0,
  recordFrame: 8,
  recordDeliveries: 12,
  recordNumber: 16,
  recordBucket: 20,
  recordBytes: 24,
} as const

/** @throws HermesError `NATIVE_UNAVAILABLE` if the addon is of another version, or has no groups */
export function checkMemberScratch(addon: ScratchLayouts | undefined): void {
  const other = addon?.member ?? {}
  for (const [field, at] of Object.entries(layout)) {
    if (other[field] === at) continue
    throw new HermesError(
      'NATIVE_UNAVAILABLE',
      `The native addon is of another version of hermes-mq: member.${field} is at ${at} here and at ${other[field] ?? 'no offset'} in the addon. Build it anew: npm run build:native.`,
    )
  }
}

const word = (offset: number): number => offset / 4
const recordWords = word(layout.recordBytes)
const claimedAt = word(layout.claimed)
const settlingAt = word(layout.settling)
const sequenceAt = word(layout.recordSequence)
const frameAt = word(layout.recordFrame)
const deliveriesAt = word(layout.recordDeliveries)
const numberAt = word(layout.recordNumber)
const bucketAt = word(layout.recordBucket)
const high = 2 ** 32
const frameHeaderBytes = 32
const framePayloadLength = 24
const frameTimestamp = 16

/** What a claim has got, and what is to be settled. */
export class MemberScratch {
  readonly buffer: ArrayBuffer
  /** The whole of the memory: payloads lie at `payloadAt(i)`. */
  readonly bytes: Uint8Array
  readonly data: DataView
  readonly #words: Uint32Array
  readonly #numbers: Float64Array

  /** @param frameBytes room for frames */
  constructor(frameBytes: number) {
    this.buffer = new ArrayBuffer(Math.ceil((layout.frames + frameBytes) / 8) * 8)
    this.bytes = new Uint8Array(this.buffer)
    this.data = new DataView(this.buffer)
    this.#words = new Uint32Array(this.buffer)
    this.#numbers = new Float64Array(this.buffer)
  }

  setLimit(messages: number): void {
    this.#words[layout.limit / 4] = messages
  }

  /** Messages claimed, or settled. */
  get count(): number {
    return this.#words[layout.count / 4] as number
  }

  /** One of the addon's `constants.claim…`. */
  get stop(): number {
    return this.#words[layout.stop / 4] as number
  }

  get hasFailed(): boolean {
    return this.#words[layout.status / 4] !== 0
  }

  /** Bytes for the next message. */
  get needed(): number {
    return this.#numbers[layout.needed / 8] as number
  }

  /** Of the message that is damaged. */
  get sequence(): number {
    return this.#numbers[layout.sequence / 8] as number
  }

  sequenceOf(index: number): number {
    const at = claimedAt + index * recordWords + sequenceAt
    return (this.#words[at] as number) + (this.#words[at + 1] as number) * high
  }

  deliveriesOf(index: number): number {
    return this.#words[claimedAt + index * recordWords + deliveriesAt] as number
  }

  /** Of the claim. */
  numberOf(index: number): number {
    return this.#words[claimedAt + index * recordWords + numberAt] as number
  }

  bucketOf(index: number): number {
    return this.#words[claimedAt + index * recordWords + bucketAt] as number
  }

  setBucket(index: number, bucket: number): void {
    this.#words[claimedAt + index * recordWords + bucketAt] = bucket
  }

  /** Where the frame begins in `bytes`; frames lie back to back, in the order of the records. */
  frameAt(index: number): number {
    return layout.frames + (this.#words[claimedAt + index * recordWords + frameAt] as number)
  }

  payloadAt(index: number): number {
    return this.frameAt(index) + frameHeaderBytes
  }

  lengthOf(index: number): number {
    return this.#words[word(this.frameAt(index) + framePayloadLength)] as number
  }

  timestampOf(index: number): bigint {
    return this.data.getBigUint64(this.frameAt(index) + frameTimestamp, true)
  }

  /** The next settling is of `count` messages. `delayMs` below 0: the group's back-off. */
  setSettling(count: number, outcome: number, delayMs: number): void {
    this.#words[layout.limit / 4] = count
    this.#words[layout.outcome / 4] = outcome
    this.#numbers[layout.delay / 8] = delayMs
  }

  /** Puts one message among those to be settled. */
  putSettling(index: number, sequence: number, deliveries: number, number: number): void {
    const words = this.#words
    const at = settlingAt + index * recordWords
    words[at + sequenceAt] = sequence >>> 0
    words[at + sequenceAt + 1] = Math.floor(sequence / high)
    words[at + deliveriesAt] = deliveries
    words[at + numberAt] = number
  }

  /** Puts messages of the last claim among those to be settled, from the first one on. */
  putClaimed(from: number, to: number): void {
    this.#words.copyWithin(settlingAt, claimedAt + from * recordWords, claimedAt + to * recordWords)
  }

  /** Whether a message that was to be settled was the member's no more. */
  wasLost(index: number): boolean {
    return this.bytes[layout.lost + index] !== 0
  }
}
