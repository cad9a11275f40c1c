import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { HermesError } from '../../lib/index.js'
import { Deflater, mostInflatedBytes } from '../../lib/wire/compression.js'
import { parseAsk, parseJoin, parseJoined, parseRejection } from '../../lib/wire/group-messages.js'
import {
  demandPacket,
  keysPacket,
  type Late,
  messagesPacket,
  readDemand,
  readMessagesHead,
  readSettle,
  readSettled,
  settledPacket,
  settlePacket,
  type WireOutcome,
} from '../../lib/wire/group-packets.js'
import {
  parseError,
  parseHello,
  parseJson,
  parseOpenPublisher,
  parsePublisherOpened,
  parseSeek,
  parseSubscribe,
  parseSubscribed,
  parseWelcome,
} from '../../lib/wire/messages.js'
import { maxJsonBytes, packetHeaderBytes, packetType, preamble } from '../../lib/wire/packet.js'
import { readAck, readDeliverHead } from '../../lib/wire/packet-bodies.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import {
  ackPacket,
  compressedPacket,
  creditPacket,
  deliverPacketHead,
  emptyPacket,
  jsonPacket,
  sealPublish,
  u64Packet,
} from '../../lib/wire/packet-writer.js'
import { seeded } from '../broker/harness.js'

interface Vector {
  readonly name: string
  readonly type: number
  readonly channel: number
  readonly hex: string
  readonly json?: Record<string, unknown>
  readonly value?: string
  readonly runs?: [string, number, number][]
  readonly acked?: string
  readonly epoch?: number
  readonly messages?: number
  readonly sequence?: number
  readonly endSequence?: number
  readonly nextSequence?: number
  readonly deliveries?: number
  readonly number?: number
  readonly ordinal?: number
  readonly taken?: number
  readonly limit?: number
  readonly settle?: number
  readonly answered?: number
  readonly entries?: [number, number, number, number, WireOutcome, number][]
  readonly late?: Late[]
  readonly keys?: number[]
}

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../vectors/wire.json'), 'utf8')) as {
  readonly preambleHex: string
  readonly packets: readonly Vector[]
  readonly compressed: readonly Vector[]
}

const serverTypes = new Set([
  'WELCOME',
  'ERROR',
  'DRAIN',
  'CLOSED',
  'REPLY',
  'PUBLISHER_OPENED',
  'ACK',
  'SYNCED',
  'SUBSCRIBED',
  'DELIVER',
  'TAIL',
  'JOINED',
  'MESSAGES',
  'SETTLED',
  'ANSWER',
  'UNKEYED',
  'COMMITTED',
])

interface Packet {
  readonly type: number
  readonly channel: number
  readonly body: Buffer
}

function read(
  from: 'client' | 'server',
  chunks: readonly Buffer[],
  { most = 1 << 20, compression = false } = {},
): Packet[] {
  const packets: Packet[] = []
  const reader = new PacketReader(from, most, (type, channel, bytes, start, end) => {
    packets.push({ type, channel, body: Buffer.from(bytes.subarray(start, end)) })
  })
  reader.compression = compression
  for (const chunk of chunks) reader.push(chunk)
  return packets
}

function code(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return error instanceof HermesError ? error.code : String(error)
  }
  return 'nothing was thrown'
}

const bytesOf = (vector: Vector): Buffer => Buffer.from(vector.hex, 'hex')
const sideOf = (vector: Vector): 'client' | 'server' => (serverTypes.has(vector.name) ? 'server' : 'client')
const named = (name: string): Vector => golden.packets.find((one) => one.name === name) as Vector

