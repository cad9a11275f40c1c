import { connect } from 'node:net'
import type { Target, Transport } from './connection.js'
import { connectFailure } from './failure.js'
import { overSocket } from './socket.js'

/** Read at once, at most. */
const readBytes = 256 * 1024

/** Plain TCP. */
export function tcpTransport(target: Target): Transport {
  const { host, port } = target
  return {
    connect(events) {
      // One buffer for all that is read: Node would make a new one of 64 KiB for each chunk.
      const onread = {
        buffer: Buffer.allocUnsafeSlow(readBytes),
        callback: (bytes: number, buffer: Uint8Array): boolean => {
          events.received(Buffer.from(buffer.buffer, buffer.byteOffset, bytes))
          return true
        },
      }
      return overSocket(connect({ host, port, noDelay: true, onread }), 'connect', events)
    },
    explain: (reason) => connectFailure(reason, target, undefined),
  }
}
