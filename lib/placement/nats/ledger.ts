import type { GroupKind, GroupRules } from '../../model/group.js'
import type { Claim, Outcome } from '../consumer-port.js'

/*
 * What a group of a cluster's topic has come to: one entry of a bucket, which its members replace by comparison. Nothing here waits or asks: it is what becomes of the entry.
 * docs/cluster.md, "How a group lies in a bucket".
 */

/** Messages that stand one behind the other and that the same became of. They are handed out, or wait to be handed out again. */
export interface Run {
  from: number
  count: number
  /** The stream's number of the message that holds the first of them, or of one before. */
  at: number
  /** How often they were handed out. */
  deliveries: number
  /** Who has them; '' = nobody. */
  member: string
  /** The turn of the member that has claimed them. */
  number: number
  /** Not to be handed out before: ms since 1970, by the clock of the member that has returned them. */
  due: number
  /** Of their key: one at a time is with one member. -1 where order does not count. */
  bucket: number
}

export interface LedgerMember {
  readonly name: string
  readonly pid: number
  readonly sinceMs: number
  /** Counts on as long as the member lives. */
  beat: number
  /** Of its newest change: so one whose answer was lost is found again. */
  turn: number
  claimed: number
  settled: number
}

export interface Totals {
  settled: number
  redelivered: number
  late: number
  rejected: number
  lost: number
  taken: number
  cut: number
}

export interface Ledger {
  /** Of the topic. */
  readonly topicId: string
  readonly kind: GroupKind
  readonly window: number
  rules: GroupRules
  /** '' = none. */
  readonly deadLetter: string
  readonly createdMs: number
  /** The first sequence that was never handed out; of a durable subscription, the first that is not committed. */
  next: number
  /** The stream's number of the message that holds it, or of one before. */
  nextAt: number
  /** Who has all of it, where one has. */
  active: string
  members: Record<string, LedgerMember>
  /** In order. */
  runs: Run[]
  totals: Totals
  /** Of who has changed it without being a member. */
  mark: string
}

/** So many runs keep an entry far below what a server takes at once. */
export const mostRuns = 4096
/** Of a keyed group, where nearly each message is a run of its own, and those count that wait for others of their key. */
const mostWaiting = 2048
export const mostMembers = 256
const mostDeliveries = 255

export function newLedger(
  plan: Pick<Ledger, 'topicId' | 'kind' | 'window' | 'rules' | 'deadLetter' | 'next' | 'nextAt'>,
): Ledger {
  const totals = { settled: 0, redelivered: 0, late: 0, rejected: 0, lost: 0, taken: 0, cut: 0 }
  return { ...plan, createdMs: Date.now(), active: '', members: {}, runs: [], totals, mark: '' }
}

export function copyOf(ledger: Ledger): Ledger {
  const members = Object.fromEntries(Object.entries(ledger.members).map(([id, member]) => [id, { ...member }]))
  return { ...ledger, members, runs: ledger.runs.map((run) => ({ ...run })), totals: { ...ledger.totals } }
}

export const floorOf = ({ runs, next }: Ledger): number => runs[0]?.from ?? next

/** The index of the run that holds a sequence; -1 if none does. */
export function runAt({ runs }: Ledger, sequence: number): number {
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >> 1
    const { from, count } = runs[middle] as Run
    if (from + count <= sequence) low = middle + 1
    else high = middle
  }
  const run = runs[low]
  return run !== undefined && run.from <= sequence ? low : -1
}

/** Makes a run of its own of `count` messages from `sequence` on, which lie in run `index`. @returns its index */
function cut({ runs }: Ledger, index: number, sequence: number, count: number): number {
  const run = runs[index] as Run
  const parts: Run[] = []
  const before = sequence - run.from
  const behind = run.count - before - count
  if (before > 0) parts.push({ ...run, count: before })
  parts.push({ ...run, from: sequence, count })
  if (behind > 0) parts.push({ ...run, from: sequence + count, count: behind })
  runs.splice(index, 1, ...parts)
  return before > 0 ? index + 1 : index
}

