import { expect, test } from 'vitest'
import { defaultRules, type GroupKind } from '../../lib/model/group.js'
import {
  claim,
  copyOf,
  cutOff,
  floorOf,
  type Ledger,
  newLedger,
  passLost,
  remove,
  runAt,
  settle,
} from '../../lib/placement/nats/ledger.js'
import { ledgerText, readLedger } from '../../lib/placement/nats/ledger-text.js'
import { Random } from '../../lib/testkit/random.js'

/** Messages of 1 to 7 sequences; the topic ends at `end`. */
const batchOf = (end: number) => (sequence: number) => {
  if (sequence >= end) return undefined
  const at = Math.floor((sequence - 1) / 7) + 1
  return { at, left: Math.min(end, at * 7 + 1) - sequence }
}

function fresh(kind: GroupKind, window = 128): Ledger {
  const rules = { ...defaultRules, backoffMs: 10, maxBackoffMs: 40 }
  return newLedger({ topicId: 'a', kind, window, rules, deadLetter: '', next: 1, nextAt: 1 })
}

function enter(ledger: Ledger, id: string): void {
  ledger.members[id] = { name: id, pid: 1, sinceMs: 0, beat: 0, turn: 0, claimed: 0, settled: 0 }
}

function take(ledger: Ledger, id: string, limit: number, number: number, nowMs = 0, end = 1000) {
  const bucketOf = (sequence: number) => sequence % 5
  return claim(ledger, { id, limit, number, nowMs, batchOf: batchOf(end), bucketOf })
}

/** What has to hold whatever was done. (An expectation for each would take minutes.) */
function check(ledger: Ledger): void {
  const wrong: string[] = []
  let behind = 0
  for (const { from, count, member } of ledger.runs) {
    if (count < 1 || from < behind) wrong.push(`run ${from} of ${count} behind ${behind}`)
    if (member !== '' && ledger.members[member] === undefined) wrong.push(`${from} is with nobody`)
    behind = from + count
  }
  if (behind > ledger.next || ledger.next - floorOf(ledger) > ledger.window) wrong.push('too far ahead')
  if (wrong.length > 0) expect(wrong).toEqual([])
}

for (const kind of ['shared', 'keyed', 'exclusive'] as const) {
  test(`whatever members of a ${kind} group do, each message is settled once, and nothing is forgotten`, () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = new Random(seed)
      const pick = (most: number) => random.below(most)
      let ledger = fresh(kind)
      const held = new Map<string, { sequence: number; deliveries: number; number: number }[]>()
      const settled = new Set<number>()
      const order = new Map<number, number>()
      let nowMs = 0
      let turn = 0
      const act = () => {
        const id = `m${pick(3)}`
        nowMs += pick(8)
        turn++
        if (ledger.members[id] === undefined) enter(ledger, id)
        const own = held.get(id) ?? []
        held.set(id, own)
        if (pick(20) === 0) {
          remove(ledger, id, true)
          // It may have some of its old claims settled still: in vain.
          own.splice(2)
          return
        }
        if (pick(2) === 0 || own.length === 0) {
          for (const { from, count, deliveries } of take(ledger, id, 1 + pick(9), turn, nowMs))
            for (let sequence = from; sequence < from + count; sequence++)
              own.push({ sequence, deliveries, number: turn })
          return
        }
        // Where order counts, the oldest one first, as run() has it.
        const index = kind === 'shared' ? pick(own.length) : 0
        const [one] = own.splice(index, 1) as [(typeof own)[0]]
        const outcome = pick(4) === 0 ? 'returned' : 'done'
        const isReturned = outcome === 'returned' && kind !== 'shared'
        // … and those behind one that is returned are given back.
        const behind = isReturned ? own.splice(0) : []
        const late = settle(ledger, id, { claims: [one], outcome, delayMs: -1 }, nowMs)
        settle(ledger, id, { claims: behind, outcome: 'released', delayMs: 0 }, nowMs)
        if (outcome === 'returned' || late.length > 0) return
        if (settled.has(one.sequence)) expect.fail(`${one.sequence} was settled twice`)
        settled.add(one.sequence)
        const bucket = kind === 'exclusive' ? 0 : one.sequence % 5
        if (kind === 'shared') return
        if (one.sequence <= (order.get(bucket) ?? 0)) expect.fail(`${one.sequence} came too late`)
        order.set(bucket, one.sequence)
      }
      for (let n = 0; n < 200; n++) {
        act()
        check(ledger)
        // What a member would read is what is there.
        ledger = readLedger(ledgerText(ledger), 'topic', 'group')
        check(ledger)
      }
      // In the end all is handled: members that are there go on.
      for (let n = 0; settled.size < 999 && n < 20_000; n++) {
        nowMs += 50
        act()
      }
      expect([settled.size, ledger.totals.settled, ledger.next], `seed ${seed}`).toEqual([999, 999, 1000])
    }
  })
}

