import { readFile, statfs } from 'node:fs/promises'
import { brokerCounters, brokerStates, counterAt } from '../../metrics/broker-words.js'
import { toLatency } from '../../metrics/histogram.js'
import { noFiles, noPublished, noReceived } from '../../metrics/nothing.js'
import { type GroupKind, groupKinds } from '../../model/group.js'
import type {
  BrokerMetrics,
  GroupMetrics,
  MetricsReport,
  ProcessMetrics,
  PublishedMetrics,
  PublisherMetrics,
  ReceivedMetrics,
  SubscriberMetrics,
  TopicMetrics,
} from '../../model/metrics.js'
import {
  cellColumns,
  cellKind,
  groupColumns,
  histogramColumns,
  type NativeCollected,
  publisherTotals,
  seriesColumns,
  topicColumns,
  wideCounters,
} from '../../native/metrics-types.js'
import type { Directory } from '../../store/directory.js'
import type { PlaceMetrics } from '../../store/place-metrics.js'

/** A broker that has not noted the time for so long is not there, or hangs. */
export const beatLimitMs = 5000
const cellHead = 4
/** Of `/proc/…/stat`: the kernel counts in this unit, on every platform that Node runs on. */
const ticksPerSecond = 100
const pageBytes = 4096

/** What is counted in a directory, as `hermes.metrics()` tells it. */
export async function collectMetrics(directory: Directory, metrics: PlaceMetrics): Promise<MetricsReport> {
  const [found, { bavail, blocks, bsize }] = await Promise.all([metrics.collect(), statfs(directory.path)])
  const names = lines(found.seriesNames)
  const cells = cellsOf(found)
  const histograms = histogramsOf(found)
  const topics = topicsOf(found, names, cells, histograms)
  const written = new Map(topics.map((topic) => [topic.name, topic.writtenSequence]))
  return {
    place: directory.path,
    takenMs: found.nowMs,
    sinceMs: found.createdMs === 0 ? undefined : found.createdMs,
    topics,
    other: { published: publishedOf(found.series, 0), received: receivedOf(found, 0, histograms.get(0)) },
    publishers: cells.filter((cell) => cell.kind === cellKind.publisher).map((cell) => toPublisher(cell, names)),
    subscribers: cells
      .filter((cell) => cell.kind === cellKind.subscriber)
      .map((cell) => toSubscriber(cell, names, written)),
    groups: groupsOf(found, lines(found.topicNames)),
    broker: brokerOf(found, cells, histograms.get(1)),
    processes: await processesOf(cells),
    disk: { freeBytes: bavail * bsize, totalBytes: blocks * bsize },
    unmeasured: found.unmeasured,
    unnamed: found.unnamed,
  }
}

interface Cell {
  readonly kind: number
  readonly series: number
  readonly pid: number
  readonly sinceMs: number
  readonly words: Float64Array
}

function lines(text: string): string[] {
  return text.split('\n').slice(0, -1)
}

function cellsOf({ cells }: NativeCollected): Cell[] {
  const found: Cell[] = []
  for (let at = 0; at < cells.length; at += cellColumns) {
    const [kind, series, pid, sinceMs] = cells.subarray(at, at + cellHead) as unknown as [
      number,
      number,
      number,
      number,
    ]
    found.push({ kind, series, pid, sinceMs, words: cells.subarray(at + cellHead, at + cellColumns) })
  }
  return found
}

function publishedOf(series: Float64Array, index: number): PublishedMetrics {
  return toPublished(series.subarray(index * seriesColumns))
}

function toPublished(words: Float64Array): PublishedMetrics {
  const at = (column: number) => words[column] ?? 0
  return { messages: at(0), bytes: at(1), waits: at(2), failures: at(3) }
}

function toReceived(words: Float64Array): Omit<ReceivedMetrics, 'latency'> {
  const at = (column: number) => words[column] ?? 0
  return { messages: at(0), bytes: at(1), batches: at(2), voids: at(3), damageStops: at(4) }
}

/** Of each series that has samples: its buckets, as `toLatency` takes them. */
function histogramsOf({ histograms }: NativeCollected): Map<number, number[]> {
  const found = new Map<number, number[]>()
  let last = -1
  let filled: number[] = []
  for (let at = 0; at < histograms.length; at += histogramColumns) {
    const series = histograms[at] as number
    if (series !== last) {
      filled = []
      found.set(series, filled)
      last = series
    }
    filled.push(histograms[at + 1] as number, histograms[at + 2] as number)
  }
  return found
}

function receivedOf(found: NativeCollected, index: number, histogram: readonly number[] | undefined): ReceivedMetrics {
  const words = found.series.subarray(index * seriesColumns + publisherTotals, (index + 1) * seriesColumns)
  return { ...toReceived(words), latency: toLatency(histogram ?? [], words[5] ?? 0, words[6] ?? 0) }
}

