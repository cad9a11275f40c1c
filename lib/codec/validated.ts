import type { StandardSchemaV1 } from '@standard-schema/spec'
import { HermesError } from '../base/errors.js'
import { namesOfOptions } from '../base/options.js'
import type { Codec, Reader, Region } from './codec.js'
import type { VersionSchema } from './evolution.js'
import { describe, invalidArgument, messageOf, nameOfFunction } from './failures.js'
import { guarded, sealed } from './guarded.js'

export interface ValidatedOptions<On extends 'both' | 'publish' | 'receive' = 'both' | 'publish' | 'receive'> {
  /**
   * Where the validator runs. `both` by default. Choose `publish` for a validator whose output it would not itself
   * accept, such as one that turns strings into numbers: on receipt it would be given its own output.
   */
  readonly on?: On
  /**
   * The version of the values, from 1 on, for codecs whose bytes describe themselves (`json`, `msgpack`). The topic keeps it, and refuses programs that can't read what it
   * holds, or whose messages others can't read. Who names no version is not asked.
   */
  readonly version?: number
  /** With `version`: the oldest version whose messages this one reads. Default 1. */
  readonly reads?: number
  /** With `version`: the oldest version that reads messages of this one. Default 1: what was added since may be missed. */
  readonly readBy?: number
}

/**
 * Attaches a validator: any object of the Standard Schema specification (zod, valibot, arktype, …).
 *
 * On publish it runs before encoding, and what it returns is encoded. On receipt it runs after decoding, on an owned
 * value, and what it returns is handed out. A `poll` handler receives that owned value too and no view: a validator
 * needs a plain object, so validated views cost what an owned value costs. With `on: 'publish'` reading is untouched.
 *
 * Throws `VALIDATION_FAILED` with `details.issues` at run time, and `INVALID_ARGUMENT` if the validator turns out to
 * be asynchronous: publishing and reading are synchronous. The bytes are those of `codec`, so name and fingerprint are too.
 *
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function validated<In, Out, View, Schema extends StandardSchemaV1<unknown, In>>(
  codec: Codec<In, Out, View>,
  schema: Schema,
  options: ValidatedOptions<'publish'> & { readonly on: 'publish' },
): Codec<StandardSchemaV1.InferInput<Schema>, Out, View>
export function validated<In, Out, View, Schema extends StandardSchemaV1>(
  codec: Codec<In, Out, View>,
  schema: Schema,
  options: ValidatedOptions<'receive'> & { readonly on: 'receive' },
): Codec<In, StandardSchemaV1.InferOutput<Schema>>
export function validated<In, Out, View, Schema extends StandardSchemaV1<unknown, In>>(
  codec: Codec<In, Out, View>,
  schema: Schema,
  options?: ValidatedOptions<'both'>,
): Codec<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>
export function validated(
  given: Codec<unknown>,
  schema: StandardSchemaV1,
  options: ValidatedOptions = {},
): Codec<unknown> {
  assertCodec(given, 'validated()')
  const codec = guarded(given)
  const standard = schemaProps(schema)
  const on = checkedPlace(options)
  const publish = on !== 'receive'
  const receive = on !== 'publish'

  const decode = (source: Region, offset: number, length: number): unknown =>
    validate(standard, codec.decode(source, offset, length), 'received')
  const reader: Reader<unknown> = Object.freeze({ read: decode })

  return sealed({
    name: codec.name,
    fingerprint: codec.fingerprint,
    schema: versionSchema(codec, options) ?? codec.schema,
    maxBytes: codec.maxBytes,
    encode(value: unknown, target: Region, offset: number, limit: number): number {
      return codec.encode(publish ? validate(standard, value, 'published') : value, target, offset, limit)
    },
    decode: receive
      ? decode
      : (source: Region, offset: number, length: number): unknown => codec.decode(source, offset, length),
    reader(): Reader<unknown> {
      return receive ? reader : codec.reader()
    },
  })
}

const optionNames = ['on', 'version', 'reads', 'readBy']

/** @throws HermesError `INVALID_ARGUMENT` */
function versionSchema(codec: Codec<unknown>, options: ValidatedOptions): VersionSchema | undefined {
  const { version, reads = 1, readBy = 1 } = options
  if (version === undefined) {
    if (options.reads === undefined && options.readBy === undefined) return undefined
    throw invalidArgument("The options 'reads' and 'readBy' of validated() say nothing without 'version'.")
  }
  if (codec.schema !== null) {
    throw invalidArgument(
      `A ${codec.name} codec says by its layout what it reads: it takes no 'version'. A struct grows by extend().`,
    )
  }
  for (const [name, value] of Object.entries({ version, reads, readBy })) {
    if (!Number.isSafeInteger(value) || value < 1 || value > version) {
      throw invalidArgument(`'${name}' of validated() is a whole number from 1 to the version; got ${describe(value)}.`)
    }
  }
  return Object.freeze({ format: 'hermes-version', version, reads, readBy })
}

