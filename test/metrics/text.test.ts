import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Family, mostSeries, otherName, toFamilies } from '../../lib/metrics/families.js'
import { bucketCount, bucketOf, exportedBounds, toLatency, upperBound } from '../../lib/metrics/histogram.js'
import { metricsText } from '../../lib/metrics/text.js'
import type { GroupMetrics, MetricsReport, TopicMetrics } from '../../lib/model/metrics.js'
import { root } from '../helpers/folder.js'

const page = readFileSync(join(root, 'docs/metrics.md'), 'utf8')

function latency(...us: number[]) {
  const counts = new Map<number, number>()
  for (const one of us) counts.set(bucketOf(one), (counts.get(bucketOf(one)) ?? 0) + 1)
  return toLatency(
    [...counts].sort(([a], [b]) => a - b).flat(),
    us.length,
    us.reduce((a, b) => a + b, 0),
  )
}

function topic(name: string, messages = 1): TopicMetrics {
  return {
    name,
    isReadable: true,
    firstSequence: 1,
    claimedSequence: 12,
    writtenSequence: 11,
    syncedSequence: 4,
    segments: 1,
    diskBytes: 4096,
    usedBytes: 400,
    quarantined: 0,
    diskAlarm: false,
    syncFailed: false,
    publishers: 1,
    subscribers: 2,
    published: { messages, bytes: 40, waits: 0, failures: 0 },
    received: { messages, bytes: 40, batches: 1, voids: 0, damageStops: 0, latency: latency(10, 20, 3000) },
  }
}

function group(index: number): GroupMetrics {
  const numbers = { settled: 1, redelivered: 0, late: 0, rejected: 0, lost: 0, taken: 0 }
  return {
    topic: 't',
    name: `g${index}`,
    kind: 'shared',
    floor: 1,
    next: 1,
    lag: 2,
    lagSeconds: 1.5,
    inFlight: 0,
    members: 0,
    isStalled: false,
    ...numbers,
  }
}

function report(topics: TopicMetrics[], groups: GroupMetrics[] = []): MetricsReport {
  const empty = latency()
  const none = { messages: 0, bytes: 0 }
  return {
    place: '/p',
    takenMs: 5,
    sinceMs: 1,
    topics,
    other: {
      published: { ...none, waits: 0, failures: 0 },
      received: { ...none, batches: 0, voids: 0, damageStops: 0, latency: empty },
    },
    publishers: [{ topic: 'a', pid: 1, sinceMs: 2, messages: 3, bytes: 4, waits: 0, failures: 0 }],
    subscribers: [
      {
        topic: 'a',
        pid: 1,
        sinceMs: 2,
        messages: 3,
        bytes: 4,
        batches: 1,
        voids: 0,
        damageStops: 0,
        nextSequence: 4,
        lag: 7,
      },
    ],
    groups,
    broker: { isUp: true, counters: { accepted: 3 }, states: { connections: 2 }, loopDelay: latency(100) },
    processes: [{ pid: 1, cpuSeconds: 0.5, residentBytes: 1000 }],
    disk: { freeBytes: 1, totalBytes: 2 },
    unmeasured: 0,
    unnamed: 0,
  }
}

