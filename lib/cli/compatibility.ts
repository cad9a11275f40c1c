import { readFile } from 'node:fs/promises'
import { invalid } from '../base/options.js'
import { type CodecIdentity, type CodecLine, isVersionSchema, type Relation, standingOf } from '../codec/evolution.js'
import { structFromSchema } from '../codec/struct/struct.js'
import { type FieldDifference, fieldDifferences, schemaDifference } from '../model/schema-difference.js'
import { fromFile } from './file.js'
import { structOf } from './schema.js'

/*
 * Whether a topic of one layout takes programs with another, told from files: what a build compares before anything runs. docs/codecs.md, "Layouts that grow".
 */

export interface Compatibility {
  readonly compatible: boolean
  /** What the new one is to the old: see docs/cli.md. */
  readonly relation: Relation
  /** The fields that the newer of the two has besides. */
  readonly added: readonly FieldDifference[]
  /** The fields that differ, where the two are not compatible. */
  readonly differences: readonly FieldDifference[]
  /** Why they are not, in words. */
  readonly reasons: readonly string[]
}

/** Both are paths of JSON files: a schema in the full or the short form, a version of `validated()`, or all that `hermes info --json` prints. */
export async function compareFiles(oldPath: string, newPath: string): Promise<Compatibility> {
  const [old, now] = [await readLine(oldPath), await readLine(newPath)]
  const [topic, wanted] = ofOneCodec(old, now.codec)
  const { relation, reason } = standingOf(topic, wanted)
  const fields = fieldDifferences(topic.codec.schema, wanted.schema) ?? []
  if (relation !== 'other') return { compatible: true, relation, added: fields, differences: [], reasons: [] }
  const sides = { found: `in ${oldPath}`, wanted: `in ${newPath}`, inFound: `in ${oldPath}` }
  const reasons = reason === '' ? schemaDifference(topic.codec.schema, wanted.schema, sides) : [reason]
  if (topic.codec.name !== wanted.name)
    reasons.push(`the codec is ${topic.codec.name} ${sides.found} and ${wanted.name} ${sides.wanted}`)
  if (reasons.length === 0)
    reasons.push(
      `the fingerprint is ${topic.codec.fingerprint} ${sides.found} and ${wanted.fingerprint} ${sides.wanted}`,
    )
  return { compatible: false, relation, added: [], differences: fields, reasons }
}

/** Every field of the old one is there unchanged, and only further ones came. */
export function onlyAdds({ differences }: Compatibility): boolean {
  return differences.length > 0 && differences.every(({ found }) => found === undefined)
}

/** A version that stands by itself says nothing of its codec: it's that of the other one. */
const anyCodec = 'values with a version'

function ofOneCodec(old: CodecLine, now: CodecIdentity): [CodecLine, CodecIdentity] {
  const same = (one: CodecIdentity, other: CodecIdentity): CodecIdentity =>
    one.name === anyCodec && other.name !== 'struct' ? { ...other, schema: one.schema } : one
  return [{ ...old, codec: same(old.codec, now) }, same(now, old.codec)]
}

async function readLine(path: string): Promise<CodecLine> {
  const text = await readFile(path, 'utf8').catch((error) => fromFile(error, path))
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw invalid(`${path} is not JSON: ${(error as Error).message}.`)
  }
  const record = typeof content === 'object' && content !== null && !Array.isArray(content) ? content : undefined
  if (record === undefined) {
    throw invalid(
      `${path} must hold a JSON object: what \`hermes info <topic> --schema\` or \`hermes info <topic> --json\` prints, or field names with types.`,
    )
  }
  const { codec, history } = record as { codec?: unknown; history?: unknown }
  if (isIdentity(codec)) {
    const former = Array.isArray(history) ? history.filter(isIdentity) : []
    return { codec: checked(codec, path), history: former }
  }
  return { codec: ofSchema(record as Record<string, unknown>, path) }
}

function isIdentity(value: unknown): value is CodecIdentity {
  const { name, fingerprint } = (value ?? {}) as Partial<CodecIdentity>
  return typeof name === 'string' && typeof fingerprint === 'string'
}

/** What a file says of a struct's fingerprint is not believed. */
function checked(codec: CodecIdentity, path: string): CodecIdentity {
  return codec.name === 'struct' ? ofSchema(codec.schema as Record<string, unknown>, path) : codec
}

function ofSchema(schema: Record<string, unknown>, path: string): CodecIdentity {
  if (isVersionSchema(schema)) return { name: anyCodec, fingerprint: anyCodec, schema }
  try {
    return schema?.['format'] === 'hermes-struct' ? structFromSchema(schema) : structOf(schema)
  } catch (error) {
    throw error instanceof Error && 'code' in error ? invalid(`${path}: ${error.message}`) : error
  }
}
