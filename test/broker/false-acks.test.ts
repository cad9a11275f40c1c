import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { open, type Status, text } from '../../lib/index.js'
import type { Run } from '../../lib/wire/packet.js'
import { ackPacket } from '../../lib/wire/packet-writer.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/** Carries everything unchanged, but for what the broker says while there is a lie to tell in its place. */
class Liar {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  lie: Buffer | undefined

  private constructor(target: number) {
    this.#server = createServer({ noDelay: true }, (client) => {
      const broker = connect({ port: target, host: '127.0.0.1', noDelay: true })
      for (const [from, to] of [
        [client, broker],
        [broker, client],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => {})
        from.on('close', () => to.destroy())
        from.on('data', (chunk: Buffer) => {
          const { lie } = this
          if (from === client || lie === undefined) to.write(chunk)
          else {
            this.lie = undefined
            to.write(lie)
          }
        })
      }
    })
  }

  static async start(target: number): Promise<Liar> {
    const liar = new Liar(target)
    liar.#server.listen(0, '127.0.0.1')
    await once(liar.#server, 'listening')
    return liar
  }

  get url(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

let folder: string
let broker: Broker
let liar: Liar

beforeEach(async () => {
  folder = makeFolder()
  broker = await serve({ dir: join(folder, 'data'), port: 0, limits: { maxHandshakesPerSecond: 10_000 } })
  liar = await Liar.start(broker.port)
})

afterEach(async () => {
  await liar.close()
  await broker.close()
  removeFolder(folder)
})

describe('an acknowledgement of what was never sent', () => {
  it('ends the connection, and what it seemed to acknowledge is sent again and stored once', async () => {
    const statuses: Status[] = []
    const onStatus = (status: Status) => void statuses.push(status)
    await using hermes = await open(liar.url, { reconnect: { minMs: 5, maxMs: 30 }, onStatus })
    const topic = hermes.topic('t', { codec: text, segmentBytes: 1024 * 1024 })
    const publisher = await topic.publisher()
    await publisher.publishAsync('first')
    const future: Run = { first: BigInt(Date.now() + 1e9) * 1_000_000n, sequence: 900, count: 1 }
    liar.lie = ackPacket(1, [future])
    // Believed, it would acknowledge this one too, without a sequence.
    expect((await publisher.publishAsync('second')).sequence).toBe(2)
    expect(liar.lie).toBeUndefined()
    expect(statuses).toContainEqual(
      expect.objectContaining({ type: 'disconnected', reason: expect.objectContaining({ code: 'PROTOCOL' }) }),
    )
    await publisher.publishAsync('third')
    expect((await topic.info()).nextSequence).toBe(4)
  })
})
