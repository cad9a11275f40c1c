import { readFile } from 'node:fs/promises'
import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import {
  array,
  ascii,
  bool,
  bytes,
  enumeration,
  type Field,
  f32,
  f64,
  i8,
  i16,
  i32,
  i53,
  i64,
  u8,
  u16,
  u32,
  u53,
  u64,
  utf8,
  varArray,
  varBytes,
  varUtf8,
} from '../codec/struct/field.js'
import type { TypeSchema } from '../codec/struct/schema.js'
import { type StructCodec, struct, structFromSchema } from '../codec/struct/struct.js'
import { fromFile } from './file.js'

/*
 * Struct schemas on the command line: in the full form that a topic keeps, or in a short one that people write:
 * {"symbol": "ascii(8)", "price": "f64", "levels": "u32[5]", "side": "enum(buy,sell)"}
 */

export type AnyStruct = StructCodec<Record<string, unknown>, Record<string, unknown>, unknown>

/** @param given a path, or the JSON itself, which begins with `{` */
export async function readSchema(given: string): Promise<AnyStruct> {
  const inline = given.trimStart().startsWith('{')
  const where = inline ? 'the --schema' : given
  const text = inline ? given : await readFile(given, 'utf8').catch((error) => fromFile(error, given))
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw invalid(`${where} is not JSON: ${(error as Error).message}.`)
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw invalid(
      `${where} must be a JSON object: a schema as \`hermes info <topic> --schema\` prints it, or field names with types.`,
    )
  }
  return (content as { format?: unknown }).format === 'hermes-struct'
    ? structFromSchema(content)
    : structOf(content as Record<string, unknown>)
}

export function structOf(spec: Readonly<Record<string, unknown>>, depth = 0): AnyStruct {
  // Not by assignment: __proto__ would be no field then, without an error.
  const fields = Object.fromEntries(Object.entries(spec).map(([name, type]) => [name, fieldOf(name, type, depth)]))
  return struct(fields) as unknown as AnyStruct
}

/** As struct allows. */
const maxDepth = 16

const plainTypes: Readonly<Record<string, Field>> = {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  u53,
  i53,
  f32,
  f64,
  bool,
  varBytes: varBytes(),
  varUtf8: varUtf8(),
}
const sizedTypes: Readonly<Record<string, (size: number) => Field>> = { ascii, utf8, bytes }

function fieldOf(name: string, type: unknown, depth: number): Field {
  if (depth > maxDepth) throw invalid(`The schema's field '${name.slice(0, 64)}' is nested more than ${maxDepth} deep.`)
  if (typeof type === 'object' && type !== null && !Array.isArray(type)) {
    return structOf(type as Record<string, unknown>, depth + 1) as unknown as Field
  }
  if (typeof type !== 'string')
    throw invalid(`The schema's field '${name}' must have a type such as "f64" or "ascii(8)".`)
  const text = type.trim()
  const [, element = '', count = ''] = /^(.+)\[(\d*)\]$/.exec(text) ?? []
  if (element !== '') {
    const of = fieldOf(name, element, depth + 1)
    return count === '' ? varArray(of) : array(of, Number(count))
  }
  const [, kind = '', inner = ''] = /^(\w+)\s*\(([^()]*)\)$/.exec(text) ?? []
  if (kind === 'enum') return enumeration(inner.split(',').map((label) => label.trim()))
  const sized = Object.hasOwn(sizedTypes, kind) ? sizedTypes[kind] : undefined
  if (sized !== undefined && /^\d+$/.test(inner)) return sized(Number(inner))
  const plain = Object.hasOwn(plainTypes, text) ? plainTypes[text] : undefined
  if (plain !== undefined) return plain
  throw invalid(
    `The schema's field '${name}' has the unknown type '${text}'. Types: ${Object.keys(plainTypes).join(', ')}, ` +
      'ascii(n), utf8(n), bytes(n), enum(a,b,…), type[n], type[] at the end.',
  )
}

/** Turns what JSON can hold into what a struct's field takes. What it does not know it leaves: `encode` names the fault. */
export type Convert = (value: unknown) => unknown

const asIs: Convert = (value) => value

/** From JSON: 64-bit integers as decimal strings, bytes as base64, null for NaN: as `toJSON` writes them. */
export function fromJson(type: TypeSchema): Convert {
  switch (type.type) {
    case 'u64':
    case 'i64':
      return toBigInt
    case 'f32':
    case 'f64':
      return toFloat
    case 'bytes':
    case 'varBytes':
      return toBytes
    case 'array':
    case 'varArray': {
      const element = fromJson(type.element as TypeSchema)
      return element === asIs ? asIs : (value) => (Array.isArray(value) ? value.map(element) : value)
    }
    case 'struct':
      return recordFromJson(type)
    default:
      return asIs
  }
}

/** For a struct. Properties that the struct does not have stay behind. */
export function recordFromJson(type: Pick<TypeSchema, 'fields'>): Convert {
  const converted = (type.fields ?? []).map((field) => ({ name: field.name, convert: fromJson(field) }))
  if (converted.every(({ convert }) => convert === asIs)) return asIs
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    const given = value as Record<string, unknown>
    const out: Record<string, unknown> = {}
    for (const { name, convert } of converted) out[name] = convert(given[name])
    return out
  }
}

/** From a cell of a CSV file. An empty one is NaN for floats, and a fault for other numbers. */
export function fromCell(type: TypeSchema): (cell: string) => unknown {
  switch (type.type) {
    case 'u64':
    case 'i64':
      return (cell) => toBigInt(cell.trim())
    case 'f32':
    case 'f64':
      return (cell) => (cell.trim() === '' ? Number.NaN : toNumber(cell))
    case 'bool':
      return (cell) => (/^(true|1)$/i.test(cell) ? true : /^(false|0)$/i.test(cell) ? false : cell)
    case 'ascii':
    case 'utf8':
    case 'varUtf8':
    case 'enum':
      return asIs
    case 'bytes':
    case 'varBytes':
      return toBytes
    case 'array':
    case 'varArray':
    case 'struct': {
      const convert = fromJson(type)
      return (cell) => convert(parsed(cell))
    }
    default:
      return toNumber
  }
}

function toNumber(cell: string): unknown {
  const value = cell.trim() === '' ? Number.NaN : Number(cell)
  if (Number.isNaN(value)) return cell.trim() === '' || cell.trim().toLowerCase() === 'nan' ? value : cell
  // 1e400 is a number, and none that a field could hold.
  return Number.isFinite(value) || /^[+-]?infinity$/i.test(cell.trim()) ? value : cell
}

function toBigInt(value: unknown): unknown {
  if (typeof value === 'string' && /^-?\d{1,40}$/.test(value)) return BigInt(value)
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
}

function toFloat(value: unknown): unknown {
  if (value === null) return Number.NaN
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : value
}

function toBytes(value: unknown): unknown {
  return typeof value === 'string' ? base64Bytes(value) : value
}

/** @throws HermesError `ENCODE_FAILED` */
export function base64Bytes(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new HermesError('ENCODE_FAILED', 'Bytes are given as base64, with = at the end where needed.')
  }
  return Buffer.from(text, 'base64')
}

function parsed(cell: string): unknown {
  try {
    return JSON.parse(cell)
  } catch {
    return cell
  }
}
