import { HermesError } from '../base/errors.js'
import { checkBoolean, checkInteger, invalid, show } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Codec } from '../codec/codec.js'
import { guarded } from '../codec/guarded.js'
import { raw } from '../codec/raw.js'
import { assertCodec } from '../codec/validated.js'
import { maxItemBytes } from './layout.js'
import { RingMemory } from './ring-memory.js'

/** What every ring can be told at creation. */
export interface RingCreateOptions {
  /** Slots, or bytes for an SpscByteRing: a power of two, at most 2^30. */
  readonly capacity: number
  /** Whether threads may sleep on this ring (`waitForItems`, `waitForRoom`). Default true. */
  readonly parking?: boolean
  /** Where the 32-bit position counters begin; for tests of their wrap. Default 0. */
  readonly startIndex?: number
  /**
   * Put the ring in shared memory under this name, for other processes to attach to (Linux). If a ring of this name and these settings is
   * there already, it's opened. It stays until `removeRing(name)` or a reboot. Default: no name, in a SharedArrayBuffer.
   */
  readonly name?: string
}

export function checkCommon(options: RingCreateOptions): {
  parking: boolean
  startIndex: number
  name: string | undefined
} {
  const { parking = true, startIndex = 0, name } = options
  checkBoolean('parking', parking)
  checkInteger('startIndex', startIndex, 0, 0xffff_ffff)
  if (name !== undefined) checkTopicName(name, 'ring')
  return { parking, startIndex: startIndex | 0, name }
}

/** The codec of the options; raw bytes by default. @throws HermesError `INVALID_ARGUMENT` */
export function codecOf(options: { readonly codec?: unknown }): Codec<never, unknown, unknown> {
  const { codec = raw } = options
  assertCodec(codec, "'codec'")
  return guarded(codec)
}

/** The size of an item: from the codec, which must then have one size for all values, or from `itemBytes`. */
export function itemBytesOf(codec: Codec<never, unknown, unknown>, itemBytes: number | undefined): number {
  const bytes = itemBytes ?? codec.maxBytes
  if (bytes === undefined) {
    if (codec === raw) throw invalid("Give a 'codec' with a fixed size, such as struct({…}), or 'itemBytes'.")
    throw invalid(
      `The ${codec.name} codec has no fixed size. Give 'itemBytes' if all values take the same number of bytes, or use an SpscByteRing.`,
      { codec: codec.name },
    )
  }
  checkInteger('itemBytes', bytes, 1, maxItemBytes)
  checkFixed(codec, bytes)
  return bytes
}

/** Of a codec whose values all take the same number of bytes, an item takes that many, too. @throws HermesError `INVALID_ARGUMENT` */
function checkFixed({ name, maxBytes }: Codec<never, unknown, unknown>, itemBytes: number): void {
  if (maxBytes === undefined || itemBytes === maxBytes) return
  throw invalid(
    `'itemBytes' is ${itemBytes}, and each value of the ${name} codec takes ${maxBytes} bytes. Leave 'itemBytes' out.`,
    { codec: name, itemBytes, codecBytes: maxBytes },
  )
}

/** The mark that a codec leaves in a ring's header: the 8 bytes of its fingerprint, or zeros for raw bytes. */
export function tagOf(codec: Codec<never, unknown, unknown>): Uint8Array {
  const digits = codec.name === 'raw' ? '' : codec.fingerprint
  if (digits === '') return new Uint8Array(8)
  if (!/^[0-9a-f]{16}$/.test(digits))
    throw invalid(`The ${codec.name} codec's fingerprint must be 16 hex digits, not ${show(digits)}.`)
  return new Uint8Array(Buffer.from(digits, 'hex'))
}

/** @throws HermesError `CONFIG_MISMATCH`, `INVALID_ARGUMENT` */
export function checkItemBytes(
  memory: RingMemory,
  codec: Codec<never, unknown, unknown>,
  itemBytes: number | undefined,
): void {
  const wanted = itemBytes ?? codec.maxBytes
  if (itemBytes !== undefined) checkFixed(codec, itemBytes)
  if (wanted === undefined || wanted === memory.itemBytes) return
  throw new HermesError(
    'CONFIG_MISMATCH',
    `The ring's items have ${memory.itemBytes} bytes, not ${wanted}. Attach with the creator's codec or size.`,
    { details: { itemBytes: memory.itemBytes, wanted } },
  )
}

/** @throws HermesError `CODEC_MISMATCH`. Raw bytes, on either side, agree with everything. */
export function checkTag(memory: RingMemory, codec: Codec<never, unknown, unknown>): void {
  const ours = Buffer.from(tagOf(codec)).toString('hex')
  const theirs = Buffer.from(memory.tag()).toString('hex')
  const none = '0000000000000000'
  if (ours !== theirs && ours !== none && theirs !== none) {
    throw new HermesError(
      'CODEC_MISMATCH',
      `The ring was made for another layout of its items than this ${codec.name} codec has. Use the same definition on both sides.`,
      { details: { codec: codec.name, ring: theirs, fingerprint: ours } },
    )
  }
}

/**
 * The memory that a ring's constructor was given by `create` or `attach`.
 *
 * @throws HermesError `INVALID_ARGUMENT` for whoever called it with `new`
 */
export function madeBy(ring: string, memory: RingMemory): RingMemory {
  if (memory instanceof RingMemory) return memory
  throw invalid(
    `A ring is not made with 'new ${ring}()': ${ring}.create({ capacity, … }) makes one, and ${ring}.attach(handle, …) joins one that another thread or process made.`,
  )
}

export function wrongSize(codec: string, got: number, itemBytes: number): HermesError {
  return new HermesError(
    'ENCODE_FAILED',
    `The ${codec} value takes ${got} bytes, and each item of this ring takes exactly ${itemBytes}. Use an SpscByteRing for values of changing size.`,
    { details: { codec, got, itemBytes } },
  )
}

export function closed(what: string): HermesError {
  return new HermesError('CLOSED', `The ring's ${what} was closed. Attach again to go on.`)
}

/** For a call by code that an encode or a handler runs. */
export function busy(): HermesError {
  return new HermesError(
    'BUSY',
    'This participant of the ring is in use: it is encoding a value, or running a handler of poll. Call this afterwards, or attach another one.',
  )
}

export function peerDead(who: string): HermesError {
  return new HermesError(
    'PEER_DEAD',
    `The ring's ${who} died. What it had published was delivered; a successor may attach.`,
  )
}
