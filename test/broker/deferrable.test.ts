import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { type ChannelHost, PublisherChannel } from '../../lib/broker/publisher-channel.js'
import type { BrokerTopic } from '../../lib/broker/topic.js'
import { open, text } from '../../lib/index.js'
import {
  packetHeaderBytes,
  packetType,
  preamble,
  publishFlag,
  publishHeadBytes,
  type Run,
} from '../../lib/wire/packet.js'
import { readAck } from '../../lib/wire/packet-bodies.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import { ackPacket, emptyPacket, jsonPacket, sealPublish, u64Packet } from '../../lib/wire/packet-writer.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { pause } from './harness.js'
import { batch, Stranger } from './stranger.js'

/** The body of a PUBLISH of one message with this number, as far as it's looked at here. */
function body(number: bigint, flags: number): Buffer {
  const bytes = Buffer.alloc(publishHeadBytes + 40)
  bytes.writeUInt32LE(1, 8)
  bytes.writeUInt32LE(flags, 12)
  bytes.writeBigUInt64LE(number, publishHeadBytes + 16)
  return bytes
}

describe('acknowledgements that may wait', () => {
  afterEach(() => vi.useRealTimers())

  /** A channel of a topic that stores everything; `acks` is what was sent to the client, a list for each packet. */
  function channelOf(acks: bigint[][]): PublisherChannel {
    const host: ChannelHost = {
      send: (packet) => acks.push(readAck(packet, packetHeaderBytes, packet.length).map((run) => run.first)),
      failChannel: () => {},
      resume: () => {},
      holder: { identity: 'a', address: 'b' },
    }
    const topic = {
      ingest: (_producer: unknown, bytes: Buffer, start: number): Run => {
        return { first: bytes.readBigUInt64LE(start + publishHeadBytes + 16), count: 1, sequence: 1 }
      },
      leave: async () => {},
    }
    return new PublisherChannel(host, 1, topic as unknown as BrokerTopic, {} as never, 'written')
  }

  it('are kept for a millisecond, and then sent as one', () => {
    vi.useFakeTimers()
    const acks: bigint[][] = []
    const channel = channelOf(acks)
    for (const number of [1n, 2n]) {
      const bytes = body(number, publishFlag.deferrable)
      channel.publish(bytes, 0, bytes.length)
      channel.acknowledge()
    }
    expect(acks).toEqual([])
    vi.advanceTimersByTime(1)
    expect(acks).toEqual([[2n]])
    vi.advanceTimersByTime(10)
    expect(acks).toEqual([[2n]])
  })

  it('go out at once with one that may not, whose own entry stays', () => {
    vi.useFakeTimers()
    const acks: bigint[][] = []
    const channel = channelOf(acks)
    const take = (number: bigint, flags: number) => {
      const bytes = body(number, flags)
      channel.publish(bytes, 0, bytes.length)
    }
    const { deferrable } = publishFlag
    take(1n, deferrable)
    take(2n, deferrable)
    take(3n, 0)
    take(4n, 0)
    take(5n, deferrable)
    take(6n, deferrable)
    channel.acknowledge()
    expect(acks).toEqual([[2n, 3n, 4n, 6n]])
    take(7n, deferrable)
    channel.acknowledge()
    expect(acks).toHaveLength(1)
    take(8n, 0)
    channel.acknowledge()
    expect(acks[1]).toEqual([7n, 8n])
  })

  it('are not sent any more once the channel has ended', async () => {
    vi.useFakeTimers()
    const acks: bigint[][] = []
    const channel = channelOf(acks)
    const bytes = body(1n, publishFlag.deferrable)
    channel.publish(bytes, 0, bytes.length)
    channel.acknowledge()
    await channel.end(false)
    vi.advanceTimersByTime(10)
    expect(acks).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})

/** A broker that would keep such acknowledgements for ever, were it not for PING. */
class StubbornBroker {
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly flags: number[] = []
  pings = 0
  #kept: Run[] = []
  #sequence = 1

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.#server.close()
  }

  #serve(socket: Socket): void {
    const reader = new PacketReader('client', 1 << 24, (type, channel, bytes, start) => {
      if (type === packetType.hello) {
        const limits = { maxPacketBytes: 1 << 24, maxBatchBytes: 262_144, maxChannels: 10 }
        const welcome = { version: 1, features: [], server: 'stub', instance: 'a', heartbeatMs: 60_000, limits }
        socket.write(jsonPacket(packetType.welcome, 0, welcome))
      } else if (type === packetType.openPublisher) {
        const opened = { stored: '0', runs: [], maxPayloadBytes: 1024, maxBatchBytes: 262_144, nextSequence: 1 }
        socket.write(jsonPacket(packetType.publisherOpened, channel, opened))
      } else if (type === packetType.publish) {
        const count = bytes.readUInt32LE(start + 8)
        const flags = bytes.readUInt32LE(start + 12)
        this.flags.push(flags)
        this.#kept.push({ first: bytes.readBigUInt64LE(start + 32), count, sequence: this.#sequence })
        this.#sequence += count
        if (flags === 0) this.#acknowledge(socket)
      } else if (type === packetType.ping) {
        this.pings++
        this.#acknowledge(socket)
        socket.write(u64Packet(packetType.pong, 0, 0n))
      } else if (type === packetType.close) {
        socket.write(emptyPacket(packetType.closed, channel))
      }
    })
    let greeted = false
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      reader.push(greeted ? chunk : chunk.subarray(preamble.length))
      greeted = true
    })
  }

  #acknowledge(socket: Socket): void {
    if (this.#kept.length > 0) socket.write(ackPacket(1, this.#kept))
    this.#kept = []
  }
}

