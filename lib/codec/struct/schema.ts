import { Buffer } from '../../base/buffer.js'
import { namesOfOptions } from '../../base/options.js'
import { describe, invalidArgument, isArray } from '../failures.js'
import { fingerprintOf } from '../fingerprint.js'
import { readValue } from './interpret.js'
import {
  type AddedField,
  type AnyLayout,
  arrayOf,
  enumOf,
  fixedString,
  grownFrom,
  isTrailing,
  type Layout,
  maxFields,
  type RecordLayout,
  recordOf,
  type ScalarKind,
  scalar,
  scalarBytes,
  sizesOf,
  type TrailingLayout,
  trailing,
} from './layout.js'

/** A field type in a schema. `size` is absent for the trailing kinds. */
export interface TypeSchema {
  readonly type: string
  readonly size?: number
  /** For `struct`. */
  readonly align?: number
  /** For `enum`: the label at each stored number. */
  readonly labels?: readonly string[]
  /** For `array`. */
  readonly count?: number
  /** For `array` and `varArray`. */
  readonly element?: TypeSchema
  /** For a `struct` that has grown: its size before each step, and now. */
  readonly sizes?: readonly number[]
  /** For `struct`. */
  readonly fields?: readonly FieldSchema[]
}

export interface FieldSchema extends TypeSchema {
  readonly name: string
  /** Bytes from the start of the struct that holds the field. */
  readonly offset: number
  /** Of a field that was added later: its bytes where a payload does not have it, in hexadecimal. */
  readonly fallback?: string
}

/** A struct's layout as JSON: enough to read its payloads in any language. */
export interface StructSchema {
  readonly format: 'hermes-struct'
  /** 2 if the struct has grown, or holds one that has. */
  readonly version: 1 | 2
  readonly name?: string
  readonly fingerprint: string
  /** The fixed part in bytes. */
  readonly size: number
  readonly align: number
  /** If it has grown: its size before each step, and now. */
  readonly sizes?: readonly number[]
  readonly fields: readonly FieldSchema[]
}

/** What the fingerprint covers, with its keys in this order: everything but the struct's name. */
function shape(layout: RecordLayout): Pick<StructSchema, 'size' | 'align' | 'sizes' | 'fields'> {
  const fields: FieldSchema[] = layout.fields.map(({ name, offset, type, fallback }) => ({
    name,
    offset,
    ...typeSchema(type),
    ...(fallback === undefined ? {} : { fallback: Buffer.from(fallback).toString('hex') }),
  }))
  const rest = layout.trailing
  if (rest !== undefined) fields.push({ name: rest.name, offset: layout.size, ...typeSchema(rest.type) })
  const { size, align } = layout
  return layout.parent === undefined ? { size, align, fields } : { size, align, sizes: sizesOf(layout), fields }
}

function hasGrown(type: AnyLayout): boolean {
  if (isTrailing(type)) return type.element !== undefined && hasGrown(type.element)
  if (type.kind === 'array') return hasGrown(type.element)
  if (type.kind !== 'struct') return false
  const parts: AnyLayout[] = type.fields.map((field) => field.type)
  if (type.trailing !== undefined) parts.push(type.trailing.type)
  return type.parent !== undefined || parts.some(hasGrown)
}

function typeSchema(type: AnyLayout): TypeSchema {
  if (isTrailing(type)) {
    return type.element === undefined ? { type: type.kind } : { type: type.kind, element: typeSchema(type.element) }
  }
  switch (type.kind) {
    case 'enum':
      return { type: 'enum', size: type.size, labels: type.labels }
    case 'array':
      return { type: 'array', size: type.size, count: type.count, element: typeSchema(type.element) }
    case 'struct':
      return { type: 'struct', ...shape(type) }
    default:
      return { type: type.kind, size: type.size }
  }
}

export function schemaOf(layout: RecordLayout): StructSchema {
  const described = shape(layout)
  return deepFreeze({
    format: 'hermes-struct',
    version: hasGrown(layout) ? 2 : 1,
    ...(layout.name === undefined ? {} : { name: layout.name }),
    fingerprint: fingerprintOf(JSON.stringify(described)),
    ...described,
  })
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  return Object.freeze(value)
}

