import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import { at } from './feed.js'
import type { Format } from './format.js'
import { changes } from './json-text.js'
import { isNumeric, type RawRecord } from './records.js'
import { fromCell } from './schema.js'

/** Makes the value to publish of a record. */
export type Shape = (record: RawRecord) => unknown

/** @param columns of a CSV file; `undefined` for objects, which come with their names */
export function recordShape(format: Format, columns: readonly string[] | undefined): Shape {
  const { schema } = format
  if (columns === undefined) {
    return (record) => named(record, () => format.parseJson(record.text as string))
  }
  if (schema === undefined) {
    return (record) => {
      const entries = columns.map((name, index) => [name, plainCell(record.cells?.[index] as string)] as const)
      // (Not by assignment: __proto__ is a name like others here.)
      const value = Object.fromEntries(entries)
      return named(record, () => format.parseJson(JSON.stringify(value)))
    }
  }
  const fields = schema.fields.map((field) => {
    const index = columns.indexOf(field.name)
    if (index < 0) {
      throw invalid(
        `The file has no column for the field '${field.name}'. The columns are: ${columns.join(', ')}. Name them with --columns.`,
      )
    }
    return { name: field.name, index, read: fromCell(field) }
  })
  return (record) =>
    named(record, () => {
      const value: Record<string, unknown> = {}
      for (const { name, index, read } of fields) value[name] = read(record.cells?.[index] as string)
      return value
    })
}

/** For codecs without a schema: numbers become numbers where they can be held exactly, empty cells null. */
function plainCell(cell: string): unknown {
  if (cell === '') return null
  if (/^(true|false)$/i.test(cell.trim())) return cell.trim().toLowerCase() === 'true'
  if (!isNumeric(cell)) return cell
  // 2^53 and more would lose digits without a word, what is too small would become 0; JSON.stringify writes -0 as 0.
  return changes(cell.trim()) || Object.is(Number(cell), -0) ? cell : Number(cell)
}

function named(record: RawRecord, make: () => unknown): unknown {
  try {
    return make()
  } catch (error) {
    throw error instanceof HermesError ? at(`line ${record.line}`, error) : error
  }
}
