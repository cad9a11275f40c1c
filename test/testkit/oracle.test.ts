import { expect, test } from 'vitest'
import { makePayload, Oracle, type Reading, readPayload, type Seen } from '../../lib/testkit/index.js'

/** Two writers; the messages of writer 0 have odd sequences, those of writer 1 even ones. Half is synced. */
function scene(): { oracle: Oracle; reading: Reading } {
  const oracle = new Oracle()
  const seen: Seen[] = []
  for (let sequence = 1; sequence <= 20; sequence++) {
    const id = { writer: (sequence + 1) % 2, number: Math.floor((sequence - 1) / 2) }
    oracle.attempt(id.writer, id.number + 1)
    oracle.acknowledge(id, sequence <= 10 ? 'synced' : 'written', sequence)
    seen.push({ sequence, id })
  }
  return { oracle, reading: { seen, voids: 0, firstSequence: 1, nextSequence: 21, level: 'written' } }
}

const kinds = (oracle: Oracle, reading: Reading) => [...new Set(oracle.check(reading).map(({ kind }) => kind))].sort()

test('finds nothing wrong with what is right', () => {
  const { oracle, reading } = scene()
  expect(oracle.check(reading)).toEqual([])
  expect([oracle.acknowledged('written'), oracle.acknowledged('synced')]).toEqual([20, 10])
})

test('after a power cut only what was synced has to be there', () => {
  const { oracle, reading } = scene()
  const cut = { ...reading, seen: reading.seen.slice(0, 10), nextSequence: 11 }
  expect(oracle.check({ ...cut, level: 'synced' })).toEqual([])
  expect(kinds(oracle, cut)).toEqual(['lost'])
})

test('what retention has removed is not lost, a void is not a gap, and an unacknowledged message may be there', () => {
  const { oracle, reading } = scene()
  expect(oracle.check({ ...reading, seen: reading.seen.slice(4), firstSequence: 5 })).toEqual([])
  oracle.attempt(0, 11)
  const more = [...reading.seen, { sequence: 22, id: { writer: 0, number: 10 } }]
  expect(oracle.check({ ...reading, seen: more, nextSequence: 23, voids: 1 })).toEqual([])
})

// Each check is shown to fail by a defect made on purpose.
test.each<[string, string[], (seen: Seen[]) => Seen[]]>([
  ['a lost message', ['gap', 'lost'], (seen) => seen.toSpliced(4, 1)],
  ['a message that is delivered twice', ['duplicate'], (seen) => seen.toSpliced(5, 0, seen[4] as Seen)],
  [
    'a message that is stored twice',
    ['duplicate', 'lost', 'moved'],
    (seen) => seen.with(6, { sequence: 7, id: { writer: 0, number: 2 } }),
  ],
  ['messages in another order', ['order'], (seen) => seen.with(4, seen[5] as Seen).with(5, seen[4] as Seen)],
  [
    'a writer whose messages changed places',
    ['moved', 'order'],
    (seen) =>
      seen
        .with(4, { sequence: 5, id: { writer: 0, number: 3 } })
        .with(6, { sequence: 7, id: { writer: 0, number: 2 } }),
  ],
  ['a payload that nobody published', ['invented', 'lost'], (seen) => seen.with(4, { sequence: 5, id: undefined })],
  [
    'a message that was not published yet',
    ['gap', 'invented'],
    (seen) => [...seen, { sequence: 21, id: { writer: 0, number: 50 } }],
  ],
  [
    'a writer that does not exist',
    ['gap', 'invented'],
    (seen) => [...seen, { sequence: 21, id: { writer: 7, number: 0 } }],
  ],
])('notices %s', (_, expected, spoil) => {
  const { oracle, reading } = scene()
  expect(kinds(oracle, { ...reading, seen: spoil([...reading.seen]) })).toEqual(expected)
})

test('notices a void that nobody accounts for', () => {
  const { oracle, reading } = scene()
  expect(kinds(oracle, { ...reading, nextSequence: 22 })).toEqual(['gap'])
  expect(kinds(oracle, { ...reading, voids: 1 })).toEqual(['gap'])
})

test('a payload proves who made it, and that it is whole', () => {
  for (const bytes of [16, 17, 100, 1000]) {
    const payload = makePayload({ writer: 3, number: 7 }, bytes)
    expect(readPayload(payload)).toEqual({ writer: 3, number: 7 })
    for (let at = 0; at < bytes; at += 3) {
      const spoilt = Uint8Array.from(payload)
      spoilt[at] = (spoilt[at] as number) ^ 4
      expect(readPayload(spoilt)).toBeUndefined()
    }
    expect(readPayload(payload.subarray(1))).toBeUndefined()
  }
})
