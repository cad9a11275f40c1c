import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { certificateNameOf } from './certificate-name.js'
import type { Engine, EngineHost, EngineSocket, EngineTls, SocketHandler } from './engine.js'
import { readFrom } from './incoming.js'
import { descriptorOf, keyOf, listenAt, portOf, renewCertificate, tlsOptions } from './node-server.js'
import { tlsFailure } from './tls-failure.js'

/** A TLS connection from below, before its handshake and after it. */
interface Raw<Guest> {
  readonly socket: Socket
  readonly guest: Guest
  isServed: boolean
}

/** Node's own streams as an engine. */
export class NodeEngine<Guest> implements Engine {
  readonly #host: EngineHost<Guest>
  readonly #server: Server
  /** TLS: sockets before their handshake, and who they are. */
  readonly #raw = new Map<string, Raw<Guest>>()
  /** How many are served and not closed. The server does not count those that `readFrom` has taken from it. */
  #served = 0
  readonly #closed: Promise<void>
  #noteClosed = () => {}
  #serverIsClosed = false
  #stopped = false

  constructor(host: EngineHost<Guest>, tls: EngineTls | undefined) {
    this.#host = host
    this.#closed = new Promise((resolve) => {
      this.#noteClosed = resolve
    })
    if (tls === undefined) {
      this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
      return
    }
    this.#server = createTlsServer(tlsOptions(tls), (socket) => this.#greeted(socket))
    // A TLS handshake costs both memory and time: the limits come before it.
    this.#server.on('connection', (socket: Socket) => this.#acceptRaw(socket))
    this.#server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      host.failed('tls-failed', { address: socket.remoteAddress, message: tlsFailure(error, socket) })
      // Node tells of a greeting that did not come in time, and waits on.
      socket.destroy()
    })
  }

  get port(): number {
    return portOf(this.#server)
  }

  listen(host: string, port: number): Promise<void> {
    return listenAt(this.#server, host, port, this.#host)
  }

  renew(certificate: Pick<EngineTls, 'key' | 'cert' | 'ca'>): void {
    renewCertificate(this.#server, certificate)
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    // (with an error if it does not listen; then it's closed as well)
    this.#server.close(() => {
      this.#serverIsClosed = true
      this.#noteIfClosed()
    })
  }

  close(): Promise<void> {
    this.stop()
    // Half-open handshakes too: the server would wait for them.
    for (const { socket, isServed } of this.#raw.values()) if (!isServed) socket.destroy()
    return this.#closed
  }

  #noteIfClosed(): void {
    if (this.#serverIsClosed && this.#served === 0) this.#noteClosed()
  }

  #accept(socket: Socket): void {
    let handler: SocketHandler | undefined
    const guest = this.#admit(socket, () => handler?.destroy())
    if (guest !== undefined) handler = this.#serve(socket, guest)
  }

  /** TLS: before the handshake. */
  #acceptRaw(socket: Socket): void {
    const key = keyOf(socket)
    const guest = this.#admit(socket, () => socket.destroy())
    if (guest === undefined) return
    const raw = { socket, guest, isServed: false }
    this.#raw.set(key, raw)
    socket.once('close', () => {
      this.#raw.delete(key)
      if (!raw.isServed) this.#host.leave(guest)
    })
  }

  /** TLS: after the handshake. */
  #greeted(socket: Socket): void {
    const found = this.#raw.get(keyOf(socket))
    if (found === undefined || this.#stopped) {
      socket.destroy()
      return
    }
    found.isServed = true
    this.#serve(socket, found.guest)
  }

  #serve(accepted: Socket, guest: Guest): SocketHandler {
    const socket = new NodeSocket(accepted)
    const handler = this.#host.serve(socket, guest)
    this.#served++
    socket.start(handler, () => {
      this.#served--
      this.#noteIfClosed()
    })
    return handler
  }

  #admit(socket: Socket, drop: () => void): Guest | undefined {
    const guest = this.#host.admit(socket.remoteAddress ?? 'unknown', descriptorOf(socket), drop)
    if (guest === undefined) socket.destroy()
    return guest
  }
}

class NodeSocket implements EngineSocket {
  #socket: Socket

  constructor(accepted: Socket) {
    this.#socket = accepted
  }

  start(handler: SocketHandler, closed?: () => void): void {
    const socket = readFrom(this.#socket, (bytes) => handler.received(bytes))
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('drain', () => handler.drained())
    socket.on('error', (error: NodeJS.ErrnoException) => handler.lost(error.message, error.code))
    socket.on('end', () => handler.lost())
    socket.on('close', () => {
      handler.closed()
      closed?.()
    })
  }

  get certificateName(): string | undefined {
    return certificateNameOf(this.#socket)
  }

  get waitingBytes(): number {
    return this.#socket.writableLength
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead
  }

  get sentBytes(): number {
    return this.#socket.bytesWritten
  }

  get isPaused(): boolean {
    return this.#socket.isPaused()
  }

  get isDestroyed(): boolean {
    return this.#socket.destroyed
  }

  write(bytes: Uint8Array, written?: () => void): void {
    this.#socket.write(bytes, written)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
