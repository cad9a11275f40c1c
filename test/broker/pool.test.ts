import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { type Hermes, open, type Publisher, type Status, type TcpOptions, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { numbers, take } from '../helpers/receive.js'
import { FaultyNetwork, pause, seeded } from './harness.js'

const settings = { codec: text, segmentBytes: 1024 * 1024 }
const limits = { maxHandshakesPerSecond: 10_000, maxChannels: 3, maxConnections: 8 }
const reconnect = { minMs: 5, maxMs: 30 }

let folder: string
let broker: Broker
let network: FaultyNetwork
let statuses: Status[]
let hermes: Hermes | undefined

beforeEach(async () => {
  folder = makeFolder()
  broker = await serve({ dir: join(folder, 'data'), port: 0, limits })
  network = await FaultyNetwork.start(broker.port, seeded(1))
  statuses = []
})

afterEach(async () => {
  await hermes?.close()
  hermes = undefined
  await network.close()
  await broker.close()
  removeFolder(folder)
})

async function pool(options: TcpOptions = {}): Promise<Hermes> {
  const onStatus = (status: Status) => void statuses.push(status)
  hermes = await open(network.url, { connections: 3, reconnect, onStatus, ...options })
  return hermes
}

const happened = (type: Status['type']): number[] =>
  statuses.filter((one) => one.type === type).map((one) => one.connection)

async function until(what: () => boolean): Promise<void> {
  const end = performance.now() + 30_000
  while (!what() && performance.now() < end) await pause(5)
  expect(what()).toBe(true)
}

describe('several connections', () => {
  it('are made at once, and share publishers and subscribers evenly', async () => {
    const { topic } = await pool().then((one) => ({ topic: one.topic('t', settings) }))
    expect(broker.connections).toBe(3)
    expect(happened('connected').sort()).toEqual([1, 2, 3])
    // Three connections of three channels each.
    await Promise.all(numbers(0, 6).map(() => topic.publisher()))
    const subscribers = await Promise.all(numbers(0, 3).map(() => topic.subscriber()))
    await failure('LIMIT', () => topic.publisher())
    await subscribers[1]?.close()
    await topic.publisher()
  })

  it('go on by themselves while one of them is cut and can not be made again', async () => {
    const topic = (await pool()).topic('t', settings)
    const publishers: Publisher<string>[] = []
    for (const _ of [1, 2, 3]) publishers.push(await topic.publisher())
    for (const [n, publisher] of publishers.entries()) await publisher.publishAsync(`p${n}:0`)
    network.refuses = true
    network.cutOne(1)
    await until(() => happened('reconnecting').length > 0)
    let stored = 0
    const receipts = publishers.map((publisher, n) => publisher.publishAsync(`p${n}:1`).then(() => stored++))
    await until(() => stored === 2)
    await pause(50)
    expect(stored).toBe(2)
    const [lost, ...more] = new Set([...happened('disconnected'), ...happened('reconnecting')])
    expect(more).toEqual([])
    // Whoever comes now is given a connection that is there, and so are questions.
    const late = await topic.publisher()
    await late.publishAsync('late')
    expect((await topic.info()).nextSequence).toBe(7)
    network.refuses = false
    await Promise.all(receipts)
    expect(happened('connected').slice(3)).toEqual([lost])
    expect((await topic.info()).nextSequence).toBe(8)
  })

  for (const compression of ['none', 'deflate'] as const) {
    it(`keep each publisher's order, and every message once, while they are cut one after the other: ${compression}`, async () => {
      const topic = (await pool({ compression })).topic('t', settings)
      const publishers = await Promise.all(numbers(0, 4).map(() => topic.publisher()))
      const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
      const count = 3000
      const reading = take(subscriber, count * publishers.length)
      const random = seeded(Date.now() % 1000)
      let done = false
      const cutting = (async () => {
        while (!done) {
          await pause(20 + random() * 40)
          if (network.connections > 0) network.cutOne(Math.floor(random() * network.connections))
        }
      })()
      await Promise.all(
        publishers.map(async (publisher, index) => {
          for (let n = 0; n < count; n++) {
            if (!publisher.publish(`p${index}:${n}`)) await publisher.ready()
            // In step with the cuts, so that each of them falls among messages.
            while (n % 500 === 0 && network.cuts < n / 500) await pause(2)
          }
          await publisher.flush()
        }),
      )
      done = true
      await cutting
      const received = await reading
      expect(network.cuts).toBeGreaterThanOrEqual(5)
      expect(received.map((one) => one.sequence)).toEqual(numbers(1, count * publishers.length))
      for (const index of publishers.keys()) {
        const mine = received.map((one) => one.value).filter((value) => value.startsWith(`p${index}:`))
        expect(mine).toEqual(numbers(0, count).map((n) => `p${index}:${n}`))
      }
    }, 60_000)
  }

  it('fail together when not all of them can be made, and leave none behind', async () => {
    const error = await failure('CONNECTION_FAILED', () => open(broker.url, { connections: 9 }))
    expect(error.details).toMatchObject({ url: broker.url })
    await until(() => broker.connections === 0)
  })

  it('fail one by one where none is to be made again, until there is none', async () => {
    const topic = (await pool({ reconnect: false })).topic('t', settings)
    const publishers: Publisher<string>[] = []
    for (const _ of [1, 2, 3]) publishers.push(await topic.publisher())
    network.cutOne(0)
    await until(() => happened('disconnected').length === 1)
    const states = await Promise.allSettled(publishers.map((publisher) => publisher.publishAsync('x')))
    expect(states.map((state) => state.status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    await (await topic.publisher()).publishAsync('y')
    network.cut()
    await until(() => happened('disconnected').length === 3)
    await failure('CONNECTION_FAILED', () => topic.publisher())
    await failure('CONNECTION_FAILED', () => topic.info())
  })

  it('are not made of nonsense', async () => {
    for (const connections of [0, 65, 1.5, '3', null])
      await failure('INVALID_ARGUMENT', () => open(broker.url, { connections: connections as number }))
    const error = await failure('INVALID_ARGUMENT', () => open(broker.url, { compression: 'deflat' as 'deflate' }))
    expect(error.message).toContain("Did you mean 'deflate'?")
    await failure('INVALID_ARGUMENT', () => serve({ dir: folder, port: 0, compression: true as never }))
  })
})

describe('compression', () => {
  /** The bytes that go over the network for 3,000 messages to the broker and back. */
  async function traffic(client: 'none' | 'deflate', served: 'none' | 'deflate'): Promise<number> {
    const other = await serve({ dir: join(folder, `${client}-${served}`), port: 0, compression: served })
    const between = await FaultyNetwork.start(other.port, seeded(1))
    try {
      await using remote = await open(between.url, { compression: client })
      const topic = remote.topic('t', settings)
      const publisher = await topic.publisher()
      const subscriber = await topic.subscriber({ from: 'earliest' })
      const values = numbers(0, 3000).map((n) => `{"symbol":"AAPL","side":"buy","price":${585 + (n % 7)},"order":${n}}`)
      for (const value of values) if (!publisher.publish(value)) await publisher.ready()
      await publisher.flush()
      expect((await take(subscriber, values.length)).map((one) => one.value)).toEqual(values)
      await publisher.close()
      return between.bytes
    } finally {
      await between.close()
      await other.close()
    }
  }

  it('takes a part of the bytes, where both sides have it', async () => {
    const plain = await traffic('none', 'deflate')
    expect(plain).toBeGreaterThan(2 * 3000 * 80)
    expect(await traffic('deflate', 'deflate')).toBeLessThan(plain / 2)
    expect(await traffic('deflate', 'none')).toBeGreaterThan(plain * 0.9)
  })
})
