import { connect, type TLSSocket } from 'node:tls'
import type { ClientTls, Target, Transport } from './connection.js'
import { connectFailure, unusableTls } from './failure.js'
import { overSocket } from './socket.js'

/** TLS 1.2 or later, over TCP. */
export function tlsTransport(target: Target, tls: ClientTls): Transport {
  const { host, port } = target
  return {
    connect(events) {
      let socket: TLSSocket
      try {
        socket = connect({ host, port, ...tls, minVersion: 'TLSv1.2' })
      } catch (cause) {
        throw unusableTls(cause)
      }
      // (TLS has buffers of its own.)
      socket.on('data', (chunk) => events.received(chunk))
      return overSocket(socket, 'secureConnect', events)
    },
    explain: (reason) => connectFailure(reason, target, tls),
  }
}
