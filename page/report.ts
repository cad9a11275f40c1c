import type { LatencyMetrics, MetricsReport } from '../lib/model/metrics.js'

/* What a report of /api/metrics says, and what two of them say together. JSON: what is undefined is left out. */

export type Report = MetricsReport

/** A message of /api/topics/<name>/messages. */
export interface Shown {
  readonly sequence: number
  readonly timeMs: number
  readonly bytes: number
  /** Text of JSON, as the codec of the topic decodes it. */
  readonly value?: string
  readonly error?: string
}

/** Sequences of a topic: how far it is. */
export interface Marks {
  readonly first: number
  readonly claimed: number
  readonly written: number
  readonly synced: number
}

export interface Counts {
  readonly published: number
  readonly received: number
  readonly bytes: number
  readonly buckets: LatencyMetrics['buckets']
}

/** Totals of a topic, or of all. */
export function countsOf(report: Report, topic: string | undefined): Counts {
  const chosen = report.topics.filter(({ name }) => topic === undefined || name === topic)
  const parts = topic === undefined ? [...chosen, report.other] : chosen
  const buckets = new Map<number, number>()
  for (const { received } of parts)
    for (const [bound, count] of received.latency.buckets) buckets.set(bound, (buckets.get(bound) ?? 0) + count)
  const sum = (of: (part: (typeof parts)[number]) => number) => parts.reduce((total, part) => total + of(part), 0)
  return {
    published: sum(({ published }) => published.messages),
    received: sum(({ received }) => received.messages),
    bytes: sum(({ published }) => published.bytes),
    buckets: [...buckets].sort(([a], [b]) => a - b),
  }
}

/** What happened between two looks, in each second; `null`: not known. */
export interface Rates {
  readonly published: number | null
  readonly received: number | null
  readonly bytes: number | null
  readonly p50: number | null
  readonly p99: number | null
  readonly p999: number | null
}

export function ratesOf(before: Counts, now: Counts, seconds: number): Rates {
  // (A total that got smaller is of a place that was made anew.)
  const rate = (from: number, to: number) => (seconds > 0 && to >= from ? (to - from) / seconds : null)
  const had = new Map(before.buckets)
  const fresh = now.buckets.map(([bound, count]) => [bound, count - (had.get(bound) ?? 0)] as const)
  return {
    published: rate(before.published, now.published),
    received: rate(before.received, now.received),
    bytes: rate(before.bytes, now.bytes),
    p50: percentile(fresh, 0.5),
    p99: percentile(fresh, 0.99),
    p999: percentile(fresh, 0.999),
  }
}

function percentile(buckets: readonly (readonly [number, number])[], share: number): number | null {
  const total = buckets.reduce((sum, [, count]) => sum + Math.max(0, count), 0)
  let left = total * share
  for (const [bound, count] of buckets) {
    left -= Math.max(0, count)
    if (left <= 0 && total > 0) return bound
  }
  return null
}
