import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { type Hermes, open, text } from '../../lib/index.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { readAck, readDeliverHead } from '../../lib/wire/packet-bodies.js'
import { jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { foldersPerTest } from '../helpers/folder.js'
import { drain } from '../helpers/receive.js'
import { pause } from './harness.js'
import { batch, Stranger, settings } from './stranger.js'

const limits = { maxHandshakesPerSecond: 10_000, handshakeTimeoutMs: 400, heartbeatMs: 300, slowConsumerMs: 1500 }
const topic = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }

const folder = foldersPerTest()
let broker: Broker
let good: Hermes
let lines: { readonly event: string; readonly [fact: string]: unknown }[]

beforeEach(async () => {
  lines = []
  broker = await serve({ dir: join(folder(), 'data'), port: 0, limits, log: (line) => lines.push(line) })
  good = await open(broker.url)
})

afterEach(async () => {
  await good.close()
  await broker.close()
  // Nothing that clients do is a failure of the broker.
  expect(lines.filter((line) => line.event === 'failed' || line['code'] === 'IO_FAILED')).toEqual([])
})

async function until(what: () => boolean): Promise<void> {
  const end = performance.now() + 30_000
  while (!what() && performance.now() < end) await pause(5)
  expect(what()).toBe(true)
}

const told = (event: string) => lines.filter((line) => line.event === event)

async function stored(): Promise<string[]> {
  const subscriber = await good.topic('t', topic).subscriber({ from: 'earliest' })
  const { nextSequence } = await good.info('t')
  const values: string[] = []
  while (subscriber.position < nextSequence) {
    await subscriber.ready()
    values.push(...drain(subscriber, (value) => value).map((one) => one.value))
  }
  await subscriber.close()
  return values
}

const now = (): bigint => BigInt(Date.now()) * 1_000_000n

describe('a connection that ends oddly', () => {
  it('is answered to its end when the client has only closed its own half', async () => {
    const socket = connect({ port: broker.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    await once(socket, 'connect')
    const stranger = new Stranger(socket)
    const first = now()
    const opening = { topic: 't', settings, durability: 'written', producer: '00000000000000aa', acked: '0' }
    stranger.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1] }))
    stranger.say(jsonPacket(packetType.openPublisher, 1, opening))
    await stranger.hear(packetType.publisherOpened)
    const batches = Array.from({ length: 50 }, (_, n) => batch(1, first + BigInt(n), [`m${n}`]))
    stranger.say(...batches)
    socket.end()
    let acknowledged = 0
    while (acknowledged < 50) {
      const { body } = await stranger.hear(packetType.ack)
      for (const run of readAck(body, 0, body.length)) acknowledged += run.count
    }
    await stranger.gone()
    expect(await stored()).toEqual(Array.from({ length: 50 }, (_, n) => `m${n}`))
    expect(told('lost')).toEqual([])
  })

  for (const how of ['a reset', 'a close'] as const) {
    it(`leaves nothing of a batch in the middle of which it ended, and all before it: ${how}`, async () => {
      const stranger = await Stranger.greeted(broker.port)
      await stranger.publisher(1)
      const first = now()
      const half = batch(1, first + 10n, ['lost', 'lost too'])
      stranger.say(batch(1, first, ['kept', 'kept too']), half.subarray(0, half.length - 7))
      await stranger.hear(packetType.ack)
      if (how === 'a reset') stranger.socket.resetAndDestroy()
      else stranger.socket.end()
      await until(() => told('lost').length === 1)
      expect(told('lost')[0]).toMatchObject({
        level: 'warn',
        address: '127.0.0.1',
        message: expect.stringMatching(/\w{5}/),
      })
      expect(await stored()).toEqual(['kept', 'kept too'])
      // Whoever comes back learns how far it got, and sends the rest again.
      const again = await Stranger.greeted(broker.port)
      expect(await again.publisher(1)).toMatchObject({ stored: String(first + 1n) })
      again.say(half)
      await again.hear(packetType.ack)
      expect(await stored()).toEqual(['kept', 'kept too', 'lost', 'lost too'])
    })
  }

  it('costs nothing when it ends before, within or right behind the greeting', async () => {
    const hello = Buffer.concat([preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1] })])
    const open = broker.connections
    for (let round = 0; round < 20; round++) {
      for (const said of [0, 3, preamble.length, preamble.length + 9, hello.length - 1, hello.length]) {
        const socket = connect({ port: broker.port, host: '127.0.0.1', noDelay: true })
        socket.on('error', () => {})
        await once(socket, 'connect')
        // (a reset at once takes away what was written and not sent)
        if (said > 0) socket.write(hello.subarray(0, said))
        if (round % 2 === 0) await pause(1)
        if (round % 4 < 2) socket.resetAndDestroy()
        else socket.destroy()
      }
    }
    await until(() => broker.connections === open)
    await (await good.topic('t', topic).publisher()).publishAsync('alive')
  })

  it('gives back what was being sent when it is reset in the middle of a delivery', async () => {
    const publisher = await good.topic('t', topic).publisher()
    const messages = 3000
    for (let n = 0; n < messages; n++) if (!publisher.publish(`${n}`.padEnd(4000, '.'))) await publisher.ready()
    await publisher.flush()
    for (let round = 0; round < 12; round++) {
      const reader = await Stranger.greeted(broker.port, { features: round % 3 === 0 ? ['deflate'] : [] })
      reader.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: 2 ** 30 }))
      await reader.hear(packetType.deliver)
      if (round % 2 === 0) reader.socket.pause()
      if (round % 4 < 2) reader.socket.resetAndDestroy()
      else reader.socket.destroy()
    }
    // Only the well-behaved client is left, and it gets everything.
    await until(() => broker.connections === 1)
    expect(await stored()).toHaveLength(messages)
  })
})

