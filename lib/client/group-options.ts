import { HermesError } from '../base/errors.js'
import { processWords } from '../base/node.js'
import { checkBoolean, checkChoice, checkInteger, checkOptions, checkSignal, invalid, show } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Codec, Region } from '../codec/codec.js'
import { layoutOf } from '../codec/struct/field.js'
import type { RecordLayout } from '../codec/struct/layout.js'
import { crc32 } from '../frame/crc32.js'
import type { GroupRules } from '../model/group.js'
import type { From } from '../model/topic.js'
import type { ConsumerOptions } from '../placement/consumer-port.js'
import { checkFrom } from './from.js'
import { type Wait, waits } from './wait.js'

export interface GroupOptions<Out> {
  /**
   * How messages are shared. `shared` (default): any member any message. `exclusive`: one member gets all, in order, and another one takes over from it. `keyed` (needs `key`):
   * the messages of one key are with one member at a time, in order.
   */
  readonly kind?: 'shared' | 'exclusive' | 'keyed'
  /** What orders belong together: a field of a struct, or what a function makes of a value. Given alone, it makes the group `keyed`. */
  readonly key?: (string & keyof Out) | ((value: Out) => string | number | bigint)
  /** Where a group begins that is made now. Default `earliest`. One that is there goes on where it is. */
  readonly from?: From
  /** How many messages this member may hold, not settled: 1 to 65,536. Default 1,000. */
  readonly maxInFlight?: number
  /** How long a member whose event loop does not turn keeps what it holds: 100 to 86,400,000 ms. Default 30,000. */
  readonly leaseMs?: number
  /** A message that was delivered so often without being handled is given up: 1 to 254, or 0: never. Default 5. */
  readonly maxDeliveries?: number
  /** How long until a message comes again that was returned: for the first time, and at most; it doubles each time. Default `[1000, 60000]`; one number is both. */
  readonly backoffMs?: number | readonly [first: number, most: number]
  /** The topic for messages that are given up, or false: they are passed over, and counted. Default: `<topic>.dead`. */
  readonly deadLetter?: string | false
  /** How far the newest message handed out may be ahead of the oldest one that is not settled: a power of two from 64 to 1,048,576. Default 65,536. */
  readonly window?: number
  /** `synced`: hand out only what no loss of power can take back; of use where publishers sync. Default `written`: whatever is there. */
  readonly upTo?: 'written' | 'synced'
  /** The member's name, for people: 64 bytes of it are kept. Default: the process's title and id. */
  readonly member?: string
  /** How to wait for messages. Default `adaptive`. */
  readonly wait?: Wait
  /** Make the topic, with the settings given to `hermes.topic()`, if there is none. Default false: `NOT_FOUND`. */
  readonly create?: boolean
  /** Ends waits and iterations with an `ABORTED` error. */
  readonly signal?: AbortSignal
  /** What a signal does to an iteration: `throw` (default) an `ABORTED` error, or `end` it, as closing does. */
  readonly onAbort?: 'throw' | 'end'
  /**
   * Called with the error of a message that can't be decoded or is not valid. The message is returned, so that a member that can read it may get it, and is given up in the
   * end. Default: iterations and `poll` throw the error.
   */
  readonly onError?: (error: HermesError) => void
}

const names: readonly (keyof GroupOptions<unknown>)[] = [
  'kind',
  'key',
  'from',
  'maxInFlight',
  'leaseMs',
  'maxDeliveries',
  'backoffMs',
  'deadLetter',
  'window',
  'upTo',
  'member',
  'wait',
  'create',
  'signal',
  'onAbort',
  'onError',
]

/** What the public class needs besides what the placement is told. */
export interface MemberOptions {
  readonly maxInFlight: number
  readonly wait: Wait
  readonly signal: AbortSignal | undefined
  readonly endsOnAbort: boolean
  /** Where no field of the payload is the key. @throws HermesError `VALIDATION_FAILED` for a value that has none */
  readonly checkKey: ((value: unknown) => void) | undefined
  /** What is handled in order: nothing, the messages of a key, or all of the topic. */
  readonly order: 'none' | 'key' | 'topic'
  readonly onError: ((error: HermesError) => void) | undefined
}

