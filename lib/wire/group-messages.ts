import { checkTopicName } from '../base/topic-name.js'
import { type GroupKind, type GroupReport, type GroupRules, groupKinds } from '../model/group.js'
import type { From, TopicSettings } from '../model/topic.js'
import { checkDemand, type Late } from './group-packets.js'
import {
  flag,
  fromToWire,
  integer,
  object,
  optionalInteger,
  own,
  parseFrom,
  parseSettings,
  parseTopic,
  text,
} from './messages.js'
import { protocolError } from './packet.js'

/* The JSON packets of groups: docs/wire-protocol.md, "Groups and durable subscriptions". */

type Fields = Readonly<Record<string, unknown>>

export interface Join {
  readonly topic: string
  readonly settings: TopicSettings
  readonly group: string
  readonly kind: GroupKind
  readonly from: From
  readonly rules: Partial<GroupRules>
  readonly window: number | undefined
  readonly upToSynced: boolean | undefined
  readonly deadLetter: string | undefined
  readonly member: string
  readonly token: string
  readonly graceMs: number | undefined
  readonly taken: number
  readonly limit: number
  readonly settled: number
}

export function joinToWire(join: Join, settings: Fields): Fields {
  return { ...join, settings, from: fromToWire(join.from) }
}

/** @throws HermesError `PROTOCOL`, `INVALID_NAME` */
export function parseJoin(fields: Fields): Join {
  const kind = text(fields, 'kind', 20) as GroupKind
  if (!groupKinds.includes(kind)) throw protocolError(`The field 'kind' should be one of ${groupKinds.join(', ')}.`)
  const group = text(fields, 'group', 300)
  checkTopicName(group, 'group')
  const token = text(fields, 'token', 32)
  if (!/^[0-9a-f]{32}$/.test(token))
    throw protocolError("The field 'token' should be 32 lower-case hexadecimal digits.")
  const window = optionalInteger(fields, 'window', 64, 1_048_576)
  if (window !== undefined && !Number.isInteger(Math.log2(window)))
    throw protocolError("The field 'window' should be a power of two.")
  const deadLetter = own(fields, 'deadLetter') === undefined ? undefined : text(fields, 'deadLetter', 300)
  if (deadLetter !== undefined && deadLetter !== '') checkTopicName(deadLetter)
  const join = {
    topic: parseTopic(fields),
    settings: parseSettings(fields),
    group,
    kind,
    from: parseFrom(own(fields, 'from')),
    rules: parseRules(object(fields, 'rules')),
    window,
    upToSynced: own(fields, 'upToSynced') === undefined ? undefined : flag(fields, 'upToSynced', false),
    deadLetter,
    member: text(fields, 'member', 300),
    token,
    graceMs: optionalInteger(fields, 'graceMs', 0, 3_600_000),
    taken: integer(fields, 'taken', 0),
    limit: integer(fields, 'limit', 0),
    settled: integer(fields, 'settled', 0),
  }
  checkDemand(join)
  return join
}

const most32 = 86_400_000

function parseRules(fields: Fields): Partial<GroupRules> {
  const maxDeliveries = optionalInteger(fields, 'maxDeliveries', 0, 254)
  const leaseMs = optionalInteger(fields, 'leaseMs', 100, most32)
  const backoffMs = optionalInteger(fields, 'backoffMs', 0, most32)
  const maxBackoffMs = optionalInteger(fields, 'maxBackoffMs', backoffMs ?? 0, most32)
  const key = parseKey(fields)
  return {
    ...(maxDeliveries !== undefined && { maxDeliveries }),
    ...(leaseMs !== undefined && { leaseMs }),
    ...(backoffMs !== undefined && { backoffMs }),
    ...(maxBackoffMs !== undefined && { maxBackoffMs }),
    ...(key !== undefined && { key }),
  }
}

