import { HermesError } from '../base/errors.js'
import { invalid, show } from '../base/options.js'
import type { Codec } from '../codec/codec.js'
import { msgpack } from '../codec/msgpack.js'
import { raw } from '../codec/raw.js'
import type { StructSchema } from '../codec/struct/schema.js'
import { structFromSchema } from '../codec/struct/struct.js'
import { text } from '../codec/text.js'
import type { TopicInfo } from '../model/topic.js'
import { exactText, jsonText, lineText, oneLine, parseJson, quoteLarge, refuseLarge } from './json-text.js'
import { type AnyStruct, base64Bytes, readSchema, recordFromJson } from './schema.js'

/*
 * Codecs as the command line sees them: how a value is read from a line, and written to one.
 */

export const codecNames = ['raw', 'text', 'json', 'msgpack', 'struct'] as const
export type CodecName = (typeof codecNames)[number]

/** How bytes stand in a line. */
export const encodings = ['utf8', 'hex', 'base64'] as const
export type Encoding = (typeof encodings)[number]

export interface Format {
  readonly codec: Codec<unknown, unknown, unknown>
  /** Of struct topics. */
  readonly schema?: StructSchema
  /** Empty lines are no values. */
  readonly skipsBlank: boolean
  /** The value that stands in a line. Throws `ENCODE_FAILED`. */
  parse(line: Buffer): unknown
  /** The value of JSON text as `json` writes it. Throws `ENCODE_FAILED`. */
  parseJson(text: string): unknown
  /** The value as a line for people and pipes. */
  line(value: unknown): string | Uint8Array
  /** The value as JSON text. */
  json(value: unknown): string
}

export interface FormatOptions {
  readonly codec?: CodecName | undefined
  readonly schema?: string | undefined
  readonly encoding?: Encoding | undefined
}

/**
 * The format to publish with: what the options say, else that of the topic, else `fallback`.
 *
 * @param info of the topic, if there is one
 */
export async function publishFormat(
  options: FormatOptions,
  info: TopicInfo | undefined,
  fallback: CodecName,
): Promise<Format> {
  const { codec, schema, encoding } = options
  if (schema !== undefined) {
    if (codec !== undefined && codec !== 'struct') throw invalid(`--schema goes with --codec struct, not ${codec}.`)
    return structFormat(await readSchema(schema))
  }
  if (codec === 'struct' && info?.codec.name !== 'struct') {
    if (info !== undefined) return structFormatMissing(info)
    throw invalid('A new struct topic needs its layout: give --schema, a file or \'{"price":"f64"}\'.')
  }
  if (info !== undefined && (codec === undefined || codec === 'struct')) return formatOf(info, encoding)
  return named(codec ?? fallback, encoding)
}

/** The format to read a topic with. `raw` reads every topic: it shows the payloads. */
export function readFormat({ codec, encoding }: FormatOptions, info: TopicInfo): Format {
  if (codec === undefined) return formatOf(info, encoding)
  if (codec === 'struct') return info.codec.name === 'struct' ? formatOf(info, encoding) : structFormatMissing(info)
  if (codec !== 'raw') return named(codec, encoding)
  const { name, fingerprint, schema } = info.codec
  return rawFormat(encoding, { ...raw, name, fingerprint, schema })
}

function structFormatMissing(info: TopicInfo): never {
  throw new HermesError(
    'CODEC_MISMATCH',
    `Topic '${info.name}' holds messages of codec '${info.codec.name}', not of 'struct'. Leave --codec out.`,
    { details: { topic: info.name, found: info.codec.name, wanted: 'struct' } },
  )
}

function formatOf(info: TopicInfo, encoding: Encoding | undefined): Format {
  const { name, schema } = info.codec
  if (name === 'struct') return structFormat(structFromSchema(schema))
  if (codecNames.includes(name as CodecName)) return named(name as CodecName, encoding)
  throw new HermesError(
    'CODEC_MISMATCH',
    `Topic '${info.name}' has a codec of its own, '${name}', which only its programs know. ` +
      'To see its payloads as bytes, read it with --codec raw.',
    { details: { topic: info.name, found: name } },
  )
}

