import { isDeepStrictEqual } from 'node:util'
import { HermesError } from '../../lib/base/errors.js'
import { closedError } from '../../lib/codec/failures.js'
import { regionOf } from '../../lib/codec/region.js'
import * as f from '../../lib/codec/struct/field.js'
import { checkLength, encodeRecord, readError, toJsonRecord } from '../../lib/codec/struct/interpret.js'
import { interpreted } from '../../lib/codec/struct/interpreted.js'
import type { Layout, RecordLayout, TrailingLayout } from '../../lib/codec/struct/layout.js'
import { type DynamicStructView, type StructCodec, struct, structFromSchema } from '../../lib/codec/struct/struct.js'
import type { Random } from '../../lib/testkit/random.js'

type Record = { [name: string]: unknown }
export type AnyStruct = StructCodec<Record, Record, DynamicStructView>

export interface FuzzCounts {
  structs: number
  values: number
  /** Damaged payloads that were read as some value all the same, and that were refused. */
  accepted: number
  refused: number
}

const offset = 40
const room = 6000

/* ---- structs ---- */

export function fixedType(random: Random, depth: number): f.Field {
  const kind = random.below(depth > 0 ? 20 : 17)
  const scalars = [f.u8, f.i8, f.u16, f.i16, f.u32, f.i32, f.u64, f.i64, f.u53, f.i53, f.f32, f.f64, f.bool]
  if (kind < scalars.length) return scalars[kind] as f.Field
  if (kind === 13) return f.ascii(1 + random.below(40))
  if (kind === 14) return f.utf8(1 + random.below(40))
  if (kind === 15) return f.bytes(1 + random.below(40))
  if (kind === 16) return f.enumeration(Array.from({ length: random.pick([1, 2, 3, 9, 256, 257]) }, (_, n) => `L${n}`))
  if (kind === 17) return structOf(random, depth - 1, false)
  return f.array(fixedType(random, depth - 1), 1 + random.below(5))
}

function trailingType(random: Random): f.Field {
  const kind = random.below(3)
  return kind === 0 ? f.varBytes() : kind === 1 ? f.varUtf8() : f.varArray(fixedType(random, 1))
}

export function structOf(random: Random, depth: number, mayTrail: boolean): AnyStruct {
  const fields: { [name: string]: f.Field } = {}
  for (let n = random.below(6); n >= 0; n--) fields[`f${n}`] = fixedType(random, depth)
  if (mayTrail && random.chance(0.5)) fields['rest'] = trailingType(random)
  return struct(fields) as unknown as AnyStruct
}

/* ---- values ---- */

const edges = { u8: [0, 255], i8: [-128, 127], u16: [0, 65_535], i16: [-32_768, 32_767] } as const
const letters = ['a', '~', ' ', '\u007f', 'é', 'ß', '日', '\uffff', '🚀', '\u{10ffff}']

function textOf(random: Random, most: number, choices: readonly string[]): string {
  let text = ''
  for (const wanted = random.below(most + 1); ; ) {
    const letter = random.pick(choices)
    if (Buffer.byteLength(text + letter) > wanted) return text
    text += letter
  }
}

function bytesOf(random: Random, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.below(256))
}

function integerOf(random: Random, least: number, most: number): number {
  if (random.chance(0.3)) return random.pick([least, most])
  const span = most - least
  // Two draws: one has 32 bits only.
  return least + (Math.floor((random.next() / 2 ** 32 + random.next() / 2 ** 64) * span) % (span + 1))
}

function wideOf(random: Random, least: bigint, most: bigint): bigint {
  if (random.chance(0.3)) return random.pick([least, most])
  return least + (((BigInt(random.next()) << 32n) | BigInt(random.next())) % (most - least + 1n))
}

export function fieldOf(type: Layout, random: Random): unknown {
  switch (type.kind) {
    case 'u8':
    case 'i8':
    case 'u16':
    case 'i16':
      return integerOf(random, edges[type.kind][0], edges[type.kind][1])
    case 'u32':
      return integerOf(random, 0, 2 ** 32 - 1)
    case 'i32':
      return integerOf(random, -(2 ** 31), 2 ** 31 - 1)
    case 'u53':
      return integerOf(random, 0, Number.MAX_SAFE_INTEGER)
    case 'i53':
      return random.pick([-1, 1]) * integerOf(random, 0, Number.MAX_SAFE_INTEGER) + 0
    case 'u64':
      return wideOf(random, 0n, 2n ** 64n - 1n)
    case 'i64':
      return wideOf(random, -(2n ** 63n), 2n ** 63n - 1n)
    case 'f32':
    case 'f64': {
      const value = random.pick([0, -0, 1.5, Number.NaN, Infinity, -Infinity, random.next() - random.next(), 2 ** -149])
      return type.kind === 'f32' ? Math.fround(value) : value
    }
    case 'bool':
      return random.chance(0.5)
    case 'ascii':
      return textOf(random, type.size, letters.slice(0, 4))
    case 'utf8':
      return textOf(random, type.size, letters)
    case 'bytes':
      return bytesOf(random, type.size)
    case 'enum':
      return random.pick(type.labels)
    case 'array':
      return Array.from({ length: type.count }, () => fieldOf(type.element, random))
    case 'struct':
      return recordOf(type, random)
  }
}

