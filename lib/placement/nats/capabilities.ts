import type { Capabilities } from '../capabilities.js'

/** Streams of a NATS JetStream cluster. */
export const natsCapabilities: Capabilities = {
  sharing: true,
  exclusivity:
    "publishers of a cluster share a topic: each append names the sequence that it follows, so nothing is doubled or reordered. Leave 'exclusive' out.",
  replay: true,
  growth: true,
  overflow: "a stream grows and never overflows. Leave 'overflow' out, or use a ring.",
  syncing:
    "a cluster acknowledges what a quorum of its servers has written, and they sync by their own setting 'sync_interval'. Use 'written', and 'sync_interval: always' on the servers.",
  replication: true,
  intervalSyncing: "the servers of a cluster sync by their own setting 'sync_interval'. Leave 'syncIntervalMs' out.",
  segments: 'the cluster keeps and removes messages one batch at a time, without segments.',
  retention: true,
  lowWater: "'lowWaterBytes' is for a disk of this host. Leave it out.",
  immediacy: 'a message travels to the cluster and back before a subscriber finds it.',
  knownPositions: 'only the cluster knows the positions, so the next poll reports one that does not exist.',
  batchTimestamps: 'timestamps of a batch count up by one, as they are numbers of messages too.',
  growingLayouts: 'a stream keeps the layout that it was made with. Make another topic for the new one.',
  leases: true,
  mirrors: true,
  groups: true,
  groupRetention:
    "the cluster removes by age, count and size, whatever groups have handled. Leave 'waitForGroups' out.",
  administration: true,
  metrics: true,
  files:
    'the files are on the machines of the cluster. `hermes mirror` copies a topic into a directory; of the servers, `nats server report jetstream` tells.',
  health: 'the servers of the cluster say how they are: ask them.',
}
