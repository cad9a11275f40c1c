/**
 * How two codecs of one topic stand to each other when layouts grow. docs/codecs.md, "Layouts that grow".
 */
import type { RecordLayout } from './struct/layout.js'
import { layoutFromSchema, schemaOf } from './struct/schema.js'

/** What a topic keeps of a codec. */
export interface CodecIdentity {
  readonly name: string
  readonly fingerprint: string
  readonly schema: unknown
}

/** The codec that a topic has now, and those that it had before, from the oldest on. */
export interface CodecLine {
  readonly codec: CodecIdentity
  readonly history?: readonly CodecIdentity[]
}

/**
 * What a codec is to a topic. `same`: it is the topic's. `older`: the topic has grown from it, and takes it. `newer`: it has grown from the topic's; a
 * publisher of it makes it the topic's. `other`: neither can read the other's messages.
 */
export type Relation = 'same' | 'older' | 'newer' | 'other'

export interface Standing {
  readonly relation: Relation
  /** Why it is `other`, where more is to be said than that the layouts differ: a sentence; else ''. */
  readonly reason: string
}

/** The version of the values of a codec whose bytes describe themselves: what `validated()` keeps with a topic. */
export interface VersionSchema {
  readonly format: 'hermes-version'
  readonly version: number
  /** The oldest version whose messages this one reads. */
  readonly reads: number
  /** The oldest version that reads messages of this one. */
  readonly readBy: number
}

export function isVersionSchema(schema: unknown): schema is VersionSchema {
  if (typeof schema !== 'object' || schema === null) return false
  const { format, version, reads, readBy } = schema as Partial<VersionSchema>
  const isVersion = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1
  return format === 'hermes-version' && isVersion(version) && isVersion(reads) && isVersion(readBy)
}

/** How `wanted` stands to the topic. */
export function standingOf(topic: CodecLine, wanted: CodecIdentity): Standing {
  const { codec } = topic
  if (codec.fingerprint === wanted.fingerprint) return versionStanding(topic, wanted.schema)
  if (codec.name !== 'struct' || wanted.name !== 'struct') return plainly('other')
  if (grownFrom(wanted, codec.fingerprint)) return plainly('newer')
  return plainly(grownFrom(codec, wanted.fingerprint) ? 'older' : 'other')
}

function plainly(relation: Relation): Standing {
  return { relation, reason: '' }
}

/** Whether the struct has grown from the one of this fingerprint. What the schema says of itself is worked out anew: it may come from anywhere. */
function grownFrom(codec: CodecIdentity, fingerprint: string): boolean {
  let layout: RecordLayout | undefined
  try {
    layout = layoutFromSchema(codec.schema)
  } catch {
    return false
  }
  if (schemaOf(layout).fingerprint !== codec.fingerprint) return false
  for (layout = layout.parent; layout !== undefined; layout = layout.parent) {
    if (schemaOf(layout).fingerprint === fingerprint) return true
  }
  return false
}

/** The bytes are of one kind; what stands in them may have a version. Who names none is not asked. */
function versionStanding({ codec, history = [] }: CodecLine, wanted: unknown): Standing {
  if (!isVersionSchema(wanted)) return plainly('same')
  const known = [...history.map(({ schema }) => schema), codec.schema].filter(isVersionSchema)
  const newest = known.at(-1)
  // A topic that has no version yet takes the first one.
  if (newest === undefined) return plainly('newer')
  const same = known.find(({ version }) => version === wanted.version)
  if (same === undefined) {
    const unread = known.find(({ version }) => version < wanted.reads)
    if (unread !== undefined)
      return other(
        `Version ${wanted.version} reads messages from version ${wanted.reads} on, and the topic holds some of version ${unread.version}.`,
      )
  }
  const closed = known.find(({ version, readBy }) => version > wanted.version && wanted.version < readBy)
  if (closed !== undefined)
    return other(
      `The topic holds messages of version ${closed.version}, which version ${closed.readBy} and later read; this is version ${wanted.version}.`,
    )
  if (same !== undefined) return plainly(same === newest ? 'same' : 'older')
  if (wanted.version > newest.version) return plainly('newer')
  return other(`The topic is at version ${newest.version} and never had version ${wanted.version}.`)
}

function other(reason: string): Standing {
  return { relation: 'other', reason }
}