describe('a slow client', () => {
  it('writes a batch byte by byte, which counts once it is there', async () => {
    const writer = await Stranger.greeted(broker.port)
    await writer.publisher(1)
    const packet = batch(1, now(), ['slowly', 'but surely'])
    for (let at = 0; at < packet.length; at++) {
      writer.say(packet.subarray(at, at + 1))
      if (at % 4 === 0) await pause(1)
      // Meanwhile, others are served.
      if (at === packet.length - 2) {
        await (await good.topic('t', topic).publisher()).publishAsync('in between')
        expect(writer.packets.filter((one) => one.type === packetType.ack)).toEqual([])
      }
    }
    await writer.hear(packetType.ack)
    expect(await stored()).toEqual(['in between', 'slowly', 'but surely'])
  })

  it('may not take for ever over its greeting, nor stop in the middle of a batch', async () => {
    const hello = Buffer.concat([preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1] })])
    const trickle = await Stranger.connect(broker.port)
    const trickling = (async () => {
      for (let at = 0; at < hello.length && !trickle.closed; at++) {
        trickle.say(hello.subarray(at, at + 1))
        await pause(40)
      }
    })()
    const stopped = await Stranger.greeted(broker.port)
    await stopped.publisher(1)
    stopped.say(batch(1, now(), ['never', 'told']).subarray(0, 60))
    expect(await trickle.error()).toBe('TIMED_OUT')
    await trickle.gone()
    await trickling
    await stopped.gone()
    expect(told('silent')).toHaveLength(1)
    expect(await stored()).toEqual([])
  })

  it('is served at its own pace as long as it takes anything, and holds up nobody', async () => {
    const publisher = await good.topic('t', topic).publisher()
    const messages = 1500
    for (let n = 0; n < messages; n++) if (!publisher.publish(`${n}`.padEnd(4000, '.'))) await publisher.ready()
    await publisher.flush()
    const slow = await Stranger.greeted(broker.port)
    const before = process.memoryUsage()
    slow.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: 2 ** 31 }))
    const end = performance.now() + 2500
    while (performance.now() < end) {
      // A little at a time, and longer than the broker would wait for somebody who takes nothing.
      slow.socket.resume()
      await pause(1)
      slow.socket.pause()
      await publisher.publishAsync('for others')
      // (who says nothing for long counts as gone)
      slow.say(u64Packet(packetType.ping, 0, 1n))
      await pause(30)
    }
    const after = process.memoryUsage()
    expect(slow.closed).toBe(false)
    expect(told('refused')).toEqual([])
    const held = slow.packets.reduce((sum, one) => sum + one.body.length, 0)
    expect(after.external + after.heapUsed - before.external - before.heapUsed - held).toBeLessThan(50_000_000)
    // Whole and in order, up to the end.
    slow.socket.resume()
    const { nextSequence } = await good.info('t')
    let next = 1
    while (next < nextSequence) {
      const { body } = await slow.hear(packetType.deliver)
      const { sequence, endSequence } = readDeliverHead(body, 0)
      expect(sequence).toBe(next)
      next = endSequence
    }
  })
})
