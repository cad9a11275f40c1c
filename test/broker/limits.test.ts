import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { HermesError, open, text } from '../../lib/index.js'
import { packetType } from '../../lib/wire/packet.js'
import { emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { pause } from './harness.js'
import { batch, Stranger, settings } from './stranger.js'

const boss = 'boss-boss-boss-boss'
const tenant = 'tenant-tenant-tenant'
const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }

let dir: string
let lines: { readonly event: string; readonly [fact: string]: unknown }[]
const brokers: Broker[] = []

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-limits-'))
  lines = []
})

afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
  await rm(dir, { recursive: true, force: true })
})

async function started(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await serve({ dir, port: 0, log: (line) => lines.push(line), ...options })
  brokers.push(broker)
  return broker
}

async function failure(work: Promise<unknown>): Promise<HermesError> {
  try {
    await work
  } catch (error) {
    if (error instanceof HermesError) return error
    throw error
  }
  throw new Error('no error')
}

async function until(condition: () => boolean, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!condition() && performance.now() < end) await pause(5)
  expect(condition()).toBe(true)
}

const access = (more: object = {}) => [
  { name: 'boss', token: boss, administer: true },
  { name: 'tenant', token: tenant, publish: ['t*'], subscribe: ['t*'], ...more },
]

describe('memory', () => {
  it('sets nothing aside for a batch that no channel takes', async () => {
    const broker = await started({ access: access() })
    await using admin = await open(broker.url, { token: boss })
    await admin.topic('t', small).publisher()
    const before = process.memoryUsage().arrayBuffers
    const parked: Stranger[] = []
    for (let n = 0; n < 20; n++) {
      const stranger = await Stranger.greeted(broker.port, { token: tenant })
      await stranger.publisher(1, n.toString(16).padStart(16, '0'))
      stranger.say(emptyPacket(packetType.close, 1))
      await stranger.hear(packetType.closed)
      // 16 MiB are announced on the closed channel, and all but the end is sent.
      const head = batch(1, 1n, ['x']).subarray(0, 16)
      head.writeUInt32LE(16 * 1024 * 1024 - 16, 0)
      stranger.say(head)
      for (let sent = 0; sent < 15; sent++) stranger.say(Buffer.alloc(1024 * 1024))
      parked.push(stranger)
    }
    await pause(500)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
    // The rest comes, and the connection goes on.
    const first = parked[0] as Stranger
    first.say(Buffer.alloc(1024 * 1024 - 16), u64Packet(packetType.ping, 0, 7n))
    await first.hear(packetType.pong)
    for (const stranger of parked) stranger.socket.destroy()
  })

  it('refuses a larger packet than the topic takes, before it has come', async () => {
    const broker = await started({ access: access() })
    await using admin = await open(broker.url, { token: boss })
    await admin.topic('t', small).publisher()
    const stranger = await Stranger.greeted(broker.port, { token: tenant })
    await stranger.publisher(1)
    const head = batch(1, 1n, ['x']).subarray(0, 16)
    head.writeUInt32LE(16 * 1024 * 1024 - 16, 0)
    stranger.say(head)
    expect(await stranger.error()).toBe('LIMIT')
    await stranger.gone()
  })

  it('does not wait for the rest of a packet for ever, however slowly it comes', async () => {
    const broker = await started({ limits: { packetTimeoutMs: 300, handshakeTimeoutMs: 300, heartbeatMs: 200 } })
    const stranger = await Stranger.greeted(broker.port)
    const packet = jsonPacket(packetType.request, 1, { op: 'topics', filler: 'x'.repeat(1000) })
    let at = 0
    const trickle = setInterval(() => stranger.socket.write(packet.subarray(at, ++at)), 20)
    expect(await stranger.error()).toBe('TIMED_OUT')
    clearInterval(trickle)
    await stranger.gone()
    expect(lines.some((line) => line.event === 'refused' && line['code'] === 'TIMED_OUT')).toBe(true)
  })
})

