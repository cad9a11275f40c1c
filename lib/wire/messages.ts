import { type ErrorCode, errorCodes, HermesError } from '../base/errors.js'
import { checkTopicName } from '../base/topic-name.js'
import { type Durability, durabilities, type From, type Retention, type TopicSettings } from '../model/topic.js'
import { protocolError } from './packet.js'
import { RetryError } from './retry.js'

/*
 * The JSON bodies. Each `parse` takes bytes from a stranger and returns what is declared, or throws `PROTOCOL`
 * (or the code that names the fault better). Unknown fields are ignored.
 */

type Fields = Readonly<Record<string, unknown>>

export function parseJson(bytes: Buffer, start: number, end: number): Fields {
  let content: unknown
  try {
    content = JSON.parse(utf8.decode(bytes.subarray(start, end)))
  } catch (cause) {
    throw new HermesError('PROTOCOL', 'A JSON packet holds no JSON.', { cause })
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw protocolError('A JSON packet holds no object.')
  }
  return content as Fields
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

export function own(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}

function bad(name: string, wanted: string): HermesError {
  return protocolError(`The field '${name}' should be ${wanted}.`)
}

export function text(fields: Fields, name: string, most: number): string {
  const value = own(fields, name)
  if (typeof value === 'string' && value.length <= most) return value
  throw bad(name, `a string of ${most} characters at most`)
}

export function integer(fields: Fields, name: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const value = own(fields, name)
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw bad(name, `an integer from ${least} to ${most}`)
}

export function optionalInteger(fields: Fields, name: string, least: number, most?: number): number | undefined {
  const value = own(fields, name)
  return value === undefined || value === null ? undefined : integer(fields, name, least, most)
}

export function flag(fields: Fields, name: string, otherwise: boolean): boolean {
  const value = own(fields, name) ?? otherwise
  if (typeof value === 'boolean') return value
  throw bad(name, 'true or false')
}

export function object(fields: Fields, name: string): Fields {
  const value = own(fields, name)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw bad(name, 'an object')
}

/** A u64 as decimal text: JSON numbers are not exact that far. */
export function decimal(fields: Fields, name: string): bigint {
  const value = own(fields, name)
  if (typeof value === 'string' && /^\d{1,20}$/.test(value)) {
    const number = BigInt(value)
    if (number <= 0xffff_ffff_ffff_ffffn) return number
  }
  throw bad(name, 'a 64-bit number in decimal text')
}

export interface Hello {
  readonly versions: readonly [number, number]
  readonly features: readonly string[]
  readonly client: string
  readonly token: string | undefined
}

export function parseHello(fields: Fields): Hello {
  const versions = own(fields, 'versions')
  const features = own(fields, 'features') ?? []
  if (
    !Array.isArray(versions) ||
    versions.length !== 2 ||
    !versions.every((one) => Number.isInteger(one) && one >= 1)
  ) {
    throw bad('versions', 'the lowest and the highest version')
  }
  if (!Array.isArray(features) || features.length > 64 || !features.every((one) => typeof one === 'string')) {
    throw bad('features', 'a list of names')
  }
  const token = own(fields, 'token')
  return {
    versions: versions as [number, number],
    features,
    client: own(fields, 'client') === undefined ? '' : text(fields, 'client', 200),
    token: token === undefined ? undefined : text(fields, 'token', 4096),
  }
}

export interface Welcome {
  readonly version: number
  readonly features: readonly string[]
  readonly server: string
  readonly instance: string
  readonly heartbeatMs: number
  readonly limits: { readonly maxPacketBytes: number; readonly maxBatchBytes: number; readonly maxChannels: number }
}

/** A larger packet is taken from no broker, whatever it says: what arrives of one is kept until it is whole. */
const mostPacketBytes = 64 * 1024 * 1024

/** Whether one message of a topic fits into a packet: else the broker says what can't be, and much memory would be set aside for it. @throws HermesError `PROTOCOL` */
export function checkCarried(maxPayloadBytes: number, maxPacketBytes: number): void {
  if (maxPayloadBytes > maxPacketBytes)
    throw protocolError(
      `The broker has a topic with messages of ${maxPayloadBytes} bytes, and packets of ${maxPacketBytes}.`,
    )
}

/** @param offered the features of the HELLO that this answers */
export function parseWelcome(fields: Fields, offered: readonly string[] = []): Welcome {
  const limits = object(fields, 'limits')
  const features = own(fields, 'features')
  if (!Array.isArray(features) || !features.every((one) => offered.includes(one)))
    throw bad('features', `some of those that were offered: ${offered.join(', ') || 'none'}`)
  return {
    version: integer(fields, 'version', 1, 1),
    features,
    server: text(fields, 'server', 200),
    instance: text(fields, 'instance', 64),
    heartbeatMs: integer(fields, 'heartbeatMs', 10, 3_600_000),
    limits: {
      maxPacketBytes: integer(limits, 'maxPacketBytes', 1024, mostPacketBytes),
      maxBatchBytes: integer(limits, 'maxBatchBytes', 64, 2 ** 30),
      maxChannels: integer(limits, 'maxChannels', 1),
    },
  }
}

/** The settings of a topic as they travel: `undefined` fields are left out. */
export function settingsToWire(settings: TopicSettings): Fields {
  const { codec, segmentBytes, maxPayloadBytes, retention, create } = settings
  return { codec, segmentBytes, maxPayloadBytes, retention, create }
}

export function parseSettings(fields: Fields): TopicSettings {
  const settings = object(fields, 'settings')
  const codec = object(settings, 'codec')
  return {
    codec: {
      name: text(codec, 'name', 100),
      fingerprint: text(codec, 'fingerprint', 200),
      schema: own(codec, 'schema') ?? null,
    },
    segmentBytes: optionalInteger(settings, 'segmentBytes', 1),
    maxPayloadBytes: optionalInteger(settings, 'maxPayloadBytes', 1),
    retention: own(settings, 'retention') === undefined ? undefined : parseRetention(settings),
    lowWaterBytes: undefined,
    create: flag(settings, 'create', true),
  }
}

export function parseRetention(fields: Fields): Retention {
  const limits = object(fields, 'retention')
  const bytes = optionalInteger(limits, 'bytes', 1)
  const ageMs = optionalInteger(limits, 'ageMs', 1)
  const waitForGroups = optionalInteger(limits, 'waitForGroups', 1)
  return {
    ...(bytes === undefined ? {} : { bytes }),
    ...(ageMs === undefined ? {} : { ageMs }),
    ...(waitForGroups === undefined ? {} : { waitForGroups }),
  }
}

export function parseTopic(fields: Fields): string {
  const topic = text(fields, 'topic', 300)
  checkTopicName(topic)
  return topic
}

export interface OpenPublisher {
  readonly topic: string
  readonly settings: TopicSettings
  readonly exclusive: boolean
  readonly durability: Durability
  readonly producer: string
  readonly acked: bigint
}

export function parseOpenPublisher(fields: Fields): OpenPublisher {
  const durability = text(fields, 'durability', 20) as Durability
  if (!durabilities.includes(durability)) throw bad('durability', "'written' or 'synced'")
  const producer = text(fields, 'producer', 16)
  if (!/^[0-9a-f]{16}$/.test(producer)) throw bad('producer', '16 lower-case hexadecimal digits')
  return {
    topic: parseTopic(fields),
    settings: parseSettings(fields),
    exclusive: flag(fields, 'exclusive', false),
    durability,
    producer,
    acked: decimal(fields, 'acked'),
  }
}

export interface PublisherOpened {
  readonly stored: bigint
  readonly runs: readonly { readonly first: bigint; readonly count: number; readonly sequence: number }[]
  readonly maxPayloadBytes: number
  readonly maxBatchBytes: number
  readonly nextSequence: number
}

export function publisherOpenedToWire(opened: PublisherOpened): Fields {
  return {
    ...opened,
    stored: String(opened.stored),
    runs: opened.runs.map(({ first, count, sequence }) => [String(first), count, sequence]),
  }
}

export function parsePublisherOpened(fields: Fields): PublisherOpened {
  const runs = own(fields, 'runs')
  if (!Array.isArray(runs)) throw bad('runs', 'a list')
  return {
    stored: decimal(fields, 'stored'),
    runs: runs.map((run: unknown) => {
      if (!Array.isArray(run) || run.length !== 3) throw bad('runs', 'a list of triples')
      const entry = { first: run[0], count: run[1], sequence: run[2] } as Fields
      return {
        first: decimal(entry, 'first'),
        count: integer(entry, 'count', 1, 0xffff_ffff),
        sequence: integer(entry, 'sequence', 0),
      }
    }),
    maxPayloadBytes: integer(fields, 'maxPayloadBytes', 1, 2 ** 30),
    maxBatchBytes: integer(fields, 'maxBatchBytes', 40, 2 ** 30),
    nextSequence: integer(fields, 'nextSequence', 1),
  }
}

export interface Subscribe {
  readonly topic: string
  readonly settings: TopicSettings
  readonly from: From
  readonly credit: number
  /** Nothing is to be sent that is not on stable storage. */
  readonly upToSynced: boolean
}

export function parseSubscribe(fields: Fields): Subscribe {
  return {
    topic: parseTopic(fields),
    settings: parseSettings(fields),
    from: parseFrom(own(fields, 'from')),
    credit: integer(fields, 'credit', 0, 2 ** 31),
    upToSynced: own(fields, 'upTo') === 'synced',
  }
}

export function fromToWire(from: From): unknown {
  return from instanceof Date ? { timeMs: from.getTime() } : from
}

export function parseFrom(value: unknown): From {
  if (value === 'earliest' || value === 'latest') return value
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value
  if (typeof value === 'object' && value !== null) {
    const timeMs = own(value as Fields, 'timeMs')
    // (a Date cannot be further away)
    if (typeof timeMs === 'number' && Number.isSafeInteger(timeMs) && timeMs >= 0 && timeMs <= 8.64e15)
      return new Date(timeMs)
  }
  throw bad('from', "'earliest', 'latest', a sequence or { timeMs }")
}

export interface Seek {
  readonly epoch: number
  readonly from: From | 'damage'
}

export function parseSeek(fields: Fields): Seek {
  const from = own(fields, 'from')
  return { epoch: integer(fields, 'epoch', 1, 0xffff_ffff), from: from === 'damage' ? from : parseFrom(from) }
}

export interface Subscribed {
  readonly epoch: number
  readonly sequence: number
  readonly nextSequence: number
  readonly maxPayloadBytes: number
  /** Absent from a broker that does not know what was asked for. */
  readonly upToSynced: boolean
}

export function parseSubscribed(fields: Fields): Subscribed {
  return {
    upToSynced: own(fields, 'upTo') === 'synced',
    epoch: integer(fields, 'epoch', 0, 0xffff_ffff),
    sequence: integer(fields, 'sequence', 1),
    nextSequence: integer(fields, 'nextSequence', 1),
    maxPayloadBytes: integer(fields, 'maxPayloadBytes', 1, 2 ** 30),
  }
}

const knownCodes: ReadonlySet<string> = new Set(errorCodes)

export function errorToWire(error: unknown): Fields {
  if (error instanceof HermesError)
    return {
      code: error.code,
      message: error.message.slice(0, 2000),
      details: safeDetails(error.details),
      ...(error instanceof RetryError ? { retry: true } : {}),
    }
  return { code: 'IO_FAILED', message: 'The broker failed; its log says why.' }
}

/** Room for a thousand groups, which are listed where one of them is damaged. */
const mostDetails = 400_000

function safeDetails(details: Fields): Fields {
  const text = JSON.stringify(details, (_, value) => (typeof value === 'bigint' ? String(value) : value))
  return text === undefined || text.length > mostDetails ? {} : (JSON.parse(text) as Fields)
}

/** Makes the broker's error one of this process. */
export function parseError(fields: Fields): HermesError {
  const code = text(fields, 'code', 100)
  const details = own(fields, 'details')
  return new HermesError(knownCodes.has(code) ? (code as ErrorCode) : 'PROTOCOL', text(fields, 'message', 4000), {
    details: typeof details === 'object' && details !== null && !Array.isArray(details) ? (details as Fields) : {},
  })
}
