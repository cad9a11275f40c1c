import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Broker, type MakeEngine, serveOver } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { open, text } from '../../lib/index.js'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { creditPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { batch, Stranger, settings } from '../broker/stranger.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { until } from './host.js'

const boss = 'boss-boss-boss-boss'
const reader = 'reader-reader-reader'

/** What the broker owes its clients, whatever engine carries their bytes. */
export function runBrokerSuite(title: string, makeEngine: MakeEngine): void {
  let dir: string
  let lines: { readonly event: string; readonly [fact: string]: unknown }[]
  const brokers: Broker[] = []

  beforeEach(() => {
    dir = makeFolder()
    lines = []
  })
  afterEach(async () => {
    for (const broker of brokers.splice(0)) await broker.close()
    removeFolder(dir)
  })

  async function started(options: Partial<BrokerOptions> = {}): Promise<Broker> {
    const broker = await serveOver(makeEngine, { dir, port: 0, log: (line) => lines.push(line), ...options })
    brokers.push(broker)
    return broker
  }

  const subscribe = (channel: number, credit: number) =>
    jsonPacket(packetType.subscribe, channel, { topic: 't', settings, from: 'earliest', credit })

  /** Bytes of frames that have been delivered to it. */
  const deliveredBytes = ({ packets }: Stranger) =>
    packets.reduce((sum, { type, body }) => sum + (type === packetType.deliver ? body.length - 32 : 0), 0)

  describe(`${title}: sessions`, () => {
    test('a greeting that comes byte by byte is one', async () => {
      const broker = await started()
      const stranger = await Stranger.connect(broker.port)
      const greeting = Buffer.concat([preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], features: [] })])
      for (const byte of greeting) {
        stranger.say(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
      await stranger.hear(packetType.welcome)
    })

    test('what is no greeting is refused, and its connection closed', async () => {
      const broker = await started()
      const stranger = await Stranger.connect(broker.port)
      stranger.say(Buffer.from('GET / HTTP/1.1\r\nHost: broker\r\n\r\n'))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    })

    test('messages that were published by one connection come to others, in order and once', async () => {
      const broker = await started()
      await using one = await open(broker.url)
      await using other = await open(broker.url)
      const publisher = await one.topic('t', { codec: text }).publisher()
      const subscriber = await other.topic('t', { codec: text }).subscriber({ from: 'earliest' })
      const most = 20_000
      const got: string[] = []
      const reading = (async () => {
        for await (const messages of subscriber.batches(1000)) {
          got.push(...messages.map(({ value }) => value))
          if (got.length >= most) break
        }
      })()
      for (let n = 0; n < most; n++) if (!publisher.publish(`message ${n}`)) await publisher.ready()
      await reading
      expect(got).toEqual(Array.from({ length: most }, (_, n) => `message ${n}`))
    })
  })

  describe(`${title}: limits`, () => {
    test.each([
      ['byte by byte', () => 1],
      ['in halves of what is there', (_: number, left: number) => Math.ceil(left / 2)],
      ['cut anywhere', (n: number) => 1 + ((n * 7919) % 997)],
    ])(
      'PUBLISHes of several publishers that come %s, some of them twice, are stored once and in order',
      async (_, most) => {
        const broker = await started()
        const stranger = await Stranger.greeted(broker.port)
        const channels = [1, 2, 3]
        for (const channel of channels) {
          await stranger.publisher(channel, `00000000000000a${channel}`)
          stranger.packets.length = 0
        }
        const rounds = 12
        const packets: Buffer[] = []
        for (let round = 0; round < rounds; round++) {
          for (const channel of channels) {
            const values = Array.from({ length: 1 + ((round * channel) % 4) }, (_, n) => `${channel} ${round} ${n}`)
            const packet = batch(channel, BigInt(1 + round * 10), values)
            packets.push(packet)
            if ((round + channel) % 5 === 0) packets.push(packet)
          }
        }
        const bytes = Buffer.concat(packets)
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = Math.min(most(n, bytes.length - at), bytes.length - at)
          stranger.say(bytes.subarray(at, at + size))
          at += size
          await new Promise((resolve) => setImmediate(resolve))
        }
        const expected = channels.map((channel) =>
          Array.from({ length: rounds }, (_, round) =>
            Array.from({ length: 1 + ((round * channel) % 4) }, (_, n) => `${channel} ${round} ${n}`),
          ).flat(),
        )
        const count = expected.flat().length
        await using hermes = await open(broker.url)
        const subscriber = await hermes.topic('t', { codec: text }).subscriber({ from: 'earliest' })
        const found: string[] = []
        for await (const { value } of subscriber) if (found.push(value) === count) break
        expect(channels.map((channel) => found.filter((value) => value.startsWith(`${channel} `)))).toEqual(expected)
        const last = Number(1 + (rounds - 1) * 10)
        await until('all acknowledgements', () =>
          channels.every((channel) =>
            stranger.packets.some(
              (packet) => packet.type === packetType.ack && packet.channel === channel && packet.body.includes(last),
            ),
          ),
        )
        expect(stranger.packets.filter(({ type }) => type === packetType.error)).toEqual([])
        expect((await hermes.topic('t', { codec: text }).info()).nextSequence).toBe(count + 1)
      },
    )

    test('connections beyond the limit are closed at once, and their room is free again afterwards', async () => {
      const broker = await started({ limits: { maxConnections: 3, maxUnauthenticatedPerAddress: 3 } })
      const inside: Stranger[] = []
      for (let n = 0; n < 3; n++) inside.push(await Stranger.greeted(broker.port))
      const outside = await Stranger.connect(broker.port)
      await outside.gone()
      expect(inside.every(({ closed }) => !closed)).toBe(true)
      inside[0]?.socket.destroy()
      await until('the room', () => broker.connections === 2)
      await Stranger.greeted(broker.port)
    })

    test('who does not greet in time is closed, and so is who does not send the rest of a packet', async () => {
      const broker = await started({ limits: { handshakeTimeoutMs: 100, packetTimeoutMs: 100 } })
      const silent = await Stranger.connect(broker.port)
      expect(await silent.error()).toBe('TIMED_OUT')
      await silent.gone()
      const slow = await Stranger.greeted(broker.port)
      slow.say(u64Packet(packetType.ping, 0, 1n).subarray(0, 20))
      // (it goes on to answer heartbeats in its own way: not at all)
      expect(await slow.error()).toBe('TIMED_OUT')
      await slow.gone()
    })
  })

  describe(`${title}: credit`, () => {
    test('nothing is sent without credit, and no more than a run beyond it', async () => {
      const broker = await started()
      await using hermes = await open(broker.url)
      const publisher = await hermes
        .topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
        .publisher()
      for (let n = 0; n < 200; n++) publisher.publish('x'.repeat(1000))
      await publisher.flush()
      const stranger = await Stranger.greeted(broker.port)
      stranger.say(subscribe(1, 0))
      await stranger.hear(packetType.subscribed)
      // A PING is answered behind whatever was to be sent before it.
      stranger.say(u64Packet(packetType.ping, 0, 1n))
      await stranger.hear(packetType.pong)
      expect(deliveredBytes(stranger)).toBe(0)
      // 1,032 bytes a frame.
      stranger.say(creditPacket(1, 10_320))
      await until('ten frames', () => deliveredBytes(stranger) >= 9_288)
      stranger.say(u64Packet(packetType.ping, 0, 2n))
      await stranger.hear(packetType.pong)
      expect(deliveredBytes(stranger)).toBeLessThanOrEqual(10_320)
      stranger.say(creditPacket(1, 1_000_000))
      await until('all frames', () => deliveredBytes(stranger) === 200 * 1032)
    })
  })

  describe(`${title}: back-pressure`, () => {
    test('a client that does not read holds up no other, takes bounded memory, and is cut off in the end', async () => {
      const broker = await started({ limits: { slowConsumerMs: 500 } })
      await using hermes = await open(broker.url)
      const topic = hermes.topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
      const publisher = await topic.publisher()
      const deaf = await Stranger.greeted(broker.port)
      deaf.say(subscribe(1, 2 ** 30))
      await deaf.hear(packetType.subscribed)
      deaf.socket.pause()
      const before = process.memoryUsage().arrayBuffers
      const most = 16_000
      const subscriber = await topic.subscriber({ from: 'earliest' })
      let got = 0
      const reading = (async () => {
        for await (const messages of subscriber.batches(1000)) {
          got += messages.length
          if (got >= most) break
        }
      })()
      for (let n = 0; n < most; n++) if (!publisher.publish('x'.repeat(4000))) await publisher.ready()
      await publisher.flush()
      await reading
      expect(got).toBe(most)
      // 64 MB were sent to the other one; for the deaf one, about 1 MiB waits. (Both ends of the other one are in this process.)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(48 * 1024 * 1024)
      await until('its end', () => broker.connections === 1)
      expect(JSON.stringify(lines)).toContain('SLOW_CONSUMER')
    }, 60_000)

    test('PINGs without end whose answers are not read stop the reading', async () => {
      const broker = await started()
      const flooder = await Stranger.greeted(broker.port)
      flooder.socket.pause()
      const pings = Buffer.concat(Array.from({ length: 4096 }, (_, n) => u64Packet(packetType.ping, 0, BigInt(n))))
      let sent = 0
      const before = process.memoryUsage().arrayBuffers
      for (let n = 0; n < 400; n++) flooder.socket.write(pings, () => sent++)
      await new Promise((resolve) => setTimeout(resolve, 500))
      // Others are served meanwhile.
      const other = await Stranger.greeted(broker.port)
      other.say(u64Packet(packetType.ping, 0, 7n))
      await other.hear(packetType.pong)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(128 * 1024 * 1024)
      flooder.socket.resume()
      await until('that all was taken', () => sent === 400)
    }, 60_000)
  })

  describe(`${title}: half-open connections`, () => {
    test('who is not heard of for two and a half heartbeats is closed', async () => {
      const broker = await started({ limits: { heartbeatMs: 50 } })
      const silent = await Stranger.greeted(broker.port)
      await silent.hear(packetType.ping)
      await silent.gone()
      expect(lines.some(({ event }) => event === 'silent')).toBe(true)
    })

    test('a client that has ended its side gets the acknowledgements of what it has sent', async () => {
      const broker = await started()
      const stranger = await Stranger.greeted(broker.port)
      await stranger.publisher(1)
      stranger.say(batch(1, 1n, ['a', 'b', 'c']))
      stranger.socket.end()
      await stranger.hear(packetType.ack)
      await stranger.gone()
      await using hermes = await open(broker.url)
      const info = await hermes.topic('t', { codec: text }).info()
      expect(info.nextSequence).toBe(4)
    })

    test('a packet that is cut in the middle publishes nothing of it, and the broker says who it was', async () => {
      const broker = await started()
      const stranger = await Stranger.greeted(broker.port)
      await stranger.publisher(1)
      const packet = batch(1, 1n, ['a', 'b', 'c'])
      stranger.say(packet.subarray(0, packet.length - 1))
      stranger.socket.end()
      await stranger.gone()
      await until('the line', () => lines.some(({ event }) => event === 'lost'))
      await using hermes = await open(broker.url)
      expect((await hermes.topic('t', { codec: text }).info()).nextSequence).toBe(1)
    })
  })

  describe(`${title}: rights`, () => {
    const access = [
      { name: 'boss', token: boss, administer: true },
      { name: 'reader', token: reader, subscribe: ['t'] },
    ]

    test('a wrong token is refused, and its connection closed', async () => {
      const broker = await started({ access })
      const stranger = await Stranger.connect(broker.port)
      stranger.say(
        preamble,
        jsonPacket(packetType.hello, 0, { versions: [1, 1], token: 'wrong-wrong-wrong', features: [] }),
      )
      expect(await stranger.error()).toBe('UNAUTHORIZED')
      await stranger.gone()
    })

    test('who may only read can not publish, and goes on reading', async () => {
      const broker = await started({ access })
      await using hermes = await open(broker.url, { token: boss })
      const publisher = await hermes
        .topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
        .publisher()
      const stranger = await Stranger.greeted(broker.port, { token: reader })
      stranger.say(subscribe(1, 100_000))
      await stranger.hear(packetType.subscribed)
      stranger.say(
        jsonPacket(packetType.openPublisher, 2, {
          topic: 't',
          settings,
          durability: 'written',
          producer: '00000000000000aa',
          acked: '0',
        }),
      )
      const { channel, body } = await stranger.hear(packetType.error)
      expect([channel, parseJson(body, 0, body.length)['code']]).toEqual([2, 'UNAUTHORIZED'])
      await publisher.publishAsync('hello')
      const { body: delivered } = await stranger.hear(packetType.deliver)
      expect(delivered.includes('hello')).toBe(true)
      expect(stranger.closed).toBe(false)
    })
  })
}
