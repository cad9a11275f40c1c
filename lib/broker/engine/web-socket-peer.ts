import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { mostMessageBytes } from '../../transport/web-socket.js'
import { certificateNameOf } from './certificate-name.js'
import type { EngineSocket, SocketHandler } from './engine.js'

/** A WebSocket that tells when the other side has begun to close: ws itself tells only once both sides have, which a client may put off. */
export class DoorSocket extends WebSocket {
  onConcluded: () => void = () => {}
  #isEnding = false

  /** Called by ws for what the other side has sent: its end, or what is no WebSocket frame. */
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason)
    // (The error comes next, if it is one.)
    if (!this.#isEnding) queueMicrotask(() => this.onConcluded())
  }

  /** Our own end, after what was written. */
  conclude(): void {
    this.#isEnding = true
    super.close(1000)
  }
}

/** One WebSocket as a stream of bytes. */
export class WebSocketPeer implements EngineSocket {
  readonly #door: DoorSocket
  readonly #socket: Socket

  /** @param socket what carries it: what waits is counted there, since nothing is compressed */
  constructor(door: DoorSocket, socket: Socket) {
    this.#door = door
    this.#socket = socket
  }

  start(handler: SocketHandler, closed?: () => void): void {
    const door = this.#door
    const socket = this.#socket
    socket.setNoDelay(true)
    let isLost = false
    const lost = (reason?: string, code?: string): void => {
      if (isLost) return
      isLost = true
      handler.lost(reason, code)
    }
    door.on('message', (data: Buffer, isBinary: boolean) => {
      if (socket.destroyed) return
      if (!isBinary) {
        door.close(1003, 'binary messages only')
        lost('The client sent a WebSocket message of text.')
      } else if (data.length > 0) handler.received(data)
    })
    door.onConcluded = () => lost()
    door.on('error', ({ message }) => lost(message))
    socket.on('error', ({ message, code }: NodeJS.ErrnoException) => lost(message, code))
    socket.on('drain', () => handler.drained())
    door.on('close', () => {
      lost()
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
    return this.#door.isPaused
  }

  get isDestroyed(): boolean {
    return this.#socket.destroyed
  }

  write(bytes: Uint8Array, written?: () => void): void {
    const door = this.#door
    let at = 0
    for (; bytes.length - at > mostMessageBytes; at += mostMessageBytes)
      door.send(bytes.subarray(at, at + mostMessageBytes))
    // (Frames of a server are not masked, so nothing is copied.)
    door.send(at === 0 ? bytes : bytes.subarray(at), written)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#door.pause()
  }

  resume(): void {
    this.#door.resume()
  }

  end(): void {
    this.#door.conclude()
  }

  destroy(): void {
    this.#door.terminate()
  }
}
