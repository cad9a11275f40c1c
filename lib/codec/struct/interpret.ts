/**
 * Reads and writes structs by walking over their layout. This is the reference: the generated code (generate.ts) does
 * the common cases and leaves all others to it, among them every value that has to be refused. It also does all the
 * work where the process forbids code generation.
 */
import { Buffer } from '../../base/buffer.js'
import { HermesError } from '../../base/errors.js'
import { isUint8Array, lengthOf } from '../../base/plain-bytes.js'
import type { Region } from '../codec.js'
import { describe, invalidArgument, isOurs, messageOf, payloadTooLarge } from '../failures.js'
import { copyOut } from '../region.js'
import {
  illFormed,
  isWellFormed,
  readAscii,
  readUtf8,
  readUtf8Field,
  tooLong,
  writeUtf8,
  writeUtf8Field,
} from '../strings.js'
import {
  type EnumLayout,
  type Layout,
  type RecordLayout,
  type ScalarKind,
  sizesOf,
  type TrailingLayout,
} from './layout.js'

const two32 = 0x1_0000_0000
/** The largest finite float of 32 bits is 3.4e38; from here on numbers round to infinity. */
const float32Overflow = 3.4028235677973366e38

/** A value that was refused. The path grows outwards as the error passes the records that hold the value. */
class Refused {
  readonly path: (string | number)[] = []
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
  }
}

function refuse(expected: string, value: unknown): never {
  throw new Refused(
    value === undefined ? `is missing: expected ${expected}` : `expects ${expected}, got ${describe(value)}`,
  )
}

/** The name of a struct in messages. */
function titleOf(layout: RecordLayout): string {
  return layout.name ?? 'struct'
}

/** Writes `value` and returns the number of bytes written. Throws as `Codec.encode` does. */
export function encodeRecord(
  layout: RecordLayout,
  value: unknown,
  target: Region,
  offset: number,
  limit: number,
): number {
  const room = limit - offset
  if (layout.size > room) throw payloadTooLarge(titleOf(layout), room, layout.size)
  try {
    writeRecord(layout, value, target, offset)
    if (layout.trailing === undefined) return layout.size
    const part = (value as Readonly<Record<string, unknown>>)[layout.trailing.name]
    try {
      return layout.size + writeTrailing(layout, layout.trailing.type, part, target, offset, limit)
    } catch (error) {
      throw located(error, layout.trailing.name)
    }
  } catch (error) {
    throw encodeError(layout, error)
  }
}

/** Turns whatever encoding threw into a HermesError. */
function encodeError(layout: RecordLayout, error: unknown): HermesError {
  if (isOurs(error)) return error
  const title = titleOf(layout)
  if (error instanceof Refused) {
    const field = pathText(error.path)
    const what =
      field === '' ? `the value ${error.reason.replace(/^expects/, 'must be')}` : `field '${field}' ${error.reason}`
    return new HermesError('ENCODE_FAILED', `Can't encode ${title}: ${what}.`, {
      details: { codec: 'struct', struct: title, field },
    })
  }
  // A getter or valueOf of the user's threw.
  return new HermesError('ENCODE_FAILED', `Can't encode ${title}: ${messageOf(error)}`, {
    cause: error,
    details: { codec: 'struct', struct: title },
  })
}

function located(error: unknown, key: string | number): unknown {
  if (error instanceof Refused) error.path.unshift(key)
  return error
}

function pathText(path: readonly (string | number)[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  )
}

const mostNamed = 8

