import { HermesError } from '../../base/errors.js'
import type { FieldSchema, TypeSchema } from '../../codec/struct/schema.js'

/*
 * How the fields of one struct become those of another. What is decided here is decided once, before the first message: what is left for each message is
 * to read a field, and perhaps to make a number of another kind of it.
 */

/** Turns a field's value into what the other field takes. One that it can't turn it leaves as it is: encoding names the field. */
export type Turn = (value: unknown) => unknown

export const asIs: Turn = (value) => value

const kinds: Readonly<Record<string, string>> = {
  u64: 'bigint',
  i64: 'bigint',
  bool: 'bool',
  ascii: 'string',
  utf8: 'string',
  varUtf8: 'string',
  enum: 'string',
  bytes: 'bytes',
  varBytes: 'bytes',
  array: 'array',
  varArray: 'array',
  struct: 'struct',
}

/** `undefined` if no value of the one is a value of the other. */
export function turnOf(from: TypeSchema, to: TypeSchema): Turn | undefined {
  const [found, wanted] = [kinds[from.type] ?? 'number', kinds[to.type] ?? 'number']
  if (found === 'number' && wanted === 'bigint') return toBigInt
  if (found === 'bigint' && wanted === 'number') return toNumber
  if (found !== wanted) return undefined
  if (found === 'array') return arrayTurn(from.element as TypeSchema, to.element as TypeSchema)
  if (found === 'struct') return structTurn(from.fields ?? [], to.fields ?? [])
  return asIs
}

function arrayTurn(from: TypeSchema, to: TypeSchema): Turn | undefined {
  const turn = turnOf(from, to)
  if (turn === undefined || turn === asIs) return turn
  return (value) => Array.from(value as Iterable<unknown>, turn)
}

function structTurn(from: readonly FieldSchema[], to: readonly FieldSchema[]): Turn | undefined {
  const turns: { readonly name: string; readonly turn: Turn }[] = []
  for (const field of to) {
    const source = from.find(({ name }) => name === field.name)
    const turn = source && turnOf(source, field)
    if (turn !== undefined) turns.push({ name: field.name, turn })
    else if (source !== undefined || field.fallback === undefined) return undefined
  }
  if (turns.every(({ turn }) => turn === asIs)) return asIs
  return (value) => {
    const out: Record<string, unknown> = {}
    for (const { name, turn } of turns) out[name] = turn((value as Record<string, unknown>)[name])
    return out
  }
}

function toBigInt(value: unknown): unknown {
  return Number.isSafeInteger(value) ? BigInt(value as number) : value
}

/** Only where nothing is lost. */
function toNumber(value: unknown): unknown {
  const number = Number(value)
  return BigInt(number) === value ? number : value
}

/** What a migration is told of fields. */
export interface FieldPlan {
  /** By the new name, the old one. */
  readonly renamed: ReadonlyMap<string, string>
  /** By the new name, the value that every message gets, as `publish` takes it. */
  readonly set: ReadonlyMap<string, unknown>
  /** The field that takes when a message was published first. */
  readonly timeField: string | undefined
}

/** One field of the new struct: where it comes from. */
interface Step {
  readonly name: string
  readonly source: string
  readonly turn: Turn
}

/**
 * What makes a new value of an old view. It fills one object again and again: the value is good until the next call.
 *
 * @throws HermesError `CODEC_MISMATCH`, with the fields that have no source
 */
export function recordTurn(
  from: readonly FieldSchema[],
  to: readonly FieldSchema[],
  { renamed, set, timeField }: FieldPlan,
  topic: string,
): (view: unknown, timestampNs: () => bigint) => unknown {
  const steps: Step[] = []
  const faults: string[] = []
  let time: Turn | undefined
  for (const field of to) {
    const { name } = field
    if (name === timeField) {
      time = turnOf({ type: 'u64' }, field)
      if (time === undefined) faults.push(`field '${name}' takes no time: a time is a 64-bit integer of nanoseconds`)
      continue
    }
    if (set.has(name)) continue
    const source = renamed.get(name) ?? name
    const old = from.find((one) => one.name === source)
    const turn = old && turnOf(old, field)
    if (turn !== undefined) steps.push({ name, source, turn })
    else if (old !== undefined) faults.push(`field '${name}' is ${field.type}, and no ${old.type} becomes one`)
    else if (field.fallback === undefined || renamed.has(name)) faults.push(`field '${name}' has no source '${source}'`)
  }
  const known = new Set(to.map(({ name }) => name))
  for (const name of [...renamed.keys(), ...set.keys(), ...(timeField === undefined ? [] : [timeField])])
    if (!known.has(name)) faults.push(`there is no field '${name}' in the new layout`)
  if (faults.length > 0) {
    throw new HermesError(
      'CODEC_MISMATCH',
      `Messages of '${topic}' can't become messages of the new layout: ${faults.join('; ')}. Give a value with --set field=value, or another name with --rename old=new.`,
      { details: { topic, fields: faults } },
    )
  }
  const out: Record<string, unknown> = Object.fromEntries(set)
  return (view, timestampNs) => {
    for (const { name, source, turn } of steps) out[name] = turn((view as Record<string, unknown>)[source])
    if (time !== undefined) out[timeField as string] = time(timestampNs())
    return out
  }
}
