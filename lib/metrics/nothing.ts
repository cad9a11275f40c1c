import type { LatencyMetrics, PublishedMetrics, ReceivedMetrics, TopicMetrics } from '../model/metrics.js'

// What a report says where nothing was counted, or where nothing is to be seen.

export const noLatency: LatencyMetrics = {
  count: 0,
  sumSeconds: 0,
  p50: undefined,
  p90: undefined,
  p99: undefined,
  p999: undefined,
  max: undefined,
  buckets: [],
}

export const noPublished: PublishedMetrics = { messages: 0, bytes: 0, waits: 0, failures: 0 }

export const noReceived: ReceivedMetrics = {
  messages: 0,
  bytes: 0,
  batches: 0,
  voids: 0,
  damageStops: 0,
  latency: noLatency,
}

/** Of a topic that is gone, or can't be read. */
export const noFiles = {
  isReadable: false,
  firstSequence: 0,
  claimedSequence: 0,
  writtenSequence: 0,
  syncedSequence: 0,
  segments: 0,
  diskBytes: 0,
  usedBytes: 0,
  quarantined: 0,
  diskAlarm: false,
  syncFailed: false,
} satisfies Partial<TopicMetrics>
