import { mkdtempSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { HermesError, open, text } from '../../lib/index.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-security-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return error instanceof HermesError ? error.code : String(error)
  }
  return 'no error'
}

const small = { codec: text, segmentBytes: 1024 * 1024 }

describe('who may come in', () => {
  it('does not serve a public address to everybody, unless told to', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com']) {
      expect(await code(serve({ dir, port: 0, host })), host).toBe('UNAUTHORIZED')
    }
  })

  it('refuses a second broker for a directory, and takes one after the first has closed', async () => {
    const broker = await serve({ dir, port: 0 })
    expect(await code(serve({ dir, port: 0 }))).toBe('BUSY')
    await broker.close()
    await (await serve({ dir, port: 0 })).close()
  })

  it('refuses a port that is taken, and leaves the directory free', async () => {
    await using broker = await serve({ dir: join(dir, 'a'), port: 0 })
    expect(await code(serve({ dir: join(dir, 'b'), port: broker.port }))).toBe('IO_FAILED')
    await (await serve({ dir: join(dir, 'b'), port: 0 })).close()
  })

  it('refuses options that do not exist, and tokens that could be guessed', async () => {
    expect(await code(serve({ dir, prot: 1 } as unknown as BrokerOptions))).toBe('UNKNOWN_OPTION')
    expect(await code(serve({ dir, limits: { maxConections: 1 } as object }))).toBe('UNKNOWN_OPTION')
    expect(await code(serve({ dir, access: [{ name: 'a', token: 'short' }] }))).toBe('INVALID_ARGUMENT')
    expect(await code(serve({ dir, access: [{ name: 'a' }] }))).toBe('INVALID_ARGUMENT')
  })

  it('lets each token do what it may, and nothing else', async () => {
    await using broker = await serve({
      dir,
      port: 0,
      access: [
        { name: 'boss', token: 'boss-boss-boss-boss', administer: true },
        { name: 'writer', token: 'writer-writer-writer', publish: ['orders.*'] },
        { name: 'reader', token: 'reader-reader-reader', subscribe: ['orders.eu', 'x*z'] },
      ],
    })
    expect(await code(open(broker.url))).toBe('UNAUTHORIZED')
    expect(await code(open(broker.url, { token: 'boss-boss-boss-bos' }))).toBe('UNAUTHORIZED')
    await using boss = await open(broker.url, { token: 'boss-boss-boss-boss' })
    await using writer = await open(broker.url, { token: 'writer-writer-writer' })
    await using reader = await open(broker.url, { token: 'reader-reader-reader' })
    expect(await code(writer.topic('orders.eu', small).publisher())).toBe('NOT_FOUND')
    await boss.topic('orders.eu', small).publisher()
    await boss.topic('secret', small).publisher()
    const publisher = await writer.topic('orders.eu', { codec: text }).publisher()
    await publisher.publishAsync('one')
    expect(await code(writer.topic('secret', { codec: text }).publisher())).toBe('UNAUTHORIZED')
    expect(await code(writer.topic('ordersXeu', { codec: text }).publisher())).toBe('UNAUTHORIZED')
    expect(await code(writer.topic('orders.eu', { codec: text }).subscriber())).toBe('UNAUTHORIZED')
    expect(await code(reader.topic('orders.eu', { codec: text }).publisher())).toBe('UNAUTHORIZED')
    expect(await code(reader.topic('secret', { codec: text }).subscriber())).toBe('UNAUTHORIZED')
    expect(await code(reader.info('secret'))).toBe('UNAUTHORIZED')
    expect(await reader.topics()).toEqual(['orders.eu'])
    expect(await boss.topics()).toEqual(['orders.eu', 'secret'])
    const subscriber = await reader.topic('orders.eu', { codec: text }).subscriber({ from: 'earliest' })
    for await (const { value } of subscriber) {
      expect(value).toBe('one')
      break
    }
  })

  it('says at once that nobody listens, and that options do not fit', async () => {
    const broker = await serve({ dir, port: 0 })
    const { url } = broker
    await broker.close()
    expect(await code(open(url))).toBe('CONNECTION_FAILED')
    expect(await code(open('tcp://127.0.0.1:9/x'))).toBe('INVALID_ARGUMENT')
    expect(await code(open('tcp://user:word@127.0.0.1:9'))).toBe('INVALID_ARGUMENT')
    expect(await code(open('tcp://127.0.0.1:9', { tokn: 'x' } as object))).toBe('UNKNOWN_OPTION')
    expect(await code(open(dir, { token: 'x' }))).toBe('UNKNOWN_OPTION')
  })
})

