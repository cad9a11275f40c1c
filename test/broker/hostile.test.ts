import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { frameOffset, frameType, sealFrame } from '../../lib/frame.js'
import { type Hermes, open, text } from '../../lib/index.js'
import { parseJson } from '../../lib/wire/messages.js'
import {
  creditPacket,
  emptyPacket,
  jsonPacket,
  PacketReader,
  packetType,
  preamble,
  readAck,
  sealPublish,
  u64Packet,
} from '../../lib/wire/packet.js'
import { pause, seeded } from './harness.js'

const limits = {
  maxConnections: 20,
  maxHandshakesPerSecond: 10_000,
  maxChannels: 8,
  maxTopics: 4,
  handshakeTimeoutMs: 200,
  heartbeatMs: 300,
  slowConsumerMs: 600,
}
const token = 'correct horse battery staple'
const codec = { name: text.name, fingerprint: text.fingerprint, schema: null }
const settings = { codec, create: true, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }

let dir: string
let broker: Broker
let good: Hermes
let lines: { readonly event: string; readonly [fact: string]: unknown }[]

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-hostile-'))
  lines = []
  broker = await serve({ dir, port: 0, limits, access: [{ name: 'all', token }], log: (line) => lines.push(line) })
  good = await open(broker.url, { token })
})

afterEach(async () => {
  await good.close()
  await broker.close()
  await rm(dir, { recursive: true, force: true })
})

interface Packet {
  readonly type: number
  readonly channel: number
  readonly body: Buffer
}

/** A client that says what it is told to say. */
class Stranger {
  readonly socket: Socket
  readonly packets: Packet[] = []
  closed = false

  private constructor(socket: Socket) {
    this.socket = socket
    const reader = new PacketReader('server', 1 << 24, (type, channel, bytes, start, end) => {
      this.packets.push({ type, channel, body: Buffer.from(bytes.subarray(start, end)) })
    })
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
  }

  static async connect(): Promise<Stranger> {
    const socket = connect({ port: broker.port, host: '127.0.0.1', noDelay: true })
    const stranger = new Stranger(socket)
    await once(socket, 'connect')
    return stranger
  }

  /** With a WELCOME. */
  static async greeted(): Promise<Stranger> {
    const stranger = await Stranger.connect()
    stranger.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], token }))
    await stranger.hear(packetType.welcome)
    return stranger
  }

  say(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  async hear(type: number): Promise<Packet> {
    const until = performance.now() + 3000
    for (;;) {
      const found = this.packets.findIndex((one) => one.type === type)
      if (found >= 0) return this.packets.splice(found, 1)[0] as Packet
      if (performance.now() > until)
        throw new Error(`no packet of type ${type}; got ${JSON.stringify(this.packets.map((one) => one.type))}`)
      await pause(2)
    }
  }

  async error(): Promise<string> {
    const { body } = await this.hear(packetType.error)
    return String(parseJson(body, 0, body.length)['code'])
  }

  async gone(withinMs = 3000): Promise<void> {
    const until = performance.now() + withinMs
    while (!this.closed && performance.now() < until) await pause(2)
    expect(this.closed).toBe(true)
  }

  async publisher(channel: number, producer = '00000000000000aa', acked = '0'): Promise<Record<string, unknown>> {
    const open = { topic: 't', settings, durability: 'written', producer, acked }
    this.say(jsonPacket(packetType.openPublisher, channel, open))
    const { body } = await this.hear(packetType.publisherOpened)
    return parseJson(body, 0, body.length) as Record<string, unknown>
  }
}

/** A PUBLISH as it should be; `spoil` may change the frames before the packet is sealed. */
function batch(
  channel: number,
  first: bigint,
  values: readonly string[],
  spoil: (frames: Buffer) => void = () => {},
): Buffer {
  const frames = Buffer.concat(
    values.map((value, index) => {
      const payload = Buffer.from(value)
      const bytes = Buffer.alloc(32 + Math.ceil(payload.length / 8) * 8)
      payload.copy(bytes, 32)
      const number = first + BigInt(index)
      sealFrame(
        bytes,
        new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        0,
        frameType.data,
        0,
        0,
        Number(number & 0xffff_ffffn),
        Number(number >> 32n),
        payload.length,
      )
      return bytes
    }),
  )
  spoil(frames)
  const packet = Buffer.concat([Buffer.alloc(32), frames])
  sealPublish(packet, 0, channel, 0n, values.length, frames.length)
  return packet
}

/** The broker is up, and answers others in time. */
async function stillServes(): Promise<void> {
  const before = performance.now()
  const publisher = await good.topic('good', { codec: text, segmentBytes: 1024 * 1024 }).publisher()
  await publisher.publishAsync('alive')
  await publisher.close()
  expect(performance.now() - before).toBeLessThan(2000)
}

