import { noLatency, noPublished, noReceived } from '../../metrics/nothing.js'
import type { DescribedGroup } from '../../model/administration.js'
import type { GroupMetrics, MetricsReport, TopicMetrics } from '../../model/metrics.js'
import type { TopicInfo } from '../../model/topic.js'

/** A topic as the cluster knows it. */
export interface TopicFound {
  readonly info: TopicInfo
  /** Consumers of its stream: each subscriber and each member of a group has one. */
  readonly readers: number
  readonly groups: readonly DescribedGroup[]
}

/** What is known of a cluster's topics and groups. What single publishers and subscribers do is not counted there. */
export function metricsOf(place: string, found: readonly TopicFound[]): MetricsReport {
  return {
    place,
    takenMs: Date.now(),
    sinceMs: undefined,
    topics: found.map(topicOf),
    other: { published: noPublished, received: noReceived },
    publishers: [],
    subscribers: [],
    groups: found.flatMap(({ groups }) => groups.map(groupOf)),
    broker: { isUp: false, counters: {}, states: {}, loopDelay: noLatency },
    processes: [],
    disk: { freeBytes: 0, totalBytes: 0 },
    unmeasured: 0,
    unnamed: 0,
  }
}

function topicOf({ info, readers }: TopicFound): TopicMetrics {
  const { name, firstSequence, nextSequence, watermarks, segments, bytes, usedBytes } = info
  return {
    name,
    isReadable: true,
    firstSequence,
    claimedSequence: nextSequence,
    writtenSequence: watermarks.written,
    syncedSequence: watermarks.synced,
    ...(watermarks.replicated !== undefined && { replicatedSequence: watermarks.replicated }),
    segments,
    diskBytes: bytes,
    usedBytes,
    quarantined: 0,
    diskAlarm: false,
    syncFailed: false,
    publishers: 0,
    subscribers: readers,
    // (sequences are dense from 1)
    published: { ...noPublished, messages: nextSequence - 1 },
    received: noReceived,
  }
}

function groupOf(group: DescribedGroup): GroupMetrics {
  const { topic, name, kind, floor, next, lag, claimed, returned, delayed, members, totals, window } = group
  const { settled, redelivered, late, rejected, lost, taken } = totals
  return {
    topic,
    name,
    kind,
    floor,
    next,
    lag: lag.messages,
    lagSeconds: lag.seconds,
    inFlight: claimed + returned + delayed,
    members: members.length,
    settled,
    redelivered,
    late,
    rejected,
    lost,
    taken,
    isStalled: kind !== 'durable' && next - floor >= window,
  }
}
