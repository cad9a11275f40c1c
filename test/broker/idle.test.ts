import { expect, it, vi } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { TopicLog } from '../../lib/store/topic-log.js'
import { packetType } from '../../lib/wire/packet.js'
import { jsonPacket } from '../../lib/wire/packet-writer.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'
import { pause } from './harness.js'
import { Stranger, settings } from './stranger.js'

const folder = foldersPerTest()
const topics = 40
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 1024 }

/** How often the broker asks its logs while `work` lasts. */
async function calls(work: () => Promise<void>): Promise<Record<'info' | 'nextSequence' | 'control', number>> {
  const spies = (['info', 'nextSequence', 'control'] as const).map(
    (name) => [name, vi.spyOn(TopicLog.prototype, name)] as const,
  )
  try {
    await work()
    return Object.fromEntries(spies.map(([name, spy]) => [name, spy.mock.calls.length])) as never
  } finally {
    for (const [, spy] of spies) spy.mockRestore()
  }
}

it(`has nothing to do for ${topics} idle topics whose subscribers have read all`, async () => {
  // A round of the broker's each 500 ms.
  await using broker = await serve({ dir: folder(), port: 0, limits: { heartbeatMs: 2000 } })
  await using hermes = await open(broker.url)
  for (let n = 0; n < topics; n++) {
    const topic = hermes.topic(`t${n}`, small)
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
    await publisher.publishAsync('x')
    expect(await take(subscriber, 1)).toHaveLength(1)
  }
  const { info, nextSequence, control } = await calls(() => pause(3000))
  expect({ info, nextSequence }).toEqual({ info: 0, nextSequence: 0 })
  // Once per second and topic: what retention needs.
  expect(control).toBeLessThanOrEqual(5 * topics)
}, 120_000)

it('looks no further than to the end of the log for a subscriber that holds its credit back', async () => {
  await using broker = await serve({ dir: folder(), port: 0, limits: { heartbeatMs: 2000 } })
  await using hermes = await open(broker.url, { subscribeBuffer: 65_536 })
  const topic = hermes.topic('t', small)
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
  for (let n = 0; n < 1000; n++) if (!publisher.publish('x'.repeat(1000))) await publisher.ready()
  await publisher.flush()
  // It reads nothing, and learns how far behind it is.
  while (subscriber.lag < 1000) await pause(5)
  const { info, nextSequence } = await calls(() => pause(2000))
  expect(info).toBe(0)
  expect(nextSequence).toBeGreaterThan(0)
  await publisher.publishAsync('y')
  while (subscriber.lag < 1001) await pause(5)
}, 60_000)

it('looks after hundreds of subscribers that hold their credit back in turns, so that others are served between', async () => {
  const many = 600
  await using broker = await serve({ dir: folder(), port: 0, limits: { heartbeatMs: 2000 } })
  await using hermes = await open(broker.url)
  const publisher = await hermes
    .topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
    .publisher()
  await publisher.publishAsync('x')
  const stranger = await Stranger.greeted(broker.port)
  for (let channel = 1; channel <= many; channel++)
    stranger.say(jsonPacket(packetType.subscribe, channel, { topic: 't', settings, from: 'earliest', credit: 0 }))
  const heard = (type: number) => new Set(stranger.packets.filter((one) => one.type === type).map((one) => one.channel))
  while (heard(packetType.subscribed).size < many) await pause(5)
  let round = 0
  let over = false
  const turn = () => {
    round++
    if (!over) setImmediate(turn)
  }
  turn()
  const perRound = new Map<number, number>()
  const real = TopicLog.prototype.nextSequence
  const spy = vi.spyOn(TopicLog.prototype, 'nextSequence').mockImplementation(function (this: TopicLog) {
    perRound.set(round, (perRound.get(round) ?? 0) + 1)
    // As if the log were large and cold.
    for (const until = performance.now() + 0.5; performance.now() < until; );
    return real.call(this)
  })
  try {
    stranger.packets.length = 0
    await publisher.publishAsync('y')
    // All of them are told how far behind they are…
    while (heard(packetType.tail).size < many) await pause(5)
  } finally {
    spy.mockRestore()
    over = true
  }
  // …and each time others have had their turn after a few.
  expect(Math.max(...perRound.values())).toBeLessThan(60)
}, 120_000)
