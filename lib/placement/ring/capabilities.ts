import type { Capabilities } from '../capabilities.js'

/** Rings in shared memory. */
export const ringCapabilities: Capabilities = {
  sharing: 'a ring goes from one publisher to one subscriber. Use a log.',
  exclusivity: true,
  replay: 'what was consumed of a ring is gone, so there is no seek and no replay. Use a log.',
  growth: 'a ring holds no more than its capacity.',
  overflow: true,
  syncing: "a ring lives in memory, so nothing in it is ever 'synced'. Leave 'durability' out, or use a directory.",
  replication:
    "a ring lives in the memory of one host. Leave 'durability' out, or keep the topic in a cluster: open('nats://…').",
  intervalSyncing:
    "a ring lives in memory, so there is nothing to sync. Leave 'syncIntervalMs' out, or use a directory.",
  segments: 'a ring is one piece of memory.',
  retention: "what was consumed of a ring is gone, and nothing else ever is. Leave 'retention' out, or use a log.",
  lowWater: "a ring takes all of its memory when it is made. Leave 'lowWaterBytes' out.",
  immediacy: true,
  knownPositions: true,
  batchTimestamps: true,
  growingLayouts: 'a ring keeps the layout that it was made with. Remove it first, or use another topic.',
  leases: 'leaders are elected in a cluster: open nats://host,host,host.',
  mirrors: 'a ring keeps no messages: mirror into a directory or a cluster.',
  groupRetention: 'a ring has no retention.',
  groups: 'a ring hands each message to its one subscriber and keeps nothing. Use a topic in a directory or in shm:.',
  administration:
    'a ring has no groups, and is made by the first process that opens it. Use a topic in a directory or in shm:.',
  files: 'a ring has no files that could be checked, mended or copied. Use a log.',
  metrics: 'rings are not counted. info() tells how full one is.',
  health: 'there is no broker here.',
}
