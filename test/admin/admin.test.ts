import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type AdminServer, serveAdmin } from '../../lib/admin/server.js'
import { listenAddress } from '../../lib/base/listen-address.js'
import { serve } from '../../lib/broker/index.js'
import { open, raw } from '../../lib/index.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const main = join(root, 'dist/cli/main.js')
let server: AdminServer | undefined

afterEach(async () => {
  await server?.close()
  server = undefined
})

async function filled(): Promise<string> {
  const place = folder()
  const hermes = await open(place)
  for (const name of ['open.a', 'secret.b']) {
    const publisher = await hermes.topic(name, { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }).publisher()
    for (let i = 0; i < 10; i++) publisher.publish(new Uint8Array(8))
  }
  await hermes.close()
  return place
}

interface Reply {
  status: number
  body: string
  headers: Readonly<Record<string, string | string[] | undefined>>
}

function ask(
  url: string,
  options: { method?: string; headers?: Record<string, string>; ca?: string; cert?: string; key?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = (url.startsWith('https') ? httpsRequest : httpRequest)(
      url,
      { agent: false, ...options },
      (response) => {
        let body = ''
        response.on('data', (chunk) => (body += String(chunk)))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }))
      },
    )
    request.on('error', reject)
    request.end()
  })
}

/** What comes back for bytes that need not be HTTP. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (data) => (answer += String(data)))
  socket.write(text)
  await once(socket, 'close')
  return answer
}

describe('the admin server', { timeout: 120_000 }, () => {
  it('tells of a place without a broker', async () => {
    server = await serveAdmin({ dir: await filled(), port: 0 })
    const { url } = server
    const metrics = await ask(`${url}/metrics`)
    expect(metrics.status).toBe(200)
    expect(metrics.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(metrics.body).toContain('hermes_topic_published_messages_total{topic="open.a"} 10\n')
    expect(metrics.body).toContain('hermes_broker_up 0\n')
    const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'
    const open = await ask(`${url}/metrics`, { headers: { accept } })
    expect(open.headers['content-type']).toContain('application/openmetrics-text')
    expect(open.body.endsWith('# EOF\n')).toBe(true)
    expect(await ask(`${url}/healthz`)).toMatchObject({ status: 200, body: 'ok\n' })
    expect(await ask(`${url}/readyz`)).toMatchObject({ status: 200, body: 'ready\n' })
    expect(JSON.parse((await ask(`${url}/api/topics`)).body)).toMatchObject([{ name: 'open.a' }, { name: 'secret.b' }])
    expect(JSON.parse((await ask(`${url}/api/topics/open.a`)).body)).toMatchObject({ writtenSequence: 11, groups: [] })
    expect((await ask(`${url}/api/topics/none`)).status).toBe(404)
    expect((await ask(`${url}/api/topics/..%2f..%2fetc`)).status).toBe(404)
    expect((await ask(`${url}/api/groups`)).body).toBe('[]\n')
    const head = await ask(`${url}/metrics`, { method: 'HEAD' })
    expect([head.status, head.body]).toEqual([200, ''])
    expect(Number(head.headers['content-length'])).toBeGreaterThan(1000)
  })

  it('only reads', async () => {
    server = await serveAdmin({ dir: await filled(), port: 0 })
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])
      expect((await ask(`${server.url}/api/topics/open.a`, { method })).status).toBe(405)
  })

  it('asks for the tokens of the broker, and shows each what it may see', async () => {
    const access = [
      { name: 'admin', token: 'admin-admin-admin-1', administer: true },
      { name: 'reader', token: 'reader-reader-read', subscribe: ['open.*'] },
    ]
    server = await serveAdmin({ dir: await filled(), port: 0, access })
    const { url } = server
    const as = (authorization: string) => ask(`${url}/metrics`, { headers: { authorization } })
    const basic = (token: string) => `Basic ${Buffer.from(`x:${token}`).toString('base64')}`
    for (const wrong of ['', 'Bearer', 'Bearer nobody', 'Basic !!', basic('nobody'), 'Digest admin-admin-admin-1']) {
      const refused = await as(wrong)
      expect([refused.status, refused.body]).toEqual([401, 'A token is needed.\n'])
    }
    expect((await as('Bearer admin-admin-admin-1')).body).toContain('topic="secret.b"')
    const seen = (await as(basic('reader-reader-read'))).body
    expect(seen).toContain('topic="open.a"')
    expect(seen).not.toContain('secret.b')
    const headers = { authorization: 'Bearer reader-reader-read' }
    expect((await ask(`${url}/api/topics/secret.b`, { headers })).status).toBe(404)
    expect((await ask(`${url}/api/metrics`, { headers })).body).not.toContain('secret.b')
    expect((await ask(`${url}/healthz`)).status).toBe(200)
  })

  it('is not public without authentication, nor under a name that is not its own', async () => {
    const dir = await filled()
    await failure('UNAUTHORIZED', () => serveAdmin({ dir, host: '0.0.0.0', port: 0 }))
    server = await serveAdmin({ dir, port: 0 })
    const { url, port } = server
    for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example'])
      expect((await ask(`${url}/metrics`, { headers: { host } })).status).toBe(421)
    expect((await ask(`${url}/healthz`, { headers: { host: `localhost:${port}` } })).status).toBe(200)
  })

  it.skipIf(!hasOpenssl())('speaks TLS, and knows clients by their certificates', async () => {
    const keys = folder()
    const authority = certificate(keys, 'authority')
    const { key, cert } = certificate(keys, 'server', 'authority')
    const client = certificate(keys, 'ops', 'authority')
    const access = [{ name: 'ops', certificate: 'ops', administer: true }]
    server = await serveAdmin({ dir: await filled(), port: 0, access, tls: { key, cert, ca: authority.cert } })
    const { url } = server
    expect(url).toMatch(/^https:/)
    await expect(ask(`${url}/metrics`, { ca: authority.cert })).rejects.toThrow()
    expect((await ask(`${url}/metrics`, { ca: authority.cert, ...client })).status).toBe(200)
  })

  it('lives through what is no request', async () => {
    server = await serveAdmin({ dir: await filled(), port: 0 })
    const { port, url } = server
    expect(await say(port, 'GET / HTTP/9.9\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
    expect(await say(port, '\x16\x03\x01\x00\x00garbage\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
    expect(await say(port, `GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 431 /,
    )
    expect(
      await say(
        port,
        'GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nGET /evil HTTP/1.1\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1.1 413 /)
    expect(
      await say(port, `GET /${'a'.repeat(3000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
    ).toMatch(/^HTTP\/1.1 404 /)
    expect(
      await say(port, 'GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    ).toMatch(/^HTTP\/1.1 404 /)
    // More than it takes at a time are closed at once, those that say nothing after a while.
    const silent = Array.from({ length: 300 }, () =>
      connect(port, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    )
    const closed = () => silent.filter((socket) => socket.destroyed).length
    await expect.poll(closed, { timeout: 60_000 }).toBe(300)
    for (const socket of silent) socket.destroy()
    await expect
      .poll(async () => (await ask(`${url}/healthz`).catch(() => ({ status: 0 }))).status, { timeout: 20_000 })
      .toBe(200)
  })

  it('knows how addresses are written', () => {
    expect(listenAddress('9464')).toEqual({ host: '127.0.0.1', port: 9464 })
    expect(listenAddress('[::1]:1')).toEqual({ host: '::1', port: 1 })
    expect(listenAddress('localhost:0')).toEqual({ host: 'localhost', port: 0 })
    for (const wrong of ['', 'a', ':', ':70', '::1:5', '[x]:1', '1.2.3.4:99999', '[]:1'])
      expect(() => listenAddress(wrong)).toThrow()
  })
})

describe('hermes serve --admin', { timeout: 120_000 }, () => {
  it('tells of the broker from a thread of its own, which no client of the broker waits for', async () => {
    const dir = folder()
    const child = spawn(
      process.execPath,
      [main, 'serve', '--json', '--dir', dir, '--port', '0', '--admin', '127.0.0.1:0'],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const { url, admin } = JSON.parse(String(line)) as { url: string; admin: string }
      const hermes = await open(url)
      const publisher = await hermes.topic('t', { codec: raw }).publisher()
      for (let i = 0; i < 50; i++) publisher.publish(new Uint8Array(8))
      await publisher.flush()
      await expect.poll(async () => (await ask(`${admin}/readyz`)).body, { timeout: 20_000 }).toBe('ready\n')
      await expect
        .poll(async () => (await ask(`${admin}/metrics`)).body, { timeout: 20_000 })
        .toMatch(/^hermes_broker_connections 1$/m)
      const { body } = await ask(`${admin}/metrics`)
      expect(body).toMatch(/^hermes_broker_up 1$/m)
      expect(body).toContain('hermes_topic_published_messages_total{topic="t"} 50\n')
      expect(body).toMatch(/^hermes_broker_accepted_connections_total 1$/m)
      expect(Number(/^hermes_broker_received_bytes_total (\d+)$/m.exec(body)?.[1])).toBeGreaterThan(50 * 40)
      // Killed, it is told as gone by whoever looks then, and its totals stay.
      await hermes.close()
      child.kill('SIGKILL')
      await once(child, 'exit')
      const local = await open(dir)
      const report = await local.metrics()
      expect(report.broker.isUp).toBe(false)
      expect(report.broker.counters['accepted']).toBe(1)
      expect(report.topics[0]?.published.messages).toBe(50)
      await local.close()
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('says why it is not ready, and is ready once a broker serves the place', async () => {
    const dir = folder()
    await (await open(dir)).close()
    server = await serveAdmin({ dir, port: 0, expectsBroker: true })
    const { url } = server
    expect(await ask(`${url}/readyz`)).toMatchObject({
      status: 503,
      body: 'not ready: no broker serves the place yet, or it was killed\n',
    })
    const broker = await serve({ dir, port: 0 })
    await expect.poll(async () => (await ask(`${url}/readyz`)).body, { timeout: 20_000 }).toBe('ready\n')
    await broker.close()
    await expect.poll(async () => (await ask(`${url}/readyz`)).status, { timeout: 20_000 }).toBe(503)
  })

  it('is ready as soon as it tells its address', async () => {
    const dir = folder()
    const child = spawn(
      process.execPath,
      [main, 'serve', '--json', '--dir', dir, '--port', '0', '--admin', '127.0.0.1:0'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const { admin } = JSON.parse(String(line)) as { admin: string }
      expect(await ask(`${admin}/readyz`)).toMatchObject({ status: 200, body: 'ready\n' })
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('says what to do where its address is taken', async () => {
    const dir = await filled()
    server = await serveAdmin({ dir, port: 0 })
    const { port } = server
    const taken = await failure('IO_FAILED', () => serveAdmin({ dir, port }))
    expect(taken.message).toBe(
      `Can't listen on 127.0.0.1:${port}: another program listens there. End it, or give another port (0: any that is free).`,
    )
  })

  it('does not start without its admin address', async () => {
    const dir = folder()
    const args = ['serve', '--dir', dir, '--port', '0', '--admin', '192.0.2.1:1', '--insecure']
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    let told = ''
    child.stderr.on('data', (data) => (told += String(data)))
    const [code] = (await once(child, 'exit')) as [number]
    expect([code, told]).toEqual([1, expect.stringContaining('this machine has no such address')])
    expect(told).toContain('[IO_FAILED]')
  })
})