describe('golden packets', () => {
  it('begin with the preamble', () => {
    expect(preamble.toString('hex')).toBe(golden.preambleHex)
  })

  it('cover every type', () => {
    expect(new Set(golden.packets.map((one) => one.type))).toEqual(new Set(Object.values(packetType)))
  })

  for (const vector of golden.packets) {
    it(`reads ${vector.name}`, () => {
      const [packet, ...rest] = read(sideOf(vector), [bytesOf(vector)])
      expect(rest).toEqual([])
      expect(packet).toMatchObject({ type: vector.type, channel: vector.channel })
      const { body } = packet as Packet
      if (vector.json !== undefined) expect(parseJson(body, 0, body.length)).toEqual(vector.json)
    })
  }

  it('are what this side writes', () => {
    const hexOf = (bytes: Buffer) => bytes.toString('hex')
    for (const vector of golden.packets) {
      const { type, channel, value, json } = vector
      if (json !== undefined) expect(hexOf(jsonPacket(type, channel, json))).toBe(vector.hex)
      else if (vector.name === 'CREDIT') expect(hexOf(creditPacket(channel, Number(value)))).toBe(vector.hex)
      else if (value !== undefined) expect(hexOf(u64Packet(type, channel, BigInt(value)))).toBe(vector.hex)
      else if (vector.name === 'CLOSE' || vector.name === 'CLOSED')
        expect(hexOf(emptyPacket(type, channel))).toBe(vector.hex)
    }
    const { runs = [] } = named('ACK')
    const written = runs.map(([first, count, sequence]) => ({ first: BigInt(first), count, sequence }))
    expect(hexOf(ackPacket(1, written))).toBe(named('ACK').hex)
    const ack = bytesOf(named('ACK'))
    expect(readAck(ack, packetHeaderBytes, ack.length)).toEqual(written)

    const publish = bytesOf(named('PUBLISH'))
    const copy = Buffer.from(publish)
    copy.fill(0, 0, 32)
    sealPublish(copy, 0, 1, BigInt(named('PUBLISH').acked as string), 2, publish.length - 32)
    expect(hexOf(copy)).toBe(named('PUBLISH').hex)

    const deliver = bytesOf(named('DELIVER'))
    const { epoch, messages, sequence, endSequence, nextSequence } = named('DELIVER')
    const head = readDeliverHead(deliver, packetHeaderBytes)
    expect(head).toEqual({ epoch, messages, sequence, endSequence, nextSequence })
    expect(hexOf(deliverPacketHead(2, head, deliver.length - 48))).toBe(named('DELIVER').hex.slice(0, 96))
  })

  it('of groups are what this side reads and writes', () => {
    const hexOf = (bytes: Buffer) => bytes.toString('hex')
    const head = packetHeaderBytes
    for (const name of ['MESSAGES', 'UNKEYED']) {
      const vector = named(name)
      const bytes = bytesOf(vector)
      const { epoch, messages: count, deliveries, number, ordinal } = vector
      const read = readMessagesHead(bytes, head)
      expect(read).toEqual({ epoch, count, deliveries, number, ordinal })
      expect(hexOf(messagesPacket(vector.type, 3, read, bytes, head + 32, bytes.length))).toBe(vector.hex)
    }
    const { taken = 0, limit = 0, epoch = 0 } = named('DEMAND')
    expect(readDemand(bytesOf(named('DEMAND')), head)).toEqual({ taken, limit, epoch })
    expect(hexOf(demandPacket(3, { taken, limit, epoch }))).toBe(named('DEMAND').hex)
    const { settle = 0, answered = 0, entries = [] } = named('SETTLE')
    const written = entries.map(([first, count, deliveries, number, outcome, delayMs]) => ({
      first,
      count,
      deliveries,
      number,
      outcome,
      delayMs,
    }))
    const settling = bytesOf(named('SETTLE'))
    expect(readSettle(settling, head, settling.length)).toEqual({ number: settle, answered, entries: written })
    expect(hexOf(settlePacket(3, settle, answered, written))).toBe(named('SETTLE').hex)
    const { late = [] } = named('SETTLED')
    const settled = bytesOf(named('SETTLED'))
    expect(readSettled(settled, head, settled.length)).toEqual({ number: named('SETTLED').settle, late })
    expect(hexOf(settledPacket(3, named('SETTLED').settle as number, Float64Array.from(late.flat())))).toBe(
      named('SETTLED').hex,
    )
    expect(hexOf(keysPacket(3, named('KEYS').keys as number[]))).toBe(named('KEYS').hex)
    const json = (name: string) => named(name).json as Record<string, unknown>
    expect(parseJoin(json('JOIN'))).toMatchObject({ kind: 'keyed', rules: { key: { offset: 8, bytes: 4 } }, taken: 2 })
    expect(parseJoined(json('JOINED'))).toMatchObject({ resumed: true, lost: [[2, 43]], committed: undefined })
    expect(parseAsk(json('ASK'))).toMatchObject({ id: 1, done: 0, op: 'reject' })
    expect(parseRejection(json('ASK')).claim).toEqual({ sequence: 47, deliveries: 2, number: 78 })
  })

  it('mean what the specification says', () => {
    const json = (name: string) => named(name).json as Record<string, unknown>
    expect(parseHello(json('HELLO'))).toMatchObject({ versions: [1, 1], token: 'sésame-ouvre-toi' })
    expect(parseWelcome(json('WELCOME')).limits.maxBatchBytes).toBe(262_144)
    expect(parseError(json('ERROR'))).toMatchObject({ code: 'DISK_FULL', details: { topic: 'trades' } })
    expect(parseOpenPublisher(json('OPEN_PUBLISHER'))).toMatchObject({
      durability: 'synced',
      acked: 1_760_000_000_000_000_000n,
    })
    expect(parsePublisherOpened(json('PUBLISHER_OPENED')).runs).toEqual([
      { first: 1_760_000_000_000_000_001n, count: 2, sequence: 41 },
    ])
    expect(parseSubscribe(json('SUBSCRIBE')).from).toEqual(new Date(1_750_000_000_000))
    expect(parseSubscribed(json('SUBSCRIBED')).sequence).toBe(43)
    expect(parseSeek(json('SEEK'))).toEqual({ epoch: 1, from: 'earliest' })
  })
})

