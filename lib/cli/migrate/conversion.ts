import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import type { MessageView } from '../../client/message.js'
import type { Codec } from '../../codec/codec.js'
import { raw } from '../../codec/raw.js'
import type { StructSchema } from '../../codec/struct/schema.js'
import type { TopicInfo } from '../../model/topic.js'
import { type Format, type FormatOptions, publishFormat, readFormat } from '../format.js'
import { fromJson } from '../schema.js'
import { recordTurn } from './fields.js'

export interface ConversionOptions extends FormatOptions {
  readonly rename?: readonly string[]
  readonly set?: readonly string[]
  readonly timeField?: string
}

type AnyCodec = Codec<unknown, unknown, unknown>

/** How messages of one topic become messages of another. */
export interface Conversion {
  readonly reads: AnyCodec
  readonly writes: AnyCodec
  /** The bytes stay as they are. */
  readonly isCopy: boolean
  /** What of the options decides what comes out: a migration that goes on must have the same. */
  readonly plan: string
  /** The value to publish. It's good until the next call. */
  convert(view: unknown, message: MessageView): unknown
}

/** @throws HermesError `CODEC_MISMATCH` for layouts that have no way from one to the other, `INVALID_ARGUMENT` */
export async function conversionOf(from: TopicInfo, options: ConversionOptions): Promise<Conversion> {
  const { rename = [], set = [], timeField } = options
  const changes = rename.length + set.length + (timeField === undefined ? 0 : 1)
  const isOfSameCodec = options.codec === undefined && options.schema === undefined
  if (isOfSameCodec && changes === 0) return copyOf(from)
  const source = readFormat({}, from)
  const target = isOfSameCodec ? source : await publishFormat(options, undefined, 'json')
  if (changes === 0 && target.codec.fingerprint === from.codec.fingerprint) return copyOf(from)
  const names = { renamed: new Map(rename.map(pair).map(([old, now]) => [now, old])), set: new Map(set.map(pair)) }
  const { name, fingerprint } = target.codec
  const plan = JSON.stringify([
    from.codec.fingerprint,
    name,
    fingerprint,
    [...names.renamed],
    [...names.set],
    timeField ?? null,
  ])
  const common = { reads: source.codec, writes: target.codec, isCopy: false, plan }
  if (source.schema !== undefined && target.schema !== undefined) {
    const { schema } = target
    const values = new Map([...names.set].map(([field, text]) => [field, valueFor(schema, field, text)]))
    const turn = recordTurn(source.schema.fields, schema.fields, { ...names, set: values, timeField }, from.name)
    return { ...common, convert: (view, message) => turn(view, () => message.timestampNs) }
  }
  return { ...common, convert: throughJson(source, target, names, timeField) }
}

function copyOf({ codec }: TopicInfo): Conversion {
  const { name, fingerprint, schema } = codec
  const bytes = { ...raw, name, fingerprint, schema } as AnyCodec
  return { reads: bytes, writes: bytes, isCopy: true, plan: JSON.stringify([fingerprint]), convert: (view) => view }
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw invalid(`'${text}' has no equal sign: --rename takes old=new, --set takes field=value.`)
}

/** JSON if it's that, else text. */
function written(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function valueFor(schema: StructSchema, name: string, text: string): unknown {
  const field = schema.fields.find((one) => one.name === name)
  if (field === undefined) return text
  const isText = ['ascii', 'utf8', 'varUtf8', 'enum'].includes(field.type)
  const value = written(text)
  return fromJson(field)(isText && typeof value !== 'string' ? text : value)
}

/** As `sub --json` prints a value and `pub` takes it. */
function throughJson(
  source: Format,
  target: Format,
  { renamed, set }: { readonly renamed: ReadonlyMap<string, string>; readonly set: ReadonlyMap<string, string> },
  timeField: string | undefined,
): Conversion['convert'] {
  if (renamed.size + set.size === 0 && timeField === undefined) return (view) => target.parseJson(source.json(view))
  const values = [...set].map(([name, text]) => [name, written(text)] as const)
  return (view, message) => {
    const value: unknown = JSON.parse(source.json(view))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new HermesError(
        'ENCODE_FAILED',
        '--rename, --set and --time-field are for objects, and this value is none.',
      )
    }
    const record = new Map(Object.entries(value))
    for (const [now, old] of renamed) {
      if (!record.has(old)) continue
      record.set(now, record.get(old))
      record.delete(old)
    }
    for (const [name, one] of values) record.set(name, one)
    if (timeField !== undefined) record.set(timeField, String(message.timestampNs))
    return target.parseJson(JSON.stringify(Object.fromEntries(record)))
  }
}
