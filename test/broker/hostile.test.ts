import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { frameOffset, frameType } from '../../lib/frame/frame.js'
import { type Hermes, open, text } from '../../lib/index.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { readAck, readDeliverHead } from '../../lib/wire/packet-bodies.js'
import { creditPacket, emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { pause, seeded } from './harness.js'
import { batch, compressed, Stranger, settings } from './stranger.js'

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

let dir: string
let broker: Broker
let good: Hermes
let lines: { readonly event: string; readonly [fact: string]: unknown }[]

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-hostile-'))
  lines = []
  broker = await serve({
    dir,
    port: 0,
    limits,
    access: [{ name: 'all', token, administer: true }],
    log: (line) => lines.push(line),
  })
  good = await open(broker.url, { token })
})

afterEach(async () => {
  await good.close()
  await broker.close()
  await rm(dir, { recursive: true, force: true })
})

const connected = () => Stranger.connect(broker.port)
const greeted = (features: readonly string[] = []) => Stranger.greeted(broker.port, { token, features })

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
      const stranger = await connected()
      stranger.say(Buffer.from(words))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    await stillServes()
    expect(lines.some((line) => line.event === 'refused')).toBe(true)
  })

  it('does not wait for a HELLO for ever, nor for the rest of one', async () => {
    const silent = await connected()
    const half = await connected()
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
      const stranger = await connected()
      stranger.say(preamble, jsonPacket(packetType.hello, 0, hello))
      expect(await stranger.error()).toBe(code)
      await stranger.gone()
    }
    const first = await connected()
    first.say(preamble, emptyPacket(packetType.close, 1))
    expect(await first.error()).toBe('PROTOCOL')
  })

  it('stores nothing of a batch that is not as it should be', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const large = await greeted()
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
      const stranger = await greeted()
      await stranger.publisher(1)
      stranger.say(batch(1, now, ['some words', 'more'], spoil))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    const ahead = await greeted()
    await ahead.publisher(1)
    ahead.say(batch(1, now + 2n * 86_400_000_000_000n, ['from the future']))
    expect(await ahead.error()).toBe('INVALID_ARGUMENT')
    expect((await good.info('t')).nextSequence).toBe(1)
    await stillServes()
  })

  it('stores a batch once, however often and over whichever connection it comes', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const first = await greeted()
    expect(await first.publisher(1)).toMatchObject({ stored: '0', runs: [] })
    first.say(batch(1, now, ['a', 'b']), batch(1, now, ['a', 'b']), batch(1, now + 10n, ['c']))
    const { body } = await first.hear(packetType.ack)
    expect(readAck(body, 0, body.length)).toEqual([
      { first: now, count: 2, sequence: 1 },
      { first: now, count: 2, sequence: 1 },
      { first: now + 10n, count: 1, sequence: 3 },
    ])
    const second = await greeted()
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

  it('agrees on what it knows, and takes a compressed batch as what it holds', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const plain = await greeted(['zstd', 'deflate', 'deflate', 'x'.repeat(1000)])
    expect(plain.welcome['features']).toEqual(['deflate'])
    expect((await greeted(['zstd'])).welcome['features']).toEqual([])
    await plain.publisher(1)
    const packed = compressed(batch(1, now, ['a', 'b']))
    // As it was, or compressed, or otherwise compressed: it is the same batch.
    plain.say(packed, batch(1, now, ['a', 'b']), compressed(batch(1, now, ['a', 'b']), 9), batch(1, now + 5n, ['c']))
    const { body } = await plain.hear(packetType.ack)
    expect(readAck(body, 0, body.length).at(-1)).toEqual({ first: now + 5n, count: 1, sequence: 3 })
    expect((await good.info('t')).nextSequence).toBe(4)
    const without = await greeted()
    await without.publisher(1, '00000000000000bb')
    without.say(packed)
    expect(await without.error()).toBe('PROTOCOL')
    await without.gone()
  })

  it('stores nothing of a compressed batch that is not as it should be, and does not blow up', async () => {
    const now = BigInt(Date.now()) * 1_000_000n
    const sound = batch(1, now, ['some words', 'more'])
    const bomb = deflateRawSync(Buffer.alloc(64 << 20))
    const wrong: [string, Buffer][] = [
      ['LIMIT', compressed(sound, 1, 64 << 20, bomb)],
      ['PROTOCOL', compressed(sound, 1, 1 << 20, bomb)],
      ['PROTOCOL', compressed(sound, 1, 8, bomb)],
      ['PROTOCOL', compressed(sound, 1, 96, Buffer.from('no stream at all, only words'))],
      ['PROTOCOL', compressed(batch(1, now, ['some words', 'more'], (frames) => frames.writeUInt8(0x41, 40)))],
    ]
    const before = process.memoryUsage()
    for (const [code, packet] of wrong) {
      const stranger = await greeted(['deflate'])
      await stranger.publisher(1)
      for (let n = 0; n < 10; n++) stranger.say(packet)
      expect(await stranger.error()).toBe(code)
      await stranger.gone()
    }
    const after = process.memoryUsage()
    expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(50_000_000)
    const large = await greeted(['deflate'])
    await large.publisher(1)
    large.say(compressed(batch(1, now, ['x'.repeat(4097)])))
    expect(await large.error()).toBe('PAYLOAD_TOO_LARGE')
    expect((await good.info('t')).nextSequence).toBe(1)
    expect(lines.some((line) => line.event === 'refused')).toBe(true)
    await stillServes()
  })

  it('counts credit for compressed frames as they are without', async () => {
    const publisher = await good
      .topic('t', { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 })
      .publisher()
    for (let n = 0; n < 100; n++) publisher.publish('x'.repeat(4000))
    await publisher.flush()
    const reader = await greeted(['deflate'])
    const bytes: number[] = []
    reader.socket.on('data', (chunk: Buffer) => bytes.push(chunk.length))
    reader.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings, from: 'earliest', credit: 0 }))
    await reader.hear(packetType.subscribed)
    reader.say(creditPacket(1, 10 * 4032))
    let end = 1
    while (end < 11) {
      const { body } = await reader.hear(packetType.deliver)
      const { messages, sequence, endSequence } = readDeliverHead(body, 0)
      expect([sequence, body.length]).toEqual([end, 32 + messages * 4032])
      end = endSequence
    }
    expect(end).toBe(11)
    // It came as much less.
    expect(bytes.reduce((sum, one) => sum + one, 0)).toBeLessThan(5000)
    reader.say(creditPacket(1, 4031), u64Packet(packetType.ping, 0, 1n))
    await reader.hear(packetType.pong)
    expect(reader.packets.filter((one) => one.type === packetType.deliver)).toEqual([])
    reader.say(creditPacket(1, 1))
    await reader.hear(packetType.deliver)
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
      const stranger = await greeted()
      stranger.say(packet)
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    }
    const named = await greeted()
    named.say(jsonPacket(packetType.subscribe, 1, { topic: '../../etc', settings, from: 'earliest', credit: 0 }))
    expect(await named.error()).toBe('INVALID_NAME')
    named.say(u64Packet(packetType.ping, 0, 5n))
    await named.hear(packetType.pong)
  })

  it('holds its limits on channels and topics, and the connection goes on', async () => {
    const stranger = await greeted()
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
    const other = await greeted()
    // One listener for all of them: another one would wait in vain for what the first has taken.
    const refused = other.error().then((code) => codes.push(code))
    for (let n = 1; n <= 5; n++) {
      other.say(jsonPacket(packetType.subscribe, n, { topic: `t${n}`, settings, from: 'earliest', credit: 0 }))
      await Promise.race([other.hear(packetType.subscribed), refused]).catch(() => {})
      if (codes.length > 0) break
    }
    expect(codes).toEqual(['LIMIT'])
  })

  it('turns connections away beyond its limit, and takes new ones when others have gone', async () => {
    const crowd = await Promise.all(Array.from({ length: 60 }, connected))
    const until = performance.now() + 10_000
    const isFull = () => lines.some((line) => line.event === 'too-many-connections')
    while (!isFull() && performance.now() < until) await pause(2)
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
    const deaf = await greeted()
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
    const silent = await greeted()
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
      const stranger = await greeted()
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
