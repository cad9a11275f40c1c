import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { frameType, sealFrame } from '../../lib/frame/frame.js'
import { HermesError, type Job, open, text } from '../../lib/index.js'
import { groupsFeature, messagesPacket } from '../../lib/wire/group-packets.js'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType } from '../../lib/wire/packet.js'
import { ackPacket, deliverPacketHead, emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { failure } from '../helpers/failure.js'
import { FalseBroker, publisherOpened, subscribed, welcome } from './false-broker.js'
import { pause, seeded } from './harness.js'

/* What a client makes of something that speaks the protocol and is no broker: no call hangs, nothing is thrown but a HermesError, and no memory is filled. */

let broker: FalseBroker
const reconnect = { minMs: 5, maxMs: 20 }
const codec = text

beforeEach(async () => {
  broker = await FalseBroker.start()
})
afterEach(() => broker.close())

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!condition() && performance.now() < end) await pause(2)
  expect(condition()).toBe(true)
}

describe('a false broker', () => {
  it('that refuses a channel before its WELCOME does not hold up open()', async () => {
    broker.answer = ({ type }) =>
      type === packetType.hello
        ? jsonPacket(packetType.error, 7, { code: 'LIMIT', message: 'no', details: {} })
        : undefined
    await failure('PROTOCOL', () => open(broker.url, { connectTimeoutMs: 2000 }))
  })

  it('that says nothing, or half a WELCOME, does not either', async () => {
    for (const part of [0, 10, 40]) {
      broker.spoil = (packet) => packet.subarray(0, part)
      await failure('CONNECTION_FAILED', () => open(broker.url, { connectTimeoutMs: 100 }))
    }
  })

  it('that says WELCOME twice is left', async () => {
    await using hermes = await open(broker.url, { reconnect })
    const [first] = broker.connections
    first?.say(jsonPacket(packetType.welcome, 0, welcome))
    await until(() => broker.connections.length > 1)
    expect(await hermes.topics()).toEqual(['t'])
  })

  it('that sends PINGs without end is answered once for all that come together', async () => {
    await using hermes = await open(broker.url, { reconnect })
    const [first] = broker.connections
    first?.say(Buffer.concat(Array.from({ length: 50_000 }, () => u64Packet(packetType.ping, 0, 1n))))
    first?.say(u64Packet(packetType.ping, 0, 2n))
    await until(
      () => first?.told.some(({ type, body }) => type === packetType.pong && body.readBigUInt64LE(0) === 2n) === true,
    )
    expect(first?.count(packetType.pong)).toBeLessThan(2000)
    expect(await hermes.topics()).toEqual(['t'])
  })

  it('that goes away and does not close the connection is left', async () => {
    await using hermes = await open(broker.url, { reconnect })
    const [first] = broker.connections
    first?.say(jsonPacket(packetType.drain, 0, { reason: 'shutdown', graceMs: 0 }))
    await until(() => broker.connections.length > 1)
    expect(await hermes.topics()).toEqual(['t'])
  })

  it('that opens a publisher again and again is not sent everything each time', async () => {
    broker.answer = ({ type }) => (type === packetType.publish ? Buffer.alloc(0) : undefined)
    const hermes = await open(broker.url, { reconnect })
    const publisher = await hermes.topic('t', { codec }).publisher()
    for (let n = 0; n < 100; n++) publisher.publish('x'.repeat(4000))
    const [first] = broker.connections
    await until(() => (first?.count(packetType.publish) ?? 0) > 0)
    const again = jsonPacket(packetType.publisherOpened, 1, publisherOpened)
    first?.say(Buffer.concat(Array.from({ length: 1000 }, () => again)))
    await until(() => broker.connections.length > 1)
    expect(first?.count(packetType.publish)).toBeLessThan(200)
    await hermes.close({ timeoutMs: 0 }).catch(() => {})
  })

  it('that ends a channel which nobody has closed is left, and the subscriber goes on', async () => {
    await using hermes = await open(broker.url, { reconnect })
    await hermes.topic('t', { codec }).subscriber({ from: 'earliest' })
    broker.connections[0]?.say(emptyPacket(packetType.closed, 1))
    await until(() => (broker.connections[1]?.count(packetType.subscribe) ?? 0) > 0)
    const publisher = await hermes.topic('t', { codec }).publisher()
    broker.connections[1]?.say(emptyPacket(packetType.closed, 2))
    await until(() => (broker.connections[2]?.count(packetType.openPublisher) ?? 0) > 0)
    await publisher.publishAsync('x')
  })

  it('that tells of enormous messages gets no memory for them', async () => {
    const before = process.memoryUsage().arrayBuffers
    const huge = 2 ** 30
    broker.answer = ({ type, channel }) => {
      if (type === packetType.openPublisher)
        return jsonPacket(packetType.publisherOpened, channel, { ...publisherOpened, maxPayloadBytes: huge })
      if (type === packetType.subscribe)
        return jsonPacket(packetType.subscribed, channel, { ...subscribed, maxPayloadBytes: huge })
      return undefined
    }
    for (const what of ['publisher', 'subscriber'] as const) {
      await using hermes = await open(broker.url, { reconnect, requestTimeoutMs: 3000 })
      await failure('PROTOCOL', () => hermes.topic('t', { codec })[what]())
    }
    broker.answer = ({ type }) =>
      type === packetType.hello
        ? jsonPacket(packetType.welcome, 0, { ...welcome, limits: { ...welcome.limits, maxPacketBytes: huge } })
        : undefined
    await failure('PROTOCOL', () => open(broker.url))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
  })

  it('that delivers a piece of the log without frames is left', async () => {
    await using hermes = await open(broker.url, { reconnect })
    await hermes.topic('t', { codec }).subscriber({ from: 'earliest' })
    broker.connections[0]?.say(
      deliverPacketHead(1, { epoch: 0, messages: 0, sequence: 1, endSequence: 5, nextSequence: 5 }, 0),
    )
    await until(() => broker.connections.length > 1)
  })

  it('is survived, wherever it is silent, closes, or says something else', async () => {
    const rounds = Number(process.env['HERMES_FALSE_ROUNDS'] ?? 60)
    const seed = Number(process.env['HERMES_FALSE_SEED'] ?? Date.now() % 100_000)
    const codes = new Set<string>()
    for (let round = 0; round < rounds; round++) {
      const random = seeded(seed + round)
      const at = Math.floor(random() * 12)
      const kind = Math.floor(random() * 7)
      let index = 0
      broker.spoil = (packet, _, connection) => {
        if (index++ !== at && !(kind === 6 && random() < 0.3)) return packet
        switch (kind) {
          case 0: // silent from now on
            broker.spoil = () => undefined
            return undefined
          case 1: // closes in the middle of a packet
            setImmediate(() => connection.socket.destroy())
            return packet.subarray(0, Math.floor(random() * packet.length))
          case 2: // garbage
            return Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256)))
          case 3: {
            // one byte is another one
            const flipped = Buffer.from(packet)
            flipped[Math.floor(random() * packet.length)] = Math.floor(random() * 256)
            return flipped
          }
          case 4: // something else that is valid
            return anything(random)
          case 5: // besides, much that is valid
            return Buffer.concat([packet, ...Array.from({ length: 50 }, () => anything(random))])
          default: // time and again
            return Buffer.concat([anything(random), packet])
        }
      }
      for (const code of await useAll(broker.url)) codes.add(code)
      for (const { socket } of broker.connections.splice(0)) socket.destroy()
    }
    // (what is not a HermesError has been thrown by useAll)
    expect(codes.size, `seed ${seed}`).toBeGreaterThan(0)
  }, 600_000)
})

