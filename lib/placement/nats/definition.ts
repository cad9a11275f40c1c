import { HermesError } from '../../base/errors.js'
import type { CodecIdentity } from '../../codec/evolution.js'
import { defaultMaxPayloadBytes, frameBytes } from '../../frame/frame.js'
import { checkCodec } from '../../model/codec-check.js'
import { defaultSegmentBytes } from '../../model/limits.js'
import type { Retention, TopicSettings } from '../../model/topic.js'
import type { MirrorOrigin } from '../mirror-port.js'
import type { StreamInfo } from './peer.js'

/** What a stream's description says of its topic. JSON of 4,096 characters at most. */
export interface Definition {
  readonly topic: string
  /** Random: tells a topic from a later one of the same name. */
  readonly id: string
  readonly codec: CodecIdentity
  readonly maxPayloadBytes: number
  /** Means nothing in a stream: for a mirror in files. */
  readonly segmentBytes: number
  /** Of a mirror: which topic it is of. Nobody else publishes to it. */
  readonly origin?: MirrorOrigin
}

const format = 'hermes-topic'
const version = 1
/** What nats-server takes as a description. */
const mostCharacters = 4096
/** For how long servers look for duplicates, unless they are told. */
const usualWindowMs = 120_000
/** Room in a message of NATS for its headers and its subject. */
const headRoom = 1024

/** Names of streams have no dots, names of topics no tildes. */
export const streamOf = (topic: string): string => `HERMES_${topic.replaceAll('.', '~')}`
export const streamPrefix = 'HERMES_'
/** Each topic has a subject of its own: what is meant for an earlier one of its name never comes into this one. */
export const subjectOf = ({ topic, id }: Definition): string => `hermes.topic.${topic.replaceAll('.', '~')}.${id}`

/** @throws HermesError `CONFIG_MISMATCH`, `LIMIT` */
export function newDefinition(
  topic: string,
  wanted: TopicSettings,
  maxMessageBytes: number,
  origin?: MirrorOrigin,
): Definition {
  const most = maxMessageBytes - headRoom
  const maxPayloadBytes = wanted.maxPayloadBytes ?? defaultMaxPayloadBytes
  if (frameBytes(maxPayloadBytes) > most) {
    throw new HermesError(
      'CONFIG_MISMATCH',
      `The cluster carries ${maxMessageBytes} bytes at once, too few for payloads of ${maxPayloadBytes}. Set a smaller 'maxPayloadBytes', or a larger 'max_payload' on the servers.`,
      { details: { topic, maxPayloadBytes, maxMessageBytes } },
    )
  }
  const { name, fingerprint, schema } = wanted.codec
  const definition: Definition = {
    topic,
    id: randomId(),
    codec: { name, fingerprint, schema },
    maxPayloadBytes,
    segmentBytes: wanted.segmentBytes ?? defaultSegmentBytes,
    ...(origin !== undefined && { origin }),
  }
  const { length } = definitionText(definition)
  if (length > mostCharacters) {
    throw new HermesError(
      'LIMIT',
      `The description of topic '${topic}' has ${length} characters, and a stream takes ${mostCharacters}. Use a layout with fewer or shorter fields.`,
      { details: { topic, characters: length } },
    )
  }
  return definition
}

export function definitionText(definition: Definition): string {
  return JSON.stringify({ format, version, ...definition })
}

/** `undefined` if it is no stream of Hermes. @throws HermesError `VERSION_MISMATCH`, `CORRUPT` */
export function readDefinition(info: StreamInfo): Definition | undefined {
  const { name, description = '' } = info.config
  if (!name.startsWith(streamPrefix)) return undefined
  let content: Partial<Definition> & { format?: unknown; version?: unknown }
  try {
    content = JSON.parse(description)
  } catch {
    return undefined
  }
  if (content?.format !== format) return undefined
  if (content.version !== version) {
    throw new HermesError(
      'VERSION_MISMATCH',
      `Stream ${name} has version ${content.version} of Hermes' description; this one reads ${version}. Update hermes-mq.`,
      { details: { stream: name } },
    )
  }
  const { topic, id, codec, maxPayloadBytes, segmentBytes, origin } = content
  const isWhole =
    typeof topic === 'string' &&
    streamOf(topic) === name &&
    typeof id === 'string' &&
    /^[0-9a-f]{16}$/.test(id) &&
    typeof codec?.name === 'string' &&
    typeof codec.fingerprint === 'string' &&
    isSize(maxPayloadBytes) &&
    isSize(segmentBytes) &&
    (origin === undefined || (typeof origin?.topic === 'string' && Number.isSafeInteger(origin.createdMs)))
  if (!isWhole) {
    throw new HermesError('CORRUPT', `The description of stream ${name} is damaged. Make the topic anew.`, {
      details: { stream: name },
    })
  }
  const { name: codecName, fingerprint, schema = null } = codec
  return {
    topic,
    id,
    codec: { name: codecName, fingerprint, schema },
    maxPayloadBytes,
    segmentBytes,
    ...(origin !== undefined && { origin: { topic: origin.topic, createdMs: origin.createdMs } }),
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

/** @throws HermesError `CODEC_MISMATCH`, `CONFIG_MISMATCH` */
export function checkDefinition(found: Definition, wanted: TopicSettings): void {
  checkCodec(found.topic, found, wanted, false)
  for (const setting of ['segmentBytes', 'maxPayloadBytes'] as const) {
    const value = wanted[setting]
    if (value === undefined || value === found[setting]) continue
    throw new HermesError(
      'CONFIG_MISMATCH',
      `Topic '${found.topic}' was made with ${setting} ${found[setting]}, which is fixed, not ${value}. Leave the option out.`,
      { details: { topic: found.topic, setting, found: found[setting], wanted: value } },
    )
  }
}

/** @throws HermesError `CONFIG_MISMATCH` for a mirror */
export function checkNoMirror({ topic, origin }: Definition): void {
  if (origin === undefined) return
  throw new HermesError(
    'CONFIG_MISMATCH',
    `Topic '${topic}' in the cluster is a mirror of topic '${origin.topic}': publish there, and it comes here.`,
    { details: { topic, origin } },
  )
}

/** Of a stream's limits. Ages are in nanoseconds there; 0 and -1 mean none. */
export function limitsOf({ bytes, ageMs }: Retention): {
  max_bytes: number
  max_age: number
  duplicate_window: number
} {
  // (no message has an identity by which the servers would tell duplicates; but an age below their window is refused for a stream that is there)
  const windowMs = Math.min(usualWindowMs, ageMs ?? usualWindowMs)
  return { max_bytes: bytes ?? -1, max_age: (ageMs ?? 0) * 1e6, duplicate_window: windowMs * 1e6 }
}

export function retentionOf({ config }: StreamInfo): Retention {
  const { max_bytes: bytes, max_age: age } = config
  return { ...(bytes > 0 && { bytes }), ...(age > 0 && { ageMs: Math.round(age / 1e6) }) }
}

function randomId(): string {
  const random = crypto.getRandomValues(new Uint8Array(8))
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
