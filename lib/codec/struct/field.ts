import { describe, invalidArgument, nameOfFunction } from '../failures.js'
import {
  type AnyLayout,
  arrayOf,
  enumOf,
  fixedString,
  isTrailing,
  type Layout,
  type ScalarKind,
  scalar,
  trailing,
} from './layout.js'

/** Under this key a field carries its layout. A registered symbol, so that two copies of the package understand each other. */
export const layoutKey: unique symbol = Symbol.for('hermes-mq.layout') as never

declare const fieldTypes: unique symbol

/**
 * The type of a struct's field.
 *
 * @typeParam In   what may be written
 * @typeParam Out  what an owned value holds
 * @typeParam View what a view's property gives
 */
export interface Field<In = unknown, Out = In, View = Out> {
  readonly [layoutKey]: unknown
  /** For the type checker alone: no value has it. */
  readonly [fieldTypes]?: { readonly in: In; readonly out: Out; readonly view: View }
}

/** A part of variable length, which may only be the last field of a struct. */
export interface TrailingField<In = unknown, Out = In> extends Field<In, Out> {
  readonly trailing: true
}

/** Under this key a field has the value that stands for it where it is missing. */
export const defaultKey: unique symbol = Symbol.for('hermes-mq.default') as never

/** A field that a struct may gain later: see `withDefault`. */
export interface DefaultField<In = unknown, Out = In, View = Out> extends Field<In, Out, View> {
  readonly [defaultKey]: unknown
}

export type DefaultFields = Readonly<Record<string, DefaultField>>

export type FieldInput<F> = F extends Field ? NonNullable<F[typeof fieldTypes]>['in'] : never
export type FieldValue<F> = F extends Field ? NonNullable<F[typeof fieldTypes]>['out'] : never
export type FieldView<F> = F extends Field ? NonNullable<F[typeof fieldTypes]>['view'] : never

export type Fields = Readonly<Record<string, Field>>

function field<In, Out = In>(layout: Layout): Field<In, Out> {
  return Object.freeze({ [layoutKey]: layout })
}

function trailingField<In, Out>(layout: AnyLayout): TrailingField<In, Out> {
  return Object.freeze({ [layoutKey]: layout, trailing: true as const })
}

function number(kind: ScalarKind): Field<number> {
  return field(scalar(kind))
}

/** The layout that a field carries. Throws `INVALID_ARGUMENT` for anything but a field. */
export function layoutOf(given: unknown, where: string): AnyLayout {
  const layout = layoutIn(given)
  if (layout !== undefined) return layout
  const name = nameOfFunction(given)
  const hint = name === undefined ? describe(given) : `the function ${name}; call it: ${name}(…)`
  throw invalidArgument(`${where} is no field type such as u32, f64, ascii(8) or a struct; got ${hint}.`)
}

function layoutIn(given: unknown): AnyLayout | undefined {
  if (typeof given !== 'object' || given === null) return undefined
  try {
    const layout = (given as Partial<Field>)[layoutKey] as Partial<AnyLayout> | null | undefined
    return typeof layout === 'object' && typeof layout?.kind === 'string' ? (layout as AnyLayout) : undefined
  } catch {
    return undefined // a revoked Proxy
  }
}

function elementLayout(given: unknown, where: string): Layout {
  const layout = layoutOf(given, `The first argument of ${where}`)
  if (isTrailing(layout) || (layout.kind === 'struct' && layout.trailing !== undefined)) {
    throw invalidArgument(`The elements of ${where} must have a fixed size.`)
  }
  return layout
}

/** Unsigned integer of 8 bits. */
export const u8: Field<number> = number('u8')
/** Signed integer of 8 bits. */
export const i8: Field<number> = number('i8')
/** Unsigned integer of 16 bits. */
export const u16: Field<number> = number('u16')
/** Signed integer of 16 bits. */
export const i16: Field<number> = number('i16')
/** Unsigned integer of 32 bits. */
export const u32: Field<number> = number('u32')
/** Signed integer of 32 bits. */
export const i32: Field<number> = number('i32')
/** Unsigned integer of 64 bits, as a bigint. `u53` holds safe integers in the same bytes, and is faster. */
export const u64: Field<bigint> = field(scalar('u64'))
/** Signed integer of 64 bits, as a bigint. `i53` holds safe integers in the same bytes, and is faster. */
export const i64: Field<bigint> = field(scalar('i64'))
/** A number from 0 to 2^53 - 1, stored as an unsigned integer of 64 bits. */
export const u53: Field<number> = number('u53')
/** A number from -(2^53 - 1) to 2^53 - 1, stored as a signed integer of 64 bits. */
export const i53: Field<number> = number('i53')
/** Float of 32 bits: numbers are rounded to it. Finite numbers that round to infinity are refused. */
export const f32: Field<number> = number('f32')
/** Float of 64 bits. NaN, the infinities and -0 are kept. */
export const f64: Field<number> = number('f64')
/** One byte, 0 or 1. */
export const bool: Field<boolean> = field(scalar('bool'))

/** A string of at most `size` ASCII characters other than U+0000, padded with zeros. */
export function ascii(size: number): Field<string> {
  return field(fixedString('ascii', size))
}

/** A string of at most `size` bytes of UTF-8 without U+0000, padded with zeros. */
export function utf8(size: number): Field<string> {
  return field(fixedString('utf8', size))
}

/** Exactly `size` bytes. Views and values give copies. */
export function bytes(size: number): Field<Uint8Array> {
  return field(fixedString('bytes', size))
}

/** One of the given strings, stored as its index: one byte for up to 256 labels, two beyond. */
export function enumeration<const Labels extends readonly string[]>(labels: Labels): Field<Labels[number]> {
  return field(enumOf(labels))
}

/** Exactly `count` elements. Takes arrays and typed arrays; views and values give a new array. */
export function array<F extends Field>(element: F, count: number): Field<ArrayLike<FieldInput<F>>, FieldValue<F>[]> {
  return field(arrayOf(elementLayout(element, 'array(type, n)'), count))
}

/** Bytes up to the end of the payload. Only as the last field. Views and values give copies. */
export function varBytes(): TrailingField<Uint8Array, Uint8Array> {
  return trailingField(trailing('varBytes'))
}

/** UTF-8 up to the end of the payload. Only as the last field. */
export function varUtf8(): TrailingField<string, string> {
  return trailingField(trailing('varUtf8'))
}

/** Any number of elements, up to the end of the payload. Only as the last field. Views and values give a new array. */
export function varArray<F extends Field>(element: F): TrailingField<ArrayLike<FieldInput<F>>, FieldValue<F>[]> {
  return trailingField(trailing('varArray', elementLayout(element, 'varArray(type)')))
}

/**
 * A field for `extend()`: older messages, and values that are published without it, have `value`. The type must have a fixed size.
 *
 * @throws HermesError `INVALID_ARGUMENT` if the type has no fixed size. Whether `value` is one of the type is checked by `extend()`
 */
export function withDefault<F extends Field>(
  type: F,
  value: FieldInput<F>,
): DefaultField<FieldInput<F>, FieldValue<F>, FieldView<F>> {
  const layout = layoutOf(type, 'withDefault(): the type')
  if (isTrailing(layout) || (layout.kind === 'struct' && layout.trailing !== undefined)) {
    throw invalidArgument('withDefault() takes a type of fixed size.')
  }
  return Object.freeze({ [layoutKey]: layout, [defaultKey]: value })
}
