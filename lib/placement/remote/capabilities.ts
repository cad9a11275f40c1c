import type { Capabilities } from '../capabilities.js'

/** Logs behind a broker. */
export const remoteCapabilities: Capabilities = {
  sharing: true,
  exclusivity: true,
  replay: true,
  growth: true,
  overflow: "a log grows and never overflows. Leave 'overflow' out, or use a ring.",
  syncing: true,
  replication: "a broker keeps its topics on one host. Use 'synced', or keep the topic in a cluster: open('nats://…').",
  intervalSyncing:
    "'syncIntervalMs' is for publishers on the machine that has the files. Call flush('synced') now and then, or publish 'synced'.",
  segments: true,
  retention: true,
  lowWater: "'lowWaterBytes' is configured on the broker. Leave it out.",
  immediacy: 'a message travels to the broker and back before a subscriber finds it.',
  knownPositions: 'only the broker knows the positions, so the next poll reports one that does not exist.',
  batchTimestamps: 'timestamps of a batch count up by one, as they are numbers of messages too.',
  growingLayouts: true,
  leases: 'leaders are elected in a cluster: open nats://host,host,host.',
  mirrors: 'a mirror is filled where its files are: run it on the machine of the broker, with its directory.',
  groupRetention: true,
  groups: true,
  administration: true,
  files: 'the files are on the machine of the broker. Run it there, on the directory.',
  metrics:
    "a broker's metrics are at its admin address: start it with `hermes serve --admin 127.0.0.1:9464`, and look there.",
  health: true,
}
