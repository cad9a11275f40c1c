import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { type Readable, Transform } from 'node:stream'
import type { CsvError } from 'csv-parse'
import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import { at } from './feed.js'
import { fromFile } from './file.js'
import { lineText, parseJson } from './json-text.js'
import { linesOf } from './lines.js'
import { counted } from './text-format.js'

/*
 * Records of a file: the rows of a CSV file, the objects of an NDJSON one.
 */

export const recordFormats = ['csv', 'ndjson'] as const
export type RecordFormat = (typeof recordFormats)[number]

export interface RecordsOptions {
  /** `-` for stdin. */
  readonly path: string
  readonly stdin: Readable
  readonly format: RecordFormat
  /** Between the cells of a CSV file: one character. */
  readonly delimiter: string
  /** Names of the columns. Without `header`, the file's first line is data then. */
  readonly columns: readonly string[] | undefined
  /** The first line holds names, which `columns` replace. */
  readonly header: boolean | undefined
  readonly signal: AbortSignal
}

/** Cells as they stand in a CSV file, in the order of the columns, or the object of an NDJSON line. */
export interface RawRecord {
  readonly cells: readonly string[] | undefined
  readonly value: Readonly<Record<string, unknown>> | undefined
  /** The NDJSON line. */
  readonly text: string | undefined
  readonly line: number
}

export interface Records {
  /** Of a CSV file. */
  readonly columns: readonly string[] | undefined
  readonly rows: AsyncIterable<RawRecord>
  /** Bytes of the file that were read so far. */
  bytesRead(): number
}

/** `csv` or `ndjson` by the end of the file's name. */
export function recordFormatOf(path: string, given: RecordFormat | undefined): RecordFormat {
  if (given !== undefined) return given
  if (/\.(csv|tsv)$/i.test(path)) return 'csv'
  if (/\.(ndjson|jsonl)$/i.test(path)) return 'ndjson'
  throw invalid(`What '${path}' holds does not follow from its name: give --format csv or ndjson.`)
}

/** Size of a file in bytes, `undefined` for what has none: a pipe, stdin. Throws if it cannot be read. */
export async function fileBytes(path: string): Promise<number | undefined> {
  if (path === '-') return undefined
  try {
    const file = await open(path, 'r')
    try {
      const stat = await file.stat()
      if (stat.isDirectory()) throw Object.assign(new Error('EISDIR'), { code: 'EISDIR' })
      return stat.isFile() ? stat.size : undefined
    } finally {
      await file.close()
    }
  } catch (error) {
    return fromFile(error, path)
  }
}

export async function readRecords(options: RecordsOptions): Promise<Records> {
  const { path, stdin, signal } = options
  const file = path === '-' ? undefined : createReadStream(path, { highWaterMark: 256 * 1024 })
  const source = file ?? stdin
  const bytesRead = () => file?.bytesRead ?? 0
  if (options.format === 'ndjson') return { columns: undefined, rows: ndjsonRows(source, signal), bytesRead }
  return { ...(await csvRecords(source, options)), bytesRead }
}

async function* ndjsonRows(source: Readable, signal: AbortSignal): AsyncGenerator<RawRecord> {
  for await (const group of linesOf(source, signal)) {
    for (const { content, number } of group) {
      let text: string
      let value: unknown
      try {
        text = lineText(content)
        if (number === 1) text = text.replace(/^\ufeff/, '')
        if (text.trim() === '') continue
        value = parseJson(text)
      } catch (error) {
        throw at(`line ${number}`, error)
      }
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw new HermesError('ENCODE_FAILED', `line ${number}: A record is a JSON object: {"price":1}.`, {
          details: { line: number },
        })
      }
      yield { cells: undefined, value: value as Record<string, unknown>, text, line: number }
    }
  }
}

interface CsvRow {
  readonly record: readonly string[]
  readonly info: { readonly lines: number }
}

