/**
 * Where each field of a struct lies. docs/codecs.md describes the same rules for other languages; the golden tests in
 * test/codec/struct-layout.test.ts keep both from changing.
 */
import { describe, invalidArgument, isArray } from '../failures.js'

export const scalarBytes = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  u53: 8,
  i53: 8,
  f32: 4,
  f64: 8,
  bool: 1,
} as const

export type ScalarKind = keyof typeof scalarBytes
export type StringKind = 'ascii' | 'utf8' | 'bytes'
export type TrailingKind = 'varBytes' | 'varUtf8' | 'varArray'

export interface ScalarLayout {
  readonly kind: ScalarKind
  readonly size: number
  readonly align: number
}

/** A fixed number of bytes. */
export interface StringLayout {
  readonly kind: StringKind
  readonly size: number
  readonly align: 1
}

export interface EnumLayout {
  readonly kind: 'enum'
  readonly size: 1 | 2
  readonly align: 1 | 2
  readonly labels: readonly string[]
  /** The number stored for each label. */
  readonly indexes: ReadonlyMap<unknown, number>
}

export interface ArrayLayout {
  readonly kind: 'array'
  readonly size: number
  readonly align: number
  readonly count: number
  readonly element: Layout
}

export interface RecordLayout {
  readonly kind: 'struct'
  readonly name: string | undefined
  /** The fixed part, padded to `align`. The trailing part begins here. */
  readonly size: number
  readonly align: number
  readonly fields: readonly FieldLayout[]
  readonly trailing: TrailingFieldLayout | undefined
  /** Stretches of padding, which are written as zeros. */
  readonly gaps: readonly Gap[]
  /** The layout that this one has grown from: its fields come first, at the same offsets, and its payloads are shorter. */
  readonly parent: RecordLayout | undefined
}

/** The part of variable length at the end: its length is what remains of the payload. */
export interface TrailingLayout {
  readonly kind: TrailingKind
  /** Bytes for each element: 1 for text and bytes. */
  readonly stride: number
  readonly align: number
  readonly element: Layout | undefined
}

export type Layout = ScalarLayout | StringLayout | EnumLayout | ArrayLayout | RecordLayout
export type AnyLayout = Layout | TrailingLayout

export interface FieldLayout {
  readonly name: string
  readonly offset: number
  readonly type: Layout
  /** What the field is where a payload, or a value that is published, does not have it: its bytes. Only of fields that were added later. */
  readonly fallback?: Uint8Array
}

export interface TrailingFieldLayout {
  readonly name: string
  readonly type: TrailingLayout
}

export interface Gap {
  readonly offset: number
  readonly length: number
}

/** A fixed part may not be larger, in bytes. It is also the default limit of a payload. */
const maxStructBytes = 65_536
/** Fields, counted through nested structs. Bounds the code generated for one struct. */
export const maxFields = 1024
const maxDepth = 16
const maxLabels = 4096
const maxLabelLength = 256

const fieldPattern = /^[A-Za-z_$][A-Za-z0-9_$]{0,63}$/
const structNamePattern = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/
const viewMethods = ['toObject', 'toJSON']

export function scalar(kind: ScalarKind): ScalarLayout {
  const size = scalarBytes[kind]
  return Object.freeze({ kind, size, align: size })
}

export function fixedString(kind: StringKind, size: number): StringLayout {
  checkCount(`${kind}(n)`, 'n', size)
  return Object.freeze({ kind, size, align: 1 })
}