/** Every call of a client, each with its bound; what went wrong, by code. */
async function useAll(url: string): Promise<string[]> {
  const codes: string[] = []
  const call = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    const begin = performance.now()
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof HermesError)) throw error
      codes.push(error.code)
      return undefined
    } finally {
      expect(performance.now() - begin).toBeLessThan(10_000)
    }
  }
  const late = { timeoutMs: 150 }
  const hermes = await call(() => open(url, { reconnect, connectTimeoutMs: 150, requestTimeoutMs: 150 }))
  if (hermes === undefined) return codes
  const topic = hermes.topic('t', { codec })
  await call(() => hermes.topics())
  await call(() => topic.info())
  const publisher = await call(() => topic.publisher())
  await call(async () => publisher?.publishAsync('x', late))
  await call(async () => publisher?.publish('y'))
  await call(async () => publisher?.flush('synced', late))
  const subscriber = await call(() => topic.subscriber({ from: 'earliest', onDamage: 'skip' }))
  await call(async () => subscriber?.ready(late))
  await call(async () => subscriber?.poll(() => {}))
  await call(async () => subscriber?.seek('earliest'))
  await call(async () => subscriber?.poll(() => {}))
  await call(async () => publisher?.close(late))
  await call(async () => subscriber?.close())
  await call(() => hermes.close(late))
  return codes
}

/** A frame with a payload of one letter. */
function frame(sequence: number, letter: string): Buffer {
  const bytes = Buffer.alloc(40)
  bytes.write(letter, 32)
  sealFrame(bytes, new DataView(bytes.buffer, bytes.byteOffset, 40), 0, frameType.data, 0, sequence, 0, 0, 1)
  return bytes
}

