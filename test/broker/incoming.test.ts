import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readFrom } from '../../lib/broker/engine/incoming.js'
import { pause } from './harness.js'

describe('reading from accepted connections', () => {
  let server: Server
  const clients: Socket[] = []
  const owned: Socket[] = []

  beforeEach(async () => {
    server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
  })

  afterEach(() => {
    for (const socket of [...clients, ...owned]) socket.destroy()
    server.close()
  })

  /** A client, and what the broker has of it. */
  async function pair(take: (piece: Buffer) => void): Promise<{ client: Socket; accepted: Socket; own: Socket }> {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    clients.push(client)
    const [accepted] = (await once(server, 'connection')) as [Socket]
    const own = readFrom(accepted, take)
    owned.push(own)
    return { client, accepted, own }
  }

  async function until(done: () => boolean): Promise<void> {
    const end = performance.now() + 30_000
    while (!done() && performance.now() < end) await pause(1)
    expect(done()).toBe(true)
  }

  it('goes through one buffer for all of them, and loses nothing', async () => {
    const buffers = new Set<ArrayBufferLike>()
    const received = [Buffer.alloc(0), Buffer.alloc(0)]
    const makers: Socket[] = []
    for (const n of [0, 1]) {
      const { client } = await pair((piece) => {
        buffers.add(piece.buffer)
        received[n] = Buffer.concat([received[n] as Buffer, piece])
      })
      makers.push(client)
    }
    const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 7 + (at >> 8)) & 255))
    for (const client of makers) client.write(sent)
    await until(() => received.every((bytes) => bytes.length === sent.length))
    for (const bytes of received) expect(bytes.equals(sent)).toBe(true)
    expect(buffers.size).toBe(1)
  })

  it('answers, pauses, goes on, and sees the end', async () => {
    let taken = 0
    const { client, accepted, own } = await pair((piece) => {
      taken += piece.length
    })
    expect(own).not.toBe(accepted)
    expect(own.remoteAddress).toBe('127.0.0.1')
    own.write('hello')
    expect(String(await once(client, 'data'))).toBe('hello')
    own.pause()
    client.write(Buffer.alloc(100_000))
    await pause(50)
    expect(taken).toBe(0)
    own.resume()
    await until(() => taken === 100_000)
    const ended = once(own, 'end')
    client.end()
    await ended
    await until(() => own.destroyed)
  })

  it('leaves nothing to the server that accepted them', async () => {
    await pair(() => {})
    const counted = await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))
    expect(counted).toBe(0)
    const closed = once(server, 'close')
    server.close()
    await closed
  })
})