function fieldNames({ fields, trailing }: RecordLayout): string {
  const names = [...fields, ...(trailing === undefined ? [] : [trailing])].map(({ name }) => name)
  const more = names.length - mostNamed
  return `${names.slice(0, mostNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function writeRecord(layout: RecordLayout, value: unknown, target: Region, offset: number): void {
  if (typeof value !== 'object' || value === null) refuse(`an object with the fields ${fieldNames(layout)}`, value)
  const record = value as Readonly<Record<string, unknown>>
  for (const field of layout.fields) {
    try {
      const own = record[field.name]
      if (own === undefined && field.fallback !== undefined) target.bytes.set(field.fallback, offset + field.offset)
      else writeValue(field.type, own, target, offset + field.offset)
    } catch (error) {
      throw located(error, field.name)
    }
  }
  for (const gap of layout.gaps) target.bytes.fill(0, offset + gap.offset, offset + gap.offset + gap.length)
}

function writeValue(type: Layout, value: unknown, target: Region, offset: number): void {
  const { data, bytes } = target
  switch (type.kind) {
    case 'u8':
      return data.setUint8(offset, integer(type.kind, value, 0, 0xff))
    case 'i8':
      return data.setInt8(offset, integer(type.kind, value, -0x80, 0x7f))
    case 'u16':
      return data.setUint16(offset, integer(type.kind, value, 0, 0xffff), true)
    case 'i16':
      return data.setInt16(offset, integer(type.kind, value, -0x8000, 0x7fff), true)
    case 'u32':
      return data.setUint32(offset, integer(type.kind, value, 0, 0xffff_ffff), true)
    case 'i32':
      return data.setInt32(offset, integer(type.kind, value, -0x8000_0000, 0x7fff_ffff), true)
    case 'u53':
      return writeSafe(data, offset, integer(type.kind, value, 0, Number.MAX_SAFE_INTEGER))
    case 'i53':
      return writeSafe(data, offset, integer(type.kind, value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
    case 'u64':
      return data.setBigUint64(offset, wide(type.kind, value, 0n, 0xffff_ffff_ffff_ffffn), true)
    case 'i64':
      return data.setBigInt64(offset, wide(type.kind, value, -(2n ** 63n), 2n ** 63n - 1n), true)
    case 'f32': {
      if (typeof value !== 'number') return refuse('a number (f32)', value)
      if (Math.abs(value) >= float32Overflow && Math.abs(value) !== Infinity) {
        return refuse('a number from -3.4028234663852886e38 to 3.4028234663852886e38, or an infinity (f32)', value)
      }
      return data.setFloat32(offset, value, true)
    }
    case 'f64':
      if (typeof value !== 'number') return refuse('a number (f64)', value)
      return data.setFloat64(offset, value, true)
    case 'bool':
      if (typeof value !== 'boolean') return refuse('true or false (bool)', value)
      return data.setUint8(offset, value ? 1 : 0)
    case 'ascii':
      return writeAscii(bytes, offset, type.size, value)
    case 'utf8':
      return writeFixedUtf8(bytes, offset, type.size, value)
    case 'bytes':
      if (!isUint8Array(value) || lengthOf(value) !== type.size) {
        return refuse(
          `a Uint8Array of exactly ${type.size} bytes (bytes(${type.size}))`,
          isUint8Array(value) ? lengthOf(value) : value,
        )
      }
      return bytes.set(value, offset)
    case 'enum': {
      const index = type.indexes.get(value)
      if (index === undefined) return refuse(`one of ${listLabels(type)}`, value)
      return type.size === 1 ? data.setUint8(offset, index) : data.setUint16(offset, index, true)
    }
    case 'array':
      return writeElements(type.element, elements(value, type.count), target, offset)
    case 'struct':
      return writeRecord(type, value, target, offset)
  }
}

function integer(kind: ScalarKind, value: unknown, low: number, high: number): number {
  if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) return value as number
  return refuse(`an integer from ${low} to ${high} (${kind})`, value)
}

function wide(kind: ScalarKind, value: unknown, low: bigint, high: bigint): bigint {
  if (typeof value === 'bigint' && value >= low && value <= high) return value
  return refuse(`a bigint from ${low}n to ${high}n (${kind})`, value)
}

function writeSafe(data: DataView, offset: number, value: number): void {
  data.setUint32(offset, value >>> 0, true)
  data.setInt32(offset + 4, Math.floor(value / two32), true)
}

function writeAscii(bytes: Uint8Array, offset: number, size: number, value: unknown): void {
  const expected = `a string of at most ${size} ASCII characters without U+0000 (ascii(${size}))`
  if (typeof value !== 'string' || value.length > size) return refuse(expected, value)
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index)
    if (code === 0 || code > 127) return refuse(expected, value)
    bytes[offset + index] = code
  }
  bytes.fill(0, offset + value.length, offset + size)
}

function writeFixedUtf8(bytes: Uint8Array, offset: number, size: number, value: unknown): void {
  const expected = `a string of at most ${size} bytes of UTF-8 without U+0000 (utf8(${size}))`
  if (typeof value !== 'string') return refuse(expected, value)
  if (!isWellFormed(value)) throw new Refused('holds half of a surrogate pair, which UTF-8 cannot express')
  if (!writeUtf8Field(bytes, offset, size, value)) return refuse(expected, value)
}

function listLabels(type: EnumLayout): string {
  const shown = type.labels.slice(0, 8).map((label) => JSON.stringify(label))
  return shown.join(', ') + (type.labels.length > 8 ? `, … (${type.labels.length} labels)` : '')
}

function elements(value: unknown, count?: number): ArrayLike<unknown> {
  const list = typeof value === 'object' && value !== null ? (value as ArrayLike<unknown>) : undefined
  const length = list?.length
  if (list === undefined || !Number.isInteger(length) || (length as number) < 0) {
    return refuse(count === undefined ? 'an array' : `an array of exactly ${count}`, value)
  }
  if (count !== undefined && length !== count) return refuse(`an array of exactly ${count}`, value)
  return list
}

function writeElements(
  element: Layout,
  list: ArrayLike<unknown>,
  target: Region,
  offset: number,
  count = list.length,
): void {
  for (let index = 0; index < count; index++) {
    try {
      writeValue(element, list[index], target, offset + index * element.size)
    } catch (error) {
      throw located(error, index)
    }
  }
}

/** Writes the trailing part after the fixed part of the struct at `offset`. Returns its size in bytes. */
function writeTrailing(
  layout: RecordLayout,
  type: TrailingLayout,
  value: unknown,
  target: Region,
  offset: number,
  limit: number,
): number {
  const start = offset + layout.size
  const room = limit - start
  const whole = limit - offset
  if (type.element !== undefined) {
    const list = elements(value)
    const count = list.length
    const size = count * type.stride
    if (size > room) throw payloadTooLarge(titleOf(layout), whole, layout.size + size)
    writeElements(type.element, list, target, start, count)
    return size
  }
  if (type.kind === 'varBytes') {
    if (!isUint8Array(value)) return refuse('a Uint8Array (varBytes)', value)
    const size = lengthOf(value)
    if (size > room) throw payloadTooLarge(titleOf(layout), whole, layout.size + size)
    target.bytes.set(value, start)
    return size
  }
  if (typeof value !== 'string') return refuse('a string (varUtf8)', value)
  const written = writeUtf8(target.bytes, start, limit, value)
  if (written === tooLong) throw payloadTooLarge(titleOf(layout), whole)
  if (written === illFormed) throw new Refused('holds half of a surrogate pair, which UTF-8 cannot express')
  return written
}

/** The bytes of one field's value. Throws `INVALID_ARGUMENT`. */
export function fieldBytes(name: string, type: Layout, value: unknown): Uint8Array {
  const bytes = new Uint8Array(type.size)
  try {
    writeValue(type, value, { bytes, data: new DataView(bytes.buffer) }, 0)
  } catch (error) {
    const reason = error instanceof Refused ? error.reason : error instanceof Error ? error.message : String(error)
    const where = error instanceof Refused ? pathText([name, ...error.path]) : name
    throw invalidArgument(`withDefault(): the default of field '${where}' ${reason}.`)
  }
  return bytes
}

/** An owned value. The caller has checked the length with `checkLength`. */
export function readRecord(
  layout: RecordLayout,
  source: Region,
  offset: number,
  length: number,
): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  for (const field of layout.fields) value[field.name] = readValue(field.type, source, offset + field.offset)
  const rest = layout.trailing
  if (rest !== undefined) {
    value[rest.name] = readTrailing(rest.type, source, offset + layout.size, length - layout.size)
  }
  return value
}

export function readValue(type: Layout, source: Region, offset: number): unknown {
  const { data, bytes } = source
  switch (type.kind) {
    case 'u8':
      return data.getUint8(offset)
    case 'i8':
      return data.getInt8(offset)
    case 'u16':
      return data.getUint16(offset, true)
    case 'i16':
      return data.getInt16(offset, true)
    case 'u32':
      return data.getUint32(offset, true)
    case 'i32':
      return data.getInt32(offset, true)
    case 'u53':
      return readSafe(data.getUint32(offset, true), data.getUint32(offset + 4, true))
    case 'i53':
      return readSafe(data.getUint32(offset, true), data.getInt32(offset + 4, true))
    case 'u64':
      return data.getBigUint64(offset, true)
    case 'i64':
      return data.getBigInt64(offset, true)
    case 'f32':
      return data.getFloat32(offset, true)
    case 'f64':
      return data.getFloat64(offset, true)
    case 'bool':
      return data.getUint8(offset) !== 0
    case 'ascii':
      return readAscii(data, bytes, offset, type.size)
    case 'utf8':
      return readUtf8Field(data, bytes, offset, type.size)
    case 'bytes':
      return copyOut(bytes, offset, type.size)
    case 'enum':
      return labelAt(type.labels, type.size === 1 ? data.getUint8(offset) : data.getUint16(offset, true))
    case 'array':
      return readElements(type.element, type.count, source, offset)
    case 'struct':
      return readRecord(type, source, offset, type.size)
  }
}

function readElements(element: Layout, count: number, source: Region, offset: number): unknown[] {
  const list: unknown[] = []
  for (let index = 0; index < count; index++) list.push(readValue(element, source, offset + index * element.size))
  return list
}

/** Reads the trailing part, which has `length` bytes. */
export function readTrailing(type: TrailingLayout, source: Region, offset: number, length: number): unknown {
  // This throws for released memory, which an empty part would not notice.
  source.data.byteLength
  if (type.element !== undefined) return readElements(type.element, length / type.stride, source, offset)
  return type.kind === 'varBytes' ? copyOut(source.bytes, offset, length) : readUtf8(source.bytes, offset, length)
}

/** A 64-bit integer from its halves. Throws `DECODE_FAILED` beyond the safe integers. */
export function readSafe(low: number, high: number): number {
  const value = high * two32 + low
  if (Number.isSafeInteger(value)) return value
  throw damaged('a u53 or i53 field holds an integer beyond 2^53 - 1; declare it as u64 or i64 to read it')
}

export function labelAt(labels: readonly string[], index: number): string {
  const label = labels[index]
  if (label === undefined) throw damaged(`an enum field holds ${index}, and it has ${labels.length} labels`)
  return label
}

function damaged(reason: string): HermesError {
  return new HermesError('DECODE_FAILED', `Can't decode a struct: ${reason}.`, { details: { codec: 'struct' } })
}