interface Issue {
  readonly message: string
  readonly path: (string | number)[]
}

function schemaProps(schema: StandardSchemaV1): StandardSchemaV1.Props {
  // arktype's schemas are functions.
  const holder = (typeof schema === 'object' && schema !== null) || typeof schema === 'function' ? schema : undefined
  let standard: StandardSchemaV1.Props | undefined
  try {
    const given = holder?.['~standard'] as StandardSchemaV1.Props | undefined
    if (given?.version === 1 && typeof given.validate === 'function') standard = given
  } catch {
    // a revoked Proxy
  }
  if (standard === undefined) {
    throw invalidArgument(
      "validated() takes a Standard Schema validator as its second argument: an object with '~standard', version 1, " +
        'as zod, valibot and arktype make them.',
    )
  }
  return standard
}

function checkedPlace(options: ValidatedOptions): 'both' | 'publish' | 'receive' {
  const names = namesOfOptions(options)
  if (names === undefined) {
    throw invalidArgument(`validated() takes an object of options as its third argument; got ${describe(options)}.`)
  }
  for (const key of names) {
    if (!optionNames.includes(key)) {
      throw new HermesError(
        'UNKNOWN_OPTION',
        `validated() has no option ${describe(key)}. It has ${optionNames.map((name) => `'${name}'`).join(', ')}.`,
      )
    }
  }
  const on = options.on ?? 'both'
  if (on !== 'both' && on !== 'publish' && on !== 'receive') {
    throw invalidArgument(`The option 'on' of validated() is 'both', 'publish' or 'receive'; got ${describe(on)}.`)
  }
  return on
}

function validate(standard: StandardSchemaV1.Props, value: unknown, what: 'published' | 'received'): unknown {
  let result: ReturnType<StandardSchemaV1.Props['validate']>
  let isLater = false
  let issues: Issue[] | undefined
  try {
    result = standard.validate(value)
    isLater = typeof (result as { then?: unknown } | undefined)?.then === 'function'
    if (!isLater) {
      if (typeof result !== 'object' || result === null) {
        throw new TypeError(`it returned ${describe(result)} in place of { value } or { issues }`)
      }
      const { issues: given } = result as StandardSchemaV1.FailureResult
      if (given === undefined) return (result as StandardSchemaV1.SuccessResult<unknown>).value
      issues = Array.from(given, (issue) => ({ message: String(issue.message), path: plainPath(issue.path) }))
    }
  } catch (error) {
    throw new HermesError('VALIDATION_FAILED', `The validator failed on a ${what} value: ${messageOf(error)}`, {
      cause: error,
      details: { issues: [] },
    })
  }
  if (isLater || issues === undefined) {
    // No caller awaits it, and its rejection must not end the process.
    new Promise((resolve) => resolve(result)).catch(() => undefined)
    throw invalidArgument(
      'The validator is asynchronous, and values are validated synchronously when they are published and read. ' +
        'Use a schema without asynchronous checks, and do those before publish().',
    )
  }
  const first = issues[0]
  const where = first === undefined || first.path.length === 0 ? '' : ` at ${first.path.join('.')}`
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  throw new HermesError(
    'VALIDATION_FAILED',
    `A ${what} value is not valid${where}: ${first?.message ?? 'no reason given'}${more}`,
    { details: { issues } },
  )
}

function plainPath(path: StandardSchemaV1.Issue['path']): (string | number)[] {
  return (path ?? []).map((segment) => {
    const key = typeof segment === 'object' ? segment.key : segment
    return typeof key === 'number' ? key : String(key)
  })
}

/**
 * Checks that `value` is a codec.
 *
 * @throws HermesError `INVALID_ARGUMENT`, which tells a codec from a function that makes one
 */
export function assertCodec(value: unknown, where: string): asserts value is Codec<unknown> {
  try {
    const given = value as Partial<Codec<unknown>> | null | undefined
    if (
      (typeof given === 'object' || typeof given === 'function') &&
      given !== null &&
      typeof given.name === 'string' &&
      typeof given.fingerprint === 'string' &&
      typeof given.encode === 'function' &&
      typeof given.decode === 'function' &&
      typeof given.reader === 'function'
    ) {
      return
    }
  } catch {
    // a revoked Proxy
  }
  const name = nameOfFunction(value)
  const hint = name === undefined ? `got ${describe(value)}` : `got the function ${name}; call it: ${name}(…)`
  throw invalidArgument(`${where} takes a codec: raw, text, json, msgpack, struct({ … }) or custom({ … }); ${hint}.`)
}
