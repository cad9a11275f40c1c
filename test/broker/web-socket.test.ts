import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { deflateRawSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Broker, serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { type Hermes, open, struct, text, u32 } from '../../lib/index.js'
import { mostMessageBytes } from '../../lib/transport/web-socket.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { jsonPacket } from '../../lib/wire/packet-writer.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { pause } from './harness.js'
import { settings } from './stranger.js'

const token = 'correct horse battery staple'
const access = [{ name: 'all', token, administer: true }]

let folder: string
let lines: { readonly event: string; readonly [fact: string]: unknown }[]
let broker: Broker
const clients: Hermes[] = []
const sockets: { destroy(): void }[] = []

beforeEach(() => {
  folder = makeFolder()
  lines = []
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const client of clients.splice(0)) await client.close()
  await broker.close()
  removeFolder(folder)
})

async function started(options: Partial<BrokerOptions> = {}): Promise<void> {
  const log = (line: (typeof lines)[number]) => lines.push(line)
  broker = await serve({ dir: folder, port: 0, webSocket: { port: 0 }, access, log, ...options })
}

async function opened(url: string): Promise<Hermes> {
  const client = await open(url, { token })
  clients.push(client)
  return client
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 30_000
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await pause(10)
  }
}

const doorPort = (): number => Number(new URL(broker.webSocketUrl as string).port)
const events = (name: string) => lines.filter(({ event }) => event === name)

/** A WebSocket by hand: what is written goes out as it is. */
async function door(headers: Readonly<Record<string, string>> = {}, wanted = 101): Promise<Socket & { said: Buffer }> {
  const socket = Object.assign(connect({ port: doorPort(), host: '127.0.0.1' }), { said: Buffer.alloc(0) })
  socket.on('error', () => {})
  sockets.push(socket)
  const all = {
    Host: `127.0.0.1:${doorPort()}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...headers,
  }
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET / HTTP/1.1\r\n${head.join('')}\r\n`)
  let answer = ''
  while (!answer.includes('\r\n\r\n')) answer += String((await once(socket, 'data'))[0])
  expect(Number(answer.split(' ')[1])).toBe(wanted)
  socket.said = Buffer.from(answer, 'latin1')
  socket.on('data', (data: Buffer) => {
    socket.said = Buffer.concat([socket.said, data])
  })
  return socket
}

/** One frame, masked with zeros. @param first FIN, RSV and opcode */
function frame(first: number, payload: Uint8Array, says = payload.length): Buffer {
  const head = Buffer.alloc(14)
  head[0] = first
  head[1] = 0x80 | 127
  head.writeBigUInt64BE(BigInt(says), 2)
  return Buffer.concat([head, payload])
}

const binary = 0x82

/** The code of the close frame that it was ended with. */
const closeCode = ({ said }: { said: Buffer }): number => {
  const at = said.lastIndexOf(Buffer.from([0x88]))
  return at < 0 ? 0 : said.readUInt16BE(at + 2)
}

/** Others are served, by TCP and through the door. */
async function stillServes(): Promise<void> {
  for (const url of [broker.url, broker.webSocketUrl as string]) {
    const client = await open(url, { token })
    const publisher = await client.topic('good', { codec: text, segmentBytes: 1024 * 1024 }).publisher()
    await publisher.publishAsync('alive')
    await client.close()
  }
}