describe('compressed frames', () => {
  const agreed = { compression: true }
  const headOf = (vector: Vector): number => (vector.name === 'PUBLISH' ? 16 : 32)

  /** A PUBLISH with this stream, which says that its frames have `length` bytes. */
  const publish = (length: number, stream: Uint8Array): Buffer =>
    compressedPacket(packetType.publish, 1, bytesOf(named('PUBLISH')).subarray(16, 32), length, stream)

  for (const vector of golden.compressed) {
    it(`are those of the packet without: ${vector.name}`, () => {
      expect(read(sideOf(vector), [bytesOf(vector)], agreed)).toEqual(
        read(sideOf(vector), [bytesOf(named(vector.name))]),
      )
      const bytes = bytesOf(vector)
      const head = bytes.subarray(16, 16 + headOf(vector))
      const length = bytes.readUInt32LE(16 + head.length)
      const again = compressedPacket(vector.type, vector.channel, head, length, bytes.subarray(20 + head.length))
      expect(again.toString('hex')).toBe(vector.hex)
    })
  }

  it('are refused where they were not agreed on, and in other packets', () => {
    for (const vector of golden.compressed) expect(code(() => read(sideOf(vector), [bytesOf(vector)]))).toBe('PROTOCOL')
    for (const vector of golden.packets.filter((one) => !['PUBLISH', 'DELIVER'].includes(one.name))) {
      const bytes = bytesOf(vector)
      bytes[5] = 1
      expect(code(() => read(sideOf(vector), [bytes], agreed))).toBe('PROTOCOL')
    }
    const other = bytesOf(golden.compressed[0] as Vector)
    other[5] = 2
    expect(code(() => read('client', [other], agreed))).toBe('PROTOCOL')
  })

  it('go through one reader among packets without, however the stream is cut', () => {
    const plain = bytesOf(named('DELIVER'))
    const packed = bytesOf(golden.compressed.find((one) => one.name === 'DELIVER') as Vector)
    const stream = Buffer.concat([plain, packed, packed, plain, packed])
    const expected = read('server', [plain, plain, plain, plain, plain])
    const random = seeded(5)
    for (let round = 0; round < 30; round++) {
      const chunks: Buffer[] = []
      for (let at = 0; at < stream.length; ) {
        const size = 1 + Math.floor(random() * 90)
        chunks.push(Buffer.from(stream.subarray(at, at + size)))
        at += size
      }
      expect(read('server', chunks, agreed)).toEqual(expected)
    }
  })

  it('end the connection at any flipped bit', () => {
    for (const vector of golden.compressed) {
      const bytes = bytesOf(vector)
      for (let bit = 40; bit < bytes.length * 8; bit++) {
        const damaged = Buffer.from(bytes)
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(
          code(() => read(sideOf(vector), [damaged], agreed)),
          `${vector.name}, bit ${bit}`,
        ).toBe('PROTOCOL')
      }
    }
  })

  it('end the connection when the stream is no stream, or holds something else than it says', () => {
    const frames = bytesOf(named('PUBLISH')).subarray(32)
    const stream = deflateRawSync(frames)
    expect(read('client', [publish(frames.length, stream)], agreed)).toHaveLength(1)
    const wrong: Buffer[] = [
      publish(frames.length, Buffer.from('these are no compressed bytes')),
      publish(frames.length, stream.subarray(0, stream.length - 1)),
      publish(frames.length + 8, stream),
      publish(frames.length - 8, stream),
      publish(frames.length - 1, stream),
      publish(0, stream),
    ]
    for (const packet of wrong) expect(code(() => read('client', [packet], agreed))).toBe('PROTOCOL')
    expect(code(() => read('client', [publish(frames.length, stream.subarray(0, 0))], agreed))).toBe('PROTOCOL')
  })

  it('do not blow up: a bomb is stopped at the length that it says, and that is bounded', () => {
    const bomb = deflateRawSync(Buffer.alloc(64 << 20))
    expect(bomb.length).toBeLessThan(100_000)
    expect(code(() => read('client', [publish(64 << 20, bomb)], agreed))).toBe('LIMIT')
    expect(code(() => read('client', [publish(mostInflatedBytes + 8, bomb)], agreed))).toBe('LIMIT')
    const before = process.memoryUsage().arrayBuffers
    for (let n = 0; n < 20; n++) {
      expect(code(() => read('client', [publish(mostInflatedBytes, bomb)], agreed))).toBe('PROTOCOL')
      expect(code(() => read('client', [publish(1024, bomb)], agreed))).toBe('PROTOCOL')
    }
    // Garbage of the calls included: what the bombs hold would be more than a thousand megabytes.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20)
  })

  it('are made of what is worth it', () => {
    const deflater = new Deflater()
    const dense = Buffer.alloc(8192, 'all work and no play ')
    const noise = Buffer.from(Array.from({ length: 8192 }, seeded(1)).map((one) => one * 256))
    expect(deflater.deflate(dense.subarray(0, 1016))).toBeUndefined()
    expect(deflater.deflate(Buffer.alloc(mostInflatedBytes + 8))).toBeUndefined()
    expect(inflateRawSync(deflater.deflate(dense) as Buffer)).toEqual(dense)
    expect(deflater.deflate(noise)).toBeUndefined()
    // After that, it does not try for a while.
    for (let n = 0; n < 15; n++) expect(deflater.deflate(dense)).toBeUndefined()
    expect(deflater.deflate(dense)).toBeDefined()
  })
})

