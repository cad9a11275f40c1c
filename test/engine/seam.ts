import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { MakeEngine } from '../../lib/broker/broker.js'
import type { Engine, EngineTls } from '../../lib/broker/engine/engine.js'
import { type Peer, plainPeer, RecordingHost, until } from './host.js'

/** How the clients of one engine under test connect. */
export interface EngineUnderTest {
  readonly make: MakeEngine
  readonly tls?: EngineTls
  readonly connect: (port: number, reads?: boolean) => Promise<Peer>
  /** More bytes go over the network than are handed out. */
  readonly isFramed?: boolean
}

const mebibyte = 1024 * 1024
/** More than the system keeps for two sockets that nobody reads from. */
const floodBytes = 64 * mebibyte

/** What lib/broker/engine/engine.ts promises, for any engine. */
export function runSeamSuite(
  title: string,
  { make, tls, connect, isFramed = tls !== undefined }: EngineUnderTest,
): void {
  const engines: Engine[] = []
  const peers: Peer[] = []

  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.socket.destroy()
    for (const engine of engines.splice(0)) await engine.close()
  })

  async function started(): Promise<{ readonly engine: Engine; readonly host: RecordingHost }> {
    const host = new RecordingHost()
    const engine = make(host, tls)
    engines.push(engine)
    await engine.listen('127.0.0.1', 0)
    return { engine, host }
  }

  async function connected(engine: Engine, reads = true): Promise<Peer> {
    const peer = await connect(engine.port, reads)
    peers.push(peer)
    return peer
  }

  describe(`${title}: listening`, () => {
    test('says where it listens, and rejects with the reason of the system if it can not', async () => {
      const host = new RecordingHost()
      const engine = make(host, tls)
      engines.push(engine)
      expect(engine.port).toBe(0)
      const other = createServer()
      other.listen(0, '127.0.0.1')
      await once(other, 'listening')
      const { port } = other.address() as { port: number }
      await expect(engine.listen('127.0.0.1', port)).rejects.toThrow(/EADDRINUSE/)
      other.close()
      await once(other, 'close')
      const { engine: second } = await started()
      expect(second.port).toBeGreaterThan(0)
    })

    test('accepts no more once it was stopped; what is served goes on until it is closed', async () => {
      const { engine, host } = await started()
      const { port } = engine
      const peer = await connected(engine)
      const served = await host.one()
      engine.stop()
      engine.stop()
      await expect(connect(port)).rejects.toThrow()
      peer.socket.write('still here')
      await until('what the served one says', () => served.receivedBytes === 10)
      served.socket.write(Buffer.from('yes'))
      await until('the answer', () => peer.receivedBytes === 3)
      let isClosed = false
      const closing = engine.close().then(() => {
        isClosed = true
      })
      await new Promise((resolve) => setTimeout(resolve, 50))
      // (it resolves once all sockets are closed, and whoever serves them closes them)
      expect(isClosed).toBe(false)
      served.socket.destroy()
      await closing
    })
  })

  describe(`${title}: admission`, () => {
    test('asks before anything is read, and turns away whom it is told to', async () => {
      const { engine, host } = await started()
      host.admits = false
      const peer = await plainPeer(engine.port)
      peers.push(peer)
      await until('the end of who was turned away', () => peer.hasEnded || peer.hasClosed)
      expect(host.admitted.map(({ address }) => address)).toEqual(['127.0.0.1'])
      expect(host.admitted[0]?.descriptor).not.toBe(0)
      expect(host.served).toEqual([])
    })

    test('drops a connection that is to make room for another one', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const served = await host.one()
      host.admitted[0]?.drop()
      await until('its end at the peer', () => peer.hasEnded || peer.hasClosed)
      await until('its last call', () => served.count('closed') === 1)
      expect(served.socket.isDestroyed).toBe(true)
    })

    test('those that make room for the next one, all in one go, leave the last one served', async () => {
      const { engine, host } = await started()
      host.letsOneIn = true
      const most = 9
      const all = await Promise.all(Array.from({ length: most }, () => plainPeer(engine.port)))
      peers.push(...all)
      await until('all of them', () => host.admitted.length === most)
      await until(
        'the end of all but one',
        () => all.filter((peer) => peer.hasEnded || peer.hasClosed).length >= most - 1,
      )
      const last = all.find((peer) => !peer.hasEnded && !peer.hasClosed) as Peer
      if (tls !== undefined || isFramed) return last.reset()
      last.socket.write('still here')
      await until('what the last one says', () => host.served.at(-1)?.receivedBytes === 10)
    })

    test('serves many at once, each with its own bytes', async () => {
      const { engine, host } = await started()
      const most = 100
      const said: Peer[] = []
      for (let n = 0; n < most; n++) said.push(await connected(engine))
      await until('all of them', () => host.served.length === most)
      for (const [n, peer] of said.entries()) peer.socket.write(`I am ${n};`)
      await until('what all say', () => host.served.every(({ bytes }) => bytes.includes(';')))
      for (const served of host.served) served.socket.write(Buffer.from(`you are ${served.bytes}`))
      await until('what all are told', () => said.every(({ bytes }) => bytes.includes(';')))
      expect(said.map(({ bytes }) => bytes.toString())).toEqual(said.map((_, n) => `you are I am ${n};`))
    })
  })

  describe(`${title}: bytes`, () => {
    test('arrive whole and in order, and are counted', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const served = await host.one()
      const hash = createHash('sha256')
      served.onPiece = (piece) => hash.update(piece)
      const bytes = randomBytes(9 * mebibyte + 1)
      peer.socket.write(bytes)
      await until('all bytes', () => served.receivedBytes === bytes.length)
      expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
      if (!isFramed) expect(served.socket.receivedBytes).toBe(bytes.length)
      else expect(served.socket.receivedBytes).toBeGreaterThanOrEqual(bytes.length)
    })

    test('go out whole and in order, and their memory is the caller’s again once `written` is called', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const { socket } = await host.one()
      const sent: Buffer[] = []
      const buffer = Buffer.alloc(mebibyte)
      for (let n = 0; n < 12; n++) {
        buffer.fill(n)
        sent.push(Buffer.from(buffer))
        await new Promise<void>((resolve) => socket.write(buffer, resolve))
        // What is written into it now must not go out.
        buffer.fill(255)
      }
      await until('all bytes', () => peer.receivedBytes === 12 * mebibyte)
      expect(peer.bytes.equals(Buffer.concat(sent))).toBe(true)
      expect(socket.waitingBytes).toBe(0)
      expect(socket.sentBytes).toBeGreaterThanOrEqual(12 * mebibyte)
    })

    test('between cork and uncork go out together, also if those are nested', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const { socket } = await host.one()
      socket.cork()
      socket.write(Buffer.from('one '))
      socket.cork()
      socket.write(Buffer.from('two '))
      socket.uncork()
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(peer.receivedBytes).toBe(0)
      expect(socket.waitingBytes).toBeGreaterThan(0)
      socket.write(Buffer.from('three'))
      socket.uncork()
      await until('all three', () => peer.receivedBytes === 13)
      expect(peer.bytes.toString()).toBe('one two three')
    })
  })

  describe(`${title}: back-pressure`, () => {
    test('counts what the peer does not take, and tells once nothing waits any more', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine, false)
      const served = await host.one()
      const { socket } = served
      const piece = randomBytes(mebibyte)
      let written = 0
      for (let sent = 0; sent < floodBytes; sent += piece.length) socket.write(piece, () => written++)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(socket.waitingBytes).toBeGreaterThan(mebibyte)
      expect(written).toBeLessThan(floodBytes / mebibyte)
      expect(served.count('drained')).toBe(0)
      peer.socket.resume()
      await until('all bytes', () => peer.receivedBytes === floodBytes)
      await until('the news that nothing waits', () => served.count('drained') > 0)
      expect(socket.waitingBytes).toBe(0)
      expect(written).toBe(floodBytes / mebibyte)
    })

    test('stops a peer that sends on while it is paused, and loses nothing', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const served = await host.one()
      served.socket.pause()
      expect(served.socket.isPaused).toBe(true)
      const bytes = randomBytes(floodBytes)
      let isSent = false
      peer.socket.write(bytes, () => {
        isSent = true
      })
      await new Promise((resolve) => setTimeout(resolve, 300))
      // What was read already may still have been handed out.
      expect(served.receivedBytes).toBeLessThan(8 * mebibyte)
      expect(isSent).toBe(false)
      served.socket.resume()
      expect(served.socket.isPaused).toBe(false)
      await until('all bytes', () => served.receivedBytes === floodBytes)
      expect(served.bytes.equals(bytes)).toBe(true)
    }, 60_000)

    test('may be paused from within `received`, again and again', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const served = await host.one()
      let pauses = 0
      served.onPiece = () => {
        pauses++
        served.socket.pause()
        setImmediate(() => served.socket.resume())
      }
      const bytes = randomBytes(4 * mebibyte)
      peer.socket.write(bytes)
      await until('all bytes', () => served.receivedBytes === bytes.length)
      expect(served.bytes.equals(bytes)).toBe(true)
      expect(pauses).toBeGreaterThan(1)
    })
  })

  describe(`${title}: endings`, () => {
    test('a peer that has said all still gets what was written before', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine, false)
      const served = await host.one()
      const bytes = randomBytes(8 * mebibyte)
      served.socket.write(bytes)
      peer.socket.end('the last word')
      await until('its last word', () => served.receivedBytes === 13)
      await until('the news of its end', () => served.count('ended') > 0)
      peer.socket.resume()
      await until('all bytes', () => peer.receivedBytes === bytes.length)
      expect(peer.bytes.equals(bytes)).toBe(true)
      await until('its last call', () => served.count('closed') === 1)
      expect(served.count('failed')).toBe(0)
      expect(served.events.at(-1)).toBe('closed')
    })

    test('a connection that fails is told with a reason, and closed once', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine)
      const served = await host.one()
      peer.socket.write('x')
      await until('its byte', () => served.receivedBytes === 1)
      peer.reset()
      await until('its last call', () => served.count('closed') === 1)
      // (over TLS it is the carrier that fails: the end may come without a reason)
      if (tls === undefined) {
        expect(served.count('failed')).toBe(1)
        expect(served.lostBy).toBe('ECONNRESET')
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(served.events.at(-1)).toBe('closed')
      expect(served.count('closed')).toBe(1)
      expect(served.socket.isDestroyed).toBe(true)
      // (that is for those who were never served)
      expect(host.left).toEqual([])
    })

    test('end() lets everything out first', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine, false)
      const served = await host.one()
      const bytes = randomBytes(8 * mebibyte)
      served.socket.write(bytes)
      served.socket.end()
      peer.socket.resume()
      await until('its end', () => peer.hasEnded)
      expect(peer.bytes.equals(bytes)).toBe(true)
      peer.socket.end()
      await until('its last call', () => served.count('closed') === 1)
    })

    test('destroy() ends at once, whatever waits, and nothing is handed out any more', async () => {
      const { engine, host } = await started()
      const peer = await connected(engine, false)
      const served = await host.one()
      served.socket.write(randomBytes(floodBytes))
      served.socket.destroy()
      expect(served.socket.isDestroyed).toBe(true)
      peer.socket.write('too late')
      await until('its last call', () => served.count('closed') === 1)
      expect(served.receivedBytes).toBe(0)
      peer.socket.resume()
      await until('its end at the peer', () => peer.hasEnded || peer.hasClosed)
      expect(peer.receivedBytes).toBeLessThan(floodBytes)
      // Idempotent.
      served.socket.destroy()
      served.socket.end()
    })
  })

  if (tls === undefined) return

  describe(`${title}: handshakes`, () => {
    test('who never speaks is let go after the time, who speaks no TLS at once; the broker is told', async () => {
      const { engine, host } = await started()
      const silent = await plainPeer(engine.port)
      const plain = await plainPeer(engine.port)
      peers.push(silent, plain)
      plain.socket.write('GET / HTTP/1.1\r\n\r\n')
      await until('the end of who speaks no TLS', () => plain.hasEnded || plain.hasClosed)
      await until('the end of who is silent', () => silent.hasEnded || silent.hasClosed)
      await until('that both are let go', () => host.left.length === 2)
      expect(host.failures).toEqual(['tls-failed', 'tls-failed'])
      expect(host.served).toEqual([])
    })

    test('half-open ones do not hold up close()', async () => {
      const { engine } = await started()
      const silent = await plainPeer(engine.port)
      peers.push(silent)
      await engine.close()
      await until('its end', () => silent.hasEnded || silent.hasClosed)
    })
  })
}