describe('what is no WebSocket of ours', () => {
  it('is ended: oversize messages, messages of text, frames that break the rules', async () => {
    for (const [bytes, code, message] of [
      [frame(binary, Buffer.alloc(0), mostMessageBytes + 1), 1009, /payload size/],
      [frame(binary, Buffer.alloc(0), 2 ** 53), 1009, /frame|payload/],
      [frame(0x81, Buffer.from('hello')), 1003, /message of text/],
      [frame(0x82, Buffer.from('x')).fill(0, 1, 2), 1002, /MASK/],
      [frame(0xf2, Buffer.from('x')), 1002, /RSV/],
      [frame(0x83, Buffer.from('x')), 1002, /opcode/],
    ] as const) {
      // (Of a kind, the log has one line for each second.)
      await broker?.close()
      lines = []
      await started()
      const socket = await door()
      socket.write(bytes)
      await once(socket, 'close')
      expect(closeCode(socket)).toBe(code)
      await until('the line of the log', () => events('lost').some((line) => message.test(String(line['message']))))
    }
    await stillServes()
  })

  it('is ended: a message in more pieces than there may be', async () => {
    await started()
    const socket = await door()
    socket.write(frame(0x02, Buffer.from('x')))
    for (let n = 0; n < 100; n++) socket.write(frame(0x00, Buffer.from('x')))
    await once(socket, 'close')
    expect(closeCode(socket)).toBe(1008)
    await stillServes()
  })

  it('can not have anything inflated: no compression is agreed on, whatever is offered', async () => {
    await started()
    const client = new WebSocket(broker.webSocketUrl as string, { perMessageDeflate: true })
    await once(client, 'open')
    expect(client.extensions).toBe('')
    client.terminate()
    const socket = await door({ 'Sec-WebSocket-Extensions': 'permessage-deflate' })
    expect(socket.said.toString()).not.toMatch(/deflate/i)
    // A bomb of 32 MiB.
    const bomb = deflateRawSync(Buffer.alloc(32 * 1024 * 1024))
    const before = process.memoryUsage().arrayBuffers
    socket.write(frame(0xc2, bomb))
    await once(socket, 'close')
    expect(closeCode(socket)).toBe(1002)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024)
    await stillServes()
  })

  it('is answered over HTTP that it is a door, and let go', async () => {
    await started()
    const response = await fetch(`http://127.0.0.1:${doorPort()}/`)
    expect([response.status, response.headers.get('upgrade')]).toEqual([426, 'websocket'])
    for (const bytes of [
      '\0\r\n\r\n',
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(10_000)}\r\n\r\n`,
      'PRI * HTTP/2.0\r\n\r\n',
    ]) {
      const socket = connect({ port: doorPort(), host: '127.0.0.1' })
      sockets.push(socket)
      socket.on('error', () => {})
      socket.resume()
      socket.write(bytes)
      await once(socket, 'close')
    }
    await stillServes()
  })

  it('has no more time than there is for a handshake, drop by drop or silent, before the upgrade and after it', async () => {
    // (so long that one is upgraded in time on a busy machine)
    await started({ limits: { handshakeTimeoutMs: 2000 } })
    const silent = connect({ port: doorPort(), host: '127.0.0.1' })
    const slow = connect({ port: doorPort(), host: '127.0.0.1' })
    slow.write('GET / HTTP/1.1\r\nX: ')
    const dripping = setInterval(() => slow.write('x'), 20)
    const upgraded = await door()
    await Promise.all(
      [silent, slow, upgraded].map((socket) => {
        sockets.push(socket)
        socket.on('error', () => {})
        socket.resume()
        return new Promise((resolve) => socket.once('close', resolve))
      }),
    )
    clearInterval(dripping)
    await until('that all are let go', () => broker.connections === 0)
    await stillServes()
  })

  it('is ended if it says what is no packet', async () => {
    await started()
    const socket = await door()
    socket.write(frame(binary, randomBytes(1000)))
    await once(socket, 'close')
    await until('the line of the log', () => events('refused').length > 0)
    expect(events('refused')[0]?.['code']).toBe('PROTOCOL')
    await stillServes()
  })
})

describe('origins', () => {
  const page = (origin: string) => ({ Origin: origin })

  it('are of the door itself, or named; others are refused, logged and counted', async () => {
    await started({ webSocket: { port: 0, origins: ['https://shop.example'] } })
    await door(page(`http://127.0.0.1:${doorPort()}`))
    await door(page('https://shop.example'))
    for (const origin of [
      'https://evil.example',
      'https://shop.example:444',
      'http://shop.example',
      'null',
      'https://shop.example.evil.example',
    ])
      await door(page(origin), 403)
    expect(events('origin-refused')[0]).toMatchObject({ address: '127.0.0.1', origin: 'https://evil.example' })
    const local = await open(folder)
    clients.push(local)
    const { counters } = (await local.metrics()).broker
    expect(counters['refusedOrigin']).toBe(5)
    expect(counters['webSockets']).toBe(7)
    await stillServes()
  })

  it('do not help a name that leads here, where authentication is not configured', async () => {
    await started({ access: [] })
    await door({ Host: `localhost:${doorPort()}`, Origin: `http://localhost:${doorPort()}` })
    await door({ Host: 'rebound.example', Origin: 'http://rebound.example' }, 403)
    await door({ Host: 'rebound.example' }, 403)
    expect(events('origin-refused')).toHaveLength(1)
  })

  it('may be all, if that is said', async () => {
    await started({ webSocket: { port: 0, origins: ['*'] }, access: [] })
    await door({ Host: 'rebound.example', Origin: 'http://rebound.example' })
  })

  it('are checked when the broker starts', async () => {
    await started()
    for (const origin of ['shop.example', 'https://shop.example/path', 'ws://shop.example', 7])
      await failure('INVALID_ARGUMENT', () => serve({ dir: folder, webSocket: { origins: [origin as string] } }))
  })
})

