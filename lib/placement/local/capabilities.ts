import type { Capabilities } from '../capabilities.js'

/** Logs in files of this host. */
export const localCapabilities: Capabilities = {
  sharing: true,
  exclusivity: true,
  replay: true,
  growth: true,
  overflow: "a log grows and never overflows. Leave 'overflow' out, or use a ring.",
  syncing: true,
  replication:
    "topics of one host are not replicated. Use 'synced', and mirror the topic into a cluster, or keep it in one: open('nats://…').",
  intervalSyncing: true,
  segments: true,
  retention: true,
  lowWater: true,
  immediacy: true,
  knownPositions: true,
  batchTimestamps: true,
  growingLayouts: true,
  leases: 'leaders are elected in a cluster: open nats://host,host,host.',
  mirrors: true,
  groupRetention: true,
  groups: true,
  administration: true,
  files: true,
  metrics: true,
  health: 'there is no broker here. Ask doctor() how the place is.',
}
