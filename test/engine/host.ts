import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { EngineHost, EngineSocket, SocketHandler } from '../../lib/broker/engine/engine.js'

/** Waits for what has to come; how long it takes does not matter. */
export async function until(what: string, isSo: () => boolean, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** One connection as the broker's side sees it: notes every call. */
export class Served implements SocketHandler {
  readonly socket: EngineSocket
  readonly events: string[] = []
  readonly #pieces: Buffer[] = []
  receivedBytes = 0
  /** The system's code of what it has failed by. */
  lostBy: string | undefined
  /** Called with each piece, while it's valid. */
  onPiece: (piece: Buffer) => void = () => {}

  constructor(socket: EngineSocket) {
    this.socket = socket
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces)
  }

  received(piece: Buffer): void {
    this.#note('received')
    // (the memory is the engine's: it's copied while it's valid)
    this.#pieces.push(Buffer.from(piece))
    this.receivedBytes += piece.length
    this.onPiece(piece)
  }

  drained(): void {
    this.#note('drained')
  }

  progressed(): void {
    this.#note('progressed')
  }

  lost(reason?: string, code?: string): void {
    this.lostBy = code
    this.#note(reason === undefined ? 'ended' : 'failed')
    // As the broker does: what was written goes out, then the socket is closed.
    this.socket.end()
  }

  closed(): void {
    this.#note('closed')
  }

  destroy(): void {
    this.#note('destroy')
    this.socket.destroy()
  }

  /** How often it was told of something. */
  count(event: string): number {
    return this.events.filter((one) => one === event).length
  }

  #note(event: string): void {
    if (this.events.at(-1) !== event || event !== 'received') this.events.push(event)
  }
}

/** A broker that lets in whom it is told to, and notes what an engine tells it. */
export class RecordingHost implements EngineHost<number> {
  readonly served: Served[] = []
  readonly admitted: { readonly address: string; readonly descriptor: number; readonly drop: () => void }[] = []
  readonly left: number[] = []
  readonly failures: string[] = []
  admits = true
  /** Whether each one has to make room for the next. */
  letsOneIn = false

  admit(address: string, descriptor: number, drop: () => void): number | undefined {
    if (this.letsOneIn) this.admitted.at(-1)?.drop()
    this.admitted.push({ address, descriptor, drop })
    return this.admits ? this.admitted.length : undefined
  }

  serve(socket: EngineSocket): SocketHandler {
    const served = new Served(socket)
    this.served.push(served)
    return served
  }

  leave(guest: number): void {
    this.left.push(guest)
  }

  failed(event: 'listen-failed' | 'tls-failed'): void {
    this.failures.push(event)
  }

  /** The connection with this number, from 0 on, once it is served. */
  async one(index = 0): Promise<Served> {
    await until(`connection ${index}`, () => this.served.length > index)
    return this.served[index] as Served
  }
}

/** The other side of a connection. */
export class Peer {
  readonly socket: Socket
  readonly #pieces: Buffer[] = []
  receivedBytes = 0
  hasEnded = false
  hasClosed = false
  /** Ends the connection without the word that it ends. */
  readonly reset: () => void

  /** @param carrier what the connection's bytes go through, if that is another socket */
  constructor(socket: Socket, carrier: Socket = socket) {
    this.socket = socket
    this.reset = () => carrier.resetAndDestroy()
    socket.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.receivedBytes += piece.length
    })
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.hasClosed = true
    })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}

/** A plain connection. One that reads nothing is paused before anything comes. */
export async function plainPeer(port: number, reads = true): Promise<Peer> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  const peer = new Peer(socket)
  if (!reads) socket.pause()
  return peer
}
