import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import { isNumeric, type RawRecord } from './records.js'
import { type AnyStruct, structOf } from './schema.js'

/** No field of text is made larger than this, in bytes: a longer one needs a schema that says so. */
const maxTextBytes = 4096
const int64 = { least: -(2n ** 63n), most: 2n ** 63n - 1n, mostUnsigned: 2n ** 64n - 1n }

/** What was seen of one column. */
class Column {
  #seen = 0
  #blank = 0
  #numbers = 0
  #safe = 0
  #booleans = 0
  #integers = 0
  #least = 0n
  #most = 0n
  #bytes = 0

  /** @param value a cell of a CSV file, or a value of JSON */
  see(value: unknown, isCell: boolean): boolean {
    this.#seen++
    if (value === null || value === undefined || (isCell && (value as string).trim() === '')) {
      this.#blank++
      return true
    }
    if (typeof value === 'object') return false
    const text = String(value)
    this.#bytes = Math.max(this.#bytes, Buffer.byteLength(text))
    if (typeof value === 'boolean' || (isCell && /^(true|false)$/i.test(text))) this.#booleans++
    if (typeof value === 'number' || (isCell && isNumeric(text) && Number.isFinite(Number(text)))) this.#seeNumber(text)
    return true
  }

  #seeNumber(text: string): void {
    this.#numbers++
    if (!/^\s*-?\d+\s*$/.test(text)) return
    this.#integers++
    if (Number.isSafeInteger(Number(text))) this.#safe++
    else {
      const value = BigInt(text.trim())
      if (value < this.#least) this.#least = value
      if (value > this.#most) this.#most = value
    }
  }

  /** The type that holds everything that was seen, exactly. */
  type(name: string): string {
    const filled = this.#seen - this.#blank
    if (filled > 0 && this.#booleans === filled && this.#blank === 0) return 'bool'
    if (filled > 0 && this.#numbers === filled) {
      // No integer type has a value for an empty cell; NaN stands there.
      const whole = this.#integers === filled && this.#blank === 0
      if (whole && this.#safe === filled) return 'i53'
      if (this.#safe === this.#integers) return 'f64'
      if (whole && this.#least >= int64.least && this.#most <= int64.most) return 'i64'
      if (whole && this.#least === 0n && this.#most <= int64.mostUnsigned) return 'u64'
    }
    if (this.#bytes > maxTextBytes) {
      throw invalid(`Column '${name}' has texts of up to ${this.#bytes} bytes: give a --schema, or --codec json.`)
    }
    return `utf8(${Math.max(8, Math.ceil(this.#bytes / 8) * 8)})`
  }
}

/**
 * A struct for all records of a file: i53 for integers, i64 or u64 beyond 2^53, f64 for other numbers, bool, and utf8 with
 * room for the longest text.
 */
export async function inferStruct(
  columns: readonly string[] | undefined,
  rows: AsyncIterable<RawRecord>,
): Promise<AnyStruct> {
  const seen = new Map<string, Column>(columns?.map((name) => [name, new Column()]))
  let count = 0
  for await (const { cells, value, line } of rows) {
    count++
    const entries =
      cells === undefined
        ? Object.entries(value ?? {})
        : cells.map((cell, i) => [columns?.[i] as string, cell] as const)
    for (const [name, one] of entries) {
      let column = seen.get(name)
      if (column === undefined) {
        column = new Column()
        seen.set(name, column)
        // What the earlier records did not have.
        for (let i = 1; i < count; i++) column.see(undefined, false)
      }
      if (!column.see(one, cells !== undefined)) {
        throw new HermesError(
          'ENCODE_FAILED',
          `line ${line}: '${name}' is an object or an array, for which no type can be inferred: give a --schema, or --codec json.`,
        )
      }
    }
    if (cells === undefined && Object.keys(value ?? {}).length < seen.size) {
      for (const [name, column] of seen) if (!Object.hasOwn(value ?? {}, name)) column.see(undefined, false)
    }
  }
  if (count === 0) throw invalid('The file has no records, so no layout can be inferred: give a --schema.')
  for (const name of seen.keys()) {
    if (/^[A-Za-z_$][\w$]{0,63}$/.test(name)) continue
    throw invalid(
      `Column ${JSON.stringify(name)} can't be a field of a struct: give names of letters, digits and _ with --columns (with --header if the first line has names), or --codec json.`,
    )
  }
  return structOf(Object.fromEntries([...seen].map(([name, column]) => [name, column.type(name)])))
}