function named(name: CodecName, encoding: Encoding | undefined): Format {
  if (name === 'raw') return rawFormat(encoding, raw)
  if (name === 'text') return textFormat
  if (name === 'msgpack') return msgpackFormat
  return jsonFormat
}

/** The text itself, without what stands around it. */
function verbatim(written: string): string {
  parseJson(written)
  return written.trim()
}

function exactJson(written: string): unknown {
  return parseJson(refuseLarge(written))
}

function stringOf(written: string): string {
  const value = parseJson(written)
  if (typeof value === 'string') return value
  throw new HermesError(
    'ENCODE_FAILED',
    `The values of this topic are strings, and this one is ${show(value)}. Give --codec json for a new topic that is to hold other values.`,
  )
}

const textFormat: Format = {
  codec: text as Codec<unknown, unknown, unknown>,
  skipsBlank: false,
  parse: lineText,
  parseJson: stringOf,
  line: (value) => value as string,
  json: (value) => JSON.stringify(value),
}

const jsonFormat: Format = {
  codec: jsonText as Codec<unknown, unknown, unknown>,
  skipsBlank: true,
  parse: (line) => verbatim(lineText(line)),
  parseJson: verbatim,
  line: (value) => oneLine(value as string),
  json: (value) => oneLine(value as string),
}

/** JSON has no text for what MessagePack can hold besides: big integers become decimal strings, bytes base64. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  return value
}

const msgpackFormat: Format = {
  codec: msgpack as Codec<unknown, unknown, unknown>,
  skipsBlank: true,
  parse: (line) => exactJson(lineText(line)),
  parseJson: exactJson,
  line: (value) => exactText(value, plain),
  json: (value) => exactText(value, plain),
}

export function structFormat(codec: AnyStruct): Format {
  const convert = recordFromJson(codec.schema)
  // (Looking at each value costs time: only floats can be -0.)
  const hasFloats = /"type":"f(32|64)"/.test(JSON.stringify(codec.schema))
  const written = hasFloats
    ? (value: unknown) => exactText(value, (_, one) => one)
    : (value: unknown) => JSON.stringify(value)
  return {
    codec: codec as unknown as Codec<unknown, unknown, unknown>,
    schema: codec.schema,
    skipsBlank: true,
    parse: (line) => convert(parseJson(quoteLarge(lineText(line)))),
    parseJson: (text) => convert(parseJson(quoteLarge(text))),
    line: written,
    json: written,
  }
}

function rawFormat(encoding: Encoding | undefined, codec: Codec<Uint8Array>): Format {
  const written = encoding ?? 'utf8'
  const inJson = encoding ?? 'base64'
  return {
    codec: codec as Codec<unknown, unknown, unknown>,
    skipsBlank: false,
    parse: (line) => (written === 'utf8' ? line : decoded(line.toString('latin1').trim(), written)),
    parseJson: (text) => (inJson === 'utf8' ? Buffer.from(stringOf(text)) : decoded(stringOf(text), inJson)),
    line: (value) => (written === 'utf8' ? (value as Uint8Array) : encoded(value as Uint8Array, written)),
    json: (value) => JSON.stringify(encoded(value as Uint8Array, inJson)),
  }
}

function encoded(value: Uint8Array, encoding: Encoding): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString(encoding)
}

function decoded(line: string, encoding: 'hex' | 'base64'): Uint8Array {
  if (encoding === 'base64') return base64Bytes(line)
  if (line.length % 2 === 0 && /^[0-9a-f]*$/i.test(line)) return Buffer.from(line, 'hex')
  throw new HermesError('ENCODE_FAILED', 'This is not hexadecimal: two digits for each byte.')
}