describe('a stream of packets', () => {
  const stream = Buffer.concat(golden.packets.filter((one) => sideOf(one) === 'server').map(bytesOf))
  const whole = read('server', [stream])

  it('is read alike however it is cut', () => {
    const random = seeded(7)
    for (let round = 0; round < 50; round++) {
      const chunks: Buffer[] = []
      for (let at = 0; at < stream.length; ) {
        const size = round === 0 ? 1 : 1 + Math.floor(random() * 100)
        // (a chunk's memory is used again once it was read)
        chunks.push(Buffer.from(stream.subarray(at, at + size)))
        at += size
      }
      expect(read('server', chunks)).toEqual(whole)
    }
  })

  it('does not keep memory for what was only announced', () => {
    const reader = new PacketReader('server', 1 << 30, () => {})
    const header = Buffer.from(
      deliverPacketHead(1, { epoch: 0, messages: 1, sequence: 1, endSequence: 2, nextSequence: 2 }, (1 << 30) - 64),
    )
    const before = process.memoryUsage().arrayBuffers
    reader.push(header)
    expect(reader.pendingBytes).toBe(48)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
  })

  it('ends at a flipped bit, wherever it is', () => {
    for (const vector of golden.packets) {
      const bytes = bytesOf(vector)
      const ofHead: Record<string, number> = { PUBLISH: 32, DELIVER: 48, MESSAGES: 48, UNKEYED: 48 }
      const checked = ofHead[vector.name] ?? bytes.length
      for (let bit = 0; bit < checked * 8; bit += vector.hex.length > 200 ? 7 : 1) {
        const damaged = Buffer.from(bytes)
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
        let got: readonly Packet[] = []
        const outcome = code(() => {
          got = read(sideOf(vector), [damaged])
        })
        // A length that has grown is not noticed before the rest is there: but nothing is handed out.
        expect(got, `${vector.name}, bit ${bit}`).toEqual([])
        expect(['PROTOCOL', 'LIMIT', 'nothing was thrown']).toContain(outcome)
        if (bit >= 40) expect(outcome, `${vector.name}, bit ${bit}`).toBe('PROTOCOL')
      }
    }
  })

  it('refuses types that only the other side sends, and unknown ones', () => {
    expect(code(() => read('client', [bytesOf(named('WELCOME'))]))).toBe('PROTOCOL')
    expect(code(() => read('server', [bytesOf(named('PUBLISH'))]))).toBe('PROTOCOL')
    expect(code(() => read('client', [emptyPacket(99, 1)]))).toBe('PROTOCOL')
  })

  it('refuses absurd lengths before anything more is read', () => {
    const header = Buffer.from(emptyPacket(packetType.publish, 1))
    header.writeUInt32LE(0xffff_fff8)
    expect(code(() => read('client', [header]))).toBe('LIMIT')
    expect(code(() => read('client', [jsonPacket(packetType.request, 1, { pad: 'x'.repeat(maxJsonBytes) })]))).toBe(
      'LIMIT',
    )
    expect(code(() => read('client', [u64Packet(packetType.credit, 1, 1n)]))).toBe('LIMIT')
    expect(code(() => read('client', [emptyPacket(packetType.ping, 0)]))).toBe('PROTOCOL')
  })

  it('survives any bytes', () => {
    const random = seeded(11)
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256)))
      // Often a plausible beginning, so that more than the first check is reached.
      if (round % 2 === 0 && bytes.length > 16) {
        bytes.writeUInt32LE(Math.floor(random() * 64), 0)
        bytes[4] = Math.floor(random() * 40)
        bytes.fill(0, 5, 8)
      }
      expect(['PROTOCOL', 'LIMIT', 'nothing was thrown']).toContain(
        code(() => read(round % 3 ? 'client' : 'server', [bytes])),
      )
    }
  })
})

