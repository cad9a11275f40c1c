import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import { type TLSSocket, Server as TlsServer } from 'node:tls'
import { WebSocketServer } from 'ws'
import { mostMessageBytes } from '../../transport/web-socket.js'
import type { Engine, EngineHost, EngineTls, SocketHandler } from './engine.js'
import { descriptorOf, keyOf, listenAt, portOf, renewCertificate, tlsOptions } from './node-server.js'
import { originRefusal } from './origins.js'
import { tlsFailure } from './tls-failure.js'
import { DoorSocket, WebSocketPeer } from './web-socket-peer.js'

/** Connections that the system keeps for us until they are accepted. */
const mostHeaderBytes = 8192
/** Pieces of one message, as it was divided by its sender and by the network. What is smaller costs more memory than it holds. */
const mostFragments = 64
const mostChunks = 1024

/** For the package ws. (Its declarations are older than two of these.) */
const upgrades = {
  noServer: true,
  clientTracking: false,
  WebSocket: DoorSocket,
  maxPayload: mostMessageBytes,
  maxFragments: mostFragments,
  maxBufferedChunks: mostChunks,
  // A few bytes could become any number of them.
  perMessageDeflate: false,
}

export interface WebSocketDoor {
  /** Origins whose pages may connect, beside the server's own; `*`: all. */
  readonly origins: readonly string[]
  /** How long a client may take to become a WebSocket. */
  readonly handshakeTimeoutMs: number
  /** Authentication is not configured. */
  isOpen(): boolean
}

/** A connection that is no WebSocket yet, or has become one. */
interface Raw<Guest> {
  readonly socket: Socket
  readonly guest: Guest
  timer: NodeJS.Timeout | undefined
  /** `undefined` until it is a WebSocket. */
  handler: SocketHandler | undefined
}

/** WebSockets as an engine: the stream of packets comes and goes in binary messages. HTTP and frames are read by Node and by the package ws. */
export class WebSocketEngine<Guest> implements Engine {
  readonly #host: EngineHost<Guest>
  readonly #door: WebSocketDoor
  readonly #server: Server
  readonly #upgrades: WebSocketServer
  readonly #raw = new Map<string, Raw<Guest>>()
  #own = ''
  #dashboardPort: number | undefined
  #served = 0
  #stopped = false
  readonly #closed: Promise<void>
  #noteClosed = () => {}

  constructor(host: EngineHost<Guest>, tls: EngineTls | undefined, door: WebSocketDoor) {
    this.#host = host
    this.#door = door
    this.#closed = new Promise((resolve) => {
      this.#noteClosed = resolve
    })
    this.#upgrades = new WebSocketServer(upgrades)
    // (All that is admitted has `handshakeTimeoutMs`, whatever it does.)
    const options = { maxHeaderSize: mostHeaderBytes, headersTimeout: 0, requestTimeout: 0 }
    if (tls === undefined) {
      this.#server = createServer(options)
    } else {
      this.#server = createSecureServer({ ...options, ...tlsOptions(tls) })
      // Until then, TLS has its own time.
      this.#server.on('secureConnection', (socket: TLSSocket) => this.#await(this.#raw.get(keyOf(socket))))
      this.#server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
        host.failed('tls-failed', { address: socket.remoteAddress, message: tlsFailure(error, socket) })
        socket.destroy()
      })
    }
    // Of TLS as well, it is told before the handshake.
    this.#server.on('connection', (socket: Socket) => this.#accept(socket))
    this.#server.on('request', (request, response) => answerPlain(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head))
    this.#server.on('clientError', (_error: Error, socket: Socket) => socket.destroy())
  }

  /** WebSockets that are open. */
  get served(): number {
    return this.#served
  }

  get port(): number {
    return portOf(this.#server)
  }

  listen(host: string, port: number): Promise<void> {
    this.#own = host
    return listenAt(this.#server, host, port, this.#host)
  }

  /** The page of an admin server at this port may connect. */
  admitDashboard(port: number): void {
    this.#dashboardPort = port
  }

  renew(certificate: Pick<EngineTls, 'key' | 'cert' | 'ca'>): void {
    renewCertificate(this.#server, certificate)
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    // (It counts all sockets that it has accepted, also those that are WebSockets now.)
    this.#server.close(() => this.#noteClosed())
  }

  close(): Promise<void> {
    this.stop()
    for (const { socket, handler } of this.#raw.values()) if (handler === undefined) socket.destroy()
    return this.#closed
  }

  #accept(socket: Socket): void {
    const key = keyOf(socket)
    let raw: Raw<Guest> | undefined
    const guest = this.#host.admit(socket.remoteAddress ?? 'unknown', descriptorOf(socket), () => {
      const handler = raw?.handler
      if (handler === undefined) socket.destroy()
      else handler.destroy()
    })
    if (guest === undefined) {
      socket.destroy()
      return
    }
    const entry: Raw<Guest> = { socket, guest, timer: undefined, handler: undefined }
    raw = entry
    if (!(this.#server instanceof TlsServer)) this.#await(entry)
    this.#raw.set(key, entry)
    socket.once('close', () => {
      clearTimeout(entry.timer)
      this.#raw.delete(key)
      if (entry.handler === undefined) this.#host.leave(guest)
    })
  }

  /** It has so much time to become a WebSocket, whatever it says meanwhile. */
  #await(raw: Raw<Guest> | undefined): void {
    if (raw !== undefined) raw.timer = setTimeout(() => raw.socket.destroy(), this.#door.handshakeTimeoutMs)
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => {})
    const raw = this.#raw.get(keyOf(socket))
    if (raw === undefined || this.#stopped) {
      socket.destroy()
      return
    }
    const { origin, host } = request.headers
    const refusal = originRefusal(
      { origin, host },
      this.#door.origins,
      this.#own,
      this.#door.isOpen(),
      this.#dashboardPort,
    )
    if (refusal !== undefined) {
      const address = socket.remoteAddress
      this.#host.failed('origin-refused', { address, origin, host, message: `${refusal} (--ws-origin).` })
      refuse(socket, refusal)
      return
    }
    this.#upgrades.handleUpgrade(request, socket, head, (door) => this.#serve(door as DoorSocket, socket, raw))
  }

  #serve(door: DoorSocket, socket: Socket, raw: Raw<Guest>): void {
    clearTimeout(raw.timer)
    const peer = new WebSocketPeer(door, socket)
    const handler = this.#host.serve(peer, raw.guest)
    raw.handler = handler
    this.#served++
    peer.start(handler, () => {
      this.#served--
    })
  }
}

/** What came by HTTP and asks for no WebSocket. */
function answerPlain(_request: IncomingMessage, response: ServerResponse): void {
  const body = "This is the door of a Hermes broker for WebSockets: open('ws://…').\n"
  response.writeHead(426, {
    Connection: 'close, Upgrade',
    Upgrade: 'websocket',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.length,
  })
  response.end(body)
}

function refuse(socket: Socket, why: string): void {
  const body = `${why}\n`
  const head = `HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}`
  socket.end(`${head}\r\n\r\n${body}`, () => socket.destroy())
}
