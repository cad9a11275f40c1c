import { show } from '../base/options.js'

/** So many differences are named; of more, how many there are. */
const mostNamed = 5

type Named = Readonly<Record<string, unknown>>

/** A field that two layouts don't have alike: `found` and `wanted` are its types as text, absent where it's not there at all. */
export interface FieldDifference {
  readonly field: string
  readonly found?: string
  readonly wanted?: string
}

/** How the two sides are called: `field 'price' is f64 <found> and f32 <wanted>`, `field 'size' (u32) is not <inFound>`. */
export interface Sides {
  readonly found: string
  readonly wanted: string
  readonly inFound: string
}

const topicAndProgram: Sides = { found: 'there', wanted: 'here', inFound: 'in the topic' }

/**
 * What differs between the layout that a topic was made with and another one, in words: `field 'price' is f64 there and f32 here`.
 * Empty where there are no layouts to compare, as for `json`.
 */
export function schemaDifference(found: unknown, wanted: unknown, sides: Sides = topicAndProgram): string[] {
  const there = fieldsOf(found)
  const here = fieldsOf(wanted)
  if (there === undefined || here === undefined) return []
  const differences = between(there, here).map((one) => differenceText(one, sides))
  if (differences.length > 0) return differences
  if ([...there.keys()].join() !== [...here.keys()].join())
    return [`the fields are the same in another order: ${[...there.keys()].join(', ')}`]
  const steps = [found, wanted].map((schema) => JSON.stringify((schema as Named)['sizes'] ?? []))
  return steps[0] === steps[1] ? [] : ['the same fields were added in other steps']
}

/** The fields that differ, for programs. `undefined` where there are no layouts to compare. */
export function fieldDifferences(found: unknown, wanted: unknown): FieldDifference[] | undefined {
  const there = fieldsOf(found)
  const here = fieldsOf(wanted)
  return there === undefined || here === undefined ? undefined : between(there, here)
}

function between(there: ReadonlyMap<string, FieldText>, here: ReadonlyMap<string, FieldText>): FieldDifference[] {
  const differences: FieldDifference[] = []
  for (const [field, { type, fallback }] of there) {
    const own = here.get(field)
    if (own === undefined) differences.push({ field, found: type })
    else if (own.type !== type) differences.push({ field, found: type, wanted: own.type })
    else if (own.fallback !== fallback) {
      differences.push({
        field,
        found: `${type}, ${fallbackText(fallback)}`,
        wanted: `${type}, ${fallbackText(own.fallback)}`,
      })
    }
  }
  for (const [field, { type }] of here) if (!there.has(field)) differences.push({ field, wanted: type })
  return differences
}

function differenceText({ field, found, wanted }: FieldDifference, sides: Sides): string {
  if (wanted === undefined) return `field '${field}' (${found}) is missing ${sides.wanted}`
  if (found === undefined) return `field '${field}' (${wanted}) is not ${sides.inFound}`
  return `field '${field}' is ${found} ${sides.found} and ${wanted} ${sides.wanted}`
}

function fallbackText(fallback: string | undefined): string {
  return fallback === undefined ? 'from the beginning' : `added with the default bytes ${fallback}`
}

/** The differences as the end of a sentence; '' if there are none. */
export function shownDifferences(differences: readonly string[]): string {
  if (differences.length === 0) return ''
  const more = differences.length - mostNamed
  return ` The layouts differ: ${differences.slice(0, mostNamed).join('; ')}${more > 0 ? `; and ${more} more` : ''}.`
}

interface FieldText {
  readonly type: string
  /** The bytes of the default, in hexadecimal, of a field that was added. */
  readonly fallback: string | undefined
}

/** The fields of a struct's schema, by name, each with its type as text. What is in a topic's file may be anything. */
function fieldsOf(schema: unknown, depth = 0): Map<string, FieldText> | undefined {
  const fields = (schema as Named | null | undefined)?.['fields']
  if (!Array.isArray(fields)) return undefined
  const named = new Map<string, FieldText>()
  for (const field of fields as unknown[]) {
    if (!isNamed(field)) return undefined
    const { fallback } = field
    named.set(String(field['name']).slice(0, 60), {
      type: typeText(field, depth),
      fallback: fallback === undefined ? undefined : String(fallback).slice(0, 64),
    })
  }
  return named
}

const mostDepth = 8

/** `f64`, `ascii(8)`, `array(u32, 3)`, `enum(buy, sell)`, `struct(bid f64, ask f64)`. */
function typeText(type: Named, depth = 0): string {
  const kind = String(type['type']).slice(0, 60)
  const element = type['element']
  const of = isNamed(element) && depth < mostDepth ? typeText(element, depth + 1) : '?'
  switch (kind) {
    case 'ascii':
    case 'utf8':
    case 'bytes':
      return `${kind}(${show(type['size'])})`
    case 'array':
      return `array(${of}, ${show(type['count'])})`
    case 'varArray':
      return `varArray(${of})`
    case 'enum':
      return `enum(${Array.isArray(type['labels']) ? type['labels'].join(', ').slice(0, 200) : '?'})`
    case 'struct': {
      const inner = depth < mostDepth ? fieldsOf(type, depth + 1) : undefined
      return `struct(${inner === undefined ? '?' : [...inner].map(([name, { type: of }]) => `${name} ${of}`).join(', ')})`
    }
    default:
      return kind
  }
}

function isNamed(value: unknown): value is Named {
  return typeof value === 'object' && value !== null
}
