import type { MetricsReport } from '../../model/metrics.js'
import { bytesText } from '../text-format.js'

export const viewNames = ['topics', 'publishers', 'subscribers', 'groups'] as const
export type ViewName = (typeof viewNames)[number]

/** A line of a table: what is shown, what it is sorted by, and which topic it is of. */
export interface Row {
  readonly key: string
  readonly topic: string
  readonly cells: readonly string[]
  readonly values: readonly (number | string)[]
}

export interface View {
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

interface Column<T> {
  readonly title: string
  readonly value: (row: T) => number | string
  readonly text?: (value: number) => string
}

/** The table of this name: rates are those since the report before. */
export function viewOf(name: ViewName, now: MetricsReport, before: MetricsReport | undefined): View {
  const seconds = before === undefined ? 0 : (now.takenMs - before.takenMs) / 1000
  /** So many more than before, per second. */
  const rates = <T>(rows: (report: MetricsReport) => readonly T[], key: (row: T) => string, of: (row: T) => number) => {
    const old = new Map(before === undefined ? [] : rows(before).map((row) => [key(row), of(row)]))
    return (row: T): number => {
      const from = old.get(key(row))
      return from === undefined || seconds <= 0 ? 0 : Math.max(0, (of(row) - from) / seconds)
    }
  }
  const topicName = ({ name: topic }: { readonly name: string }) => topic
  const participant = (p: { topic: string; pid: number; sinceMs: number }) => `${p.topic} ${p.pid} ${p.sinceMs}`
  const shownTopic = (p: { topic: string }) => (p.topic === '' ? '(other)' : p.topic)
  switch (name) {
    case 'topics': {
      // (there is no other place whose topics have replicas, and none there syncs)
      const isCluster = now.topics.some(({ replicatedSequence }) => replicatedSequence !== undefined)
      const published = rates(
        (r) => r.topics,
        topicName,
        (t) => t.published.messages,
      )
      const bytes = rates(
        (r) => r.topics,
        topicName,
        (t) => t.published.bytes,
      )
      const received = rates(
        (r) => r.topics,
        topicName,
        (t) => t.received.messages,
      )
      return table(now.topics, topicName, topicName, [
        { title: 'TOPIC', value: topicName },
        { title: 'IN/s', value: published, text: rateText },
        { title: 'BYTES/s', value: bytes, text: bytesText },
        { title: 'OUT/s', value: received, text: rateText },
        { title: 'MESSAGES', value: (t) => Math.max(0, t.writtenSequence - t.firstSequence), text: countText },
        isCluster
          ? { title: 'REPLICATED', value: (t) => Math.max(0, (t.replicatedSequence ?? 1) - 1), text: countText }
          : { title: 'UNSYNCED', value: (t) => Math.max(0, t.writtenSequence - t.syncedSequence), text: countText },
        { title: 'USED', value: (t) => t.usedBytes, text: bytesText },
        { title: 'PUB', value: (t) => t.publishers, text: countText },
        { title: 'SUB', value: (t) => t.subscribers, text: countText },
        { title: 'p50', value: (t) => t.received.latency.p50 ?? 0, text: latencyText },
        { title: 'p99', value: (t) => t.received.latency.p99 ?? 0, text: latencyText },
        { title: 'STATE', value: stateOf },
      ])
    }
    case 'publishers': {
      const messages = rates(
        (r) => r.publishers,
        participant,
        (p) => p.messages,
      )
      const bytes = rates(
        (r) => r.publishers,
        participant,
        (p) => p.bytes,
      )
      return table(now.publishers, participant, shownTopic, [
        { title: 'TOPIC', value: shownTopic },
        { title: 'PID', value: (p) => p.pid, text: String },
        { title: 'MESSAGES/s', value: messages, text: rateText },
        { title: 'BYTES/s', value: bytes, text: bytesText },
        { title: 'MESSAGES', value: (p) => p.messages, text: countText },
        { title: 'WAITS', value: (p) => p.waits, text: countText },
        { title: 'FAILURES', value: (p) => p.failures, text: countText },
        { title: 'SINCE', value: (p) => now.takenMs - p.sinceMs, text: ageText },
      ])
    }
    case 'subscribers': {
      const messages = rates(
        (r) => r.subscribers,
        participant,
        (s) => s.messages,
      )
      return table(now.subscribers, participant, shownTopic, [
        { title: 'TOPIC', value: shownTopic },
        { title: 'PID', value: (s) => s.pid, text: String },
        { title: 'MESSAGES/s', value: messages, text: rateText },
        { title: 'LAG', value: (s) => s.lag, text: countText },
        { title: 'NEXT', value: (s) => s.nextSequence, text: countText },
        { title: 'MESSAGES', value: (s) => s.messages, text: countText },
        { title: 'DAMAGE', value: (s) => s.damageStops, text: countText },
        { title: 'SINCE', value: (s) => now.takenMs - s.sinceMs, text: ageText },
      ])
    }
    case 'groups': {
      const key = (g: { topic: string; name: string }) => `${g.topic} ${g.name}`
      const settled = rates(
        (r) => r.groups,
        key,
        (g) => g.settled,
      )
      return table(now.groups, key, (g) => g.topic, [
        { title: 'TOPIC', value: (g) => g.topic },
        { title: 'GROUP', value: (g) => g.name },
        { title: 'KIND', value: (g) => g.kind },
        { title: 'LAG', value: (g) => g.lag, text: countText },
        { title: 'BEHIND', value: (g) => (g.lagSeconds ?? Number.NaN) * 1000, text: ageText },
        { title: 'SETTLED/s', value: settled, text: rateText },
        { title: 'IN FLIGHT', value: (g) => g.inFlight, text: countText },
        { title: 'MEMBERS', value: (g) => g.members, text: countText },
        { title: 'AGAIN', value: (g) => g.redelivered, text: countText },
        { title: 'DEAD', value: (g) => g.rejected, text: countText },
        { title: 'STATE', value: (g) => (g.isStalled ? 'stalled' : g.lost > 0 ? 'lost some' : 'ok') },
      ])
    }
  }
}

function stateOf(topic: MetricsReport['topics'][number]): string {
  if (topic.syncFailed) return 'sync failed'
  if (topic.diskAlarm) return 'disk full'
  if (!topic.isReadable) return 'gone'
  return topic.quarantined > 0 ? 'damage set aside' : 'ok'
}

function table<T>(rows: readonly T[], key: (row: T) => string, topic: (row: T) => string, columns: Column<T>[]): View {
  return {
    columns: columns.map(({ title }) => title),
    rows: rows.map((row) => {
      const values = columns.map(({ value }) => value(row))
      return {
        key: key(row),
        topic: topic(row),
        values,
        // Of a thousand rows, a screen shows fifty.
        get cells() {
          return values.map((value, i) => (typeof value === 'number' ? (columns[i]?.text ?? countText)(value) : value))
        },
      }
    }),
  }
}

/** Four digits and a unit, so that columns stay narrow. */
export function countText(value: number): string {
  if (value < 100_000) return String(Math.round(value))
  for (const [unit, size] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
  ] as const) {
    if (value >= size) return `${(value / size).toFixed(value >= 100 * size ? 0 : 1)}${unit}`
  }
  return `${Math.round(value / 1000)}k`
}

export function rateText(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1) : countText(value)
}

export function latencyText(seconds: number): string {
  if (seconds === 0) return '-'
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} us`
  return seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(1)} s`
}

export function ageText(ms: number): string {
  if (Number.isNaN(ms)) return '?'
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}
