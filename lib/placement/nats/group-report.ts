import type { GroupMemberReport, GroupReport } from '../../model/group.js'
import { floorOf, type Ledger, type Run } from './ledger.js'

/** @param end behind the topic's newest message @param over members whose lease is over */
export function reportOf(ledger: Ledger, end: number, over: ReadonlySet<string>): GroupReport {
  const { kind, window, createdMs, next, totals, rules, deadLetter, runs, members } = ledger
  const nowMs = Date.now()
  const ids = Object.keys(members)
  const counts = { claimed: 0, returned: 0, delayed: 0 }
  for (const run of runs) counts[stateOf(run, nowMs)] += run.count
  const [first] = runs
  return {
    ...rules,
    key: rules.key,
    kind,
    window,
    upToSynced: false,
    createdMs,
    floor: floorOf(ledger),
    next,
    end: Math.max(end, next),
    ...counts,
    totals: { ...totals },
    oldest: first && {
      sequence: first.from,
      state: stateOf(first, nowMs),
      slot: ids.indexOf(first.member),
      deliveries: first.deliveries,
      bucket: Math.max(0, first.bucket),
    },
    settings: JSON.stringify({ deadLetter }),
    members: ids.map((id, slot) => memberOf(ledger, id, slot, over.has(id))),
  }
}

function stateOf({ member, due }: Run, nowMs: number): 'claimed' | 'returned' | 'delayed' {
  if (member !== '') return 'claimed'
  return due > nowMs ? 'delayed' : 'returned'
}

function memberOf(ledger: Ledger, id: string, slot: number, late: boolean): GroupMemberReport {
  const { name, pid, sinceMs, claimed, settled } = ledger.members[id] as Ledger['members'][string]
  const own = ledger.runs.filter(({ member }) => member === id)
  return {
    slot,
    pid,
    name,
    since: new Date(sinceMs),
    alive: !late,
    late,
    active: ledger.active === id,
    inFlight: own.reduce((sum, { count }) => sum + count, 0),
    oldest: own[0]?.from,
    claimedTotal: claimed,
    settledTotal: settled,
  }
}
