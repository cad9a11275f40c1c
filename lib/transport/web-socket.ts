import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import type { Connection, ConnectionEvents } from './connection.js'

/** A message holds so many bytes at most: docs/wire-protocol.md. */
export const mostMessageBytes = 64 * 1024

/** More than this waits: see `Connection.write`. */
const muchBytes = 1024 * 1024

/** What is used of a WebSocket: that of a browser, and that of the package ws. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  send(bytes: Uint8Array): void
  close(): void
  /** Ends at once, where there is such a call. */
  terminate?(): void
}

/** It ended with an error that a browser tells no page. */
export class WebSocketFailed extends Error {
  constructor() {
    super('the WebSocket failed')
  }
}

/**
 * A connection over a WebSocket: binary messages, which carry the stream of packets in pieces.
 *
 * @param pieces how binary messages come: see `WebSocket.binaryType`
 */
export function overWebSocket(
  socket: WebSocketLike,
  pieces: 'arraybuffer' | 'nodebuffer',
  events: ConnectionEvents,
): Connection {
  let reason: Error | undefined
  let isOpen = false
  let isOver = false
  const finish = (): void => {
    if (isOver) return
    isOver = true
    socket.onopen = socket.onmessage = socket.onclose = null
    // (what fails from now on concerns no one)
    socket.onerror = () => {}
    events.closed(reason)
  }
  const destroy = (cause?: Error): void => {
    if (isOver) return
    reason ??= cause
    socket.onmessage = null
    if (socket.terminate !== undefined) socket.terminate()
    else socket.close()
    // A browser would wait for the broker's answer.
    setTimeout(finish, 0)
  }
  socket.binaryType = pieces
  socket.onopen = () => {
    isOpen = true
    events.opened()
  }
  socket.onmessage = ({ data }: { readonly data: unknown }) => {
    if (data instanceof Uint8Array) events.received(data as Buffer)
    else if (data instanceof ArrayBuffer) events.received(Buffer.from(data))
    else destroy(new HermesError('PROTOCOL', 'The broker sent a WebSocket message of text.'))
  }
  socket.onerror = ({ error }: { readonly error?: unknown }) => {
    reason ??= error instanceof Error ? error : new WebSocketFailed()
  }
  socket.onclose = finish
  return {
    write(bytes) {
      if (!isOpen || isOver) return false
      for (let at = 0; at < bytes.length; at += mostMessageBytes) socket.send(bytes.subarray(at, at + mostMessageBytes))
      return socket.bufferedAmount < muchBytes
    },
    get unwrittenBytes() {
      return socket.bufferedAmount
    },
    end: () => socket.close(),
    destroy,
  }
}
