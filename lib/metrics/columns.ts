import type {
  GroupMetrics,
  ProcessMetrics,
  PublisherMetrics,
  SubscriberMetrics,
  TopicMetrics,
} from '../model/metrics.js'

/** A metric of which each topic, or each group, has a value. */
export interface Column<T> {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly of: (row: T) => number | undefined
  /** False: the sum over several means nothing, so what is beyond the limit is left out. */
  readonly adds?: boolean
}

export const topicColumns: readonly Column<TopicMetrics>[] = [
  {
    name: 'topic_published_messages',
    type: 'counter',
    help: 'Messages published, by all publishers there were.',
    of: (t) => t.published.messages,
  },
  {
    name: 'topic_published_bytes',
    type: 'counter',
    help: 'Bytes of frames published: payload, header and padding.',
    of: (t) => t.published.bytes,
  },
  {
    name: 'topic_publish_waits',
    type: 'counter',
    help: 'Publishing had to wait for room to be prepared: a rotation, or a slow disk.',
    of: (t) => t.published.waits,
  },
  { name: 'topic_publish_failures', type: 'counter', help: 'Publishing failed.', of: (t) => t.published.failures },
  {
    name: 'topic_received_messages',
    type: 'counter',
    help: 'Messages fetched by local subscribers.',
    of: (t) => t.received.messages,
  },
  {
    name: 'topic_received_bytes',
    type: 'counter',
    help: 'Bytes of frames fetched by local subscribers.',
    of: (t) => t.received.bytes,
  },
  {
    name: 'topic_received_batches',
    type: 'counter',
    help: 'Looks of local subscribers that found something.',
    of: (t) => t.received.batches,
  },
  {
    name: 'topic_void_sequences',
    type: 'counter',
    help: 'Sequences without a message that subscribers passed.',
    of: (t) => t.received.voids,
  },
  {
    name: 'topic_damage_stops',
    type: 'counter',
    help: 'Subscribers came to damage.',
    of: (t) => t.received.damageStops,
  },
  {
    name: 'topic_readable',
    type: 'gauge',
    help: '1 if the files of the topic can be read.',
    of: (t) => (t.isReadable ? 1 : 0),
    adds: false,
  },
  {
    name: 'topic_first_sequence',
    type: 'gauge',
    help: 'The first message that is still there.',
    of: (t) => files(t, t.firstSequence),
    adds: false,
  },
  {
    name: 'topic_claimed_sequence',
    type: 'gauge',
    help: 'Behind the last message that publishers have taken room for.',
    of: (t) => files(t, t.claimedSequence),
    adds: false,
  },
  {
    name: 'topic_written_sequence',
    type: 'gauge',
    help: 'What the next message will get: all before is committed.',
    of: (t) => files(t, t.writtenSequence),
    adds: false,
  },
  {
    name: 'topic_synced_sequence',
    type: 'gauge',
    help: 'All before is on stable storage.',
    of: (t) => files(t, t.syncedSequence),
    adds: false,
  },
  {
    name: 'topic_replicated_sequence',
    type: 'gauge',
    help: 'All before is on a quorum of servers: of topics in a cluster.',
    of: (t) => t.replicatedSequence,
    adds: false,
  },
  {
    name: 'topic_unsynced_messages',
    type: 'gauge',
    help: 'Messages that a power cut may take.',
    of: (t) => files(t, t.writtenSequence - t.syncedSequence),
  },
  { name: 'topic_segments', type: 'gauge', help: 'Segment files in use.', of: (t) => t.segments },
  { name: 'topic_disk_bytes', type: 'gauge', help: 'Bytes of segment files.', of: (t) => t.diskBytes },
  { name: 'topic_used_bytes', type: 'gauge', help: 'Of them, bytes that messages take.', of: (t) => t.usedBytes },
  {
    name: 'topic_quarantined_stretches',
    type: 'gauge',
    help: 'Stretches of damage in quarantine.',
    of: (t) => t.quarantined,
  },
  {
    name: 'topic_disk_alarm',
    type: 'gauge',
    help: '1 if publishers were refused for want of disk room.',
    of: (t) => (t.diskAlarm ? 1 : 0),
  },
  {
    name: 'topic_sync_failed',
    type: 'gauge',
    help: '1 if a sync failed and was not made good.',
    of: (t) => (t.syncFailed ? 1 : 0),
  },
  { name: 'topic_publishers', type: 'gauge', help: 'Publishers that are open.', of: (t) => t.publishers },
  { name: 'topic_subscribers', type: 'gauge', help: 'Local subscribers that are open.', of: (t) => t.subscribers },
]

/** A topic whose files can't be read has no watermarks. */
const files = (topic: TopicMetrics, value: number): number | undefined => (topic.isReadable ? value : undefined)

export const publisherColumns: readonly Column<PublisherMetrics>[] = [
  {
    name: 'publisher_messages',
    type: 'counter',
    help: 'Messages of a publisher that is open.',
    of: (p) => p.messages,
  },
  {
    name: 'publisher_bytes',
    type: 'counter',
    help: 'Bytes of frames of a publisher that is open.',
    of: (p) => p.bytes,
  },
]