describe('connections', () => {
  it('limits those of one identity, and keeps some for administrators', async () => {
    const limits = { maxConnections: 16, maxConnectionsPerIdentity: 6, reservedConnections: 4 }
    const entries = ['a', 'b', 'c'].map((name) => ({ name, token: `${name}-token-of-an-identity`, subscribe: ['*'] }))
    const broker = await started({ access: [...entries, { name: 'boss', token: boss, administer: true }], limits })
    const tokenOf = (n: number) => entries[n]?.token as string
    for (let n = 0; n < 6; n++) await Stranger.greeted(broker.port, { token: tokenOf(0) })
    const beyond = await failure(open(broker.url, { token: tokenOf(0), connectTimeoutMs: 500 }))
    expect(`${beyond.message} ${(beyond.cause as Error | undefined)?.message}`).toContain('maxConnectionsPerIdentity')
    expect(lines.some((line) => line.event === 'refused' && line['identity'] === 'a')).toBe(true)
    for (let n = 0; n < 6; n++) await Stranger.greeted(broker.port, { token: tokenOf(1) })
    const ordinary = await failure(open(broker.url, { token: tokenOf(2), connectTimeoutMs: 500 }))
    expect(`${ordinary.message} ${(ordinary.cause as Error | undefined)?.message}`).toContain('administrators')
    await (await open(broker.url, { token: boss })).close()
  })

  it('lets newcomers in while a crowd says nothing', async () => {
    const limits = { maxConnections: 20, maxUnauthenticatedPerAddress: 8, handshakeTimeoutMs: 60_000 }
    const broker = await started({ limits: { ...limits, maxHandshakesPerSecond: 10_000 } })
    let gone = 0
    for (let n = 0; n < 40; n++) {
      const silent = connect({ port: broker.port, host: '127.0.0.1', localAddress: `127.0.0.${2 + (n % 2)}` })
      silent.on('error', () => {})
      silent.on('close', () => gone++)
      silent.resume()
    }
    await until(() => gone >= 24)
    await (await open(broker.url)).close()
    expect(lines.some((line) => line.event === 'too-many-unauthenticated')).toBe(true)
  })
})

describe('rights and room', () => {
  it('lets only administrators make topics and change retention', async () => {
    const broker = await started({ access: access() })
    await using admin = await open(broker.url, { token: boss })
    await admin.topic('t', small).publisher()
    await using other = await open(broker.url, { token: tenant })
    await other.topic('t', { codec: text, retention: { bytes: 1 } }).publisher()
    expect((await admin.info('t')).retention).toEqual({})
    // It changes nothing, and the operator sees who has tried.
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'denied', identity: 'tenant', doing: 'change the retention of', topic: 't' }),
    )
    const refused = await failure(other.topic('t2', small).publisher())
    expect(refused.code).toBe('NOT_FOUND')
    expect(refused.message).toMatch(/There is no topic 't2'.*may not make topics/)
  })

  it('limits what an identity stores, also after a restart', async () => {
    const options = { access: access({ maxBytes: 100_000 }) }
    const first = await started(options)
    const fill = async (broker: Broker) => {
      const other = await open(broker.url, { token: tenant })
      const publisher = await other.topic('t', { codec: text }).publisher()
      let stored = 0
      const error = await failure(
        (async () => {
          for (; stored < 200; stored++) await publisher.publishAsync('x'.repeat(1000))
        })(),
      )
      expect(error.code).toBe('LIMIT')
      expect(error.details).toMatchObject({ limit: 'maxBytes', identity: 'tenant' })
      // (it says once more what was not stored)
      await other.close().catch(() => {})
      return stored
    }
    {
      await using admin = await open(first.url, { token: boss })
      await admin.topic('t', small).publisher()
    }
    const stored = await fill(first)
    expect(stored).toBeGreaterThan(50)
    expect(stored).toBeLessThan(100)
    expect(lines.some((line) => line['code'] === 'LIMIT' && line['identity'] === 'tenant')).toBe(true)
    await first.close()
    const second = await started(options)
    expect(await fill(second)).toBeLessThan(3)
    // Others are not concerned.
    await using admin = await open(second.url, { token: boss })
    await (await admin.topic('t', { codec: text }).publisher()).publishAsync('y'.repeat(4000))
  })

  it('limits what a topic holds', async () => {
    const broker = await started({ limits: { maxTopicBytes: 50_000 } })
    const hermes = await open(broker.url)
    const publisher = await hermes.topic('t', small).publisher()
    const error = await failure(
      (async () => {
        for (let n = 0; n < 200; n++) await publisher.publishAsync('x'.repeat(1000))
      })(),
    )
    expect(error.code).toBe('LIMIT')
    expect(error.details).toMatchObject({ limit: 'maxTopicBytes', topic: 't' })
    await hermes.close().catch(() => {})
  })

  it('does not let a reader without credit hold what retention has removed', async () => {
    const broker = await started({ limits: { removedSegmentMs: 300, heartbeatMs: 200 } })
    await using hermes = await open(broker.url)
    const options = { codec: text, segmentBytes: 64 * 1024, maxPayloadBytes: 4096, retention: { bytes: 64 * 1024 } }
    const publisher = await hermes.topic('t', options).publisher()
    await publisher.publishAsync('first')
    const stranger = await Stranger.greeted(broker.port)
    const pong = setInterval(() => stranger.say(u64Packet(packetType.pong, 0, 0n)), 100)
    const wanted = { ...settings, segmentBytes: 64 * 1024 }
    stranger.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings: wanted, from: 'earliest', credit: 0 }))
    await stranger.hear(packetType.subscribed)
    for (let n = 0; n < 200; n++) await publisher.publishAsync('x'.repeat(4000))
    expect(await stranger.error()).toBe('BEHIND_RETENTION')
    clearInterval(pong)
    stranger.socket.destroy()
  })
})

