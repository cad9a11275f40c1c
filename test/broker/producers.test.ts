import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { packetType } from '../../lib/wire/packet.js'
import { jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'
import { BrokerProcess, pause } from './harness.js'
import { batch, type Packet, Stranger, settings } from './stranger.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const brokers: BrokerProcess[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.kill()
})

async function started(dir: string, port = 0): Promise<BrokerProcess> {
  const broker = await BrokerProcess.start(dir, port)
  brokers.push(broker)
  return broker
}

const idOf = (n: number) => n.toString(16).padStart(16, '0')

/** Opens so many publishers over one connection each 1000, and waits for all answers. */
async function openAll(port: number, from: number, count: number): Promise<Stranger[]> {
  const strangers: Stranger[] = []
  for (let at = 0; at < count; at += 1000) {
    const stranger = await Stranger.greeted(port)
    strangers.push(stranger)
    // So that it counts as alive while others are being opened.
    const beat = setInterval(() => stranger.say(u64Packet(packetType.pong, 0, 0n)), 100)
    stranger.socket.once('close', () => clearInterval(beat))
    const some = Math.min(1000, count - at)
    for (let n = 0; n < some; n++) {
      const opening = { topic: 't', settings, durability: 'written', producer: idOf(from + at + n), acked: '0' }
      stranger.say(jsonPacket(packetType.openPublisher, n + 1, opening))
    }
    await all(stranger, packetType.publisherOpened, some)
  }
  return strangers
}

async function all(stranger: Stranger, type: number, count: number): Promise<Packet[]> {
  const of = () => stranger.packets.filter((one) => one.type === type)
  const until = performance.now() + 120_000
  while (of().length < count && performance.now() < until) await pause(10)
  expect(stranger.packets.filter((one) => one.type === packetType.error)).toEqual([])
  expect(of()).toHaveLength(count)
  return of()
}

describe('exactly once', () => {
  it('holds for 2,000 publishers that all come back to a broker that was killed, and for newcomers', async () => {
    const dir = folder()
    const count = 2000
    const broker = await started(dir)
    const now = BigInt(Date.now()) * 1_000_000n
    const say = (strangers: readonly Stranger[]) => {
      for (let n = 0; n < count; n++) {
        strangers[Math.floor(n / 1000)]?.say(batch((n % 1000) + 1, now + BigInt(n), [`message ${n}`]))
      }
    }
    const first = await openAll(broker.port, 0, count)
    say(first)
    for (const stranger of first) await all(stranger, packetType.ack, 1000)
    await broker.kill()
    const again = await started(dir, broker.port)
    // Newcomers first: nobody is forgotten for them.
    const newcomers = await openAll(again.port, 100_000, 500)
    const back = await openAll(again.port, 0, count)
    say(back)
    for (const stranger of back) await all(stranger, packetType.ack, 1000)
    for (const stranger of [...first, ...newcomers, ...back]) stranger.socket.destroy()
    await using hermes = await open(again.url)
    const topic = hermes.topic('t', small)
    expect((await topic.info()).nextSequence).toBe(count + 1)
    const values = (await take(await topic.subscriber({ from: 'earliest' }), count)).map(({ value }) => value)
    expect(new Set(values).size).toBe(count)
  }, 240_000)

  it('holds when retention has removed what is sent again, and the broker was killed', async () => {
    const dir = folder()
    const broker = await started(dir)
    const kept = { ...settings, segmentBytes: 65_536, maxPayloadBytes: 1024, retention: { bytes: 131_072 } }
    const opening = { topic: 't', settings: kept, durability: 'written', acked: '0' }
    const now = BigInt(Date.now()) * 1_000_000n
    const old = await Stranger.greeted(broker.port)
    old.say(jsonPacket(packetType.openPublisher, 1, { ...opening, producer: idOf(1) }))
    await old.hear(packetType.publisherOpened)
    old.say(batch(1, now, ['stored once']))
    await old.hear(packetType.ack)
    // Saved within a second.
    const file = join(dir, 'topics', 't', 'producers.json')
    await expect.poll(() => readFileSync(file, 'utf8').includes(`"stored":"${now}"`), { timeout: 30_000 }).toBe(true)
    await using hermes = await open(broker.url)
    const topic = hermes.topic('t', { codec: text })
    const writer = await topic.publisher()
    for (let n = 0; n < 1000; n++) if (!writer.publish('x'.repeat(1000))) await writer.ready()
    await writer.flush()
    await expect.poll(async () => (await topic.info()).firstSequence, { timeout: 30_000 }).toBeGreaterThan(2)
    await broker.kill()
    const next = await started(dir, broker.port)
    const again = await Stranger.greeted(next.port)
    again.say(jsonPacket(packetType.openPublisher, 1, { ...opening, producer: idOf(1) }))
    await again.hear(packetType.publisherOpened)
    const before = (await topic.info()).nextSequence
    again.say(batch(1, now, ['stored once']))
    await again.hear(packetType.ack)
    expect((await topic.info()).nextSequence).toBe(before)
    again.socket.destroy()
    old.socket.destroy()
  })

  it('holds when the topic was closed meanwhile as nobody used it, and tells where the messages are', async () => {
    await using broker = await serve({ dir: folder(), port: 0, limits: { idleTopicMs: 100 } })
    const now = BigInt(Date.now()) * 1_000_000n
    const client = await Stranger.greeted(broker.port)
    await client.publisher(1)
    client.say(batch(1, now, ['a', 'b']), batch(1, now + 10n, ['c']))
    await client.hear(packetType.ack)
    client.socket.destroy()
    await pause(1500)
    const again = await Stranger.greeted(broker.port)
    const opened = await again.publisher(1)
    expect(opened).toMatchObject({ stored: String(now + 10n) })
    expect(opened['runs']).toEqual([
      [String(now), 2, 1],
      [String(now + 10n), 1, 3],
    ])
    again.say(batch(1, now, ['a', 'b']), batch(1, now + 20n, ['d']))
    await expect.poll(() => again.packets.filter((one) => one.type === packetType.ack).length).toBeGreaterThan(0)
    await pause(20)
    await using hermes = await open(broker.url)
    expect((await hermes.topic('t', small).info()).nextSequence).toBe(5)
    again.socket.destroy()
  })
})

