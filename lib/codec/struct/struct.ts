import { inspect } from 'node:util'
import { HermesError } from '../../base/errors.js'
import type { Codec, Reader, Region } from '../codec.js'
import { closedError, describe, invalidArgument } from '../failures.js'
import { sealed } from '../guarded.js'
import type { StructCode } from './code.js'
import {
  type Field,
  type FieldInput,
  type Fields,
  type FieldValue,
  type FieldView,
  layoutKey,
  layoutOf,
} from './field.js'
import { canGenerate, type GenerateHooks, generate } from './generate.js'
import { checkLength, encodeRecord, readError, toJsonRecord } from './interpret.js'
import { interpreted } from './interpreted.js'
import { type RecordLayout, recordOf } from './layout.js'
import { layoutFromSchema, type StructSchema, schemaOf } from './schema.js'

/** What `publish` takes: an object with these properties. Further properties are ignored. */
export type StructInput<F extends Fields> = { readonly [K in keyof F]: FieldInput<F[K]> }

/** An owned value: a plain object that is the caller's for ever. */
export type StructValue<F extends Fields> = { -readonly [K in keyof F]: FieldValue<F[K]> }

export interface StructViewMethods<Value> {
  /** An owned copy of everything. */
  toObject(): Value
  /** A value that JSON can hold: bigints as decimal strings, bytes as base64. JSON.stringify calls it. */
  toJSON(): Record<string, unknown>
}

/**
 * Reads fields straight from the log. **Valid only until the `poll` handler returns**: one view serves all messages of
 * its reader, so a view that is kept shows another message later, and throws `CLOSED` when the memory was released.
 * Properties are getters: destructure, or use `toObject()`; spreading a view copies nothing. Strings are ordinary
 * strings; bytes and arrays are copies, made by each access.
 */
export type StructView<F extends Fields> = Shown<
  { readonly [K in keyof F]: FieldView<F[K]> } & StructViewMethods<Shown<StructValue<F>>>
>

/** The same type, written out: an editor shows the fields in place of the types that it was made of. */
type Shown<T> = { [K in keyof T]: T[K] }

/** A struct: a codec for topics, and a field type for other structs. */
export interface StructCodec<Input, Value, View> extends Codec<Input, Value, View>, Field<Input, Value, View> {
  readonly name: 'struct'
  /** The layout for other programs and languages: `structFromSchema` makes a codec of it. */
  readonly schema: StructSchema
  /** Size of the fixed part in bytes. A payload has exactly this size, or more if the struct has a trailing part. */
  readonly byteLength: number
}

export interface StructOptions {
  /** For messages and for people. Not part of the fingerprint: topics stay compatible when it changes. */
  readonly name?: string
}

/**
 * Declares a fixed binary layout. Fields lie in the order of their declaration, little-endian, each at the next
 * multiple of its size; docs/codecs.md has the rules in full.
 *
 * ```ts
 * const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
 * ```
 *
 * `encode` throws `ENCODE_FAILED`, with the field's name, for a value that is missing, of another type or out of range.
 *
 * @throws HermesError `INVALID_ARGUMENT` for a layout that is not possible, `UNKNOWN_OPTION`
 */
export function struct<const F extends Fields>(
  fields: F,
  options: StructOptions = {},
): StructCodec<StructInput<F>, StructValue<F>, StructView<F>> {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalidArgument(
      `struct() takes an object of fields, such as { price: f64, size: u32 }; got ${describe(fields)}.`,
    )
  }
  for (const key of Object.keys(options)) {
    if (key !== 'name') {
      throw new HermesError('UNKNOWN_OPTION', `struct() has no option ${describe(key)}. Its one option is 'name'.`)
    }
  }
  const entries = Object.entries(fields).map(
    ([name, field]) => [name, layoutOf(field, `struct(): the type of field ${describe(name)}`)] as const,
  )
  return codecOf(recordOf(entries, options.name))
}

/** A view of a struct whose fields are known at run time only. */
export type DynamicStructView = Readonly<Record<string, unknown>> & StructViewMethods<Record<string, unknown>>

/**
 * Makes a codec of a struct's `schema`, as a topic keeps it, without its TypeScript declaration. The schema may come
 * from anywhere: it is checked in full.
 *
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function structFromSchema(
  schema: unknown,
): StructCodec<Record<string, unknown>, Record<string, unknown>, DynamicStructView> {
  return codecOf(layoutFromSchema(schema))
}

/** Nested structs share the code of their layout. */
const codes = new WeakMap<RecordLayout, StructCode>()

function codeOf(layout: RecordLayout): StructCode {
  const known = codes.get(layout)
  if (known !== undefined) return known
  const hooks = hooksOf(layout)
  const made = canGenerate ? generate(layout, hooks) : interpreted(layout, hooks)
  codes.set(layout, made)
  return made
}

function hooksOf(layout: RecordLayout): GenerateHooks {
  return {
    slowEncode: (value, target, offset, limit) => encodeRecord(layout, value, target, offset, limit),
    checkLength: (length) => checkLength(layout, length),
    readError: (error): HermesError => readError(error, closedError),
    toJson: (value) => toJsonRecord(layout, value),
    inspect: (view, options) => inspectView(layout, view, options),
    nested: codeOf,
  }
}

/** console.log of a view shows its values, and does not throw for one whose memory is gone. */
function inspectView(layout: RecordLayout, view: { toObject(): Record<string, unknown> }, options: unknown): string {
  const title = layout.name ?? 'StructView'
  try {
    return `${title} ${inspect(view.toObject(), options as object)}`
  } catch {
    return `${title} <not readable any more>`
  }
}

function codecOf<Input, Value, View>(layout: RecordLayout): StructCodec<Input, Value, View> {
  const code = codeOf(layout)
  const schema = schemaOf(layout)
  const codec = {
    [layoutKey]: layout,
    name: 'struct' as const,
    fingerprint: schema.fingerprint,
    schema,
    byteLength: layout.size,
    maxBytes: layout.trailing === undefined ? layout.size : undefined,
    encode: code.encode,
    decode: code.decode,
    reader: (): Reader<object> => readerOf(layout, code),
  }
  // The layout says at run time what the type parameters say to the compiler.
  return sealed(codec) as unknown as StructCodec<Input, Value, View>
}

function readerOf(layout: RecordLayout, code: StructCode): Reader<object> {
  const view = code.create()
  const { bind } = code
  const { size } = layout
  const fixed = layout.trailing === undefined
  return {
    read(region: Region, offset: number, length: number): object {
      if (!fixed || length !== size) checkLength(layout, length)
      bind(view, region, offset, length)
      return view
    },
  }
}
