import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, raw } from '../../lib/index.js'
import {
  groupPowerCuts,
  makePayload,
  PowerLossSimulator,
  readEverything,
  readPayload,
  type Seen,
  SettlementOracle,
} from '../../lib/testkit/index.js'
import { foldersPerTest } from '../helpers/folder.js'

/* Loss of power while members of groups and durable subscriptions work. */

const folder = foldersPerTest()
const settings = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 2048 }

test('power cuts take no settlement that was synced, and no message that was not settled (a bounded part of the campaign)', {
  timeout: 240_000,
}, async () => {
  const { violations, cases, counts } = await groupPowerCuts({
    folder: folder(),
    count: 40,
    seed: 3,
    serve: (dir) => serve({ dir, port: 0 }),
  })
  expect([violations, cases]).toEqual([[], 40])
  for (const name of ['pagesLost', 'pagesTorn', 'synced', 'delivered', 'remote', 'cutTwice'])
    expect([name, counts[name]]).not.toEqual([name, 0])
})

/** Handles 200 messages, tells the oracle what `tell` does with each, and what comes again in images of a power cut. */
async function kindsFound(tell: (oracle: SettlementOracle, message: Seen) => void): Promise<Set<string>> {
  const place = join(folder(), 'place')
  const hermes = await open(place)
  const publisher = await hermes.topic('t', settings).publisher()
  for (let number = 0; number < 200; number++) publisher.publish(makePayload({ writer: 0, number }, 100))
  await publisher.flush('synced')
  const group = await hermes.topic('t', settings).group('g')
  await group.sync()
  const simulator = new PowerLossSimulator(place)
  simulator.synced(() => true)
  const oracle = new SettlementOracle()
  while (group.poll((payload, { sequence }) => tell(oracle, { sequence, id: readPayload(payload) })) > 0);
  simulator.observe()
  await hermes.close()
  const found = new Set<string>()
  for (let seed = 0; seed < 10; seed++) {
    simulator.image(`${place}-${seed}`, seed)
    const image = await open(`${place}-${seed}`)
    const { seen: present } = await readEverything(image, 't')
    const again = await image.topic('t', settings).group('g')
    const delivered: Seen[] = []
    while (again.poll((payload, { sequence }) => delivered.push({ sequence, id: readPayload(payload) })) > 0);
    for (const { kind } of oracle.copy().check({ present, delivered, letters: [] })) found.add(kind)
    await image.close()
  }
  return found
}

test('a settlement that was told to be synced and was not is found by power cuts, and so is a message that is lost', async () => {
  expect(
    await kindsFound((oracle, message) => {
      oracle.attempt(message)
      oracle.settled(message)
      oracle.syncing()()
    }),
  ).toEqual(new Set(['duplicate']))
  // (settled behind the oracle's back: to it, what does not come is lost)
  expect(await kindsFound(() => {})).toEqual(new Set(['lost']))
  expect(
    await kindsFound((oracle, message) => {
      oracle.attempt(message)
      oracle.settled(message)
    }),
  ).toEqual(new Set())
})

test('the oracle tells of messages that come twice, in a wrong order, from nowhere, and of rejected ones without a letter', () => {
  const message = (sequence: number): Seen => ({ sequence, id: { writer: 0, number: sequence - 1 } })
  const present = [1, 2, 3].map(message)
  const oracle = new SettlementOracle()
  const kinds = (delivered: readonly Seen[], more: object = {}) =>
    oracle.check({ present, delivered, letters: [], ...more }).map(({ kind }) => kind)
  expect(kinds(present)).toEqual([])
  expect(kinds([...present, message(2)])).toEqual(['duplicate'])
  expect(kinds([...present, message(4)])).toEqual(['invented'])
  expect(kinds([1, 3].map(message))).toEqual(['lost'])
  expect(kinds([1, 3, 2].map(message), { laneOf: () => 0 })).toEqual(['order'])
  expect(kinds([1, 3, 2].map(message), { laneOf: ({ sequence }: Seen) => sequence % 2 })).toEqual([])
  oracle.attempt(message(2))
  oracle.settled(message(2), true)
  expect(kinds([1, 3].map(message))).toEqual([])
  oracle.syncing()()
  expect(oracle.synced).toBe(1)
  expect(kinds([1, 3].map(message))).toEqual(['lost'])
  expect(kinds([1, 3].map(message), { letters: [message(2)] })).toEqual([])
  // (the sequence was given out again: another message)
  expect(
    oracle.check({ present: [{ sequence: 2, id: { writer: 1, number: 0 } }], delivered: [], letters: [] }),
  ).toHaveLength(1)
})