describe('the table of publishers', () => {
  it('forgets by age, and not within the first hour of a broker', async () => {
    const dir = folder()
    const file = join(dir, 'topics', 't', 'producers.json')
    const ids = () =>
      (JSON.parse(readFileSync(file, 'utf8')) as { producers: { id: string }[] }).producers.map(({ id }) => id)
    {
      await using broker = await serve({ dir, port: 0 })
      const strangers = await openAll(broker.port, 1, 3)
      strangers[0]?.socket.destroy()
      await pause(50)
    }
    expect(ids().sort()).toEqual([1, 2, 3].map(idOf))
    // Two of them were last seen in 1970.
    const content = JSON.parse(readFileSync(file, 'utf8'))
    for (const one of content.producers.slice(0, 2)) one.idleSinceMs = 1000
    writeFileSync(file, JSON.stringify(content))
    {
      await using broker = await serve({ dir, port: 0 })
      const [stranger] = await openAll(broker.port, 4, 1)
      expect(ids().sort()).toEqual([1, 2, 3, 4].map(idOf))
      stranger?.socket.destroy()
    }
    await pause(20)
    {
      await using broker = await serve({ dir, port: 0, limits: { producerMemoryMs: 500 } })
      // (its first hour is no longer than what it remembers)
      await pause(600)
      const [stranger] = await openAll(broker.port, 5, 1)
      expect(ids()).not.toContain(content.producers[0].id)
      expect(ids()).toContain(idOf(5))
      stranger?.socket.destroy()
    }
  })

  it('is read as earlier versions wrote it', async () => {
    const dir = folder()
    await using broker = await serve({ dir, port: 0, limits: { idleTopicMs: 50 } })
    const now = BigInt(Date.now()) * 1_000_000n
    const client = await Stranger.greeted(broker.port)
    await client.publisher(1)
    client.say(batch(1, now, ['kept']))
    await client.hear(packetType.ack)
    client.socket.destroy()
    await pause(1500)
    const producers = [{ id: '00000000000000aa', slot: 1, since: 1, last: '0' }]
    writeFileSync(
      join(dir, 'topics', 't', 'producers.json'),
      JSON.stringify({ format: 'hermes-producers', version: 1, producers }),
    )
    const again = await Stranger.greeted(broker.port)
    expect(await again.publisher(1)).toMatchObject({ stored: String(now), runs: [[String(now), 1, 1]] })
    again.socket.destroy()
  })
})
