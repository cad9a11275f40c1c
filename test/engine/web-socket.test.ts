import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { WebSocketEngine } from '../../lib/broker/engine/web-socket.js'
import { mostMessageBytes } from '../../lib/transport/web-socket.js'
import { certificate } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { Peer } from './host.js'
import { type EngineUnderTest, runSeamSuite } from './seam.js'

const make: EngineUnderTest['make'] = (host, tls) =>
  new WebSocketEngine(host, tls, { origins: [], handshakeTimeoutMs: 5000, isOpen: () => true })

const folder = makeFolder()
const { key, cert } = certificate(folder, 'broker')
removeFolder(folder)

/** The messages of a WebSocket as the stream of bytes that they are. */
class Bytes extends Duplex {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    super()
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      if (!this.push(data)) socket.pause()
    })
    socket.on('close', () => this.push(null))
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    for (let at = 0; at < chunk.length; at += mostMessageBytes) {
      const end = at + mostMessageBytes
      this.#socket.send(chunk.subarray(at, end), end < chunk.length ? () => {} : done)
    }
  }

  override _final(done: () => void): void {
    this.#socket.close()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.terminate()
    done(error)
  }
}

const peers =
  (scheme: 'ws' | 'wss') =>
  async (port: number, reads = true) => {
    const carrier = connectTcp({ port, host: '127.0.0.1', noDelay: true })
    carrier.on('error', () => {})
    const createConnection = () => (scheme === 'ws' ? carrier : connectTls({ socket: carrier, ca: cert }))
    const socket = new WebSocket(`${scheme}://127.0.0.1:${port}`, { createConnection, perMessageDeflate: false })
    await once(socket, 'open')
    socket.on('error', () => {})
    const peer = new Peer(new Bytes(socket) as unknown as Socket, carrier)
    if (!reads) {
      peer.socket.pause()
      socket.pause()
    }
    return peer
  }

runSeamSuite('web socket', { make, connect: peers('ws'), isFramed: true })
runSeamSuite('web socket, tls', { make, tls: { key, cert, handshakeTimeoutMs: 200 }, connect: peers('wss') })
