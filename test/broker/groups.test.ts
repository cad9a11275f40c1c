import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { type Group, type Hermes, type Job, open, text } from '../../lib/index.js'
import {
  type Demand,
  demandPacket,
  groupsFeature,
  mostSettled,
  readMessagesHead,
  readSettled,
  type SettleEntry,
  settlePacket,
} from '../../lib/wire/group-packets.js'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType } from '../../lib/wire/packet.js'
import { emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder, root } from '../helpers/folder.js'
import { FalseBroker } from './false-broker.js'
import { FaultyNetwork, pause, seeded } from './harness.js'
import { Stranger, settings } from './stranger.js'

/* Members of groups behind a broker: what happens to their work when connections, clients and leases end. */

let dir: string
let broker: Broker
let local: Hermes
const lines: { event: string; [fact: string]: unknown }[] = []
const topicOptions = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const reconnect = { minMs: 5, maxMs: 40 }

async function start(options: Partial<BrokerOptions> = {}): Promise<void> {
  broker = await serve({ dir, port: 0, log: (line) => lines.push(line), ...options })
}

beforeEach(async () => {
  dir = join(makeFolder(), 'data')
  lines.length = 0
  local = await open(dir)
})

afterEach(async () => {
  await local.close().catch(() => undefined)
  await broker?.close()
  removeFolder(join(dir, '..'))
})

async function publish(...values: string[]): Promise<void> {
  const publisher = await local.topic('t', topicOptions).publisher()
  for (const value of values) publisher.publish(value)
  await publisher.close()
}

async function take(group: Group<string, unknown>, many: number): Promise<Job<string>[]> {
  const jobs: Job<string>[] = []
  for await (const job of group) {
    jobs.push(job)
    if (jobs.length === many) break
  }
  return jobs
}

const token = (digit: string) => digit.repeat(32)
const joining = (fields: object = {}) => ({
  topic: 't',
  settings,
  group: 'g',
  kind: 'shared',
  from: 'earliest',
  rules: {},
  member: 'stranger',
  token: token('a'),
  taken: 0,
  limit: 10,
  settled: 0,
  ...fields,
})

async function joined(stranger: Stranger, channel: number, fields: object = {}): Promise<Record<string, unknown>> {
  stranger.say(jsonPacket(packetType.join, channel, joining(fields)))
  const { body } = await stranger.hear(packetType.joined)
  return parseJson(body, 0, body.length) as Record<string, unknown>
}

const greeted = () => Stranger.greeted(broker.port, { features: [groupsFeature] })
const entry = (first: number, fields: Partial<SettleEntry> = {}): SettleEntry => ({
  first,
  count: 1,
  deliveries: 1,
  number: 1,
  outcome: 'done',
  delayMs: 0,
  ...fields,
})

async function messagesOf(stranger: Stranger) {
  const { body } = await stranger.hear(packetType.messages)
  return readMessagesHead(body, 0)
}