const family = (families: readonly Family[], name: string): Family => {
  const found = families.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

describe('histograms', () => {
  it('have eight steps in each octave, and bounds that hold what is in a bucket', () => {
    for (let us = 1; us < 2 ** 26; us += 1 + Math.floor(us / 500)) {
      const bucket = bucketOf(us)
      expect(us / 1e6).toBeLessThan(upperBound(bucket))
      if (bucket > 0 && us >= 8) expect(us / 1e6).toBeGreaterThanOrEqual(upperBound(bucket - 1))
    }
    expect([bucketOf(0), bucketOf(2 ** 40)]).toEqual([0, bucketCount - 1])
    expect(exportedBounds.length).toBeLessThanOrEqual(15)
  })

  it('tell quantiles from above, within an eighth of an octave', () => {
    const found = latency(...Array.from({ length: 1000 }, (_, i) => i + 1))
    for (const [name, us] of [
      ['p50', 500],
      ['p90', 900],
      ['p99', 990],
    ] as const) {
      expect(found[name]).toBeGreaterThanOrEqual(us / 1e6)
      expect(found[name]).toBeLessThan((us / 1e6) * 1.126)
    }
    expect(latency().p50).toBeUndefined()
  })
})

describe('the text', () => {
  it('names only what docs/metrics.md explains, and all of that', () => {
    // (one of a cluster has all that there is)
    const names = toFamilies(report([{ ...topic('a'), replicatedSequence: 5 }], [group(1)])).map(({ name, type }) =>
      type === 'counter' ? `${name}_total` : name,
    )
    const documented = [...page.matchAll(/^\| `(hermes_\w+)` \|/gm)].map(([, name]) => name as string)
    expect(names.length).toBeGreaterThan(50)
    expect([...names, 'hermes_metrics_overflow_series'].sort()).toEqual([...documented].sort())
  })

  it('has one line of help and type for each name, and cumulative buckets that end with all', () => {
    for (const format of ['openmetrics', 'prometheus'] as const) {
      const text = metricsText(report([topic('a'), topic('b.c')], [group(1)]), format)
      const helps = [...text.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name)
      expect(new Set(helps).size).toBe(helps.length)
      expect([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)).toEqual(helps)
      expect(text.endsWith('# EOF\n')).toBe(format === 'openmetrics')
      expect(text).toContain('hermes_topic_published_messages_total{topic="b.c"} 1\n')
      const counts = [...text.matchAll(/^hermes_topic_latency_seconds_bucket\{topic="a",le="([^"]+)"\} (\d+)$/gm)]
      expect(counts.length).toBe(16)
      const values = counts.map(([, , count]) => Number(count))
      expect([...values].sort((a, b) => a - b)).toEqual(values)
      expect(counts.at(-1)?.slice(1)).toEqual(['+Inf', '3'])
      expect(text).toContain('hermes_topic_latency_seconds_count{topic="a"} 3\n')
      for (const line of text.trimEnd().split('\n')) {
        expect(line).toMatch(/^(# (HELP|TYPE|UNIT) .*|# EOF|[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [0-9.e+-]+)$/)
      }
    }
  })

  it('tells 1,000 of each name apart, adds up the rest where that means something, and counts it', () => {
    const topics = Array.from({ length: mostSeries + 7 }, (_, i) => topic(`t${String(i).padStart(5, '0')}`, 3))
    const families = toFamilies(
      report(
        topics,
        Array.from({ length: 2500 }, (_, i) => group(i)),
      ),
    )
    const messages = family(families, 'hermes_topic_published_messages').samples
    expect(messages.length).toBe(mostSeries + 1)
    expect(messages.at(-1)).toEqual({ labels: `topic="${otherName}"`, value: 21 })
    expect(family(families, 'hermes_topic_written_sequence').samples.length).toBe(mostSeries)
    expect(family(families, 'hermes_group_lag_messages').samples.at(-1)?.value).toBe(3000)
    expect(family(families, 'hermes_metrics_overflow_series').samples).toEqual([
      { labels: 'name="hermes_topic"', value: 7 },
      { labels: 'name="hermes_group"', value: 1500 },
    ])
    expect(family(families, 'hermes_topic_latency_seconds').histograms?.length).toBe(mostSeries)
  })

  it('has no watermarks of a topic that is gone, and leaves out a lag in seconds that is not known', () => {
    const gone = { ...topic('gone'), isReadable: false }
    const families = toFamilies(report([gone], [{ ...group(1), lagSeconds: undefined }]))
    expect(families.find(({ name }) => name === 'hermes_topic_written_sequence')).toBeUndefined()
    expect(families.find(({ name }) => name === 'hermes_group_lag_seconds')).toBeUndefined()
    expect(family(families, 'hermes_topic_published_messages').samples.length).toBe(1)
  })
})