function parseKey(fields: Fields): GroupRules['key'] {
  if (own(fields, 'key') === undefined || own(fields, 'key') === null) return undefined
  const key = object(fields, 'key')
  return { offset: integer(key, 'offset', 0, 2 ** 31), bytes: integer(key, 'bytes', 1, 2 ** 31) }
}

export interface Joined {
  readonly resumed: boolean
  readonly rules: GroupRules
  readonly graceMs: number
  readonly maxPayloadBytes: number
  readonly settled: number
  readonly lost: readonly Late[]
  /** Of a durable subscription. */
  readonly committed: number | undefined
}

/** @throws HermesError `PROTOCOL` */
export function parseJoined(fields: Fields): Joined {
  const rules = parseRules(object(fields, 'rules'))
  const { maxDeliveries, leaseMs, backoffMs, maxBackoffMs } = rules
  if (maxDeliveries === undefined || leaseMs === undefined || backoffMs === undefined || maxBackoffMs === undefined)
    throw protocolError('The broker did not say what the group goes by.')
  const lost = own(fields, 'lost')
  if (!Array.isArray(lost)) throw protocolError("The field 'lost' should be a list.")
  return {
    resumed: flag(fields, 'resumed', false),
    rules: { maxDeliveries, leaseMs, backoffMs, maxBackoffMs, key: rules.key },
    graceMs: integer(fields, 'graceMs', 0, 3_600_000),
    maxPayloadBytes: integer(fields, 'maxPayloadBytes', 1, 2 ** 30),
    settled: integer(fields, 'settled', 0),
    lost: lost.map((pair: unknown) => {
      if (!Array.isArray(pair) || !pair.every((one) => Number.isSafeInteger(one) && one >= 1) || pair.length !== 2)
        throw protocolError("The field 'lost' should be a list of pairs.")
      return [pair[0], pair[1]] as Late
    }),
    committed: optionalInteger(fields, 'committed', 1),
  }
}

/** What is asked for seldom. */
export interface Ask {
  readonly id: number
  /** The answers of all up to it were seen. */
  readonly done: number
  readonly op: string
  readonly fields: Fields
}

/** @throws HermesError `PROTOCOL` */
export function parseAsk(fields: Fields): Ask {
  const id = integer(fields, 'id', 1)
  return { id, done: integer(fields, 'done', 0, id - 1), op: text(fields, 'op', 50), fields }
}

/** @throws HermesError `PROTOCOL` */
export function parseRejection(fields: Fields): {
  readonly claim: { readonly sequence: number; readonly deliveries: number; readonly number: number }
  readonly reason: string
  readonly delivered: number
} {
  const deliveries = integer(fields, 'deliveries', 1, 255)
  return {
    delivered: optionalInteger(fields, 'delivered', 0, 255) ?? deliveries,
    claim: {
      sequence: integer(fields, 'sequence', 1),
      deliveries,
      number: integer(fields, 'number', 0, 2 ** 29),
    },
    reason: text(fields, 'reason', 1000),
  }
}

/** Dates travel as milliseconds. */
export function reportToWire(report: GroupReport): Fields {
  return {
    ...report,
    members: report.members.map(({ since, ...rest }) => ({ ...rest, sinceMs: since.getTime() })),
  }
}

/** What the broker says of a group, as this process shows it. @throws HermesError `PROTOCOL` */
export function parseReport(fields: Fields): GroupReport {
  const report = object(fields, 'report')
  const members = own(report, 'members')
  if (!Array.isArray(members) || !members.every((one) => typeof one === 'object' && one !== null))
    throw protocolError('The broker sent no description of the group.')
  for (const name of ['floor', 'next', 'end'] as const) integer(report, name, 0)
  object(report, 'totals')
  return {
    ...(report as unknown as GroupReport),
    oldest: (own(report, 'oldest') ?? undefined) as GroupReport['oldest'],
    key: (own(report, 'key') ?? undefined) as GroupReport['key'],
    members: members.map(({ sinceMs, ...rest }) => ({ ...rest, since: new Date(Number(sinceMs)) })),
  }
}