describe('messages', () => {
  const parsers = {
    parseHello,
    parseWelcome,
    parseOpenPublisher,
    parsePublisherOpened,
    parseSubscribe,
    parseSubscribed,
    parseSeek,
    parseError,
  }

  it('are refused with a code when a field is missing or of another type', () => {
    const values = [undefined, null, true, 0, -1, 1.5, Number.NaN, '', 'x', [], [[]], {}, '9'.repeat(30), 1e300]
    const bodies: Record<keyof typeof parsers, string> = {
      parseHello: 'HELLO',
      parseWelcome: 'WELCOME',
      parseOpenPublisher: 'OPEN_PUBLISHER',
      parsePublisherOpened: 'PUBLISHER_OPENED',
      parseSubscribe: 'SUBSCRIBE',
      parseSubscribed: 'SUBSCRIBED',
      parseSeek: 'SEEK',
      parseError: 'ERROR',
    }
    for (const [name, parse] of Object.entries(parsers)) {
      const body = named(bodies[name as keyof typeof parsers]).json as Record<string, unknown>
      for (const field of Object.keys(body)) {
        for (const value of values) {
          const outcome = code(() => parse({ ...body, [field]: value }))
          expect(['PROTOCOL', 'INVALID_NAME', 'nothing was thrown'], `${name}.${field} = ${String(value)}`).toContain(
            outcome,
          )
        }
      }
    }
  })

  it('does not take fields from prototypes', () => {
    const hostile = JSON.parse('{"__proto__": {"versions": [1, 1]}}') as Record<string, unknown>
    expect(code(() => parseHello(hostile))).toBe('PROTOCOL')
  })

  it('refuses a topic that would leave its folder', () => {
    const body = named('SUBSCRIBE').json as Record<string, unknown>
    for (const topic of ['../x', '', '.', 'a/b', 'a\0', 'x'.repeat(129)]) {
      expect(code(() => parseSubscribe({ ...body, topic }))).toBe('INVALID_NAME')
    }
  })

  it('refuses text that is no UTF-8', () => {
    const bytes = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
    expect(code(() => parseJson(bytes, 0, bytes.length))).toBe('PROTOCOL')
  })
})