export function enumOf(labels: readonly string[]): EnumLayout {
  if (!isArray(labels) || labels.length === 0 || labels.length > maxLabels) {
    throw invalidArgument(`enumeration() takes an array of 1 to ${maxLabels} strings, got ${describe(labels)}.`)
  }
  // Read once: what is checked is what is used.
  const list = Object.freeze(Array.from({ length: labels.length }, (_, index) => labels[index] as string))
  const indexes = new Map<unknown, number>()
  for (const [index, label] of (list as readonly unknown[]).entries()) {
    if (typeof label !== 'string' || label === '' || label.length > maxLabelLength) {
      throw invalidArgument(
        `enumeration() takes strings of 1 to ${maxLabelLength} characters; label ${index} is ${describe(label)}.`,
      )
    }
    if (indexes.has(label)) throw invalidArgument(`enumeration() was given the label ${describe(label)} twice.`)
    indexes.set(label, index)
  }
  const size = list.length <= 256 ? 1 : 2
  return Object.freeze({ kind: 'enum', size, align: size, labels: list, indexes })
}

export function arrayOf(element: Layout, count: number): ArrayLayout {
  checkCount('array(type, n)', 'n', count)
  const size = element.size * count
  if (size > maxStructBytes) {
    throw invalidArgument(`array(type, ${count}) takes ${size} bytes, and a struct may have ${maxStructBytes} at most.`)
  }
  return Object.freeze({ kind: 'array', size, align: element.align, count, element })
}

export function trailing(kind: TrailingKind, element?: Layout): TrailingLayout {
  return Object.freeze({ kind, stride: element?.size ?? 1, align: element?.align ?? 1, element })
}

/** Lays the fields out in their order, each at the next multiple of its alignment. */
export function recordOf(fields: readonly (readonly [string, AnyLayout])[], name?: string): RecordLayout {
  const title = name === undefined ? 'struct()' : `struct ${describe(name)}`
  if (name !== undefined && (typeof name !== 'string' || !structNamePattern.test(name))) {
    throw invalidArgument(
      `struct() takes a name of 1 to 64 letters, digits, _ . - that begins with a letter or _; got ${describe(name)}.`,
    )
  }
  if (fields.length === 0) throw invalidArgument(`${title} has no fields.`)
  const placed: FieldLayout[] = []
  const gaps: Gap[] = []
  const names = new Set<string>()
  let rest: TrailingFieldLayout | undefined
  let at = 0
  let align = 1
  for (const [fieldName, type] of fields) {
    checkFieldName(title, fieldName, names)
    if (rest !== undefined) {
      throw invalidArgument(
        `${title}: ${rest.name} has variable length, so no field can follow it; move it to the end.`,
      )
    }
    align = Math.max(align, type.align)
    if (isTrailing(type)) {
      rest = { name: fieldName, type }
      continue
    }
    if (type.kind === 'struct' && type.trailing !== undefined) {
      throw invalidArgument(`${title}: field ${fieldName} is a struct of variable length, which can't be nested.`)
    }
    const offset = alignUp(at, type.align)
    if (offset > at) gaps.push({ offset: at, length: offset - at })
    placed.push({ name: fieldName, offset, type })
    at = offset + type.size
    if (at > maxStructBytes) {
      throw invalidArgument(`${title} is larger than ${maxStructBytes} bytes, from field ${fieldName} on.`)
    }
  }
  const size = alignUp(at, align)
  if (size > at) gaps.push({ offset: at, length: size - at })
  const record: RecordLayout = Object.freeze({
    kind: 'struct',
    name,
    size,
    align,
    fields: Object.freeze(placed),
    trailing: rest,
    gaps: Object.freeze(gaps),
    parent: undefined,
  })
  checkExtent(record, title)
  return record
}

/** A field that a layout gains, with the bytes that stand for it in older payloads. */
export type AddedField = readonly [name: string, type: Layout, fallback: Uint8Array]

