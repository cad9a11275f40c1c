import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Broker, serve } from '../../lib/broker/broker.js'
import type { EngineSocket } from '../../lib/broker/engine/engine.js'
import { NodeEngine } from '../../lib/broker/engine/node.js'
import { checkBrokerOptions } from '../../lib/broker/options.js'
import { Producers } from '../../lib/broker/producers.js'
import { ServedDirectory } from '../../lib/broker/served-directory.js'
import { open, text } from '../../lib/index.js'
import { openDirectory } from '../../lib/store/directory.js'
import type { TopicLog } from '../../lib/store/topic-log.js'
import { packetType } from '../../lib/wire/packet.js'
import { readAck } from '../../lib/wire/packet-bodies.js'
import { emptyPacket, jsonPacket } from '../../lib/wire/packet-writer.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { pause } from './harness.js'
import { batch, Stranger, settings } from './stranger.js'

let dir: string
beforeEach(() => {
  dir = makeFolder()
})
afterEach(() => removeFolder(dir))

const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const boss = 'boss-boss-boss-boss'
const tenant = 'tenant-tenant-tenant'

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 30_000
  while (!condition() && performance.now() < end) await pause(5)
  expect(condition()).toBe(true)
}

describe('too few descriptors', () => {
  it('are told once with what to do, those who are served go on, and newcomers are let in when some are free', async () => {
    const program = join(import.meta.dirname, 'broker-process.mjs')
    const child = spawn('prlimit', ['--nofile=220:220', process.execPath, program, dir, '0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let log = ''
    child.stderr.on('data', (data) => {
      log += String(data)
    })
    const [said] = (await once(child.stdout, 'data')) as [Buffer]
    const url = String(said).trim()
    const crowd: Socket[] = []
    try {
      await using hermes = await open(url)
      const publisher = await hermes.topic('t', small).publisher()
      let gone = 0
      const join = () => {
        const socket = connect({
          port: Number(new URL(url).port),
          host: '127.0.0.1',
          localAddress: `127.0.0.${2 + (crowd.length % 4)}`,
        })
        socket.on('error', () => {})
        socket.on('close', () => gone++)
        socket.resume()
        crowd.push(socket)
      }
      for (let n = 0; n < 400; n++) join()
      await until(() => gone >= 200 && log.includes('too-few-descriptors'))
      // Who is in is served, and new topics have the descriptors that are kept for them.
      await publisher.publishAsync('x')
      for (let n = 0; n < 5; n++) await (await hermes.topic(`new${n}`, small).publisher()).publishAsync('y')
      const lines = log.trim().split('\n')
      const told = lines.filter((line) => line.includes('too-few-descriptors'))
      // Not a line for each of them, and each says what to do.
      expect(told.length).toBeLessThan(50)
      expect(told[0]).toContain('ulimit -n')
      for (const socket of crowd) socket.destroy()
      const newcomer = await open(url, { connectTimeoutMs: 5000 }).catch(() => undefined)
      await newcomer?.close()
      let entered = newcomer !== undefined
      for (let tries = 0; !entered && tries < 100; tries++) {
        await pause(50)
        entered = await open(url, { connectTimeoutMs: 5000 }).then(
          async (one) => {
            await one.close()
            return true
          },
          () => false,
        )
      }
      expect(entered).toBe(true)
      await publisher.close()
    } finally {
      for (const socket of crowd) socket.destroy()
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }, 120_000)

  it('are not all taken by the subscribers of one identity', async () => {
    const lines: { readonly event: string }[] = []
    await using broker = await serve({
      dir,
      port: 0,
      access: [
        { name: 'boss', token: boss, administer: true },
        { name: 'tenant', token: tenant, subscribe: ['*'] },
      ],
      limits: { maxSubscribers: 40 },
      log: (line) => lines.push(line),
    })
    await using admin = await open(broker.url, { token: boss })
    await admin.topic('t', small).publisher()
    const strangers = [
      await Stranger.greeted(broker.port, { token: tenant }),
      await Stranger.greeted(broker.port, { token: tenant }),
    ]
    const wanted = { ...settings, create: false }
    const subscribe = (stranger: Stranger, channel: number) =>
      stranger.say(
        jsonPacket(packetType.subscribe, channel, { topic: 't', settings: wanted, from: 'latest', credit: 0 }),
      )
    const [first, second] = strangers as [Stranger, Stranger]
    for (let channel = 1; channel <= 8; channel++) {
      for (const one of strangers) subscribe(one, channel)
    }
    const heard = () => strangers.flatMap(({ packets }) => packets.map(({ type }) => type))
    await until(() => heard().length === 16)
    expect(heard().filter((type) => type === packetType.subscribed)).toHaveLength(10)
    const errors = strangers.flatMap(({ packets }) => packets.filter(({ type }) => type === packetType.error))
    for (const { body } of errors)
      expect(JSON.parse(String(body))).toMatchObject({ code: 'LIMIT', details: { limit: 'maxSubscribers' } })
    expect(lines.some(({ event }) => event === 'limited')).toBe(true)
    // Others have their part, and one that is closed makes room for another one.
    await (await admin.topic('t', small).subscriber()).close()
    first.say(emptyPacket(packetType.close, 1))
    await first.hear(packetType.closed)
    second.packets.length = 0
    subscribe(second, 20)
    await second.hear(packetType.subscribed)
    // A connection that is lost gives its places back.
    for (const { socket } of strangers) socket.destroy()
    const later = await Stranger.greeted(broker.port, { token: tenant })
    await until(() => broker.connections === 2)
    for (let channel = 1; channel <= 10; channel++) {
      subscribe(later, channel)
      await later.hear(packetType.subscribed)
    }
    later.socket.destroy()
  })
})

describe('what is written and not taken', () => {
  it('is bounded for all connections of one identity together; all of it comes when they read on', async () => {
    const connections = 10
    const messages = 4000
    {
      await using local = await open(dir)
      const publisher = await local.topic('t', { ...small, segmentBytes: 32 * 1024 * 1024 }).publisher()
      const value = 'x'.repeat(4000)
      for (let n = 0; n < messages; n++) if (!publisher.publish(value)) await publisher.ready()
    }
    const lines: { readonly event: string; readonly [fact: string]: unknown }[] = []
    const checked = checkBrokerOptions({
      dir,
      port: 0,
      access: [
        { name: 'boss', token: boss, administer: true },
        { name: 'tenant', token: tenant, subscribe: ['*'] },
      ],
      limits: { maxUnreadBytes: 1024 * 1024 },
      log: (line) => lines.push(line),
    })
    const sockets: EngineSocket[] = []
    const served = await ServedDirectory.hold(await openDirectory(dir, true, undefined))
    await using broker = new Broker(checked, served, (host, tls) => {
      const serveOne: typeof host.serve = (socket, guest) => {
        sockets.push(socket)
        return host.serve(socket, guest)
      }
      return new NodeEngine({ ...host, serve: serveOne }, tls)
    })
    await broker.listen()
    const strangers = await Promise.all(
      Array.from({ length: connections }, () => Stranger.greeted(broker.port, { token: tenant })),
    )
    const wanted = { codec: settings.codec, create: false }
    for (const one of strangers) {
      one.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings: wanted, from: 'earliest', credit: 2 ** 30 }))
      await one.hear(packetType.subscribed)
      one.socket.pause()
    }
    const waiting = () => sockets.reduce((sum, socket) => sum + socket.waitingBytes, 0)
    // The kernel keeps some megabytes for each of them.
    await until(() => lines.some(({ event }) => event === 'too-much-unread'))
    let before = -1
    for (let same = 0; same < 20; same = waiting() === before ? same + 1 : 0) {
      before = waiting()
      await pause(10)
    }
    expect(before).toBeGreaterThan(256 * 1024)
    // Each may go on until 64 KiB wait, and then has one run more.
    expect(before).toBeLessThan(256 * 1024 + connections * (64 + 320) * 1024)
    expect(lines.find(({ event }) => event === 'too-much-unread')).toMatchObject({ identity: 'tenant' })
    // Others are served as ever.
    await using admin = await open(broker.url, { token: boss })
    await (await admin.topic('mine', small).publisher()).publishAsync('x')
    for (const one of strangers) one.socket.resume()
    const count = ({ packets }: Stranger) =>
      packets.reduce((sum, { type, body }) => sum + (type === packetType.deliver ? body.readUInt32LE(4) : 0), 0)
    await until(() => strangers.every((one) => count(one) === messages))
    await until(() => waiting() === 0)
    for (const { socket } of strangers) socket.destroy()
  }, 120_000)
})

