import type { LatencyMetrics, MetricsReport, TopicMetrics } from '../model/metrics.js'
import {
  brokerHelp,
  brokerStates,
  type Column,
  groupColumns,
  processColumns,
  publisherColumns,
  refusals,
  singles,
  subscriberColumns,
  topicColumns,
} from './columns.js'
import { exportedBounds } from './histogram.js'
import { noFiles } from './nothing.js'

/** Of each name, so many series are told apart; the rest is added up as one, `(other)`, and counted. */
export const mostSeries = 1000
/** What stands for all that are not told apart. No topic and no group can have this name. */
export const otherName = '(other)'

export interface Sample {
  /** `topic="quotes",group="risk"`; empty without labels. */
  readonly labels: string
  readonly value: number
}

export interface HistogramSample {
  readonly labels: string
  readonly latency: LatencyMetrics
}

/** A metric by its name without `_total`. */
export interface Family {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly samples: readonly Sample[]
  readonly histograms?: readonly HistogramSample[]
}

/** Every name that a report may have, but for histograms: by what is told of it, whether there is a value or not. */
export const catalogue: readonly Pick<Family & { type: 'counter' | 'gauge' }, 'name' | 'type' | 'help'>[] = [
  ...[topicColumns, publisherColumns, subscriberColumns, groupColumns, processColumns].flat(),
  ...Object.values(brokerHelp).map(([name, help]) => ({ name, type: 'counter' as const, help })),
  ...Object.values(brokerStates).map(([name, help]) => ({ name, type: 'gauge' as const, help })),
  ...Object.entries(singles).map(([name, [type, help]]) => ({ name, type, help })),
].map(({ name, type, help }) => ({ name: `hermes_${name}`, type, help }))

const escaped = (text: string): string => text.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))

/** What a report says, by name: see docs/metrics.md. */
export function toFamilies(report: MetricsReport): Family[] {
  const families: Family[] = []
  const overflow: Sample[] = []
  const add = (name: string, type: Family['type'], help: string, samples: readonly Sample[]) => {
    if (samples.length > 0) families.push({ name: `hermes_${name}`, type, help, samples })
  }
  /** One family for each column, of a row each, with what is beyond the limit as one row more. */
  const table = <T>(
    rows: readonly T[],
    columns: readonly Column<T>[],
    labelsOf: (row: T) => string,
    otherLabels: string,
    before: readonly ((column: Column<T>) => number | undefined)[] = [],
  ) => {
    const shown = rows.length > mostSeries ? rows.slice(0, mostSeries) : rows
    const rest = rows.slice(shown.length)
    const labels = shown.map(labelsOf)
    for (const column of columns) {
      const samples: Sample[] = []
      for (let i = 0; i < shown.length; i++) {
        const value = column.of(shown[i] as T)
        if (value !== undefined) samples.push({ labels: labels[i] as string, value })
      }
      if (column.adds !== false) {
        let sum = 0
        let isThere = rest.length > 0
        for (const row of rest) sum += column.of(row) ?? 0
        for (const extra of before) {
          const value = extra(column)
          if (value === undefined || value === 0) continue
          sum += value
          isThere = true
        }
        if (isThere) samples.push({ labels: otherLabels, value: sum })
      }
      add(column.name, column.type, column.help, samples)
    }
    if (rest.length > 0 && columns[0] !== undefined)
      overflow.push({ labels: `name="hermes_${columns[0].name.split('_')[0] ?? ''}"`, value: rest.length })
  }

  const topicLabels = ({ name }: TopicMetrics) => `topic="${escaped(name)}"`
  const { published, received } = report.other
  const other: TopicMetrics = { name: '', ...noFiles, publishers: 0, subscribers: 0, published, received }
  table(report.topics, topicColumns, topicLabels, `topic="${otherName}"`, [
    (column) => (column.type === 'counter' ? column.of(other) : undefined),
  ])
  const measured = report.topics.filter(({ received: { latency } }) => latency.count > 0).slice(0, mostSeries)
  if (measured.length > 0) {
    families.push({
      name: 'hermes_topic_latency_seconds',
      type: 'histogram',
      help: 'From the time stamp of a message to the look of a local subscriber that found it: a sample.',
      samples: [],
      histograms: measured.map((topic) => ({ labels: topicLabels(topic), latency: topic.received.latency })),
    })
  }
  const participant = (one: { topic: string; pid: number; sinceMs: number }) =>
    `topic="${escaped(one.topic === '' ? otherName : one.topic)}",pid="${one.pid}",since="${Math.round(one.sinceMs * 1000)}"`
  table(report.publishers, publisherColumns, participant, `topic="${otherName}",pid="",since=""`)
  table(report.subscribers, subscriberColumns, participant, `topic="${otherName}",pid="",since=""`)
  table(
    report.groups,
    groupColumns,
    (g) => `topic="${escaped(g.topic)}",group="${escaped(g.name)}",kind="${g.kind}"`,
    `topic="${otherName}",group="${otherName}",kind=""`,
  )
  const { broker } = report
  const addSingle = (name: keyof typeof singles, samples: readonly Sample[]) => {
    const [type, help] = singles[name]
    add(name, type, help, samples)
  }
  addSingle('broker_up', one(broker.isUp ? 1 : 0))
  for (const [key, [name, help]] of Object.entries(brokerHelp))
    add(name, 'counter', help, one(broker.counters[key] ?? 0))
  addSingle(
    'broker_refusals',
    Object.entries(refusals).map(([key, limit]) => ({ labels: `limit="${limit}"`, value: broker.counters[key] ?? 0 })),
  )
  if (broker.isUp) {
    for (const [key, [name, help]] of Object.entries(brokerStates))
      add(name, 'gauge', help, one(broker.states[key] ?? 0))
  }
  if (broker.loopDelay.count > 0) {
    families.push({
      name: 'hermes_broker_loop_delay_seconds',
      type: 'histogram',
      help: 'By how much a timer of the broker was late.',
      samples: [],
      histograms: [{ labels: '', latency: broker.loopDelay }],
    })
  }
  const pid = ({ pid: number }: { pid: number }) => `pid="${number}"`
  table(report.processes, processColumns, pid, 'pid=""')
  // (the disks of a cluster are its servers')
  const disk = report.disk.totalBytes > 0 ? report.disk : undefined
  addSingle('place_disk_free_bytes', disk === undefined ? [] : one(disk.freeBytes))
  addSingle('place_disk_size_bytes', disk === undefined ? [] : one(disk.totalBytes))
  addSingle('metrics_unmeasured_participants', one(report.unmeasured))
  addSingle('metrics_unnamed_participants', one(report.unnamed))
  addSingle('metrics_overflow_series', overflow)
  return families
}

const one = (value: number): Sample[] => [{ labels: '', value }]

/** How many samples lie at or below each of the exported bounds, and in all. */
export function cumulative({ buckets }: LatencyMetrics): { bounds: number[]; total: number } {
  const bounds = exportedBounds.map(() => 0)
  let total = 0
  for (const [bound, count] of buckets) {
    total += count
    // A hair's breadth for the rounding of doubles.
    const at = exportedBounds.findIndex((exported) => bound <= exported * (1 + 1e-9))
    if (at >= 0) bounds[at] = (bounds[at] as number) + count
  }
  for (let i = 1; i < bounds.length; i++) bounds[i] = (bounds[i] as number) + (bounds[i - 1] as number)
  return { bounds, total }
}
