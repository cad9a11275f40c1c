import type { Region } from '../codec/codec.js'
import { closedError } from '../codec/failures.js'
import { frameOffset } from '../frame/frame.js'

/** A message that is the receiver's own: it stays valid for ever. What iterators yield. */
export class Message<Out> {
  readonly value: Out
  /** Dense per topic, from 1. */
  readonly sequence: number
  readonly #timestampLow: number
  readonly #timestampHigh: number

  /** @internal */
  constructor(value: Out, sequence: number, timestampLow: number, timestampHigh: number) {
    this.value = value
    this.sequence = sequence
    this.#timestampLow = timestampLow
    this.#timestampHigh = timestampHigh
  }

  /** When the publisher published it: nanoseconds since 1970 by its clock. */
  get timestampNs(): bigint {
    return (BigInt(this.#timestampHigh) << 32n) | BigInt(this.#timestampLow)
  }

  /** The same as a Date: to the millisecond, rounded down. */
  get date(): Date {
    return new Date(Number(this.timestampNs / 1_000_000n))
  }

  /** What `JSON.stringify` takes: 64-bit integers, the timestamp among them, as decimal text, as views have it. */
  toJSON(): { readonly sequence: number; readonly timestampNs: string; readonly value: unknown } {
    return { sequence: this.sequence, timestampNs: String(this.timestampNs), value: plain(this.value) }
  }
}

/** The value with bigints as decimal text. What has a `toJSON` of its own says by itself what it is. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]))
}

/**
 * What a `poll` handler is told about its message. One object serves all messages of a subscriber: it is valid only until the
 * handler returns, and tells of another message afterwards. Copy what you want to keep.
 */
export interface MessageView {
  /** Dense per topic, from 1. */
  readonly sequence: number
  /** When the publisher published it: nanoseconds since 1970 by its clock. Made when asked for. */
  readonly timestampNs: bigint
  /** Bytes of the encoded payload. */
  readonly payloadBytes: number
  /** A copy of the encoded payload. */
  copyPayload(): Uint8Array
}

/** The one MessageView of a subscriber. */
export class MessageCursor implements MessageView {
  // Not a small integer from the beginning, so that V8 keeps a double in place and allocates nothing per message.
  sequence = 0.5
  payloadBytes = 0
  #region: Region
  #offset = 0

  constructor(region: Region) {
    this.#region = region
  }

  /** Points at the frame at `offset`. */
  moveTo(region: Region, offset: number, length: number, sequence: number): void {
    this.#region = region
    this.#offset = offset
    this.payloadBytes = length
    this.sequence = sequence
  }

  get timestampNs(): bigint {
    try {
      return this.#region.data.getBigUint64(this.#offset + frameOffset.timestampNs, true)
    } catch (error) {
      throw closedError(error)
    }
  }

  copyPayload(): Uint8Array {
    const from = this.#offset + frameOffset.payload
    try {
      return this.#region.bytes.slice(from, from + this.payloadBytes)
    } catch (error) {
      throw closedError(error)
    }
  }
}
