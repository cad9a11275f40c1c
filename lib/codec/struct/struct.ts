import { HermesError } from '../../base/errors.js'
import { nodeModule } from '../../base/node.js'
import { namesOfOptions } from '../../base/options.js'
import type { Codec, Reader, Region } from '../codec.js'
import { closedError, describe, invalidArgument } from '../failures.js'
import { sealed } from '../guarded.js'
import type { StructCode } from './code.js'
import {
  type DefaultFields,
  defaultKey,
  type Field,
  type FieldInput,
  type Fields,
  type FieldValue,
  type FieldView,
  layoutKey,
  layoutOf,
} from './field.js'
import { canGenerate, type GenerateHooks, generate } from './generate.js'
import { checkLength, encodeRecord, fieldBytes, readError, toJsonRecord, wrongLength } from './interpret.js'
import { interpreted } from './interpreted.js'
import { type AddedField, fallbacksOf, grownFrom, isTrailing, type RecordLayout, recordOf, sizesOf } from './layout.js'
import { layoutFromSchema, type StructSchema, schemaOf } from './schema.js'

// These types are conditional (`F extends infer G`) so that they have no name of their own: editors and error messages show the fields, also of nested structs.

/** What `publish` takes: an object with these properties, which may be the same one each time. Further properties are ignored. */
export type StructInput<F extends Fields> = F extends infer G extends Fields
  ? { -readonly [K in keyof G]: FieldInput<G[K]> }
  : never

/** An owned value: a plain object that is the caller's for ever. */
export type StructValue<F extends Fields> = F extends infer G extends Fields
  ? { -readonly [K in keyof G]: FieldValue<G[K]> }
  : never

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
  { readonly [K in keyof F]: FieldView<F[K]> } & StructViewMethods<StructValue<F>>
>

/** The same type, written out. */
type Shown<T> = T extends infer S ? { [K in keyof S]: S[K] } : never

/** A struct: a codec for topics, and a field type for other structs. */
export interface StructCodec<Input, Value, View> extends Codec<Input, Value, View>, Field<Input, Value, View> {
  readonly name: 'struct'
  /** The layout for other programs and languages: `structFromSchema` makes a codec of it. */
  readonly schema: StructSchema
  /** Size of the fixed part in bytes. A payload that this codec writes has exactly this size, or more if the struct has a trailing part. */
  readonly byteLength: number
  /**
   * The struct with further fields behind the present ones. A topic of either takes publishers and subscribers of both: a reader with the
   * old one skips the added fields, and a reader with the new one finds the defaults in old messages. `withDefault()` makes the fields.
   *
   * @throws HermesError `INVALID_ARGUMENT`, also for a struct with a part of variable length, which can't grow
   */
  extend<const F extends DefaultFields>(fields: F): GrownStruct<Input, Value, View, F>
}

/** A struct with further fields, which may be left out when a value is published. */
export type GrownStruct<Input, Value, View, F extends DefaultFields> = StructCodec<
  Shown<Input & { -readonly [K in keyof F]?: FieldInput<F[K]> | undefined }>,
  Shown<Value & StructValue<F>>,
  Shown<
    Omit<View, keyof StructViewMethods<unknown>> & { readonly [K in keyof F]: FieldView<F[K]> } & StructViewMethods<
        Shown<Value & StructValue<F>>
      >
  >
>

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
  if (namesOfOptions(fields) === undefined) {
    throw invalidArgument(
      `struct() takes an object of fields, such as { price: f64, size: u32 }; got ${describe(fields)}.`,
    )
  }
  const names = namesOfOptions(options)
  if (names === undefined) {
    throw invalidArgument(`struct() takes an object of options as its second argument; got ${describe(options)}.`)
  }
  for (const key of names) {
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
    // (only util.inspect() of Node calls this)
    const text = nodeModule('node:util')?.inspect(view.toObject(), options as object)
    return `${title} ${text}`
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
    decode: decoderOf(layout, code),
    reader: (): Reader<object> => readerOf(layout, code),
    extend: (fields: unknown) => codecOf(grownFrom(layout, addedFields(fields))),
  }
  // The layout says at run time what the type parameters say to the compiler.
  return sealed(codec) as unknown as StructCodec<Input, Value, View>
}

function addedFields(fields: unknown): AddedField[] {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalidArgument(
      `extend() takes an object of fields, such as { venue: withDefault(ascii(4), '') }; got ${describe(fields)}.`,
    )
  }
  return Object.entries(fields).map(([name, field]) => {
    const type = layoutOf(field, `extend(): the type of field ${describe(name)}`)
    if (typeof field !== 'object' || !(defaultKey in field) || isTrailing(type)) {
      throw invalidArgument(
        `extend(): field ${describe(name)} needs a default for older messages: ${name}: withDefault(…, value).`,
      )
    }
    return [name, type, fieldBytes(name, type, field[defaultKey])]
  })
}

/**
 * Older messages of a struct that has grown are shorter: what they do not have is filled in. Longer ones come from a struct that has grown
 * further: what lies behind the known fields is not looked at.
 */
class Growth {
  readonly region: Region
  readonly #layout: RecordLayout
  readonly #sizes: readonly number[]
  readonly #fallbacks: Uint8Array

  constructor(layout: RecordLayout) {
    this.#layout = layout
    this.#sizes = sizesOf(layout)
    this.#fallbacks = fallbacksOf(layout)
    const bytes = new Uint8Array(layout.size)
    this.region = { bytes, data: new DataView(bytes.buffer) }
  }

  /** Makes a whole payload of an older one, at the beginning of `region`. @throws HermesError `DECODE_FAILED` for a length that none has */
  fill(source: Region, offset: number, length: number): void {
    if (!this.#sizes.includes(length)) wrongLength(this.#layout, length)
    const { bytes } = this.region
    try {
      // (Throws where the memory was released, of which a copy of nothing would not tell.)
      source.data.byteLength
    } catch (error) {
      throw closedError(error)
    }
    bytes.set(source.bytes.subarray(offset, offset + length))
    bytes.set(this.#fallbacks.subarray(length), length)
  }
}

function decoderOf(layout: RecordLayout, code: StructCode): StructCode['decode'] {
  if (layout.trailing !== undefined) return code.decode
  const { size } = layout
  let growth: Growth | undefined
  return (source, offset, length) => {
    if (length >= size) return code.decode(source, offset, length)
    growth ??= new Growth(layout)
    growth.fill(source, offset, length)
    return code.decode(growth.region, 0, size)
  }
}

function readerOf(layout: RecordLayout, code: StructCode): Reader<object> {
  const view = code.create()
  const { bind } = code
  const { size } = layout
  const fixed = layout.trailing === undefined
  let growth: Growth | undefined
  return {
    read(region: Region, offset: number, length: number): object {
      if (fixed && length < size) {
        growth ??= new Growth(layout)
        growth.fill(region, offset, length)
        bind(view, growth.region, 0, size)
        return view
      }
      if (!fixed || length !== size) checkLength(layout, length)
      bind(view, region, offset, length)
      return view
    },
  }
}