describe('what is remembered of publishers that have gone', () => {
  it('does not fill the topic with those of one identity, also after a restart', async () => {
    const lines: { readonly event: string; readonly [fact: string]: unknown }[] = []
    const options = {
      dir,
      port: 0,
      access: [
        { name: 'boss', token: boss, administer: true },
        { name: 'tenant', token: tenant, publish: ['*'] },
      ],
      limits: { maxProducers: 16 },
      log: (line: { readonly event: string }) => lines.push(line),
    }
    const id = (n: number) => n.toString(16).padStart(16, '0')
    const wanted = { codec: settings.codec, create: false }
    const openOne = (one: Stranger, channel: number, n: number) =>
      one.say(
        jsonPacket(packetType.openPublisher, channel, {
          topic: 't',
          settings: wanted,
          durability: 'written',
          producer: id(n),
          acked: '0',
        }),
      )
    {
      await using broker = await serve(options)
      await using admin = await open(broker.url, { token: boss })
      await admin.topic('t', small).publisher()
      for (let n = 1; n <= 4; n++) {
        // Each is left behind, as by a process that was killed.
        const one = await Stranger.greeted(broker.port, { token: tenant })
        openOne(one, 1, n)
        await one.hear(packetType.publisherOpened)
        one.socket.destroy()
      }
    }
    await using broker = await serve(options)
    const one = await Stranger.greeted(broker.port, { token: tenant })
    openOne(one, 1, 5)
    const { body } = await one.hear(packetType.error)
    expect(JSON.parse(String(body))).toMatchObject({ code: 'LIMIT', details: { limit: 'maxProducers' } })
    expect(lines.some(({ event, identity }) => event === 'limited' && identity === 'tenant')).toBe(true)
    // That is no failure of the topic's.
    expect(lines.filter(({ event }) => event === 'topic-failed')).toEqual([])
    // Who comes back has its place, and one that is closed in order makes room for another one.
    openOne(one, 2, 4)
    await one.hear(packetType.publisherOpened)
    one.say(emptyPacket(packetType.close, 2))
    await one.hear(packetType.closed)
    openOne(one, 3, 6)
    await one.hear(packetType.publisherOpened)
    // Others have theirs.
    await using admin = await open(broker.url, { token: boss })
    for (let n = 0; n < 4; n++) await (await admin.topic('t', small).publisher()).publishAsync('x')
    one.socket.destroy()
  })

  it('is bounded, however much each of them has left unacknowledged', async () => {
    const log = {
      info: () => ({ firstSequence: 1, nextSequence: 1 }),
      traceProducers: async () => [],
    } as unknown as TopicLog
    mkdirSync(dir, { recursive: true })
    const producers = await Producers.load(dir, log, {
      most: 65_535,
      memoryMs: 86_400_000,
      startedMs: performance.now(),
    })
    const all = Array.from({ length: 100 }, (_, n) => {
      const producer = producers.enter(n.toString(16).padStart(16, '0'), 1)
      for (let run = 1; run <= 1500; run++)
        producer.add({ first: BigInt(run * 10), count: 1, sequence: n * 1500 + run })
      producers.leave(producer)
      return producer
    })
    expect(all.reduce((sum, { runs }) => sum + runs.length, 0)).toBeLessThanOrEqual(65_536)
    // Where the messages of those are who have left last is known, and of all of them that they are stored.
    expect(all.at(-1)?.runs).toHaveLength(1500)
    expect(all[0]?.find(10n, 1)).toEqual({ first: 10n, count: 1, sequence: 0 })
    expect(all[0]?.stored).toBe(15_000n)
    // Coming back and leaving again counts once.
    for (let n = 0; n < 1000; n++) {
      const last = all.at(-1)
      if (last !== undefined) producers.leave(producers.enter(last.id, 1))
    }
    expect(all.at(-2)?.runs).toHaveLength(1500)
    // All of them are in the file, though it is written in parts.
    await producers.save()
    const again = await Producers.load(dir, log, { most: 65_535, memoryMs: 86_400_000, startedMs: performance.now() })
    expect(again.size).toBe(100)
  })
})