const most32 = 86_400_000

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `INVALID_NAME` */
export function checkGroupOptions<Out>(
  codec: Codec<never, Out, unknown>,
  options: GroupOptions<Out>,
): { readonly port: ConsumerOptions; readonly member: MemberOptions } {
  checkOptions('group()', options, names)
  const {
    key,
    from = 'earliest',
    maxInFlight = 1000,
    wait = 'adaptive',
    create = false,
    signal,
    onAbort = 'throw',
    onError,
  } = options
  const kind = options.kind ?? (key === undefined ? 'shared' : 'keyed')
  checkChoice('kind', kind, ['shared', 'exclusive', 'keyed'])
  if (key !== undefined && kind !== 'keyed') throw invalid(`'key' is for groups of kind 'keyed', not '${kind}'.`)
  if (kind === 'keyed' && key === undefined)
    throw invalid("A 'keyed' group needs a 'key': the name of a field, or a function.")
  checkFrom("'from'", from)
  if (from instanceof Date && from.getTime() > Date.now()) {
    throw invalid(
      "'from' of a group can't be a time to come: what is published until then would be missed. Use 'latest'.",
    )
  }
  checkInteger('maxInFlight', maxInFlight, 1, 65_536)
  checkChoice('wait', wait, waits)
  checkBoolean('create', create)
  checkSignal(signal)
  checkChoice('onAbort', onAbort, ['throw', 'end'])
  if (onError !== undefined && typeof onError !== 'function') throw invalid("'onError' must be a function.")
  const { window, member = processWords() } = options
  if (window !== undefined && !(Number.isInteger(Math.log2(window)) && window >= 64 && window <= 1_048_576)) {
    throw invalid(`'window' must be a power of two from 64 to 1,048,576, not ${show(window)}.`)
  }
  const { upTo } = options
  if (upTo !== undefined) checkChoice('upTo', upTo, ['written', 'synced'])
  if (typeof member !== 'string' || member === '')
    throw invalid(`'member' must be a name, not ${show(member)}. Leave it out for the process's title and id.`)
  const keyed = key === undefined ? {} : keyOf(codec, key)
  return {
    port: {
      kind,
      from,
      rules: { ...rulesOf(options), ...(keyed.field === undefined ? {} : { key: keyed.field }) },
      window,
      maxInFlight,
      upToSynced: upTo === undefined ? undefined : upTo === 'synced',
      deadLetter: deadLetterOf(options.deadLetter),
      member,
      create,
      hashOf: keyed.hashOf,
      signal,
    },
    member: {
      maxInFlight,
      wait,
      signal,
      endsOnAbort: onAbort === 'end',
      order: kind === 'shared' ? 'none' : kind === 'keyed' ? 'key' : 'topic',
      onError,
      checkKey: keyed.checkKey,
    },
  }
}

function deadLetterOf(given: unknown): string | undefined {
  if (given === undefined) return undefined
  if (given === false) return ''
  checkTopicName(given)
  return given as string
}

function rulesOf({ leaseMs, maxDeliveries, backoffMs }: GroupOptions<never>): Partial<GroupRules> {
  if (leaseMs !== undefined) checkInteger('leaseMs', leaseMs, 100, most32)
  if (maxDeliveries !== undefined) checkInteger('maxDeliveries', maxDeliveries, 0, 254)
  if (typeof backoffMs === 'object' && !(Array.isArray(backoffMs) && backoffMs.length === 2))
    throw invalid(`'backoffMs' must be a number or two numbers, [first, most], not ${show(backoffMs)}.`)
  const [first, most] = typeof backoffMs === 'object' ? backoffMs : [backoffMs, backoffMs]
  if (backoffMs !== undefined) {
    checkInteger(typeof backoffMs === 'object' ? 'backoffMs[0]' : 'backoffMs', first, 0, most32)
    checkInteger('backoffMs[1]', most, first as number, most32)
  }
  return {
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(maxDeliveries === undefined ? {} : { maxDeliveries }),
    ...(first === undefined ? {} : { backoffMs: first }),
    ...(most === undefined ? {} : { maxBackoffMs: most }),
  }
}

interface Key {
  readonly field?: { readonly offset: number; readonly bytes: number }
  readonly hashOf?: (region: Region, offset: number, length: number) => number
  readonly checkKey?: (value: unknown) => void
}

/** A field of a struct is found in the payload by the addon; for anything else the value is decoded. */
function keyOf<Out>(codec: Codec<never, Out, unknown>, key: NonNullable<GroupOptions<Out>['key']>): Key {
  if (typeof key === 'function') return keyBy(codec, key)
  if (typeof key !== 'string') throw invalid(`'key' must be the name of a field or a function, not ${show(key)}.`)
  if (codec.name === 'struct') {
    const { fields, trailing } = layoutOf(codec, "'key'") as RecordLayout
    const field = fields.find(({ name }) => name === key)
    // (A field that was added later is not in every payload.)
    if (field !== undefined && field.fallback === undefined)
      return { field: { offset: field.offset, bytes: field.type.size } }
    const known = [...fields.map(({ name }) => name), ...(trailing === undefined ? [] : [trailing.name])]
    if (!known.includes(key))
      throw invalid(`The struct has no field '${key}' to be the key. It has: ${known.join(', ')}.`)
  }
  return keyBy(codec, (value) => (value as Readonly<Record<string, unknown>>)[key], key)
}

/** The member that claims a message without a key gets an error: it comes into this bucket, and blocks only messages of this bucket. */
export const keylessBucket = 0

function keyBy<Out>(codec: Codec<never, Out, unknown>, keyOf: (value: Out) => unknown, field?: string): Key {
  return {
    hashOf: (region, offset, length) => {
      try {
        return hashOfKey(keyOf(codec.decode(region, offset, length)), field)
      } catch {
        return keylessBucket
      }
    },
    checkKey: (value) => {
      let key: unknown
      try {
        key = keyOf(value as Out)
      } catch (cause) {
        throw keyless(`its key can't be found: ${cause instanceof Error ? cause.message : show(cause)}.`, field, cause)
      }
      hashOfKey(key, field)
    },
  }
}

/** @throws HermesError `VALIDATION_FAILED` for what is no key */
function hashOfKey(key: unknown, field: string | undefined): number {
  if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'bigint') {
    const what = field === undefined ? 'its key' : `its key, field '${field}',`
    throw keyless(`${what} has to be a string, a number or a bigint, not ${show(key)}.`, field)
  }
  return crc32(new TextEncoder().encode(String(key)))
}

function keyless(message: string, field: string | undefined, cause?: unknown): HermesError {
  const issue = { message, path: field === undefined ? [] : [field] }
  return new HermesError('VALIDATION_FAILED', message, { cause, details: { issues: [issue] } })
}
