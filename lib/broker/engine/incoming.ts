import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { readBytes } from './engine.js'

/**
 * What arrives on any connection is read into this one buffer, and has been taken from it before anything else is read. Node would
 * make a new buffer of 64 KiB for each read, and such memory counts for V8's collector: at 200 MB/s it takes a fifth of the broker's time.
 */
let shared: Buffer | undefined

/** The part of Node's own stream handle that is needed here. */
interface StreamHandle {
  readonly useUserBuffer?: unknown
}

interface Internals {
  _handle?: StreamHandle | null
}

/**
 * Reads from an accepted connection: each piece is valid until `take` returns.
 *
 * Node lets one choose the buffer (`onread`) of connections that one makes oneself, but not of those that a server accepts. So the accepted
 * connection's handle is given to a new `Socket`, as Node does when a connection goes to another process.
 *
 * @returns what to use in place of `socket`
 */
export function readFrom(socket: Socket, take: (piece: Buffer) => void): Socket {
  const internals = socket as Socket & Internals
  const handle = internals._handle
  // TLS has buffers of its own; and what a future Node has in place of handles is read as any stream.
  if (socket instanceof TLSSocket || typeof handle?.useUserBuffer !== 'function') {
    socket.on('data', take)
    return socket
  }
  shared ??= Buffer.allocUnsafeSlow(readBytes)
  const buffer = shared
  const onread = {
    buffer,
    callback: (bytes: number): boolean => {
      take(buffer.subarray(0, bytes))
      return true
    },
  }
  internals._handle = null
  const own = new Socket({ handle, onread } as ConstructorParameters<typeof Socket>[0])
  // Its server counts it no more.
  socket.destroy()
  return own
}