/**
 * Throws `DECODE_FAILED` for a payload length that no value of the struct has. A longer one is of a struct that has grown from this one: what lies
 * behind the known fields is not looked at.
 */
export function checkLength(layout: RecordLayout, length: number): void {
  if (layout.trailing === undefined ? fits(layout, length) : trailingFits(layout, layout.trailing.type, length)) return
  wrongLength(layout, length)
}

/** @throws HermesError `DECODE_FAILED` */
export function wrongLength(layout: RecordLayout, length: number): never {
  const stride = layout.trailing?.type.stride ?? 0
  const expected =
    stride === 0
      ? sizesOf(layout)
          .map((size) => `${size} bytes`)
          .join(' or ')
      : `${layout.size} bytes and more${stride > 1 ? `, in steps of ${stride}` : ''}`
  throw new HermesError(
    'DECODE_FAILED',
    `Can't decode ${titleOf(layout)}: a payload has ${expected}, and this one ${length}.`,
    {
      details: { codec: 'struct', struct: titleOf(layout), size: layout.size, length },
    },
  )
}

function fits({ size, align }: RecordLayout, length: number): boolean {
  return length >= size && length % align === 0
}

function trailingFits(layout: RecordLayout, type: TrailingLayout, length: number): boolean {
  return length >= layout.size && (length - layout.size) % type.stride === 0
}