it('gets the keys that it has asked a member for, also if that returns a message before it has looked', async () => {
  const rules = { maxDeliveries: 5, leaseMs: 30_000, backoffMs: 1, maxBackoffMs: 1 }
  const unkeyed = { epoch: 0, count: 1, deliveries: 0, number: 0, ordinal: 0 }
  let demands = 0
  broker.answer = ({ type, channel, body }) => {
    switch (type) {
      case packetType.hello:
        return jsonPacket(packetType.welcome, 0, { ...welcome, features: [groupsFeature] })
      case packetType.join:
        return jsonPacket(packetType.joined, channel, {
          resumed: false,
          rules,
          graceMs: 1000,
          maxPayloadBytes: 4096,
          settled: 0,
          lost: [],
        })
      case packetType.demand: {
        if (demands++ > 0) return undefined
        const head = { epoch: 0, count: 1, deliveries: 1, number: 1, ordinal: 1 }
        return messagesPacket(packetType.messages, channel, head, frame(1, 'a'), 0, 40)
      }
      case packetType.ask: {
        // What it asks comes before what it answers.
        const { id } = parseJson(body, 0, body.length)
        const asks = messagesPacket(packetType.unkeyed, channel, unkeyed, frame(2, 'b'), 0, 40)
        return Buffer.concat([asks, jsonPacket(packetType.answer, channel, { id })])
      }
      default:
        return undefined
    }
  }
  const hermes = await open(broker.url, { reconnect })
  const group = await hermes.topic('t', { codec }).group('g', { key: (value) => value })
  const jobs = group[Symbol.asyncIterator]()
  const first = await jobs.next()
  await group.sync()
  void (first.value as Job<string>).nack({ delayMs: 0 }).catch(() => {})
  const second = jobs.next()
  second.catch(() => {})
  await until(() => broker.connections[0]?.count(packetType.keys) === 1)
  broker.close()
  await hermes.close({ timeoutMs: 100 }).catch(() => {})
})

/** A valid packet of a broker, with any content. */
function anything(random: () => number): Buffer {
  const channel = Math.floor(random() * 4)
  const number = [0, 1, 2, 2 ** 31, 2 ** 53 - 1, 5][Math.floor(random() * 6)] as number
  const frame = () => {
    const bytes = Buffer.alloc(40)
    sealFrame(
      bytes,
      new DataView(bytes.buffer, bytes.byteOffset, 40),
      0,
      random() < 0.7 ? frameType.data : frameType.void,
      0,
      1,
      1,
      1,
      8,
    )
    if (random() < 0.5) bytes[Math.floor(random() * 40)] = Math.floor(random() * 256)
    return bytes
  }
  const deliver = () => {
    const frames = Buffer.concat(Array.from({ length: Math.floor(random() * 3) }, frame))
    const head = {
      epoch: random() < 0.7 ? 0 : 1,
      messages: 1,
      sequence: 1,
      endSequence: 1 + Math.floor(random() * 3),
      nextSequence: number,
    }
    return Buffer.concat([deliverPacketHead(channel, head, frames.length), frames])
  }
  const kinds: (() => Buffer)[] = [
    () => jsonPacket(packetType.welcome, 0, welcome),
    () => u64Packet(packetType.ping, channel, 1n),
    () => u64Packet(packetType.pong, channel, 1n),
    () => jsonPacket(packetType.error, channel, { code: 'CLOSED', message: 'x' }),
    () => jsonPacket(packetType.error, channel, { code: 'DISK_FULL', message: 'x', retry: random() < 0.5 }),
    () => jsonPacket(packetType.drain, 0, { reason: 'x', graceMs: number % 3_600_000 }),
    () => emptyPacket(packetType.closed, channel),
    () => jsonPacket(packetType.reply, channel, { topics: number }),
    () => jsonPacket(packetType.publisherOpened, channel, { ...publisherOpened, stored: String(number) }),
    () => jsonPacket(packetType.publisherOpened, channel, { ...publisherOpened, runs: [['1', 2 ** 32 - 1, number]] }),
    () => ackPacket(channel, [{ first: BigInt(number), count: 2 ** 32 - 1, sequence: number }]),
    () => u64Packet(packetType.synced, channel, 2n ** 64n - 1n),
    () =>
      jsonPacket(packetType.subscribed, channel, { ...subscribed, epoch: number % 3, sequence: Math.max(1, number) }),
    () => u64Packet(packetType.tail, channel, BigInt(number)),
    deliver,
    deliver,
  ]
  return (kinds[Math.floor(random() * kinds.length)] as () => Buffer)()
}