describe('a clock that is set', () => {
  it.each([30 * 86_400_000, -86_400_000])(
    'by %i ms makes no publisher older that has lost its connection',
    async (byMs) => {
      mkdirSync(dir, { recursive: true })
      const log = {
        info: () => ({ firstSequence: 1, nextSequence: 1 }),
        traceProducers: async () => [],
      } as unknown as TopicLog
      const startedMs = performance.now() - 2 * 3_600_000
      const producers = await Producers.load(dir, log, { most: 65_535, memoryMs: 86_400_000, startedMs })
      producers.leave(producers.enter('0'.repeat(16), 1))
      const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + byMs)
      try {
        producers.enter('1'.repeat(16), 1)
        expect(producers.size).toBe(2)
        await producers.save()
      } finally {
        clock.mockRestore()
      }
      // Also when the next broker reads when that was, by a clock that is right again.
      const again = await Producers.load(dir, log, { most: 65_535, memoryMs: 86_400_000, startedMs: performance.now() })
      again.enter('2'.repeat(16), 1)
      expect(again.size).toBe(3)
    },
  )
})

describe('what waits for the disk', () => {
  it('is synced and acknowledged together, not batch by batch', async () => {
    await using broker = await serve({ dir, port: 0 })
    const stranger = await Stranger.greeted(broker.port)
    const opening = { topic: 't', settings, durability: 'synced', producer: '00000000000000aa', acked: '0' }
    stranger.say(jsonPacket(packetType.openPublisher, 1, opening))
    await stranger.hear(packetType.publisherOpened)
    const now = BigInt(Date.now()) * 1_000_000n
    const count = 20_000
    const acked: bigint[] = []
    let packets = 0
    const take = () => {
      for (const { type, body } of stranger.packets.splice(0)) {
        expect(type).toBe(packetType.ack)
        packets++
        for (const run of readAck(body, 0, body.length)) acked.push(run.first)
      }
    }
    stranger.say(...Array.from({ length: count }, (_, n) => batch(1, now + BigInt(n) * 10n, ['x'])))
    await until(() => {
      take()
      return acked.length === count
    })
    // In order, all of them, with far fewer packets than batches. (More than may wait at a time were sent.)
    expect(acked.every((first, n) => first === now + BigInt(n) * 10n)).toBe(true)
    expect(packets).toBeLessThan(count / 4)
    stranger.socket.destroy()
  })
})