/** What becomes of a message here, besides what a member may say. */
export type Fate = Outcome | 'rejected' | 'lost'

export interface Settlement {
  readonly claims: readonly Claim[]
  readonly outcome: Fate
  /** -1: the group's back-off. */
  readonly delayMs: number
}

/** Settles what a member has. @returns the claims that are its own no more */
export function settle(ledger: Ledger, id: string, { claims, outcome, delayMs }: Settlement, nowMs: number): Claim[] {
  const late: Claim[] = []
  const { totals, rules } = ledger
  const member = ledger.members[id]
  for (const claim of claims) {
    const found = runAt(ledger, claim.sequence)
    const run = ledger.runs[found]
    if (run === undefined || member === undefined || run.member !== id || run.number !== claim.number) {
      totals.late++
      late.push(claim)
      continue
    }
    const index = cut(ledger, found, claim.sequence, 1)
    if (outcome === 'returned' || outcome === 'released') {
      const own = ledger.runs[index] as Run
      own.member = ''
      own.number = 0
      own.deliveries -= outcome === 'released' ? 1 : 0
      own.due = outcome === 'released' ? 0 : dueOf(rules, own.deliveries, delayMs, nowMs)
      continue
    }
    ledger.runs.splice(index, 1)
    if (outcome === 'lost') totals.lost++
    else {
      totals.settled++
      member.settled++
      if (outcome === 'rejected') totals.rejected++
    }
  }
  return late
}

function dueOf({ backoffMs, maxBackoffMs }: GroupRules, deliveries: number, delayMs: number, nowMs: number): number {
  const delay = delayMs >= 0 ? delayMs : Math.min(maxBackoffMs, backoffMs * 2 ** Math.max(0, deliveries - 1))
  return delay === 0 ? 0 : Math.round(nowMs + delay)
}

/** A member is gone: what it has goes to the others. */
export function remove(ledger: Ledger, id: string, isTaken: boolean): void {
  for (const run of ledger.runs) {
    if (run.member !== id) continue
    run.member = ''
    run.number = 0
    run.due = 0
    if (isTaken) ledger.totals.taken += run.count
  }
  delete ledger.members[id]
  if (ledger.active === id) ledger.active = ''
}

/** What a member claims. */
export interface Wanted {
  readonly id: string
  readonly limit: number
  readonly number: number
  readonly nowMs: number
  /** The stream's number of the message that holds a sequence which is there and was never handed out, and how many are there from it on within that message; `undefined`: none. */
  readonly batchOf: (sequence: number) => { readonly at: number; readonly left: number } | undefined
  /** Of a keyed group: the bucket of such a sequence; `undefined`: not known yet. */
  readonly bucketOf: (sequence: number) => number | undefined
}

/** Claims for a member: what is to be delivered again first. @returns copies of what it has claimed */
export function claim(ledger: Ledger, wanted: Wanted): Run[] {
  const { kind, rules } = ledger
  if (kind === 'exclusive' && !takesActive(ledger, wanted.id)) return []
  const claimed: Run[] = []
  const taking = { ...wanted, left: wanted.limit, blocked: new Set<number>() }
  claimAgain(ledger, taking, claimed)
  if (kind === 'keyed') claimKeyed(ledger, taking, claimed)
  else if (kind === 'shared' || !taking.blocked.has(0)) claimNew(ledger, taking, claimed)
  const member = ledger.members[wanted.id]
  for (const { count, deliveries } of claimed) {
    if (member !== undefined) member.claimed += count
    if (deliveries > 1 && (rules.maxDeliveries === 0 || deliveries <= rules.maxDeliveries))
      ledger.totals.redelivered += count
  }
  return claimed
}

interface Taking extends Wanted {
  left: number
  /** Buckets of which another member has one, or one waits for its time. */
  readonly blocked: Set<number>
}

function takesActive(ledger: Ledger, id: string): boolean {
  if (ledger.active === '') ledger.active = id
  return ledger.active === id
}