describe('members over connections that are lost', () => {
  it('keep their work if they are back within their grace', async () => {
    // (long enough for a machine that has much else to do)
    await start({ limits: { memberReturnMs: 5000 } })
    await publish('a', 'b', 'c')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    const hermes = await open(network.url, { reconnect })
    const group = await hermes.topic('t', topicOptions).group('g')
    const jobs = await take(group, 2)
    network.cut()
    // Settled while there is no connection: it goes out over the next one.
    await jobs[0]?.ack()
    await jobs[1]?.ack()
    expect((await group.describe()).totals).toMatchObject({ settled: 2, redelivered: 0, late: 0 })
    const [last] = await take(group, 1)
    expect([last?.value, last?.deliveries]).toEqual(['c', 1])
    await last?.ack()
    await hermes.close()
    await network.close()
  })

  it.each([
    ['of any kind', { memberGraceMs: 100, memberReturnMs: 600_000 }],
    ['that their system has ended', { memberGraceMs: 600_000, memberReturnMs: 100 }],
  ])('%s lose it to the others after that, and are told', async (_, limits) => {
    await start({ limits })
    await publish('a')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    const hermes = await open(network.url, { reconnect })
    const group = await hermes.topic('t', topicOptions).group('g')
    const [job] = await take(group, 1)
    network.refuses = true
    network.cut()
    const other = await local.topic('t', topicOptions).group('g')
    const [again] = await take(other, 1)
    expect([again?.value, again?.deliveries]).toEqual(['a', 2])
    await again?.ack()
    expect(lines.map(({ event }) => event)).toContain('member-gone')
    network.refuses = false
    await failure('LEASE_LOST', () => (job as Job<string>).ack())
    // The member goes on.
    await publish('b')
    await other.close()
    const [next] = await take(group, 1)
    expect(next?.value).toBe('b')
    await next?.ack()
    await hermes.close()
    await network.close()
  })

  it('keep it for longer if nothing is heard of them than if their system has ended the connection', async () => {
    await start({ limits: { memberGraceMs: 600_000, memberReturnMs: 1, heartbeatMs: 100 } })
    await publish('a')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    const hermes = await open(network.url, { reconnect, connectTimeoutMs: 500 })
    const group = await hermes.topic('t', topicOptions).group('g')
    const [job] = (await take(group, 1)) as [Job<string>]
    network.fault = 'half-open'
    await expect.poll(() => lines.map(({ event }) => event), { timeout: 10_000 }).toContain('silent')
    await pause(200)
    network.fault = 'none'
    await job.ack()
    expect((await describeLocally()).totals).toMatchObject({ settled: 1, redelivered: 0, late: 0 })
    expect(lines.map(({ event }) => event)).not.toContain('member-gone')
    await hermes.close()
    await network.close()
  })

  const inTypeScript = (place: string) => `
    import { open, text } from ${JSON.stringify(join(root, 'dist/index.js'))}
    const hermes = await open(${JSON.stringify(place)})
    const topic = hermes.topic('t', { codec: text, segmentBytes: 1048576, maxPayloadBytes: 4096 })
    for await (const _ of await topic.group('g')) console.log('got')`
  const inPython = (place: string) => `
import sys
sys.path.insert(0, ${JSON.stringify(join(root, 'clients/python'))})
from hermes_mq import connect
topic = connect(${JSON.stringify(place)}).topic("t", "text", segment_bytes=1048576, max_payload_bytes=4096)
for _ in topic.group("g"):
    print("got", flush=True)`
  it.each([
    ['TypeScript', process.execPath, 'member.mjs', inTypeScript],
    ['Python', 'python3', 'member.py', inPython],
  ])('are not waited for once their process was killed, in %s', async (_, command, name, program) => {
    await start({ limits: { memberGraceMs: 600_000 } })
    await publish('a')
    const file = join(dir, '..', name)
    writeFileSync(file, program(broker.url))
    const child = spawn(command, [file], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const other = await local.topic('t', topicOptions).group('g')
    const taking = take(other, 1)
    const at = performance.now()
    child.kill('SIGKILL')
    const [job] = await taking
    const ms = performance.now() - at
    console.log(`the work of a killed member in ${name} is with another one after ${ms.toFixed(0)} ms`)
    expect(job?.deliveries).toBe(2)
    // (250 ms on a machine that has nothing else to do; the grace of the silent is ten minutes here)
    expect(ms).toBeLessThan(10_000)
    await job?.ack()
  })

  it('are told that a settlement is uncertain if the broker did not answer and is another one by then', async () => {
    await start()
    await publish('a')
    const { port } = broker
    const network = await FaultyNetwork.start(port, seeded(1))
    const hermes = await open(network.url, { reconnect })
    const group = await hermes.topic('t', topicOptions).group('g')
    const [job] = (await take(group, 1)) as [Job<string>]
    network.fault = 'mute'
    const settling = failure('CONNECTION_FAILED', () => job.ack())
    // (it arrives there, and its answer does not come back)
    await expect.poll(async () => (await describeLocally()).floor, { timeout: 10_000 }).toBe(2)
    await broker.close()
    network.fault = 'none'
    await start({ port })
    await settling
    await hermes.close()
    await network.close()
  })

  it('do not come back if they are not to reconnect', async () => {
    await start()
    await publish('a')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    const hermes = await open(network.url, { reconnect: false })
    await take(await hermes.topic('t', topicOptions).group('g'), 1)
    network.cut()
    const [again] = await take(await local.topic('t', topicOptions).group('g'), 1)
    expect(again?.deliveries).toBe(2)
    await hermes.close().catch(() => undefined)
    await network.close()
  })
})

async function describeLocally() {
  const group = await local.topic('t', topicOptions).group('g')
  try {
    return await group.describe()
  } finally {
    await group.close()
  }
}

describe('a member that says nothing', () => {
  it('loses its work when its lease is over, and may join anew', async () => {
    await start()
    await publish('a')
    const stranger = await greeted()
    expect(await joined(stranger, 1, { rules: { leaseMs: 300 } })).toMatchObject({ resumed: false })
    expect(await messagesOf(stranger)).toMatchObject({ count: 1, deliveries: 1, ordinal: 1 })
    const other = await local.topic('t', topicOptions).group('g')
    const [job] = await take(other, 1)
    expect(job?.deliveries).toBe(2)
    const { body } = await stranger.hear(packetType.error)
    expect(parseJson(body, 0, body.length)).toMatchObject({ code: 'LEASE_LOST', retry: true })
    expect(lines.map(({ event }) => event)).toContain('member-silent')
    expect(await joined(stranger, 2)).toMatchObject({ resumed: false, settled: 0 })
    stranger.socket.destroy()
  })

  it('loses it also if the broker itself is always late', async () => {
    await start()
    await publish('a')
    const stranger = await greeted()
    await joined(stranger, 1, { rules: { leaseMs: 300 } })
    await messagesOf(stranger)
    const other = await local.topic('t', topicOptions).group('g')
    let isDone = false
    const busy = () => {
      for (const until = performance.now() + 200; performance.now() < until; );
      if (!isDone) setTimeout(busy, 1)
    }
    busy()
    const [job] = await take(other, 1).finally(() => {
      isDone = true
    })
    expect(job?.deliveries).toBe(2)
    await job?.ack()
    stranger.socket.destroy()
  })

  it('keeps it as long as it is heard', async () => {
    await start()
    await publish('a')
    const stranger = await greeted()
    // (so long that a machine that has much else to do is heard in time)
    const leaseMs = 3000
    await joined(stranger, 1, { rules: { leaseMs } })
    const head = await messagesOf(stranger)
    for (const until = performance.now() + 1.2 * leaseMs; performance.now() < until; ) {
      await pause(50)
      stranger.say(demandPacket(1, { taken: 1, limit: 1, epoch: 0 }))
    }
    stranger.say(settlePacket(1, 1, 0, [entry(1, { number: head.number })]))
    const { body } = await stranger.hear(packetType.settled)
    expect(readSettled(body, 0, body.length)).toEqual({ number: 1, late: [] })
    stranger.socket.destroy()
  })
})

describe('a membership', () => {
  it('is taken up again by its token, and does nothing twice', async () => {
    await start()
    await publish('a', 'b', 'c')
    const first = await greeted()
    await joined(first, 1, { limit: 3 })
    const head = await messagesOf(first)
    expect(head).toMatchObject({ count: 3, ordinal: 1, epoch: 0 })
    first.say(demandPacket(1, { taken: 2, limit: 3, epoch: 0 }))
    first.say(settlePacket(1, 1, 0, [entry(1, { number: head.number }), entry(2, { deliveries: 7 })]))
    const { body } = await first.hear(packetType.settled)
    expect(readSettled(body, 0, body.length)).toEqual({ number: 1, late: [[1, 2]] })
    // Without leaving: another connection comes with the token, and did not hear the answer.
    const second = await greeted()
    const again = await joined(second, 1, { taken: 2, limit: 5 })
    expect(again).toMatchObject({ resumed: true, settled: 1, lost: [[1, 2]] })
    expect(await first.error()).toBe('FENCED')
    second.say(settlePacket(1, 1, 0, [entry(1, { number: head.number })]))
    second.say(settlePacket(1, 2, 1, [entry(2, { number: head.number })]))
    const settled = await second.hear(packetType.settled)
    expect(readSettled(settled.body, 0, settled.body.length)).toEqual({ number: 2, late: [] })
    // What it had not begun comes again, as if it had not been delivered.
    expect(await messagesOf(second)).toMatchObject({ count: 1, deliveries: 1, ordinal: 3 })
    second.say(emptyPacket(packetType.close, 1))
    await second.hear(packetType.closed)
    const report = await describeLocally()
    expect(report.totals).toMatchObject({ settled: 2, late: 1 })
    expect([report.floor, report.returned]).toEqual([3, 1])
    for (const one of [first, second]) one.socket.destroy()
  })

  it('is told of each message that it settled too late, as many as there may be, and has to say that it has heard of them', async () => {
    await start()
    await publish('a')
    const stranger = await greeted()
    await joined(stranger, 1)
    const eight = Array.from({ length: 2048 }, (_, n) => entry(1 + 8 * n, { count: 8, number: 7 }))
    const ofOne = Array.from({ length: mostSettled }, (_, n) => n + 1)
    const answer = async (number: number, answered: number) => {
      stranger.say(settlePacket(1, number, answered, eight))
      const { body } = await stranger.hear(packetType.settled)
      const settled = readSettled(body, 0, body.length)
      expect(settled.number).toBe(number)
      expect(new Set(settled.late.map(([settle]) => settle))).toEqual(new Set([number]))
      expect(settled.late.map(([, sequence]) => sequence)).toEqual(ofOne)
    }
    for (let number = 1; number <= 6; number++) await answer(number, number - 1)
    for (let number = 7; number <= 9; number++) await answer(number, 5)
    stranger.say(settlePacket(1, 10, 5, eight))
    expect(await stranger.error()).toBe('LIMIT')
    stranger.socket.destroy()
  })

  it('gives back what it had not begun when it is told to, and sends it again', async () => {
    await start()
    await publish('a', 'b', 'c')
    const stranger = await greeted()
    await joined(stranger, 1, { limit: 3 })
    await messagesOf(stranger)
    stranger.say(demandPacket(1, { taken: 1, limit: 1, epoch: 1 }))
    const other = await local.topic('t', topicOptions).group('g')
    const jobs = await take(other, 2)
    expect(jobs.map(({ value, deliveries }) => [value, deliveries]).sort()).toEqual([
      ['b', 1],
      ['c', 1],
    ])
    stranger.socket.destroy()
  })

  it('is not given to another client that knows its token', async () => {
    const access = ['ann', 'bob'].map((name) => ({ name, token: `${name}-${'x'.repeat(16)}` }))
    await start({ access })
    await publish('a')
    const [ann, bob] = await Promise.all(
      access.map(({ token }) => Stranger.greeted(broker.port, { token, features: [groupsFeature] })),
    )
    await joined(ann as Stranger, 1)
    bob?.say(jsonPacket(packetType.join, 1, joining()))
    expect(await bob?.error()).toBe('UNAUTHORIZED')
    for (const one of [ann, bob]) one?.socket.destroy()
  })
})

describe('what is not as the protocol has it', () => {
  const wrong: Record<string, (number: number) => Buffer> = {
    'more taken than was sent': () => demand({ taken: 2, limit: 3, epoch: 0 }),
    'a limit beyond all measure': () => raw(demandPacket(1, { taken: 0, limit: 2 ** 40, epoch: 0 })),
    'a SETTLE out of order': (number) => settlePacket(1, 2, 0, [entry(1, { number })]),
    'keys that nobody asked for': () => packet(packetType.keys, 4),
    'a commit in a group': () => u64Packet(packetType.commit, 1, 1n),
    'a seek of a member': () => jsonPacket(packetType.seek, 1, { epoch: 1, from: 1 }),
    'an ASK without an id': () => jsonPacket(packetType.ask, 1, { op: 'describe' }),
  }
  const demand = (one: Demand) => demandPacket(1, one)
  const raw = (bytes: Buffer) => bytes
  const packet = (type: number, length: number) => {
    const bytes = jsonPacket(type, 1, '')
    return length === 4 ? bytes4(type) : bytes
  }
  const bytes4 = (type: number) => {
    // u64Packet has eight bytes: KEYS of two.
    return u64Packet(type, 1, 7n)
  }
  for (const [name, make] of Object.entries(wrong)) {
    it(`ends the connection: ${name}`, async () => {
      await start()
      await publish('a')
      const stranger = await greeted()
      await joined(stranger, 1, { limit: 1 })
      const { number } = await messagesOf(stranger)
      stranger.say(make(number))
      expect(await stranger.error()).toBe('PROTOCOL')
      await stranger.gone()
    })
  }

  it('ends the connection of who joins without the feature', async () => {
    await start()
    await publish('a')
    const stranger = await Stranger.greeted(broker.port)
    expect(stranger.welcome['features']).toEqual([])
    stranger.say(jsonPacket(packetType.join, 1, joining()))
    expect(await stranger.error()).toBe('PROTOCOL')
  })

  it('is told clearly by a client whose broker has no groups', async () => {
    await start()
    const old = await FalseBroker.start()
    const hermes = await open(old.url)
    const topic = hermes.topic('t', topicOptions)
    const error = await failure('UNSUPPORTED', () => topic.group('g'))
    expect(error.message).toContain('has no groups')
    await failure('UNSUPPORTED', () => topic.subscriber({ name: 'n' }))
    await hermes.close()
    old.close()
  })
})

describe('rights and limits', () => {
  const word = (name: string) => `${name}-${'x'.repeat(16)}`

  it('lets in whom the entry lets in', async () => {
    await start({
      access: [
        { name: 'all', token: word('all') },
        { name: 'reader', token: word('reader'), subscribe: ['*'] },
        { name: 'worker', token: word('worker'), consume: ['t/g*', 'u'] },
        { name: 'mailer', token: word('mailer'), consume: ['t'], publish: ['failed'] },
      ],
    })
    await publish('a')
    const joins = async (name: string, group: string, options: object = {}) => {
      await using hermes = await open(broker.url, { token: word(name) })
      await hermes.topic('t', { codec: text }).group(group, options)
    }
    await joins('all', 'g1')
    await joins('worker', 'g1')
    await joins('mailer', 'other')
    await failure('UNAUTHORIZED', () => joins('reader', 'g1'))
    await failure('UNAUTHORIZED', () => joins('worker', 'other'))
    // What is given up may not go where the client may not publish.
    await joins('mailer', 'm1', { deadLetter: 'failed' })
    await failure('UNAUTHORIZED', () => joins('mailer', 'm2', { deadLetter: 'secrets' }))
    await using hermes = await open(broker.url, { token: word('reader') })
    await failure('UNAUTHORIZED', () => hermes.topic('t', { codec: text }).subscriber({ name: 'g1' }))
  })

  it('refuses more members and groups than it may have, and says so in its log', async () => {
    await start({ limits: { maxMembers: 3, maxGroups: 2 } })
    await publish('a')
    await using hermes = await open(broker.url)
    const topic = hermes.topic('t', { codec: text })
    await topic.group('g1')
    const second = await topic.group('g2')
    const full = await failure('LIMIT', () => topic.group('g3'))
    expect(full.details).toMatchObject({ limit: 'maxGroups', most: 2 })
    await topic.group('g1')
    const many = await failure('LIMIT', () => topic.group('g1'))
    expect(many.details).toMatchObject({ limit: 'maxMembers', most: 3 })
    await second.close()
    await topic.group('g1')
    expect(lines.map(({ event }) => event)).toEqual(expect.arrayContaining(['too-many-groups', 'too-many-members']))
  })
})

describe('local and remote members', () => {
  it('share one group', async () => {
    await start()
    const values = Array.from({ length: 3000 }, (_, n) => String(n))
    await publish(...values)
    await using hermes = await open(broker.url)
    const members = [
      await local.topic('t', topicOptions).group('g', { maxInFlight: 40 }),
      await hermes.topic('t', topicOptions).group('g', { maxInFlight: 40 }),
      await hermes.topic('t', topicOptions).group('g', { maxInFlight: 40 }),
    ]
    const seen: string[][] = [[], [], []]
    await Promise.all(
      members.map(async (member, index) => {
        for await (const jobs of member.batches(20)) {
          await pause(1)
          seen[index]?.push(...jobs.map(({ value }) => value))
          await member.ack(jobs)
          if (seen.flat().length >= values.length) for (const one of members) void one.close()
        }
      }),
    )
    expect(seen.flat().sort((a, b) => Number(a) - Number(b))).toEqual(values)
    for (const one of seen) expect(one.length).toBeGreaterThan(0)
    expect((await describeLocally()).totals).toMatchObject({ settled: 3000, redelivered: 0, late: 0 })
  })
})

describe('a durable subscription over connections that are lost', () => {
  it('goes on, and commits what was committed meanwhile', async () => {
    await start({ limits: { memberReturnMs: 5000 } })
    await publish('a', 'b', 'c')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    await using hermes = await open(network.url, { reconnect })
    const subscriber = await hermes.topic('t', topicOptions).subscriber({ name: 'n', from: 'earliest' })
    for await (const { sequence } of subscriber) {
      network.cut()
      await subscriber.commit(sequence)
      if (sequence === 3) break
    }
    expect(subscriber.committed).toBe(4)
    await network.close()
  })

  it('is lost to who has taken it over', async () => {
    await start({ limits: { memberGraceMs: 50 } })
    await publish('a', 'b', 'c')
    const network = await FaultyNetwork.start(broker.port, seeded(1))
    const hermes = await open(network.url, { reconnect })
    const subscriber = await hermes.topic('t', topicOptions).subscriber({ name: 'n', from: 'earliest' })
    network.refuses = true
    network.cut()
    await expect.poll(() => local.topic('t', topicOptions).subscriber({ name: 'n' }), { timeout: 10_000 }).toBeTruthy()
    network.refuses = false
    await failure('LEASE_LOST', async () => {
      for await (const { sequence } of subscriber) await subscriber.commit(sequence)
    })
    await hermes.close()
    await network.close()
  })
})