/** Lays further fields out behind the end of `parent`, so that the length of a payload tells which of them it has. */
export function grownFrom(parent: RecordLayout, added: readonly AddedField[]): RecordLayout {
  const title = parent.name === undefined ? 'extend()' : `extend() of struct ${describe(parent.name)}`
  if (parent.trailing !== undefined) {
    throw invalidArgument(
      `${title}: field ${parent.trailing.name} has variable length, so no field can follow it. Make another topic for the new layout.`,
    )
  }
  if (added.length === 0) throw invalidArgument(`${title} was given no fields.`)
  const fields = [...parent.fields]
  const gaps = [...parent.gaps]
  const names = new Set(fields.map(({ name }) => name))
  let at = parent.size
  let { align } = parent
  for (const [name, type, fallback] of added) {
    checkFieldName(title, name, names)
    align = Math.max(align, type.align)
    const offset = alignUp(at, type.align)
    if (offset > at) gaps.push({ offset: at, length: offset - at })
    fields.push({ name, offset, type, fallback })
    at = offset + type.size
    if (at > maxStructBytes) {
      throw invalidArgument(`${title}: the struct is larger than ${maxStructBytes} bytes, from field ${name} on.`)
    }
  }
  const size = alignUp(at, align)
  if (size > at) gaps.push({ offset: at, length: size - at })
  const record: RecordLayout = Object.freeze({
    kind: 'struct',
    name: parent.name,
    size,
    align,
    fields: Object.freeze(fields),
    trailing: undefined,
    gaps: Object.freeze(gaps),
    parent,
  })
  checkExtent(record, title)
  return record
}

function checkExtent(record: RecordLayout, title: string): void {
  const fieldCount = countFields(record)
  if (fieldCount > maxFields) {
    throw invalidArgument(
      `${title} has ${fieldCount} fields with those of its nested structs; the limit is ${maxFields}.`,
    )
  }
  if (depthOf(record) > maxDepth) throw invalidArgument(`${title} is nested more than ${maxDepth} deep.`)
}

/** The sizes that payloads of the layout and of those that it has grown from have, from the oldest on. */
export function sizesOf(layout: RecordLayout): number[] {
  const sizes: number[] = []
  for (let one: RecordLayout | undefined = layout; one !== undefined; one = one.parent) sizes.unshift(one.size)
  return sizes
}

/** A payload in which every added field has its fallback. */
export function fallbacksOf(layout: RecordLayout): Uint8Array {
  const bytes = new Uint8Array(layout.size)
  for (const { offset, fallback } of layout.fields) if (fallback !== undefined) bytes.set(fallback, offset)
  return bytes
}

export function isTrailing(type: AnyLayout): type is TrailingLayout {
  return type.kind === 'varBytes' || type.kind === 'varUtf8' || type.kind === 'varArray'
}

function checkFieldName(title: string, name: string, seen: Set<string>): void {
  if (typeof name !== 'string' || !fieldPattern.test(name)) {
    throw invalidArgument(
      `${title}: field names are identifiers of 1 to 64 of A-Z a-z 0-9 _ $, not beginning with a digit; ` +
        `got ${describe(name)}.`,
    )
  }
  if (name in Object.prototype || viewMethods.includes(name)) {
    throw invalidArgument(`${title}: the field name ${name} is reserved; choose another.`)
  }
  if (seen.has(name)) throw invalidArgument(`${title} has two fields called ${name}.`)
  seen.add(name)
}

function checkCount(what: string, parameter: string, count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > maxStructBytes) {
    throw invalidArgument(`${what} takes ${parameter} from 1 to ${maxStructBytes}, got ${describe(count)}.`)
  }
}

function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align
}

function countFields(type: Layout): number {
  if (type.kind === 'array') return 1 + countFields(type.element)
  if (type.kind !== 'struct') return 1
  let sum = 0
  for (const field of type.fields) sum += countFields(field.type)
  if (type.trailing !== undefined) sum += 1 + (type.trailing.type.element ? countFields(type.trailing.type.element) : 0)
  return sum
}

function depthOf(type: Layout): number {
  if (type.kind === 'array') return 1 + depthOf(type.element)
  if (type.kind !== 'struct') return 0
  const inner = type.fields.map((field) => depthOf(field.type))
  if (type.trailing?.type.element !== undefined) inner.push(1 + depthOf(type.trailing.type.element))
  return 1 + Math.max(0, ...inner)
}
