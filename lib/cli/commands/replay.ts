import { type Command, Option } from 'commander'
import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import type { Hermes } from '../../client/hermes.js'
import type { PublisherDurability, TopicInfo } from '../../model/topic.js'
import { integer, names, speed } from '../arguments.js'
import { checkFirst, Feed, feeding } from '../feed.js'
import { codecNames, type Format, type FormatOptions, publishFormat, structFormat } from '../format.js'
import { inferStruct } from '../infer.js'
import { Pacer } from '../pace.js'
import { findTopic, withPlace } from '../place.js'
import { Progress } from '../progress.js'
import { recordShape, type Shape } from '../record-shape.js'
import {
  fileBytes,
  type RawRecord,
  type RecordFormat,
  type RecordsOptions,
  readRecords,
  recordFormatOf,
  recordFormats,
} from '../records.js'
import type { Session } from '../session.js'
import { rateText, secondsText } from '../text-format.js'
import { type TimeUnit, timeOf, timeUnits } from '../time-column.js'
import { globalsOf, type PublishOptions, topicSettings, withHelp, withPublishing } from './common.js'

interface ReplayOptions extends PublishOptions, FormatOptions {
  readonly format?: RecordFormat
  readonly columns?: readonly string[]
  readonly header?: boolean
  readonly delimiter?: string
  readonly time?: string
  readonly timeUnit: TimeUnit
  readonly speed?: number
  readonly batch: number
}

export function registerReplay(program: Command, session: Session): void {
  const command = program
    .command('replay')
    .summary('publish the records of a CSV or NDJSON file, at their recorded pace or faster')
    .description(
      'Publishes the records of a file: rows of CSV (RFC 4180) or lines of JSON objects. With --time, each record waits for its ' +
        'recorded time, counted from the first record; --speed 10 is ten times faster, --speed max as fast as it goes.',
    )
    .argument('<file>', '- reads stdin')
    .argument('<topic>')
    .option('--time <column>', 'the column that says when: a number, or an ISO 8601 date')
    .addOption(
      new Option('--time-unit <unit>', 'of numbers in that column').choices(Object.keys(timeUnits)).default('s'),
    )
    .option('--speed <factor>', 'times the recorded pace, or max (default: 1 with --time)', speed)
    .addOption(new Option('--format <name>', 'what the file holds (default: by its name)').choices(recordFormats))
    .option(
      '--columns <names>',
      'names of the CSV columns: the first line is data then, unless --header is given',
      names,
    )
    .option('--header', 'the first line of the CSV file holds names')
    .option('--no-header', 'it holds data; without --columns, names are c1, c2, …')
    .option('--delimiter <char>', 'between CSV cells (default: comma; tab for .tsv)')
    .addOption(
      new Option(
        '-c, --codec <name>',
        "how records become bytes (default: the topic's own; for a new one struct from CSV, json from NDJSON)",
      ).choices(codecNames.filter((name) => name !== 'raw' && name !== 'text')),
    )
    .option(
      '-s, --schema <file>',
      'the layout of a new struct topic: a file, or JSON (default: inferred by reading the file twice)',
    )
    .option('-b, --batch <n>', 'publish so many at once when the pace allows it', integer(1, 65_536), 256)
  withPublishing(command).action(async (file: string, topic: string, options: ReplayOptions) => {
    checkPace(options)
    const format = recordFormatOf(file, options.format)
    const total = await fileBytes(file)
    const source: RecordsOptions = {
      path: file,
      stdin: session.streams.stdin,
      format,
      delimiter: delimiterOf(file, options.delimiter),
      columns: options.columns,
      header: headerOf(command, options),
      signal: session.signal,
    }
    await withPlace(globalsOf(command).dir, true, (hermes) => replay(session, hermes, topic, source, total, options))
  })
  withHelp(
    command,
    `
hermes replay quotes.csv quotes --time timestamp --time-unit ms
hermes replay quotes.csv quotes --time timestamp --speed 10
hermes replay quotes.csv quotes --columns ask,askSize,bid,bidSize --speed max
hermes replay orders.ndjson orders --rate 5000
zcat quotes.csv.gz | hermes replay - quotes --format csv --codec json --speed max`,
  )
}