/**
 * Rebuilds a layout from a schema that may come from anywhere. Offsets and sizes are worked out anew and compared, so
 * a schema that lies about them is refused. Throws `INVALID_ARGUMENT`.
 */
export function layoutFromSchema(schema: unknown): RecordLayout {
  const top = asObject(schema, 'The schema')
  if (top['format'] !== 'hermes-struct') {
    throw refused(`its format is ${describe(top['format'])}, and 'hermes-struct' was expected`)
  }
  if (top['version'] !== 1 && top['version'] !== 2) {
    throw refused(`its version is ${describe(top['version'])}, and this package reads versions 1 and 2`)
  }
  const name = top['name']
  if (name !== undefined && typeof name !== 'string') throw refused(`its name is ${describe(name)}`)
  const layout = parseRecord(top, name, '', { left: maxFields }, 0)
  const { fingerprint, version } = schemaOf(layout)
  compare('version', top['version'], version, 'the schema')
  if (top['fingerprint'] !== fingerprint) {
    throw refused(`its fingerprint is ${describe(top['fingerprint'])}, and its layout has ${fingerprint}`)
  }
  return layout
}

/** How many more fields may be parsed: checked before the work, not after. */
interface Budget {
  left: number
}

const maxNesting = 16

function parseRecord(
  given: Readonly<Record<string, unknown>>,
  name: string | undefined,
  path: string,
  budget: Budget,
  depth: number,
): RecordLayout {
  const where = path === '' ? 'the schema' : path
  if (depth > maxNesting) throw refused(`${where} is nested more than ${maxNesting} deep`)
  const list = given['fields']
  if (!isArray(list)) throw refused(`the fields of ${where} are ${describe(list)}`)
  if (list.length > budget.left) throw refused(`it has more than ${maxFields} fields`)
  budget.left -= list.length
  const fields: ParsedField[] = []
  for (const entry of list as readonly unknown[]) {
    const one = asObject(entry, `A field of ${where}`)
    const fieldName = one['name']
    if (typeof fieldName !== 'string') throw refused(`a field of ${where} has the name ${describe(fieldName)}`)
    const type = parseType(one, path === '' ? fieldName : `${path}.${fieldName}`, budget, depth)
    fields.push({ name: fieldName, type, offset: one['offset'], fallback: one['fallback'] })
  }
  const layout = placed(fields, given['sizes'], name, where)
  compare('size', given['size'], layout.size, where)
  compare('align', given['align'], layout.align, where)
  for (const [index, { name: fieldName, offset }] of layout.fields.entries()) {
    compare('offset', (list[index] as Record<string, unknown>)['offset'], offset, `field ${fieldName} of ${where}`)
  }
  if (layout.trailing !== undefined) {
    const last = list[list.length - 1] as Record<string, unknown>
    compare('offset', last['offset'], layout.size, `field ${layout.trailing.name} of ${where}`)
  }
  return layout
}

interface ParsedField {
  readonly name: string
  readonly type: AnyLayout
  readonly offset: unknown
  readonly fallback: unknown
}

/** The layout of the fields, which has grown in as many steps as `sizes` says. */
function placed(fields: readonly ParsedField[], sizes: unknown, name: string | undefined, where: string): RecordLayout {
  if (sizes === undefined) {
    const early = fields.find(({ fallback }) => fallback !== undefined)
    if (early !== undefined)
      throw refused(`field ${early.name} of ${where} has a fallback, and nothing says that it was added`)
    return recordOf(
      fields.map(({ name, type }) => [name, type]),
      name,
    )
  }
  if (!Array.isArray(sizes) || sizes.length < 2 || sizes.length > fields.length) {
    throw refused(`the sizes of ${where} are ${describe(sizes)}`)
  }
  let layout: RecordLayout | undefined
  let next = 0
  for (const size of sizes as readonly unknown[]) {
    if (typeof size !== 'number') throw refused(`the sizes of ${where} hold ${describe(size)}`)
    const from = next
    while (next < fields.length && isBefore(fields[next] as ParsedField, size)) next++
    const step = fields.slice(from, next)
    if (step.length === 0) throw refused(`no field of ${where} lies in front of size ${size}`)
    if (layout === undefined) layout = placed(step, undefined, name, where)
    else
      layout = grownFrom(
        layout,
        step.map((field) => addedField(field, where)),
      )
    compare('size', size, layout.size, where)
  }
  if (next < fields.length) throw refused(`fields of ${where} lie behind its size`)
  return layout as RecordLayout
}

