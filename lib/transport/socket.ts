import type { Socket } from 'node:net'
import type { Connection, ConnectionEvents } from './connection.js'

/**
 * A connection over a socket of Node.
 *
 * @param opened the socket's event that says that bytes may be written
 */
export function overSocket(socket: Socket, opened: 'connect' | 'secureConnect', events: ConnectionEvents): Connection {
  let reason: Error | undefined
  socket.setNoDelay(true)
  socket.once(opened, () => events.opened())
  socket.on('error', (error) => {
    reason ??= error
  })
  socket.on('close', () => events.closed(reason))
  return {
    write: (bytes) => socket.write(bytes),
    get unwrittenBytes() {
      return socket.writableLength
    },
    end: () => void socket.end(),
    destroy: (cause) => {
      reason ??= cause
      socket.destroy()
    },
  }
}