/** The value with bigints as decimal strings and bytes as base64: what JSON can hold. */
export function toJsonRecord(layout: RecordLayout, value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const { name, type } of layout.fields) out[name] = toJsonValue(type, value[name])
  const rest = layout.trailing
  if (rest !== undefined) out[rest.name] = toJsonTrailing(rest.type, value[rest.name])
  return out
}

function toJsonValue(type: Layout, value: unknown): unknown {
  switch (type.kind) {
    case 'u64':
    case 'i64':
      return String(value)
    case 'bytes':
      return base64(value as Uint8Array)
    case 'array':
      return (value as readonly unknown[]).map((one) => toJsonValue(type.element, one))
    case 'struct':
      return toJsonRecord(type, value as Readonly<Record<string, unknown>>)
    default:
      return value
  }
}

function toJsonTrailing(type: TrailingLayout, value: unknown): unknown {
  const { element } = type
  if (element !== undefined) return (value as readonly unknown[]).map((one) => toJsonValue(element, one))
  return type.kind === 'varBytes' ? base64(value as Uint8Array) : value
}

function base64(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
}

/** Turns whatever reading threw into a HermesError. */
export function readError(error: unknown, closed: (cause: unknown) => HermesError): HermesError {
  if (error instanceof HermesError) return error
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return damaged('a utf8 field does not hold valid UTF-8')
  return closed(error)
}
