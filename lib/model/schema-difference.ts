import { show } from '../base/options.js'

/** So many differences are named; of more, how many there are. */
const mostNamed = 5

type Named = Readonly<Record<string, unknown>>

/**
 * What differs between the layout that a topic was made with and another one, in words: `field 'price' is f64 there and f32 here`.
 * Empty where there are no layouts to compare, as for `json`.
 */
export function schemaDifference(found: unknown, wanted: unknown): string[] {
  const there = fieldsOf(found)
  const here = fieldsOf(wanted)
  if (there === undefined || here === undefined) return []
  const differences: string[] = []
  for (const [name, type] of there) {
    const own = here.get(name)
    if (own === undefined) differences.push(`field '${name}' (${type}) is missing here`)
    else if (own !== type) differences.push(`field '${name}' is ${type} there and ${own} here`)
  }
  for (const [name, type] of here) {
    if (!there.has(name)) differences.push(`field '${name}' (${type}) is not in the topic`)
  }
  if (differences.length === 0 && [...there.keys()].join() !== [...here.keys()].join()) {
    differences.push(`the fields are the same in another order: ${[...there.keys()].join(', ')}`)
  }
  return differences
}

/** The differences as the end of a sentence; '' if there are none. */
export function shownDifferences(differences: readonly string[]): string {
  if (differences.length === 0) return ''
  const more = differences.length - mostNamed
  return ` The layouts differ: ${differences.slice(0, mostNamed).join('; ')}${more > 0 ? `; and ${more} more` : ''}.`
}

/** The fields of a struct's schema, by name, each with its type as text. What is in a topic's file may be anything. */
function fieldsOf(schema: unknown, depth = 0): Map<string, string> | undefined {
  const fields = (schema as Named | null | undefined)?.['fields']
  if (!Array.isArray(fields)) return undefined
  const named = new Map<string, string>()
  for (const field of fields as unknown[]) {
    if (!isNamed(field)) return undefined
    named.set(String(field['name']).slice(0, 60), typeText(field, depth))
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
      return `struct(${inner === undefined ? '?' : [...inner].map(([name, text]) => `${name} ${text}`).join(', ')})`
    }
    default:
      return kind
  }
}

function isNamed(value: unknown): value is Named {
  return typeof value === 'object' && value !== null
}