describe('rights and limits', () => {
  it('are those of TCP: no token, a wrong one, and what a token may not', async () => {
    const reader = { name: 'reader', token: 'reader-reader-reader', subscribe: ['news'] }
    await started({ access: [...access, reader] })
    const url = broker.webSocketUrl as string
    await failure('UNAUTHORIZED', () => open(url))
    await failure('UNAUTHORIZED', () => open(url, { token: 'wrong' }))
    const good = await opened(url)
    await (await good.topic('news', { codec: text }).publisher()).publishAsync('hello')
    const client = await open(url, { token: reader.token })
    clients.push(client)
    await failure('UNAUTHORIZED', () => client.topic('news', { codec: text }).publisher())
    const subscriber = await client.topic('news', { codec: text }).subscriber({ from: 'earliest' })
    for await (const { value } of subscriber) {
      expect(value).toBe('hello')
      break
    }
    // Loopback alone needs none.
    await failure('UNAUTHORIZED', () => serve({ dir: folder, webSocket: { host: '0.0.0.0', port: 0 } }))
  })

  it('count connections of both doors together', async () => {
    await started({ limits: { maxConnectionsPerIdentity: 2 } })
    await opened(broker.url)
    await opened(broker.webSocketUrl as string)
    await failure('LIMIT', () => open(broker.webSocketUrl as string, { token }))
    await failure('LIMIT', () => open(broker.url, { token }))
  })

  it('a client that takes nothing is cut off, and keeps no memory; others go on', async () => {
    await started({ limits: { slowConsumerMs: 500 } })
    const good = await opened(broker.url)
    const topic = good.topic('flood', { codec: text, segmentBytes: 4 * 1024 * 1024, maxPayloadBytes: 65_536 })
    const publisher = await topic.publisher()
    const socket = await door()
    socket.pause()
    const hello = { versions: [1, 1], client: 'slow', token, features: [] }
    const subscribe = {
      topic: 'flood',
      settings: { ...settings, create: false, segmentBytes: 4 * 1024 * 1024, maxPayloadBytes: 65_536 },
      from: 'earliest',
      credit: 2 ** 31,
    }
    socket.write(frame(binary, Buffer.concat([preamble, jsonPacket(packetType.hello, 0, hello)])))
    socket.write(frame(binary, jsonPacket(packetType.subscribe, 1, subscribe)))
    const value = 'x'.repeat(60_000)
    for (let n = 0; n < 400; n++) await publisher.publishAsync(value)
    await until('that it is cut off', () => lines.some(({ code }) => code === 'SLOW_CONSUMER'))
    expect(lines.find(({ code }) => code === 'SLOW_CONSUMER')).toMatchObject({ event: 'refused' })
    const local = await open(folder)
    clients.push(local)
    const { counters } = (await local.metrics()).broker
    expect(counters['slowConsumers']).toBe(1)
    // What is held back for one: a mebibyte, and the packet that came upon it.
    expect(counters['sentBytes']).toBeLessThan(12 * 1024 * 1024)
    await stillServes()
  })

  it('pings that are not read make nothing grow', async () => {
    await started()
    const socket = await door()
    socket.pause()
    const ping = frame(0x89, Buffer.alloc(100))
    const flood = Buffer.concat(Array.from({ length: 5000 }, () => ping))
    const closed = once(socket, 'close')
    for (let n = 0; n < 40 && !socket.destroyed; n++) {
      socket.write(flood)
      await pause(1)
    }
    socket.resume()
    await closed
    await stillServes()
  })
})

it('1,000 WebSockets that say nothing do not hold up a client of TCP', async () => {
  const most = { maxConnections: 2000, maxConnectionsPerAddress: 2000, maxConnectionsPerIdentity: 2000 }
  await started({
    limits: { ...most, maxHandshakesPerSecond: 10_000, heartbeatMs: 60_000, handshakeTimeoutMs: 60_000 },
  })
  const Tick = struct({ n: u32 })
  const good = await opened(broker.url)
  const topic = good.topic('ticks', { codec: Tick })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const idle = (async () => {
    for (let n = 0; n < 16; n++)
      clients.push(
        await open(broker.webSocketUrl as string, { token, connections: n < 15 ? 64 : 40, connectTimeoutMs: 60_000 }),
      )
  })()
  let sent = 0
  let seen = 0
  const receiving = (async () => {
    for await (const { value } of subscriber) {
      expect(value.n).toBe(seen)
      if (++seen === 20_000) return
    }
  })()
  const round = async () => {
    for (let n = 0; n < 100; n++) publisher.publish({ n: sent++ })
    await publisher.flush()
    await pause(1)
  }
  while (sent < 10_000) await round()
  await idle
  expect(broker.connections).toBe(1001)
  await until('the gauge', async () => {
    const local = await open(folder)
    const { states } = (await local.metrics()).broker
    await local.close()
    return states['openWebSockets'] === 1000
  })
  while (sent < 20_000) await round()
  await receiving
  expect(seen).toBe(20_000)
}, 120_000)

it('goes away in order: clients of the door are told, and what they have sent is there', async () => {
  await started()
  const client = await opened(broker.webSocketUrl as string)
  const publisher = await client.topic('last', { codec: text }).publisher()
  for (let n = 0; n < 1000; n++) publisher.publish(String(n))
  await publisher.flush()
  await broker.drain(2000)
  const local = await open(folder)
  expect((await local.topic('last', { codec: text }).info()).nextSequence).toBe(1001)
  await local.close()
})