describe('a broker', () => {
  it('sends the acknowledgements that it keeps before it answers a PING', async () => {
    const folder = makeFolder()
    const broker = await serve({ dir: folder, port: 0 })
    try {
      const stranger = await Stranger.greeted(broker.port)
      await stranger.publisher(1)
      const packet = batch(1, BigInt(Date.now()) * 1_000_000n, ['x'])
      sealPublish(packet, 0, 1, 0n, 1, packet.length - 32, publishFlag.deferrable)
      stranger.say(packet, u64Packet(packetType.ping, 0, 7n))
      const types = () => stranger.packets.map(({ type }) => type)
      const until = performance.now() + 30_000
      while (types().length < 2 && performance.now() < until) await pause(2)
      expect(types()).toEqual([packetType.ack, packetType.pong])
      stranger.socket.destroy()
    } finally {
      await broker.close()
      removeFolder(folder)
    }
  })
})

describe('a publisher', () => {
  it('says of which messages the acknowledgement may wait, and fetches it once somebody does', async () => {
    const broker = new StubbornBroker()
    const hermes = await open(await broker.start())
    try {
      const publisher = await hermes.topic('t', { codec: text }).publisher()
      publisher.publish('nobody waits')
      await pause(20)
      expect(broker.flags).toEqual([publishFlag.deferrable])
      expect(publisher.lastSequence).toBe(0)
      await publisher.flush()
      expect(publisher.lastSequence).toBe(1)
      expect(broker.pings).toBe(1)

      expect((await publisher.publishAsync('somebody waits')).sequence).toBe(2)
      expect(broker.flags).toEqual([publishFlag.deferrable, 0])
      publisher.publish('flushed in the same turn')
      await publisher.flush()
      expect(broker.flags).toEqual([publishFlag.deferrable, 0, 0])
      expect(broker.pings).toBe(1)

      publisher.publish('before it is closed')
      await pause(20)
      await publisher.close()
      expect(publisher.lastSequence).toBe(4)
    } finally {
      await hermes.close()
      broker.stop()
    }
  })

  it('asks for acknowledgements at once while its buffer fills', async () => {
    const broker = new StubbornBroker()
    const hermes = await open(await broker.start(), { publishBuffer: 4 * 1024 * 1024 })
    try {
      const publisher = await hermes.topic('t', { codec: text }).publisher()
      const kilobyte = 'x'.repeat(1000)
      for (let n = 0; n < 20_000; n++) if (!publisher.publish(kilobyte)) await publisher.ready()
      await publisher.flush()
      expect(publisher.lastSequence).toBe(20_000)
      expect(broker.flags).toContain(0)
    } finally {
      await hermes.close()
      broker.stop()
    }
  })
})
