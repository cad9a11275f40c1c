/*
 * What the broker needs of a network: to listen, to accept, to read, to write, to know what waits, and to close. node.ts has it from Node's
 * own streams, epoll.ts by the addon; choose.ts chooses. The suites of test/engine run over each.
 */

import type { LogCursor } from '../../store/log-cursor.js'

/** What may be asked for. `uring` is refused as yet. */
export const engineNames = ['node', 'epoll', 'uring', 'auto'] as const
export type EngineName = (typeof engineNames)[number]

/** Read at once from one socket, at most. */
export const readBytes = 256 * 1024

/** A connection, from the moment that it may carry the protocol's bytes. */
export interface EngineSocket {
  /** The common name in the client's certificate, if it was checked. */
  readonly certificateName: string | undefined
  /** Written and not taken by the system yet, in bytes. */
  readonly waitingBytes: number
  /** Read and written since the connection was made, in bytes. */
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly isPaused: boolean
  /** Nothing can be written any more. */
  readonly isDestroyed: boolean
  /** Begins to read. Called once. */
  start(handler: SocketHandler): void
  /** The bytes must stay as they are until `written` is called. */
  write(bytes: Uint8Array, written?: () => void): void
  /**
   * Sends what comes next in a log as one DELIVER, by the addon: its head and the frames, straight from the mapping. Engines that have no such way
   * leave it out.
   *
   * @returns how many bytes it has, 0 if nothing was sent: there is nothing, or what comes next needs the rules of `LogTail`
   */
  deliver?(cursor: LogCursor, delivery: Delivery): number
  /** What is written between the two goes out together; they may be nested. */
  cork(): void
  uncork(): void
  /** Reads no more until `resume`. What was read already may still be handed out. */
  pause(): void
  resume(): void
  /** Closes once everything that was written has gone out. */
  end(): void
  /** Closes at once. */
  destroy(): void
}

/** What a DELIVER says besides what is in the log. */
export interface Delivery {
  readonly channel: number
  readonly epoch: number
  /** That the topic's next message will get, as far as is known. */
  readonly nextSequence: number
  readonly mostMessages: number
  /** Of frames. */
  readonly mostBytes: number
}

/** Receives the events of a socket. */
export interface SocketHandler {
  /** What has arrived. It's valid until the call returns: engines read into memory that all sockets share. */
  received(bytes: Buffer): void
  /** Nothing waits to be written any more, after much did. */
  drained(): void
  /** The other side has taken something of what waited. Engines that tell so by calling back for each write leave it out. */
  progressed?(): void
  /** The other side has ended, or, with a reason and the system's code if it has one (`ECONNRESET`), the connection failed. */
  lost(reason?: string, code?: string): void
  /** The last call. */
  closed(): void
  /** The socket was asked to make room for another one: ends it at once. */
  destroy(): void
}

/** What an engine asks of the broker. `Guest` is whatever the broker keeps of one that it has let in. */
export interface EngineHost<Guest> {
  /**
   * A client connects: asked before anything is done for it, so before a TLS handshake.
   *
   * @param descriptor the socket's file descriptor; -1 if it has none
   * @param drop       ends the connection at once
   * @returns `undefined`: he is turned away
   */
  admit(address: string, descriptor: number, drop: () => void): Guest | undefined
  /** He may speak now. */
  serve(socket: EngineSocket, guest: Guest): SocketHandler
  /** He never got so far. */
  leave(guest: Guest): void
  /** Something failed that concerns no socket that is being served. */
  failed(event: 'listen-failed' | 'tls-failed' | 'origin-refused', facts: Readonly<Record<string, unknown>>): void
}

/** TLS as the engine is to speak it, in PEM. With `ca`, clients need a certificate that it has signed. */
export interface EngineTls {
  readonly key: string | Buffer
  readonly cert: string | Buffer
  readonly ca?: string | Buffer
  readonly handshakeTimeoutMs: number
}

/** Accepts connections on one address. */
export interface Engine {
  /** Where it listens; 0 = nowhere. */
  readonly port: number
  /** Rejects with the system's error. */
  listen(host: string, port: number): Promise<void>
  /** Handshakes from now on are made with these. REQUIRES: TLS is spoken, and with `ca` only if there was one. */
  renew(tls: Pick<EngineTls, 'key' | 'cert' | 'ca'>): void
  /** Accepts no more. What is served goes on. */
  stop(): void
  /** Looks at the sockets now, without sleeping: for a broker that spins. Engines that the event loop serves anyway have nothing to do. */
  spin?(): void
  /** Stops, ends what is not served yet, and resolves once all sockets are closed. */
  close(): Promise<void>
}