export const subscriberColumns: readonly Column<SubscriberMetrics>[] = [
  {
    name: 'subscriber_messages',
    type: 'counter',
    help: 'Messages fetched by a local subscriber that is open.',
    of: (s) => s.messages,
  },
  {
    name: 'subscriber_bytes',
    type: 'counter',
    help: 'Bytes of frames fetched by a local subscriber that is open.',
    of: (s) => s.bytes,
  },
  {
    name: 'subscriber_lag_messages',
    type: 'gauge',
    help: 'Sequences that a local subscriber has not fetched.',
    of: (s) => s.lag,
  },
]

export const processColumns: readonly Column<ProcessMetrics>[] = [
  {
    name: 'process_cpu_seconds',
    type: 'counter',
    help: 'Processor time of a process that counts here.',
    of: (p) => p.cpuSeconds,
  },
  {
    name: 'process_resident_bytes',
    type: 'gauge',
    help: 'Memory of a process that counts here.',
    of: (p) => p.residentBytes,
  },
]

export const groupColumns: readonly Column<GroupMetrics>[] = [
  { name: 'group_lag_messages', type: 'gauge', help: 'Messages that are written and not settled.', of: (g) => g.lag },
  {
    name: 'group_lag_seconds',
    type: 'gauge',
    help: 'Age of the oldest message that is not settled; 0 without lag.',
    of: (g) => g.lagSeconds,
    adds: false,
  },
  { name: 'group_floor_sequence', type: 'gauge', help: 'All before is settled.', of: (g) => g.floor, adds: false },
  { name: 'group_in_flight_messages', type: 'gauge', help: 'Messages that members hold.', of: (g) => g.inFlight },
  {
    name: 'group_members',
    type: 'gauge',
    help: 'Members that are counted in the file of the group.',
    of: (g) => g.members,
  },
  {
    name: 'group_stalled',
    type: 'gauge',
    help: '1 if the window is full: one message, or its key, holds up all others.',
    of: (g) => (g.isStalled ? 1 : 0),
  },
  { name: 'group_settled_messages', type: 'counter', help: 'Messages settled.', of: (g) => g.settled },
  {
    name: 'group_redelivered_messages',
    type: 'counter',
    help: 'Deliveries after the first.',
    of: (g) => g.redelivered,
  },
  {
    name: 'group_rejected_messages',
    type: 'counter',
    help: 'Messages settled without success: dead letters.',
    of: (g) => g.rejected,
  },
  {
    name: 'group_late_acknowledgements',
    type: 'counter',
    help: 'Acknowledgements that came after the message was taken away.',
    of: (g) => g.late,
  },
  {
    name: 'group_taken_messages',
    type: 'counter',
    help: 'Messages taken from members that died or hung.',
    of: (g) => g.taken,
  },
  {
    name: 'group_lost_messages',
    type: 'counter',
    help: 'Messages that retention removed before they were settled.',
    of: (g) => g.lost,
  },
]

export const brokerHelp: Readonly<Record<string, readonly [string, string]>> = {
  accepted: ['broker_accepted_connections', 'Connections accepted.'],
  receivedBytes: ['broker_received_bytes', 'Bytes received from clients.'],
  sentBytes: ['broker_sent_bytes', 'Bytes sent to clients.'],
  denied: ['broker_denied_operations', 'Operations that the rights of a client did not allow.'],
  slowConsumers: ['broker_slow_consumers', 'Connections ended since the client took nothing.'],
  lost: ['broker_lost_connections', 'Connections that broke.'],
  silent: ['broker_silent_connections', 'Connections ended since nothing was heard.'],
  failed: ['broker_failures', 'Requests that failed for a reason that the broker does not know.'],
  topicFailures: ['broker_topic_failures', 'Failures of topics.'],
  webSockets: ['broker_accepted_websockets', 'Connections accepted at the door for WebSockets.'],
}
export const refusals: Readonly<Record<string, string>> = {
  refusedHandshakes: 'handshakes',
  refusedAddress: 'connections-per-address',
  refusedUnauthenticated: 'unauthenticated',
  refusedConnections: 'connections',
  refusedDescriptors: 'descriptors',
  refusedLogin: 'login',
  refusedLimit: 'limit',
  refusedOther: 'protocol',
  refusedOrigin: 'origin',
}
export const brokerStates: Readonly<Record<string, readonly [string, string]>> = {
  connections: ['broker_connections', 'Connections that are open.'],
  subscribers: ['broker_subscribers', 'Subscribers of clients that are open.'],
  bufferedBytes: ['broker_buffered_bytes', 'Bytes that wait to be worked on.'],
  openWebSockets: ['broker_websockets', 'WebSockets that are open; they count as connections too.'],
  topics: ['broker_topics', 'Topics that the broker has open.'],
}

/** What is neither of a topic nor of a participant, group, process, nor counted by a broker under its own name. */
export const singles = {
  broker_up: ['gauge', '1 if a broker serves the place and its event loop turns.'],
  broker_refusals: ['counter', 'Connections and requests that a limit, or the protocol, refused.'],
  place_disk_free_bytes: ['gauge', 'Bytes that are free on the disk of the place.'],
  place_disk_size_bytes: ['gauge', 'Size of the disk of the place.'],
  metrics_unmeasured_participants: ['counter', 'Publishers and subscribers that got no cell.'],
  metrics_unnamed_participants: ['counter', 'Publishers and subscribers whose topic is counted in (other).'],
  metrics_overflow_series: ['gauge', 'Rows beyond the limit of 1,000, which are added up as (other).'],
} as const satisfies Readonly<Record<string, readonly ['counter' | 'gauge', string]>>