function topicsOf(
  found: NativeCollected,
  names: readonly string[],
  cells: readonly Cell[],
  histograms: ReadonlyMap<number, readonly number[]>,
): TopicMetrics[] {
  const present = lines(found.topicNames)
  const indexes = new Map(names.map((name, index) => [name, index]))
  indexes.delete('')
  const open = { publishers: new Map<number, number>(), subscribers: new Map<number, number>() }
  for (const { kind, series } of cells) {
    const counts = kind === cellKind.publisher ? open.publishers : open.subscribers
    counts.set(series, (counts.get(series) ?? 0) + 1)
  }
  const totals = (index: number | undefined) => ({
    publishers: index === undefined ? 0 : (open.publishers.get(index) ?? 0),
    subscribers: index === undefined ? 0 : (open.subscribers.get(index) ?? 0),
    published: index === undefined ? noPublished : publishedOf(found.series, index),
    received: index === undefined ? noReceived : receivedOf(found, index, histograms.get(index)),
  })
  const topics = present.map((name, row): TopicMetrics => {
    const at = (column: number) => found.topics[row * topicColumns + column] as number
    return {
      name,
      isReadable: at(10) === 0,
      firstSequence: at(0),
      claimedSequence: at(1),
      writtenSequence: at(2),
      syncedSequence: at(3),
      segments: at(4),
      diskBytes: at(5),
      usedBytes: at(6),
      quarantined: at(7),
      diskAlarm: at(8) === 1,
      syncFailed: at(9) === 1,
      ...totals(indexes.get(name)),
    }
  })
  const known = new Set(present)
  for (const [name, index] of indexes) {
    if (!known.has(name)) topics.push({ name, ...noFiles, ...totals(index) })
  }
  return topics.sort((a, b) => (a.name < b.name ? -1 : 1))
}

function toPublisher({ series, pid, sinceMs, words }: Cell, names: readonly string[]): PublisherMetrics {
  return { topic: names[series] ?? '', pid, sinceMs, ...toPublished(words) }
}

function toSubscriber(
  { series, pid, sinceMs, words }: Cell,
  names: readonly string[],
  written: ReadonlyMap<string, number>,
): SubscriberMetrics {
  const topic = names[series] ?? ''
  const nextSequence = words[wideCounters] ?? 0
  // Before its first look it stands nowhere.
  const lag = nextSequence === 0 ? 0 : Math.max(0, (written.get(topic) ?? 0) - nextSequence)
  return { topic, pid, sinceMs, ...toReceived(words), nextSequence, lag }
}

function groupsOf({ groupNames, groups, nowMs }: NativeCollected, topics: readonly string[]): GroupMetrics[] {
  return lines(groupNames).map((name, row): GroupMetrics => {
    // (taking the numbers apart by a pattern would run an iterator, which takes longer than all the rest)
    const at = (column: number) => groups[row * groupColumns + column] as number
    const lag = at(4)
    const behindMs = at(5)
    return {
      topic: topics[at(0)] ?? '',
      name,
      kind: groupKinds[at(1)] as GroupKind,
      floor: at(2),
      next: at(3),
      lag,
      lagSeconds: lag === 0 ? 0 : behindMs === -1 ? undefined : Math.max(0, (nowMs - behindMs) / 1000),
      inFlight: at(6),
      members: at(13),
      settled: at(7),
      redelivered: at(8),
      late: at(9),
      rejected: at(10),
      lost: at(11),
      taken: at(12),
      isStalled: at(14) === 1,
    }
  })
}

function brokerOf(
  found: NativeCollected,
  cells: readonly Cell[],
  histogram: readonly number[] | undefined,
): BrokerMetrics {
  const words = found.series.subarray(seriesColumns + publisherTotals, 2 * seriesColumns)
  const cell = cells.find(({ kind }) => kind === cellKind.broker)
  const states = cell?.words.subarray(wideCounters)
  const beatMs = states?.[brokerStates.indexOf('beatMs')] ?? 0
  return {
    isUp: cell !== undefined && found.nowMs - beatMs < beatLimitMs,
    counters: Object.fromEntries(brokerCounters.map((name, index) => [name, words[index] ?? 0])),
    states: Object.fromEntries(brokerStates.map((name, index) => [name, states?.[index] ?? 0])),
    loopDelay: toLatency(histogram ?? [], words[counterAt.loopSamples] ?? 0, words[counterAt.loopSumUs] ?? 0),
  }
}

/** Of each process that counts here, what the kernel says. One of another PID namespace is left out: its number is another process's here. */
async function processesOf(cells: readonly Cell[]): Promise<ProcessMetrics[]> {
  const since = new Map<number, number>()
  for (const { pid, sinceMs } of cells) since.set(pid, Math.min(since.get(pid) ?? Number.POSITIVE_INFINITY, sinceMs))
  if (since.size === 0) return []
  const booted = Date.now() - Number((await readFile('/proc/uptime', 'utf8').catch(() => '0')).split(' ')[0]) * 1000
  const found = await Promise.all([...since].map(([pid, sinceMs]) => processOf(pid, sinceMs, booted)))
  return found.filter((process) => process !== undefined)
}

async function processOf(pid: number, sinceMs: number, bootedMs: number): Promise<ProcessMetrics | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // The program's name may hold anything, spaces and brackets as well.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined || fields.length < 22) return undefined
  const startedMs = bootedMs + (Number(fields[19]) / ticksPerSecond) * 1000
  if (startedMs > sinceMs + 1000) return undefined
  return {
    pid,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    residentBytes: Number(fields[21]) * pageBytes,
  }
}