export function recordOf(layout: RecordLayout, random: Random): Record {
  const value: Record = {}
  for (const { name, type } of layout.fields) value[name] = fieldOf(type, random)
  if (layout.trailing !== undefined) value[layout.trailing.name] = partOf(layout.trailing.type, random)
  return value
}

function partOf({ kind, element }: TrailingLayout, random: Random): unknown {
  const count = random.pick([0, 1, 7, 8, 9, random.below(64)])
  if (kind === 'varBytes') return bytesOf(random, count)
  if (kind === 'varUtf8') return textOf(random, count, [...letters, '\0'])
  return Array.from({ length: Math.min(count, 12) }, () => fieldOf(element as Layout, random))
}

/* ---- what a decoded value may be ---- */

function isNumber(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most
}

function isWellFormed(value: unknown): value is string {
  return typeof value === 'string' && Buffer.from(value).toString() === value
}

function belongs(type: Layout, value: unknown): boolean {
  switch (type.kind) {
    case 'u8':
    case 'i8':
    case 'u16':
    case 'i16':
      return isNumber(value, edges[type.kind][0], edges[type.kind][1])
    case 'u32':
      return isNumber(value, 0, 2 ** 32 - 1)
    case 'i32':
      return isNumber(value, -(2 ** 31), 2 ** 31 - 1)
    case 'u53':
      return isNumber(value, 0, Number.MAX_SAFE_INTEGER)
    case 'i53':
      return isNumber(value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    case 'u64':
      return typeof value === 'bigint' && value === BigInt.asUintN(64, value)
    case 'i64':
      return typeof value === 'bigint' && value === BigInt.asIntN(64, value)
    case 'f32':
      return typeof value === 'number' && Object.is(value, Math.fround(value))
    case 'f64':
      return typeof value === 'number'
    case 'bool':
      return typeof value === 'boolean'
    case 'ascii':
      // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII but U+0000
      return typeof value === 'string' && value.length <= type.size && /^[\u0001-\u007f]*$/.test(value)
    case 'utf8':
      return isWellFormed(value) && Buffer.byteLength(value) <= type.size && !value.includes('\0')
    case 'bytes':
      return value instanceof Uint8Array && value.length === type.size
    case 'enum':
      return type.labels.includes(value as string)
    case 'array':
      return Array.isArray(value) && value.length === type.count && value.every((one) => belongs(type.element, one))
    case 'struct':
      return isRecord(type, value)
  }
}

function isRecord(layout: RecordLayout, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const record = value as Record
  const names = layout.fields.map(({ name }) => name)
  if (layout.trailing !== undefined) names.push(layout.trailing.name)
  if (!isDeepStrictEqual(Object.keys(record), names)) return false
  if (!layout.fields.every(({ name, type }) => belongs(type, record[name]))) return false
  if (layout.trailing === undefined) return true
  const { kind, element } = layout.trailing.type
  const part = record[layout.trailing.name]
  if (kind === 'varBytes') return part instanceof Uint8Array
  if (kind === 'varUtf8') return isWellFormed(part)
  return Array.isArray(part) && part.every((one) => belongs(element as Layout, one))
}

/* ---- one case ---- */

interface Outcome {
  readonly value?: unknown
  readonly code?: string
}

/** What does the work where the process forbids code generation. */
export function interpreterOf(layout: RecordLayout): ReturnType<typeof interpreted> {
  return interpreted(layout, {
    slowEncode: (value, target, at, limit) => encodeRecord(layout, value, target, at, limit),
    checkLength: (length) => checkLength(layout, length),
    readError: (error) => readError(error, closedError),
    toJson: (value) => toJsonRecord(layout, value),
    inspect: String,
    nested: interpreterOf,
  })
}

/** What reading gives. Only a HermesError is an answer; anything else comes out of here. */
function outcome(read: () => unknown): Outcome {
  try {
    return { value: read() }
  } catch (error) {
    if (error instanceof HermesError) return { code: error.code }
    throw error
  }
}

/** The payload amid other bytes than the last time: reading beyond its ends gives another value then. */
function amid(payload: Uint8Array, filling: number) {
  const region = regionOf(new Uint8Array(payload.length + 2 * offset).fill(filling))
  region.bytes.set(payload, offset)
  return region
}

function damaged(payload: Uint8Array, random: Random): Uint8Array {
  const bytes = Uint8Array.from(payload)
  const kind = random.below(5)
  if (kind === 0) return bytes.slice(0, random.below(bytes.length + 1))
  if (kind === 1) return Uint8Array.from([...bytes, ...bytesOf(random, 1 + random.below(20))])
  if (kind === 2) return bytesOf(random, bytes.length)
  for (let n = 1 + random.below(kind === 3 ? 1 : 8); n > 0 && bytes.length > 0; n--) {
    const at = random.below(bytes.length)
    bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
  }
  return bytes
}

/**
 * Makes a struct at random and values of it, and encodes, decodes and damages them. Throws what is wrong: a value that comes back otherwise, bytes
 * touched or read outside of the payload, a decoded value that is none of the struct, an error that is no HermesError, and ways of reading that disagree.
 */
export function fuzzStruct(random: Random, counts: FuzzCounts): void {
  const codec = structOf(random, 2, true)
  const layout = f.layoutOf(codec, 'fuzz') as RecordLayout
  const reference = interpreterOf(layout)
  const other = structFromSchema(JSON.parse(JSON.stringify(codec.schema)))
  counts.structs++
  const wrong = (what: string, ...facts: unknown[]) =>
    new Error(
      `${what} ${JSON.stringify({ schema: codec.schema, facts }, (_, one) => (typeof one === 'bigint' ? `${one}n` : one))}`,
    )
  if (other.fingerprint !== codec.fingerprint) throw wrong('the schema gives another fingerprint')

  const readings = (payload: Uint8Array) => {
    const { length } = payload
    const at = amid(payload, 0xaa)
    const elsewhere = amid(payload, 0x55)
    const view = () => codec.reader().read(at, offset, length)
    const byNames = () => {
      const seen = view()
      const names = [...layout.fields.map(({ name }) => name), ...(layout.trailing ? [layout.trailing.name] : [])]
      return Object.fromEntries(
        names.map((name) => {
          const one = seen[name] as { toObject?: () => unknown } | undefined
          return [name, typeof one?.toObject === 'function' ? one.toObject() : one]
        }),
      )
    }
    const first = outcome(() => codec.decode(at, offset, length))
    const all = {
      elsewhere: outcome(() => codec.decode(elsewhere, offset, length)),
      view: outcome(() => view().toObject()),
      names: outcome(byNames),
      interpreter: outcome(() => reference.decode(at, offset, length)),
      schema: outcome(() => other.decode(at, offset, length)),
    }
    for (const [how, one] of Object.entries(all))
      if (!isDeepStrictEqual(one, first)) throw wrong(`decode and ${how} disagree`, [...payload], first, one)
    return first
  }
  const encoded = (value: Record) => {
    const target = regionOf(new Uint8Array(room).fill(0xaa))
    const second = regionOf(new Uint8Array(room).fill(0xaa))
    const limit = room - offset
    const length = codec.encode(value, target, offset, limit)
    const again = reference.encode(value, second, offset, limit)
    const payload = target.bytes.slice(offset, offset + length)
    if (again !== length || Buffer.compare(payload, second.bytes.subarray(offset, offset + again)) !== 0)
      throw wrong('the interpreter encodes otherwise', value)
    if ([...target.bytes.subarray(0, offset), ...target.bytes.subarray(limit)].some((byte) => byte !== 0xaa))
      throw wrong('bytes outside were written to', value)
    return payload
  }
  for (let n = 0; n < 4; n++) {
    const value = recordOf(layout, random)
    const payload = encoded(value)
    counts.values++
    const back = readings(payload)
    if (!isDeepStrictEqual(back.value, value)) throw wrong('a value does not come back', value, back)
    const tight = outcome(() => codec.encode(value, regionOf(new Uint8Array(payload.length)), 0, payload.length - 1))
    if (tight.code !== 'PAYLOAD_TOO_LARGE') throw wrong('a limit was not kept', value, tight)
    for (let m = 0; m < 8; m++) {
      const bad = damaged(payload, random)
      const { code, value: found } = readings(bad)
      if (code !== undefined) {
        if (code !== 'DECODE_FAILED') throw wrong(`reading fails with ${code}`, [...bad])
        counts.refused++
        continue
      }
      counts.accepted++
      if (!isRecord(layout, found)) throw wrong('a decoded value is none of the struct', [...bad], found)
      if (!isDeepStrictEqual(readings(encoded(found as Record)).value, found))
        throw wrong('a decoded value does not come back', [...bad], found)
    }
  }
}
