import { describe, expect, test } from 'vitest'
import type { HermesError } from '../../lib/index.js'
import { ClientSession } from '../../lib/wire/client-session.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import { emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { failure } from '../helpers/failure.js'

const welcome = {
  version: 1,
  features: [] as string[],
  server: 'a broker',
  instance: '1',
  heartbeatMs: 1000,
  limits: { maxPacketBytes: 65_536, maxBatchBytes: 65_536, maxChannels: 10 },
}

/** A session, and what came of it, as lines. */
function begun(compression = false) {
  const told: string[] = []
  const sent: Buffer[] = []
  const unwritten = { bytes: 0 }
  const session = new ClientSession(
    {
      send: (bytes) => void sent.push(Buffer.from(bytes)),
      unwrittenBytes: () => unwritten.bytes,
      welcomed: ({ server }) => void told.push(`welcome from ${server}`),
      draining: (graceMs) => void told.push(`draining for ${graceMs}`),
      refused: ({ code }) => void told.push(`refused: ${code}`),
      packet: (channel, type, bytes, start, end) =>
        void told.push(`packet ${type} of ${channel}: ${bytes.toString('latin1', start, end)}`),
      channelRefused: (channel, error: HermesError, retry) =>
        void told.push(`channel ${channel} refused: ${error.code}${retry ? ', again' : ''}`),
    },
    compression,
  )
  return { session, told, sent, unwritten }
}

/** The packets in what a client has sent, behind the preamble if there is one. */
function packetsOf(bytes: Buffer): { type: number; channel: number; body: Buffer }[] {
  const found: { type: number; channel: number; body: Buffer }[] = []
  const reader = new PacketReader('client', 65_536, (type, channel, body, start, end) => {
    found.push({ type, channel, body: Buffer.from(body.subarray(start, end)) })
  })
  reader.push(bytes.subarray(bytes.indexOf(preamble) === 0 ? preamble.length : 0))
  return found
}

describe('the client’s side of a connection, without one', () => {
  test('greets, is welcomed and hands out the packets of channels, however the bytes are cut', () => {
    const bytes = Buffer.concat([
      jsonPacket(packetType.welcome, 0, welcome),
      jsonPacket(packetType.reply, 3, { a: 1 }),
      emptyPacket(packetType.closed, 4),
      jsonPacket(packetType.error, 5, { code: 'NOT_FOUND', message: 'no such topic' }),
      jsonPacket(packetType.error, 6, { code: 'CLOSED', message: 'for a while', retry: true }),
      jsonPacket(packetType.drain, 0, { graceMs: 70 }),
      jsonPacket(packetType.error, 0, { code: 'UNAUTHORIZED', message: 'go away' }),
    ])
    for (const cut of [1, 7, 16, bytes.length]) {
      const { session, told, sent } = begun()
      session.greet('a client', 'a token')
      const [hello] = packetsOf(sent[0]!)
      expect(sent[0]!.subarray(0, preamble.length)).toEqual(preamble)
      expect(JSON.parse(hello!.body.toString())).toMatchObject({
        client: 'a client',
        token: 'a token',
        features: ['groups'],
      })
      for (let at = 0; at < bytes.length; at += cut) session.receive(bytes.subarray(at, at + cut), 0)
      expect(told).toEqual([
        'welcome from a broker',
        'packet 10 of 3: {"a":1}',
        'packet 8 of 4: ',
        'channel 5 refused: NOT_FOUND',
        'channel 6 refused: CLOSED, again',
        'draining for 70',
        'refused: UNAUTHORIZED',
      ])
      expect(session.welcome?.server).toBe('a broker')
    }
  })

  test('keeps the connection alive, answers a PING, and notices a broker that says nothing', async () => {
    const { session, sent } = begun()
    session.beat(1e9) // Before the broker has said how often, there is nothing to expect.
    session.receive(jsonPacket(packetType.welcome, 0, welcome), 10_000)
    session.send(emptyPacket(packetType.close, 1), 10_000)
    session.beat(10_999)
    expect(sent).toHaveLength(1)
    session.beat(11_000)
    expect(packetsOf(sent[1]!)).toMatchObject([{ type: packetType.ping }])
    session.beat(11_999)
    expect(sent).toHaveLength(2)
    session.receive(u64Packet(packetType.ping, 0, 7n), 12_000)
    expect(packetsOf(sent[2]!)).toMatchObject([{ type: packetType.pong, body: u64Packet(1, 0, 7n).subarray(16) }])
    session.beat(14_500)
    await failure('TIMED_OUT', () => session.beat(14_501))
  })

  test('answers PINGs that come together once, and none while much waits to be written', () => {
    const { session, sent, unwritten } = begun()
    const pings = [1n, 2n, 3n].map((value) => u64Packet(packetType.ping, 0, value))
    session.receive(Buffer.concat([jsonPacket(packetType.welcome, 0, welcome), ...pings]), 0)
    expect(sent.flatMap(packetsOf)).toMatchObject([{ type: packetType.pong, body: pings[2]!.subarray(16) }])
    unwritten.bytes = 16 * 1024 * 1024
    session.receive(pings[0]!, 0)
    expect(sent).toHaveLength(1)
    unwritten.bytes--
    session.receive(pings[1]!, 0)
    expect(sent).toHaveLength(2)
  })

  test('compresses only what was agreed on', async () => {
    const { session, sent } = begun(true)
    session.greet('a client', undefined)
    expect(JSON.parse(packetsOf(sent[0]!)[0]!.body.toString()).features).toEqual(['deflate', 'groups'])
    session.receive(jsonPacket(packetType.welcome, 0, { ...welcome, features: ['deflate'] }), 0)
    expect(session.deflater).toBeDefined()
    const other = begun(true)
    other.session.receive(jsonPacket(packetType.welcome, 0, welcome), 0)
    expect(other.session.deflater).toBeUndefined()
    const third = begun()
    const forced = jsonPacket(packetType.welcome, 0, { ...welcome, features: ['deflate'] })
    await failure('PROTOCOL', () => third.session.receive(forced, 0))
  })

  test('refuses what comes before the WELCOME, a second one, and what belongs to a channel; and is of no use afterwards', async () => {
    const first = jsonPacket(packetType.welcome, 0, welcome)
    for (const bytes of [
      jsonPacket(packetType.reply, 1, {}),
      u64Packet(packetType.ping, 0, 1n),
      Buffer.concat([first, first]),
      Buffer.concat([first, emptyPacket(packetType.closed, 0)]),
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    ]) {
      const { session, told } = begun()
      await failure('PROTOCOL', () => session.receive(bytes, 0))
      const before = told.length
      session.receive(jsonPacket(packetType.reply, 1, {}), 0)
      expect(told).toHaveLength(before)
    }
  })
})