describe.skipIf(!hasOpenssl())('TLS (certificates made by openssl)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-tls-'))
  const authority = hasOpenssl() ? certificate(folder, 'authority') : { key: '', cert: '' }
  const server = hasOpenssl() ? certificate(folder, 'server', 'authority') : { key: '', cert: '' }
  const alice = hasOpenssl() ? certificate(folder, 'alice', 'authority') : { key: '', cert: '' }

  it('carries messages, and checks the name of the broker', async () => {
    await using broker = await serve({ dir, port: 0, tls: server })
    expect(broker.url).toMatch(/^tls:/)
    expect(await code(open(broker.url))).toBe('CONNECTION_FAILED')
    expect(await code(open(broker.url, { tls: { ca: authority.cert, servername: 'elsewhere.example' } }))).toBe(
      'CONNECTION_FAILED',
    )
    expect(await code(open(broker.url.replace('tls:', 'tcp:'), { connectTimeoutMs: 2000 }))).toBe('CONNECTION_FAILED')
    await using hermes = await open(broker.url, { tls: { ca: authority.cert } })
    const topic = hermes.topic('t', small)
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (let n = 0; n < 5000; n++) if (!publisher.publish(`message ${n}`)) await publisher.ready()
    await publisher.flush()
    let n = 0
    for await (const { value } of subscriber) {
      expect(value).toBe(`message ${n}`)
      if (++n === 5000) break
    }
  })

  it('counts connections before they have greeted, so that a silent crowd takes no more than the limit', async () => {
    const limits = { maxConnections: 10, handshakeTimeoutMs: 2000, maxHandshakesPerSecond: 10_000 }
    const lines: { readonly event: string }[] = []
    await using broker = await serve({ dir, port: 0, tls: server, limits, log: (line) => lines.push(line) })
    await using hermes = await open(broker.url, { tls: { ca: authority.cert } })
    const publisher = await hermes.topic('t', small).publisher()
    let gone = 0
    for (let n = 0; n < 60; n++) {
      const silent = connect({ port: broker.port, host: '127.0.0.1' })
      silent.on('error', () => {})
      silent.on('close', () => gone++)
      silent.resume()
    }
    const until = async (count: number) => {
      const end = performance.now() + 30_000
      while (gone < count && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2))
      expect(gone).toBeGreaterThanOrEqual(count)
    }
    // At once: those beyond the limit, of which one is taken. The others, when they have not said anything in time.
    const start = performance.now()
    await until(51)
    expect(performance.now() - start).toBeLessThan(limits.handshakeTimeoutMs)
    await publisher.publishAsync('served')
    await until(60)
    // One line, and one that says how many more there were.
    const lots = lines.filter((line) => line.event === 'too-many-connections')
    expect(lots.map((line) => 'repeated' in line)).toEqual([false, true])
    await (await open(broker.url, { tls: { ca: authority.cert } })).close()
  })

  it('knows clients by their certificates', async () => {
    const access = [{ name: 'alice', certificate: 'alice', publish: ['a'], administer: true }]
    await using broker = await serve({ dir, port: 0, tls: { ...server, ca: authority.cert }, access })
    expect(await code(open(broker.url, { tls: { ca: authority.cert } }))).toBe('CONNECTION_FAILED')
    expect(await code(open(broker.url, { tls: { ca: authority.cert, ...server } }))).toBe('UNAUTHORIZED')
    await using hermes = await open(broker.url, { tls: { ca: authority.cert, ...alice } })
    await hermes.topic('a', small).publisher()
    expect(await code(hermes.topic('b', small).publisher())).toBe('UNAUTHORIZED')
  })
})