function claimAgain(ledger: Ledger, taking: Taking, claimed: Run[]): void {
  const { blocked, id, nowMs, number } = taking
  for (let index = 0; index < ledger.runs.length; index++) {
    const run = ledger.runs[index] as Run
    if (run.member === id) continue
    const isFree = run.member === '' && run.due <= nowMs && !blocked.has(run.bucket) && taking.left > 0
    if (!isFree) {
      if (run.bucket >= 0) blocked.add(run.bucket)
      continue
    }
    const count = Math.min(run.count, taking.left)
    const own = ledger.runs[cut(ledger, index, run.from, count)] as Run
    own.member = id
    own.number = number
    own.due = 0
    own.deliveries = Math.min(mostDeliveries, own.deliveries + 1)
    taking.left -= count
    claimed.push({ ...own })
  }
}

const isFull = (ledger: Ledger, most: number): boolean =>
  ledger.runs.length >= most || ledger.next - floorOf(ledger) >= ledger.window

function claimNew(ledger: Ledger, taking: Taking, claimed: Run[]): void {
  const { id, number, batchOf } = taking
  const bucket = ledger.kind === 'exclusive' ? 0 : -1
  while (taking.left > 0 && !isFull(ledger, mostRuns)) {
    const from = ledger.next
    const batch = batchOf(from)
    if (batch === undefined) return
    const room = ledger.window - (from - floorOf(ledger))
    const count = Math.min(batch.left, taking.left, room)
    const run: Run = { from, count, at: batch.at, deliveries: 1, member: id, number, due: 0, bucket }
    ledger.runs.push(run)
    claimed.push({ ...run })
    ledger.next = from + count
    ledger.nextAt = batch.at
    taking.left -= count
  }
}

/** One by one: what can't be handed out since another one of its key is under way waits behind it. */
function claimKeyed(ledger: Ledger, taking: Taking, claimed: Run[]): void {
  const { id, number, batchOf, bucketOf, blocked } = taking
  while (taking.left > 0 && !isFull(ledger, mostWaiting)) {
    const from = ledger.next
    const batch = batchOf(from)
    const bucket = batch && bucketOf(from)
    if (batch === undefined || bucket === undefined) return
    const isFree = !blocked.has(bucket)
    const own = isFree ? { deliveries: 1, member: id, number } : { deliveries: 0, member: '', number: 0 }
    const run: Run = { from, count: 1, at: batch.at, due: 0, bucket, ...own }
    ledger.runs.push(run)
    if (isFree) {
      claimed.push({ ...run })
      taking.left--
    }
    ledger.next = from + 1
    ledger.nextAt = batch.at
  }
}

/** What retention has removed before it was handed out: the topic begins at `first`. @param isCounted false: there was nothing before that was not handed out */
export function passLost(ledger: Ledger, first: number, firstAt: number, isCounted: boolean): void {
  let lost = 0
  if (first > ledger.next) {
    lost += isCounted ? first - ledger.next : 0
    ledger.next = first
    ledger.nextAt = firstAt
  }
  // What somebody has is settled by him.
  while (ledger.runs[0] !== undefined && ledger.runs[0].from < first && ledger.runs[0].member === '') {
    const { from, count } = ledger.runs[0]
    const gone = Math.min(count, first - from)
    lost += gone
    ledger.runs.splice(cut(ledger, 0, from, gone), 1)
  }
  ledger.totals.lost += lost
}

/** The topic ends at `end`, before what the group had come to. @returns what was lost; `undefined`: nothing */
export function cutOff(
  ledger: Ledger,
  end: number,
  endAt: number,
): { readonly from: number; readonly to: number } | undefined {
  if (ledger.next <= end) return undefined
  const lost = { from: end, to: ledger.next }
  ledger.runs = ledger.runs
    .filter(({ from }) => from < end)
    .map((run) => ({ ...run, count: Math.min(run.count, end - run.from) }))
  ledger.next = end
  ledger.nextAt = endAt
  ledger.totals.cut++
  return lost
}
