import { type GroupKind, type GroupReport, groupKinds } from '../model/group.js'
import type { NativeGroupReport } from '../native/group-types.js'

/** @internal */
export function toGroupReport(r: NativeGroupReport): GroupReport {
  return {
    kind: groupKinds[r.kind] as GroupKind,
    window: r.window,
    upToSynced: r.upToSynced,
    createdMs: r.createdMs,
    floor: r.floor,
    next: r.next,
    end: r.end,
    claimed: r.claimed,
    returned: r.returned,
    delayed: r.delayed,
    totals: {
      settled: r.settledTotal,
      redelivered: r.redeliveredTotal,
      late: r.lateTotal,
      rejected: r.rejectedTotal,
      lost: r.lostTotal,
      taken: r.takenTotal,
      cut: r.cutTotal,
    },
    oldest:
      r.oldestState === ''
        ? undefined
        : {
            sequence: r.floor,
            state: r.oldestState as 'claimed' | 'returned' | 'delayed',
            slot: r.oldestMember,
            deliveries: r.oldestDeliveries,
            bucket: r.oldestBucket,
          },
    maxDeliveries: r.maxDeliveries,
    leaseMs: r.leaseMs,
    backoffMs: r.backoffMs,
    maxBackoffMs: r.maxBackoffMs,
    key: r.keyBytes === 0 ? undefined : { offset: r.keyOffset, bytes: r.keyBytes },
    settings: r.settings,
    members: r.members.map((m) => ({
      slot: m.slot,
      pid: m.pid,
      name: m.name,
      since: new Date(m.takenMs),
      alive: m.alive,
      late: m.late,
      active: m.active,
      inFlight: m.inFlight,
      oldest: m.oldest === 0 ? undefined : m.oldest,
      claimedTotal: m.claimedTotal,
      settledTotal: m.settledTotal,
    })),
  }
}