describe.skipIf(!hasOpenssl())('handshakes that do not go on', () => {
  it('do not hold up the end of the broker', async () => {
    const { key, cert } = certificate(dir, 'broker')
    const broker = await serve({
      dir: join(dir, 'data'),
      port: 0,
      tls: { key, cert },
      limits: { handshakeTimeoutMs: 60_000 },
    })
    let gone = 0
    for (let n = 0; n < 50; n++) {
      const socket = connect({ port: broker.port, host: '127.0.0.1' })
      socket.on('error', () => {})
      socket.on('close', () => gone++)
      socket.resume()
      await once(socket, 'connect')
      // The beginning of a ClientHello, or nothing.
      if (n % 2 === 0) socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]))
    }
    const begin = performance.now()
    await broker.drain(30_000)
    expect(performance.now() - begin).toBeLessThan(5000)
    await until(() => gone === 50)
  })
})

describe('a topic that somebody has to himself', () => {
  it('says who that is, to whom that is to be known', async () => {
    const guest = 'guest-guest-guest-guest'
    await using broker = await serve({
      dir,
      port: 0,
      access: [
        { name: 'boss', token: boss, administer: true },
        { name: 'tenant', token: tenant },
        { name: 'guest', token: guest },
      ],
    })
    await using admin = await open(broker.url, { token: boss })
    await (await admin.topic('t', small).publisher()).close()
    await using other = await open(broker.url, { token: tenant })
    const held = await other.topic('t', { codec: text }).publisher({ exclusive: true })
    await using stranger = await open(broker.url, { token: guest })
    const told = async (hermes: typeof admin, exclusive = false) =>
      failure('EXCLUSIVE_HELD', () => hermes.topic('t', { codec: text }).publisher({ exclusive }))
    for (const hermes of [admin, other]) {
      const error = await told(hermes)
      expect(error.message).toContain("Topic 't' has an exclusive publisher through this broker: 'tenant' at 127.0.0.1")
      expect(error.details).toEqual({ topic: 't', holders: ["'tenant' at 127.0.0.1"] })
    }
    const secret = await told(stranger)
    expect(`${secret.message} ${JSON.stringify(secret.details)}`).not.toMatch(/tenant|127\.0\.0\.1/)
    await held.close()
    // The other way round: who wants it to himself is told of those who are there.
    await using one = await other.topic('t', { codec: text }).publisher()
    expect((await told(admin, true)).message).toContain("a publisher through this broker: 'tenant' at 127.0.0.1")
    await one.close()
    await using local = await open(dir)
    await using own = await local.topic('t', { codec: text }).publisher({ exclusive: true })
    expect((await told(admin)).details).toMatchObject({ topic: 't', pids: [process.pid] })
    await own.close()
  })
})