test('a claim that is over is late, whoever has the message now', () => {
  const ledger = fresh('shared')
  enter(ledger, 'a')
  take(ledger, 'a', 3, 1)
  remove(ledger, 'a', true)
  enter(ledger, 'a')
  const old = { sequence: 2, deliveries: 1, number: 1 }
  expect(settle(ledger, 'a', { claims: [old], outcome: 'done', delayMs: 0 }, 0)).toEqual([old])
  const again = take(ledger, 'a', 3, 2)
  expect(again.map(({ from, count, deliveries }) => [from, count, deliveries])).toEqual([[1, 3, 2]])
  expect(settle(ledger, 'a', { claims: [old], outcome: 'done', delayMs: 0 }, 0)).toEqual([old])
  expect(settle(ledger, 'a', { claims: [{ ...old, number: 2 }], outcome: 'done', delayMs: 0 }, 0)).toEqual([])
  expect(ledger.totals).toMatchObject({ taken: 3, late: 2, redelivered: 3, settled: 1 })
})

test('a message that was returned comes after its delay, twice as late each time; one that was released at once, and uncounted', () => {
  const ledger = fresh('shared')
  enter(ledger, 'a')
  const dues: number[] = []
  for (let number = 1, nowMs = 0; number <= 4; number++) {
    const [run] = take(ledger, 'a', 1, number, nowMs, 2)
    expect(run).toMatchObject({ from: 1, deliveries: number })
    settle(
      ledger,
      'a',
      { claims: [{ sequence: 1, deliveries: number, number }], outcome: 'returned', delayMs: -1 },
      nowMs,
    )
    const { due } = ledger.runs[0] as Ledger['runs'][0]
    dues.push(due - nowMs)
    expect(take(ledger, 'a', 1, 99, due - 1, 2)).toEqual([])
    nowMs = due
  }
  expect(dues).toEqual([10, 20, 40, 40])
  const [run] = take(ledger, 'a', 1, 5, 1e6, 2)
  settle(ledger, 'a', { claims: [{ sequence: 1, deliveries: 5, number: 5 }], outcome: 'released', delayMs: 0 }, 1e6)
  expect(run?.deliveries).toBe(5)
  expect(take(ledger, 'a', 1, 6, 1e6, 2)[0]?.deliveries).toBe(5)
})

test('a window that is full holds new messages back, not those that come again', () => {
  const ledger = fresh('shared', 64)
  enter(ledger, 'a')
  expect(take(ledger, 'a', 1000, 1).reduce((sum, { count }) => sum + count, 0)).toBe(64)
  expect(take(ledger, 'a', 10, 2)).toEqual([])
  settle(ledger, 'a', { claims: [{ sequence: 30, deliveries: 1, number: 1 }], outcome: 'released', delayMs: 0 }, 0)
  expect(take(ledger, 'a', 10, 3).map(({ from, count }) => [from, count])).toEqual([[30, 1]])
})

test('what retention removes counts as lost; what the topic has lost is forgotten, and told', () => {
  const ledger = fresh('shared')
  enter(ledger, 'a')
  take(ledger, 'a', 10, 1)
  settle(ledger, 'a', { claims: [{ sequence: 3, deliveries: 1, number: 1 }], outcome: 'returned', delayMs: 0 }, 0)
  passLost(ledger, 20, 3, true)
  // (the one that somebody has is his to settle)
  expect([ledger.next, ledger.nextAt, floorOf(ledger), ledger.totals.lost]).toEqual([20, 3, 1, 9])
  const other = copyOf(ledger)
  expect(cutOff(other, 5, 1)).toEqual({ from: 5, to: 20 })
  expect([other.next, other.totals.cut, runAt(other, 6), runAt(other, 4)]).toEqual([5, 1, -1, other.runs.length - 1])
  expect(cutOff(other, 5, 1)).toBeUndefined()
  // The copy is its own.
  expect(ledger.next).toBe(20)
})

test('an entry that is damaged, another program’s or of a later version is refused', () => {
  const text = ledgerText(fresh('shared'))
  const code = (of: string) => {
    try {
      return readLedger(of, 'topic', 'group') && 'none'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  expect(code(text)).toBe('none')
  for (const bad of [
    '',
    'null',
    '{}',
    text.slice(1),
    text.replace('"shared"', '"other"'),
    text.replace('"runs":[]', '"runs":[1]'),
  ])
    expect(code(bad), bad).toBe('CORRUPT')
  expect(code(text.replace('"version":1', '"version":2'))).toBe('VERSION_MISMATCH')
})