function checkPace({ time, speed, rate }: ReplayOptions): void {
  if (time !== undefined || rate !== undefined || speed === Number.POSITIVE_INFINITY) {
    if (time !== undefined && rate !== undefined)
      throw invalid('--rate and --time both set the pace: give one of them.')
    if (time === undefined && speed !== undefined && speed !== Number.POSITIVE_INFINITY) {
      throw invalid('--speed multiplies a recorded pace: name its column with --time.')
    }
    return
  }
  throw invalid('At which pace? Name the column of the recorded times with --time, or give --rate, or --speed max.')
}

function delimiterOf(file: string, given: string | undefined): string {
  const char = given === '\\t' ? '\t' : (given ?? (/\.tsv$/i.test(file) ? '\t' : ','))
  if ([...char].length === 1 && !/["\r\n]/.test(char)) return char
  throw invalid("--delimiter takes one character other than a quote or a line end; '\\t' is a tab.")
}

/** Commander's `--no-header` makes `header` true where neither was given. */
function headerOf(command: Command, { header }: ReplayOptions): boolean | undefined {
  return command.getOptionValueSource('header') === 'cli' ? header : undefined
}

async function replay(
  session: Session,
  hermes: Hermes,
  topic: string,
  source: RecordsOptions,
  total: number | undefined,
  options: ReplayOptions,
): Promise<void> {
  const { signal } = session
  const info = await findTopic(hermes, topic)
  const format = await formatFor(session, source, info, options)
  if (format === undefined) return
  const records = await readRecords(source)
  const shape = recordShape(format, records.columns)
  const time = timeColumn(records.columns, options)
  const settings = { codec: format.codec, ...topicSettings(options, info) }
  // A file of which not even the first record can be published leaves no topic behind.
  const check = (record: RawRecord) => {
    if (time !== undefined) timeOf(record, time.name, time.index, time.unit)
    checkFirst(format.codec, shape(record), `line ${record.line}`, options.maxPayload)
  }
  const rows = info === undefined ? await opened(records.rows, check) : records.rows
  const publisher = await hermes.topic(topic, settings).publisher({
    durability: options.durability,
    exclusive: options.exclusive === true,
  })
  const feed = new Feed(publisher, options.batch, signal)
  const pacer = new Pacer(signal)
  const progress = new Progress(session, total)
  const begun = performance.now()
  try {
    await feeding(session, feed, () =>
      publishAll({ ...records, rows }, shape, feed, pacer, progress, time, options, signal),
    )
  } finally {
    progress.clear()
  }
  const publishedMs = performance.now() - begun
  await publisher.close()
  report(session, options, {
    topic,
    codec: format.codec.name,
    durability: options.durability,
    published: feed.published,
    lastSequence: publisher.lastSequence,
    publishedMs,
    ms: performance.now() - begun,
    ...(isPaced(options) ? { latestMs: pacer.latestMs } : {}),
  })
}

/** The same rows, the first of which was read and checked. */
async function opened(
  rows: AsyncIterable<RawRecord>,
  check: (first: RawRecord) => void,
): Promise<AsyncIterable<RawRecord>> {
  const iterator = rows[Symbol.asyncIterator]()
  const first = await iterator.next()
  try {
    if (first.done !== true) check(first.value)
  } catch (error) {
    await iterator.return?.()
    throw error
  }
  return (async function* () {
    if (first.done === true) return
    yield first.value
    yield* { [Symbol.asyncIterator]: () => iterator }
  })()
}

function isPaced({ rate, time, speed }: ReplayOptions): boolean {
  return rate !== undefined || (time !== undefined && speed !== Number.POSITIVE_INFINITY)
}

/** The format to publish with; `undefined` if the signal fired while the file was read for its layout. */
async function formatFor(
  session: Session,
  source: RecordsOptions,
  info: TopicInfo | undefined,
  options: ReplayOptions,
): Promise<Format | undefined> {
  const { codec, schema } = options
  const wantsStruct = codec === 'struct' || (codec === undefined && source.format === 'csv')
  if (schema !== undefined || info !== undefined || !wantsStruct) {
    const format = await publishFormat(options, info, 'json')
    if (format.codec.name !== 'raw' && format.codec.name !== 'text') return format
    const { name } = format.codec
    throw new HermesError('CODEC_MISMATCH', `The topic holds ${name}, and records need json, msgpack or struct.`, {
      details: { found: name },
    })
  }
  if (source.path === '-') {
    throw invalid(
      'A layout cannot be inferred from stdin, which can be read only once: give --schema, or --codec json.',
    )
  }
  const { columns, rows } = await readRecords(source)
  if (session.stopping) return undefined
  try {
    const inferred = await inferStruct(columns, rows)
    return session.stopping ? undefined : structFormat(inferred)
  } catch (error) {
    if (session.stopping) return undefined
    throw error
  }
}

interface TimeColumn {
  readonly name: string
  readonly index: number
  readonly unit: TimeUnit
}

function timeColumn(columns: readonly string[] | undefined, { time, timeUnit }: ReplayOptions): TimeColumn | undefined {
  if (time === undefined) return undefined
  const index = columns?.indexOf(time) ?? -1
  if (columns !== undefined && index < 0) {
    throw invalid(`There is no column '${time}' for --time. The columns are: ${columns.join(', ')}.`)
  }
  return { name: time, index, unit: timeUnit }
}

async function publishAll(
  records: Awaited<ReturnType<typeof readRecords>>,
  shape: Shape,
  feed: Feed,
  pacer: Pacer,
  progress: Progress,
  time: TimeColumn | undefined,
  { rate, speed = 1, count = Number.POSITIVE_INFINITY }: ReplayOptions,
  signal: AbortSignal,
): Promise<void> {
  let given = 0
  let firstMs: number | undefined
  for await (const record of records.rows) {
    if (signal.aborted) return
    let dueMs: number | undefined
    if (rate !== undefined) dueMs = (given * 1000) / rate
    else if (time !== undefined && speed !== Number.POSITIVE_INFINITY) {
      const ms = timeOf(record, time.name, time.index, time.unit)
      firstMs ??= ms
      dueMs = (ms - firstMs) / speed
    }
    if (dueMs !== undefined && pacer.early(dueMs)) {
      await feed.flush()
      progress.update(records.bytesRead(), feed.published)
      await pacer.until(dueMs)
      if (signal.aborted) return
    }
    const pause = feed.add(shape(record), `line ${record.line}`)
    if (pause !== undefined) {
      progress.update(records.bytesRead(), feed.published)
      await pause
    }
    if (++given >= count) return
  }
}

interface Summary {
  readonly topic: string
  readonly codec: string
  readonly durability: PublisherDurability
  readonly published: number
  readonly lastSequence: number
  /** Until the last message was accepted. */
  readonly publishedMs: number
  /** Until all had reached their durability. */
  readonly ms: number
  /** The most that a message was behind its time. */
  readonly latestMs?: number
}

function report(session: Session, { durability }: ReplayOptions, summary: Summary): void {
  if (session.json) return session.out.line(JSON.stringify(summary))
  const { topic, published, publishedMs, ms, latestMs } = summary
  const late = latestMs === undefined ? '' : `; at most ${secondsText(latestMs)} behind its time`
  const closing = durability === 'synced' ? `; ${secondsText(ms - publishedMs)} more until synced` : ''
  session.note(`published ${rateText(published, publishedMs)}, ${durability}, to ${topic}${closing}${late}`)
}