describe('a broker among strangers', () => {
  it('refuses whoever speaks something else', async () => {
    for (const words of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '\0\0\0\0\0\0\0\0\0\0', 'HERMESW2']) {
      const stranger = await Stranger.connect()
      stranger.say(Buffer.from(words))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    await stillServes()
    expect(lines.some((line) => line.event === 'refused')).toBe(true)
  })

  it('does not wait for a HELLO for ever, nor for the rest of one', async () => {
    const silent = await Stranger.connect()
    const half = await Stranger.connect()
    half.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], token }).subarray(0, 20))
    expect(await silent.error()).toBe('TIMED_OUT')
    expect(await half.error()).toBe('TIMED_OUT')
    await silent.gone()
    await half.gone()
  })

  it('refuses an unknown version, a wrong token and none', async () => {
    const hellos: [string, Record<string, unknown>][] = [
      ['VERSION_MISMATCH', { versions: [2, 3], token }],
      ['UNAUTHORIZED', { versions: [1, 1], token: `${token}!` }],
      ['UNAUTHORIZED', { versions: [1, 1] }],
      ['PROTOCOL', { versions: 'x' }],
    ]
    for (const [code, hello] of hellos) {
      const stranger = await Stranger.connect()
      stranger.say(preamble, jsonPacket(packetType.hello, 0, hello))
      expect(await stranger.error()).toBe(code)
      await stranger.gone()
    }
    const first = await Stranger.connect()
    first.say(preamble, emptyPacket(packetType.close, 1))
    expect(await first.error()).toBe('PROTOCOL')
  })

  it('stores nothing of a batch that is not as it should be', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const large = await Stranger.greeted()
    await large.publisher(1)
    large.say(batch(1, now, ['x'.repeat(4097)]))
    // A mistake that a client can make: the channel ends, the connection goes on.
    expect(await large.error()).toBe('PAYLOAD_TOO_LARGE')
    large.say(u64Packet(packetType.ping, 0, 1n))
    await large.hear(packetType.pong)
    const spoilt: ((frames: Buffer) => void)[] = [
      (frames) => frames.writeUInt8(0x41, 40), // the payload
      (frames) => frames.writeUInt32LE(4000, frameOffset.payloadLength), // more than there is
      (frames) => frames.writeUInt32LE(0, frameOffset.magic),
      (frames) => frames.writeUInt8(2, frameOffset.version),
      (frames) => frames.writeUInt8(frameType.void, frameOffset.type),
      (frames) => frames.writeUInt16LE(1, frameOffset.flags),
    ]
    for (const spoil of spoilt) {
      const stranger = await Stranger.greeted()
      await stranger.publisher(1)
      stranger.say(batch(1, now, ['some words', 'more'], spoil))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    const ahead = await Stranger.greeted()
    await ahead.publisher(1)
    ahead.say(batch(1, now + 2n * 86_400_000_000_000n, ['from the future']))
    expect(await ahead.error()).toBe('PROTOCOL')
    expect((await good.info('t')).nextSequence).toBe(1)
    await stillServes()
  })

  it('stores a batch once, however often and over whichever connection it comes', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const first = await Stranger.greeted()
    expect(await first.publisher(1)).toMatchObject({ stored: '0', runs: [] })
    first.say(batch(1, now, ['a', 'b']), batch(1, now, ['a', 'b']), batch(1, now + 10n, ['c']))
    const { body } = await first.hear(packetType.ack)
    expect(readAck(body, 0, body.length)).toEqual([
      { first: now, count: 2, sequence: 1 },
      { first: now, count: 2, sequence: 1 },
      { first: now + 10n, count: 1, sequence: 3 },
    ])
    const second = await Stranger.greeted()
    expect(await second.publisher(1)).toMatchObject({
      stored: String(now + 10n),
      runs: [
        [String(now), 2, 1],
        [String(now + 10n), 1, 3],
      ],
    })
    // The first one's place is taken: what it still sends is not stored.
    expect(await first.error()).toBe('FENCED')
    first.say(batch(1, now + 20n, ['too late']))
    second.say(batch(1, now + 10n, ['c']))
    await second.hear(packetType.ack)
    expect((await good.info('t')).nextSequence).toBe(4)
    // A batch that was put together differently is no retry.
    second.say(batch(1, now + 10n, ['c', 'd']))
    expect(await second.error()).toBe('PROTOCOL')
  })

  it('ends connections that use channels as they may not', async () => {
    const publish = batch(5, 1_760_000_000_000_000_000n, ['x'])
    const wrong: Buffer[] = [
      publish,
      creditPacket(5, 1),
      emptyPacket(packetType.close, 5),
      emptyPacket(packetType.close, 0),
      jsonPacket(packetType.hello, 0, { versions: [1, 1], token }),
      jsonPacket(packetType.openPublisher, 0, {
        topic: 't',
        settings,
        durability: 'written',
        producer: '00000000000000aa',
        acked: '0',
      }),
      jsonPacket(packetType.subscribe, 1, { topic: 't', settings: {}, from: 'earliest', credit: 0 }),
      jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: -1 }),
    ]
    for (const packet of wrong) {
      const stranger = await Stranger.greeted()
      stranger.say(packet)
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    const named = await Stranger.greeted()
    named.say(jsonPacket(packetType.subscribe, 1, { topic: '../../etc', settings, from: 'earliest', credit: 0 }))
    expect(await named.error()).toBe('INVALID_NAME')
    named.say(u64Packet(packetType.ping, 0, 5n))
    await named.hear(packetType.pong)
  })

  it('holds its limits on channels and topics, and the connection goes on', async () => {
    const stranger = await Stranger.greeted()
    for (let channel = 1; channel <= 8; channel++) {
      stranger.say(jsonPacket(packetType.subscribe, channel, { topic: 't', settings, from: 'earliest', credit: 0 }))
      await stranger.hear(packetType.subscribed)
    }
    stranger.say(jsonPacket(packetType.subscribe, 9, { topic: 't', settings, from: 'earliest', credit: 0 }))
    expect(await stranger.error()).toBe('LIMIT')
    stranger.say(emptyPacket(packetType.close, 1))
    await stranger.hear(packetType.closed)
    stranger.say(jsonPacket(packetType.subscribe, 10, { topic: 't', settings, from: 'earliest', credit: 0 }))
    await stranger.hear(packetType.subscribed)
    const codes: string[] = []
    const other = await Stranger.greeted()
    for (let n = 1; n <= 5; n++) {
      other.say(jsonPacket(packetType.subscribe, n, { topic: `t${n}`, settings, from: 'earliest', credit: 0 }))
      await Promise.race([other.hear(packetType.subscribed), other.error().then((code) => codes.push(code))]).catch(
        () => {},
      )
      if (codes.length > 0) break
    }
    expect(codes).toEqual(['LIMIT'])
  })

  it('turns connections away beyond its limit, and takes new ones when others have gone', async () => {
    const crowd = await Promise.all(Array.from({ length: 60 }, () => Stranger.connect()))
    await pause(50)
    expect(broker.connections).toBeLessThanOrEqual(limits.maxConnections)
    expect(lines.filter((line) => line.event === 'too-many-connections')).toHaveLength(1)
    // None of them says HELLO, so all of them are gone soon.
    for (const one of crowd) await one.gone()
    await stillServes()
  })

  it('cuts off a client that asks and never listens, and holds little for it', async () => {
    const publisher = await good
      .topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
      .publisher()
    for (let n = 0; n < 5000; n++) if (!publisher.publish('x'.repeat(4000))) await publisher.ready()
    await publisher.flush()
    const deaf = await Stranger.greeted()
    deaf.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: 0 }))
    await deaf.hear(packetType.subscribed)
    deaf.socket.pause()
    const before = process.memoryUsage()
    deaf.say(creditPacket(1, 2 ** 31 - 1))
    for (let n = 0; n < 3000; n++) deaf.say(u64Packet(packetType.ping, 0, 1n))
    await stillServes()
    const after = process.memoryUsage()
    expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(50_000_000)
    const until = performance.now() + 5000
    while (!lines.some((line) => line['code'] === 'SLOW_CONSUMER') && performance.now() < until) await pause(10)
    expect(lines.some((line) => line['code'] === 'SLOW_CONSUMER')).toBe(true)
    deaf.socket.resume()
    await deaf.gone()
  })

  it('cuts off a client that has gone silent, and not one that answers', async () => {
    const silent = await Stranger.greeted()
    await silent.gone(5000)
    expect(silent.packets.some((one) => one.type === packetType.ping)).toBe(true)
    await stillServes()
  })

  it('survives any bytes behind a proper greeting', async () => {
    const random = seeded(3)
    const valid = [
      jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: 1000 }),
      jsonPacket(packetType.openPublisher, 2, {
        topic: 't',
        settings,
        durability: 'written',
        producer: '00000000000000ab',
        acked: '0',
      }),
      batch(2, BigInt(Date.now()) * 1_000_000n, ['a', 'b']),
      creditPacket(1, 100),
      emptyPacket(packetType.close, 1),
      jsonPacket(packetType.request, 3, { op: 'topics' }),
    ]
    for (let round = 0; round < 60; round++) {
      const stranger = await Stranger.greeted()
      const words = Buffer.concat(valid)
      for (let flips = 0; flips < 1 + random() * 4; flips++) {
        const at = Math.floor(random() * words.length)
        words[at] = (words[at] as number) ^ (1 << Math.floor(random() * 8))
      }
      stranger.say(words.subarray(0, Math.floor(random() * words.length)))
      if (round % 2 === 0) stranger.socket.destroy()
      else stranger.socket.end()
      await stranger.gone()
    }
    await stillServes()
    expect(lines.filter((line) => line.event === 'failed')).toEqual([])
    expect(lines.filter((line) => line['code'] === 'IO_FAILED')).toEqual([])
  })
})