async function csvRecords(source: Readable, options: RecordsOptions): Promise<Omit<Records, 'bytesRead'>> {
  const { delimiter, signal } = options
  const { parse } = await import('csv-parse')
  const parser = parse({ delimiter, bom: true, info: true, skip_empty_lines: true, relax_column_count: false })
  source.on('error', (error) => parser.destroy(error))
  signal.addEventListener('abort', () => source.destroy(), { once: true })
  const checked = utf8Check()
  source.once('close', () => checked.end())
  checked.on('error', (error) => parser.destroy(error))
  source.pipe(checked).pipe(parser)
  const rows = csvRows(parser as unknown as AsyncIterable<CsvRow>, signal)
  const first = await rows.next()
  const head = first.done === true ? undefined : first.value
  return { columns: columnsOf(head, options), rows: rowsFrom(head, usesHeader(options), rows) }
}

/** Passes bytes on, and fails at what is no UTF-8: a parser would replace it silently. */
function utf8Check(): Transform {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const check = (chunk: Uint8Array | undefined): Error | undefined => {
    try {
      decoder.decode(chunk, { stream: chunk !== undefined })
      return undefined
    } catch (cause) {
      return new HermesError(
        'ENCODE_FAILED',
        'The file holds bytes that are not valid UTF-8. Convert it first: iconv -f latin1 -t utf-8.',
        { cause },
      )
    }
  }
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const error = check(chunk)
      if (error === undefined) done(null, chunk)
      else done(error)
    },
    flush(done) {
      done(check(undefined))
    },
  })
}

function usesHeader({ columns, header }: RecordsOptions): boolean {
  return header ?? columns === undefined
}

async function* rowsFrom(
  head: RawRecord | undefined,
  skipHead: boolean,
  rest: AsyncGenerator<RawRecord>,
): AsyncGenerator<RawRecord> {
  if (head !== undefined && !skipHead) yield head
  yield* rest
}

async function* csvRows(parser: AsyncIterable<CsvRow>, signal: AbortSignal): AsyncGenerator<RawRecord> {
  try {
    for await (const { record, info } of parser)
      yield { cells: record, value: undefined, text: undefined, line: info.lines }
  } catch (error) {
    if (signal.aborted) return
    const { CsvError } = await import('csv-parse')
    if (!(error instanceof CsvError)) throw error
    const { lines } = error as CsvError & { lines?: number }
    throw new HermesError('ENCODE_FAILED', `${lines === undefined ? '' : `line ${lines}: `}${csvReason(error)}`, {
      cause: error,
      details: { line: lines ?? null },
    })
  }
}

/** What is wrong with a row, for those who have never heard of the parser. */
function csvReason(error: CsvError): string {
  switch (error.code) {
    case 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH':
    case 'CSV_RECORD_INCONSISTENT_COLUMNS': {
      const { record } = error as CsvError & { record?: readonly unknown[] }
      const has =
        record === undefined
          ? 'another number of cells than the first one'
          : `${counted(record.length, 'cell')}, which is not what the first one has`
      return `The row has ${has}: each column needs a cell, if need be an empty one.`
    }
    case 'CSV_INVALID_CLOSING_QUOTE':
      return 'Something follows the closing quote of a cell. A quote within a quoted cell is written twice: "say ""hello""".'
    case 'INVALID_OPENING_QUOTE':
      return 'A quote stands within a cell that does not begin with one. Quote the whole cell, and write quotes in it twice.'
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'The quote that opens a cell here is never closed.'
    default:
      return `${error.message}.`
  }
}

function columnsOf(head: RawRecord | undefined, options: RecordsOptions): readonly string[] {
  const { columns } = options
  const cells = head?.cells ?? columns ?? []
  if (columns !== undefined) {
    if (columns.length === cells.length) return columns
    throw invalid(`--columns names ${columns.length} columns, and the file has ${cells.length}.`)
  }
  if (!usesHeader(options)) return cells.map((_, index) => `c${index + 1}`)
  const wrong = cells.find((cell) => cell.trim() === '' || isNumeric(cell))
  if (wrong !== undefined) {
    throw invalid(
      `The first line holds '${wrong}', which is no name of a column. Without a line of names, give --columns bid,ask,… or --no-header.`,
    )
  }
  const list = cells.map((cell) => cell.trim())
  const twice = list.find((name, index) => list.indexOf(name) !== index)
  if (twice !== undefined)
    throw invalid(`Two columns are called '${twice}': give each a name of its own: --header --columns bid,ask,…`)
  return list
}

/** As JSON writes numbers; so 007 is none, and an order number stays what it is. */
export function isNumeric(cell: string): boolean {
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(cell.trim())
}