function isBefore({ offset }: ParsedField, size: number): boolean {
  return typeof offset === 'number' && offset < size
}

function addedField({ name, type, fallback }: ParsedField, where: string): AddedField {
  if (isTrailing(type)) throw refused(`field ${name} of ${where} was added later and has no fixed size`)
  if (typeof fallback !== 'string' || fallback.length !== 2 * type.size || !/^[0-9a-f]+$/.test(fallback)) {
    throw refused(
      `the fallback of field ${name} of ${where} is ${describe(fallback)}, and ${type.size} bytes in hexadecimal were expected`,
    )
  }
  const bytes = new Uint8Array(Buffer.from(fallback, 'hex'))
  try {
    readValue(type, { bytes, data: new DataView(bytes.buffer) }, 0)
  } catch (error) {
    throw refused(`the fallback of field ${name} of ${where} is no value of it (${(error as Error).message})`)
  }
  return [name, type, bytes]
}

function parseType(given: Readonly<Record<string, unknown>>, path: string, budget: Budget, depth: number): AnyLayout {
  const kind = given['type']
  if (kind === 'varBytes' || kind === 'varUtf8') return trailing(kind)
  if (kind === 'varArray') return parseTrailingArray(given, path, budget, depth)
  const layout = parseFixed(kind, given, path, budget, depth)
  compare('size', given['size'], layout.size, path)
  return layout
}

function parseTrailingArray(
  given: Readonly<Record<string, unknown>>,
  path: string,
  budget: Budget,
  depth: number,
): TrailingLayout {
  return trailing('varArray', parseElement(given, path, budget, depth))
}

function parseFixed(
  kind: unknown,
  given: Readonly<Record<string, unknown>>,
  path: string,
  budget: Budget,
  depth: number,
): Layout {
  if (kind === 'ascii' || kind === 'utf8' || kind === 'bytes') return fixedString(kind, given['size'] as number)
  if (kind === 'enum') return enumOf(given['labels'] as readonly string[])
  if (kind === 'array') return arrayOf(parseElement(given, path, budget, depth), given['count'] as number)
  if (kind === 'struct') return parseRecord(given, undefined, path, budget, depth + 1)
  if (typeof kind === 'string' && Object.hasOwn(scalarBytes, kind)) return scalar(kind as ScalarKind)
  throw refused(`field ${path} has the type ${describe(kind)}, which this package does not know`)
}

function parseElement(given: Readonly<Record<string, unknown>>, path: string, budget: Budget, depth: number): Layout {
  if (depth >= maxNesting) throw refused(`${path} is nested more than ${maxNesting} deep`)
  if (budget.left <= 0) throw refused(`it has more than ${maxFields} fields`)
  budget.left--
  const element = parseType(asObject(given['element'], `The element of ${path}`), `${path}[]`, budget, depth + 1)
  if (isTrailing(element) || (element.kind === 'struct' && element.trailing !== undefined)) {
    throw refused(`the elements of ${path} have no fixed size`)
  }
  return element
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (namesOfOptions(value) !== undefined) {
    return value as Readonly<Record<string, unknown>>
  }
  throw invalidArgument(`This is no struct schema: ${what} is ${describe(value)}, and an object was expected.`)
}

function compare(what: string, given: unknown, expected: number, where: string): void {
  if (given !== expected)
    throw refused(`the ${what} of ${where} is ${describe(given)}, and ${expected} follows from its types`)
}

function refused(reason: string): Error {
  return invalidArgument(`This is no struct schema that can be used: ${reason}.`)
}
