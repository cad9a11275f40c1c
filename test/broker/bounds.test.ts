import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { type Hermes, open, text } from '../../lib/index.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import { jsonPacket } from '../../lib/wire/packet-writer.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

let folder = ''
let broker: Broker
const reconnect = { minMs: 10, maxMs: 50 }

beforeEach(async () => {
  folder = makeFolder()
  broker = await serve({ dir: join(folder, 'data'), port: 0 })
})
afterEach(async () => {
  await broker.close()
  removeFolder(folder)
})

/** Runs `work` and expects it to take less than `mostMs`. */
async function within<T>(mostMs: number, work: () => Promise<T>): Promise<T> {
  const begun = performance.now()
  const result = await work()
  expect(performance.now() - begun).toBeLessThan(mostMs)
  return result
}

describe('close() while the broker is gone', () => {
  let hermes: Hermes

  beforeEach(async () => {
    hermes = await open(broker.url, { reconnect })
  })
  afterEach(() => hermes.close({ timeoutMs: 0 }).catch(() => {}))

  async function stranded(count: number) {
    const publisher = await hermes.topic('news', { codec: text }).publisher()
    await publisher.publishAsync('stored')
    await broker.close()
    for (let n = 0; n < count; n++) publisher.publish('lost')
    return publisher
  }

  it('of a publisher ends when its time is over, and says how many messages are unacknowledged', async () => {
    const publisher = await stranded(3)
    const error = await within(5000, () => failure('TIMED_OUT', () => publisher.close({ timeoutMs: 100 })))
    expect(error.details).toMatchObject({ topic: 'news', unacknowledged: 3 })
    await publisher.closed()
  })

  it('ends at once by a signal that has fired', async () => {
    const publisher = await stranded(2)
    const error = await within(5000, () => failure('ABORTED', () => publisher.close({ signal: AbortSignal.abort() })))
    expect(error.details).toMatchObject({ unacknowledged: 2 })
  })

  it('can be shortened by a later call', async () => {
    const publisher = await stranded(1)
    const first = failure('TIMED_OUT', () => publisher.close({ timeoutMs: 600_000 }))
    await failure('TIMED_OUT', () => publisher.close({ timeoutMs: 50 }))
    await first
  })

  it('of the place ends too, and counts what all publishers leave behind', async () => {
    const publishers = [await stranded(2)]
    const others = await failure('CONNECTION_FAILED', async () => {
      await using other = await open(broker.url)
      void other
    })
    expect(others.details).toMatchObject({ url: broker.url })
    const error = await within(5000, () => failure('TIMED_OUT', () => hermes.close({ timeoutMs: 100 })))
    expect(error.details).toMatchObject({ unacknowledged: 2 })
    await Promise.all(publishers.map((one) => one.closed()))
    await hermes.closed()
  })

  it('bounds every other wait of a publisher, too', async () => {
    const publisher = await stranded(1)
    const late = { timeoutMs: 30 }
    expect((await failure('TIMED_OUT', () => publisher.flush('written', late))).details).toMatchObject({
      unacknowledged: 1,
    })
    await failure('TIMED_OUT', () => publisher.publishAsync('more', late))
    await failure('ABORTED', () => publisher.flush('written', { signal: AbortSignal.timeout(30) }))
    expect(publisher.unacknowledged).toBe(2)
  })
})

describe('a broker that says nothing after its WELCOME', () => {
  let url = ''
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const reader = new PacketReader('client', 65_536, () => {
      const limits = { maxPacketBytes: 1 << 20, maxBatchBytes: 1 << 18, maxChannels: 100 }
      const welcome = { version: 1, features: [], server: 'mute', instance: 'a', heartbeatMs: 3_600_000, limits }
      if (sockets.has(socket)) socket.write(jsonPacket(packetType.welcome, 0, welcome))
      reader.stop()
    })
    let begun = false
    socket.on('data', (chunk) => {
      if (!begun) reader.push(chunk.subarray(preamble.length))
      begun = true
    })
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })

  beforeEach(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  it('does not hold up topics(), info(), publisher() and subscriber()', async () => {
    await using hermes = await open(url, { requestTimeoutMs: 100 })
    const topic = hermes.topic('news', { codec: text })
    const calls = [() => hermes.topics(), () => topic.info(), () => topic.publisher(), () => topic.subscriber()]
    for (const call of calls) {
      const error = await within(5000, () => failure('TIMED_OUT', call))
      expect(error.details).toMatchObject({ url, requestTimeoutMs: 100 })
    }
  })

  it('is not waited for once a signal fires, or the call has its own bound', async () => {
    await using hermes = await open(url)
    const topic = hermes.topic('news', { codec: text })
    const signal = AbortSignal.timeout(50)
    const calls = [
      () => hermes.topics({ signal }),
      () => hermes.info('news', { signal }),
      () => topic.publisher({ signal }),
      () => topic.subscriber({ signal }),
    ]
    await within(5000, () => Promise.all(calls.map((call) => failure('ABORTED', call))))
    await within(5000, () => failure('TIMED_OUT', () => hermes.topics({ timeoutMs: 20 })))
    await within(5000, () => failure('TIMED_OUT', () => topic.info({ timeoutMs: 20 })))
  })
})
