import { expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { packetType } from '../../lib/wire/packet.js'
import { jsonPacket, sealPublish } from '../../lib/wire/packet-writer.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'
import { pause } from './harness.js'
import { batch, Stranger, settings } from './stranger.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const reconnect = { minMs: 10, maxMs: 50 }

async function synced(stranger: Stranger, channel: number, producer: string): Promise<void> {
  const opening = { topic: 't', settings, durability: 'synced', producer, acked: '0' }
  stranger.say(jsonPacket(packetType.openPublisher, channel, opening))
  await stranger.hear(packetType.publisherOpened)
}

it('opens publishers and subscribers that were being opened when the broker was restarted in order', async () => {
  const dir = folder()
  let broker = await serve({ dir, port: 0 })
  const { port } = broker
  await using hermes = await open(broker.url, { reconnect })
  const topic = hermes.topic('t', small)
  await using first = await topic.publisher()
  await first.publishAsync('before')
  // The client has not heard of it yet when it sends these.
  const drained = broker.drain(5000)
  const opening = Promise.all([topic.publisher(), topic.publisher({ durability: 'synced' })])
  const reading = topic.subscriber({ from: 'earliest' })
  await drained
  broker = await serve({ dir, port })
  const publishers = await opening
  const subscriber = await reading
  for (const publisher of [first, ...publishers]) await publisher.publishAsync('behind')
  expect((await take(subscriber, 4)).map(({ value }) => value)).toEqual(['before', 'behind', 'behind', 'behind'])
  subscriber.close()
  for (const publisher of publishers) await publisher.close()
  await first.close()
  await hermes.close()
  await broker.close()
})

it('ends nobody but the publisher itself for a count that does not go with its frames', async () => {
  await using broker = await serve({ dir: folder(), port: 0, limits: { maxHandshakesPerSecond: 10_000 } })
  await using hermes = await open(broker.url)
  await using victim = await hermes.topic('t', small).publisher({ durability: 'synced' })
  const end = { reached: false }
  const publishing = (async () => {
    let count = 0
    while (!end.reached) {
      await Promise.all([victim.publishAsync('x'), victim.publishAsync('y')])
      count += 2
    }
    return count
  })()
  for (let round = 0; round < 20; round++) {
    const attacker = await Stranger.greeted(broker.port)
    const producer = `00000000000001${String(round).padStart(2, '0')}`
    await synced(attacker, 1, producer)
    const now = BigInt(Date.now()) * 1_000_000n
    attacker.say(batch(1, now, ['a']))
    await attacker.hear(packetType.ack)
    attacker.say(batch(1, now + 60_000n, ['b']))
    await attacker.hear(packetType.ack)
    // "The first 60,000 once more", with the frame of one.
    const again = batch(1, now, ['a'])
    sealPublish(again, 0, 1, 0n, 60_000, again.length - 32)
    attacker.say(again, again)
    expect(await attacker.error()).toBe('PROTOCOL')
    await attacker.gone()
  }
  end.reached = true
  expect(await publishing).toBeGreaterThan(0)
})

it('takes nothing from a publisher whose place was taken while it was being opened', async () => {
  await using broker = await serve({ dir: folder(), port: 0 })
  const id = '00000000000000bb'
  const now = BigInt(Date.now()) * 1_000_000n
  for (let round = 0; round < 10; round++) {
    const before = await Stranger.greeted(broker.port)
    await synced(before, 1, id)
    before.say(batch(1, now + BigInt(round) * 1000n, ['before']))
    await before.hear(packetType.ack)
    const [older, newer] = await Promise.all([Stranger.greeted(broker.port), Stranger.greeted(broker.port)])
    const opening = { topic: 't', settings, durability: 'synced', producer: id, acked: '0' }
    older.say(jsonPacket(packetType.openPublisher, 1, opening))
    newer.say(jsonPacket(packetType.openPublisher, 1, opening))
    const both = [older, newer]
    const fenced = () => both.find((one) => one.packets.some(({ type }) => type === packetType.error))
    await expect.poll(fenced, { timeout: 30_000 }).toBeDefined()
    await pause(30)
    // That its place is taken is the last that it was told.
    expect(fenced()?.packets.at(-1)?.type).toBe(packetType.error)
    fenced()?.say(batch(1, now + BigInt(round) * 1000n + 500n, ['from one that was fenced']))
    await pause(20)
    for (const one of both) one.socket.destroy()
    before.socket.destroy()
  }
  await using hermes = await open(broker.url)
  const topic = hermes.topic('t', small)
  const { nextSequence } = await topic.info()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const values = (await take(subscriber, nextSequence - 1)).map(({ value }) => value)
  expect(new Set(values)).toEqual(new Set(['before']))
})

it('answers with what the log holds, not with what the client has seen acknowledged', async () => {
  await using broker = await serve({ dir: folder(), port: 0 })
  const client = await Stranger.greeted(broker.port)
  const now = BigInt(Date.now()) * 1_000_000n
  await client.publisher(1)
  client.say(batch(1, now, ['kept']))
  await client.hear(packetType.ack)
  client.socket.destroy()
  const again = await Stranger.greeted(broker.port)
  // It has seen more acknowledged than there is: a power cut took it away.
  expect(await again.publisher(1, '00000000000000aa', String(now + 5n))).toMatchObject({ stored: String(now) })
  // And its numbers are not used again.
  again.say(batch(1, now + 3n, ['lost']))
  await again.hear(packetType.ack)
  again.say(batch(1, now + 6n, ['new']))
  await again.hear(packetType.ack)
  await using hermes = await open(broker.url)
  const topic = hermes.topic('t', small)
  expect((await topic.info()).nextSequence).toBe(3)
  again.socket.destroy()
})