describe('a directory', () => {
  it('has one broker, also when broker.lock was removed', async () => {
    const broker = await started()
    await rm(join(dir, 'broker.lock'))
    expect((await failure(serve({ dir, port: 0 }))).code).toBe('BUSY')
    await using hermes = await open(broker.url)
    await hermes.topics()
    expect(existsSync(join(dir, 'broker.lock'))).toBe(true)
    expect(lines.some((line) => line.event === 'lock-restored')).toBe(true)
  })

  it('is missed when it is gone, and another one in its place is not taken for it', async () => {
    const broker = await started()
    await using hermes = await open(broker.url)
    expect(await hermes.topics()).toEqual([])
    await rename(dir, `${dir}-away`)
    expect((await failure(hermes.topics())).code).toBe('IO_FAILED')
    await (await open(dir)).close()
    expect((await failure(hermes.topics())).code).toBe('IO_FAILED')
    await rm(dir, { recursive: true })
    await rename(`${dir}-away`, dir)
    expect(await hermes.topics()).toEqual([])
  })

  it('shows no path of the server to a client', async () => {
    const broker = await started()
    await using hermes = await open(broker.url)
    await hermes.topic('t', small).publisher()
    const codes: string[] = []
    const look = async (work: Promise<unknown>) => {
      const { code, message, details } = await failure(work)
      codes.push(code)
      expect(`${message} ${JSON.stringify(details)}`).not.toContain(dir)
    }
    await look(hermes.topic('missing', { codec: text, create: false }).publisher())
    await look(hermes.info('missing'))
    await writeFile(join(dir, 'topics', 't', 'topic.json'), 'damaged')
    await look(hermes.topic('t', small).publisher())
    await look(hermes.info('t'))
    expect(codes).toEqual(['NOT_FOUND', 'NOT_FOUND', 'CORRUPT', 'CORRUPT'])
    expect(await readdir(dir)).toContain('topics')
  })
})

describe('what cannot be served', () => {
  it('says so at once of a topic with larger messages than the wire carries', async () => {
    await using local = await open(dir)
    const large = { codec: text, segmentBytes: 128 * 1024 * 1024, maxPayloadBytes: 20 * 1024 * 1024 }
    await (await local.topic('large', large).publisher()).publishAsync('x')
    const broker = await started()
    await using hermes = await open(broker.url)
    for (const work of [
      () => hermes.topic('large', { codec: text }).subscriber({ from: 'earliest' }),
      () => hermes.topic('large', { codec: text }).publisher(),
      () => hermes.topic('larger', large).publisher(),
    ]) {
      const error = await failure(work())
      expect(error.code).toBe('LIMIT')
      expect(error.details).toMatchObject({ limit: 'maxPayloadBytes' })
    }
    expect(await readdir(join(dir, 'topics'))).toEqual(['large'])
  })

  it('blames the clock of a publisher that is a day ahead, and nobody else', async () => {
    const broker = await started()
    const stranger = await Stranger.greeted(broker.port)
    await stranger.publisher(1)
    stranger.say(jsonPacket(packetType.subscribe, 2, { topic: 't', settings, from: 'earliest', credit: 1_000_000 }))
    await stranger.hear(packetType.subscribed)
    stranger.say(batch(1, BigInt(Date.now() + 25 * 3_600_000) * 1_000_000n, ['from the future']))
    const { channel, body } = await stranger.hear(packetType.error)
    expect(channel).toBe(1)
    expect(String(body)).toContain('clock')
    expect(JSON.parse(String(body))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    stranger.say(u64Packet(packetType.ping, 0, 1n))
    await stranger.hear(packetType.pong)
    await stranger.publisher(3, '00000000000000ab')
    stranger.say(batch(3, BigInt(Date.now()) * 1_000_000n, ['now']))
    await stranger.hear(packetType.deliver)
  })
})
