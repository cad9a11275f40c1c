import { HermesError } from '../base/errors.js'
import { isoTime } from './iso-time.js'
import type { RawRecord } from './records.js'

/** In milliseconds. */
export const timeUnits = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 } as const
export type TimeUnit = keyof typeof timeUnits

/**
 * When a record was recorded, in ms. Only differences matter, so any beginning will do: 1970, or midnight. Nanoseconds since
 * 1970 are beyond 2^53: a quarter of a microsecond is lost there.
 *
 * @throws HermesError `ENCODE_FAILED` for what is neither a number nor a date
 */
export function timeOf(record: RawRecord, name: string, index: number, unit: TimeUnit): number {
  const given = record.cells === undefined ? record.value?.[name] : record.cells[index]
  if (typeof given === 'number') return given * timeUnits[unit]
  if (typeof given === 'string' && given.trim() !== '') {
    const number = Number(given)
    if (Number.isFinite(number)) return number * timeUnits[unit]
    const date = isoTime(given)
    if (!Number.isNaN(date)) return date
  }
  const shown = given === undefined ? 'nothing' : JSON.stringify(given)
  throw new HermesError('ENCODE_FAILED', `line ${record.line}: '${name}' holds ${shown}, which is no time.`, {
    details: { line: record.line, column: name },
  })
}
