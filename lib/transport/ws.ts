import { WebSocket } from 'ws'
import type { ClientTls, Target, Transport } from './connection.js'
import { connectFailure, unusableTls } from './failure.js'
import { mostMessageBytes, overWebSocket, type WebSocketLike } from './web-socket.js'

/**
 * WebSocket in Node, by the package ws: Node 20 has none of its own, and that of later versions takes no certificates.
 *
 * @param tls `undefined`: in clear text
 */
export function wsTransport(target: Target, tls: ClientTls | undefined): Transport {
  return {
    connect(events) {
      let socket: WebSocket
      try {
        socket = new WebSocket(target.url, {
          ...(tls && { ...tls, minVersion: 'TLSv1.2' }),
          // The broker does not offer it, and what it sends is bounded.
          perMessageDeflate: false,
          maxPayload: mostMessageBytes,
        })
      } catch (cause) {
        throw unusableTls(cause)
      }
      return overWebSocket(socket as unknown as WebSocketLike, 'nodebuffer', events)
    },
    explain: (reason) => connectFailure(reason, target, tls),
  }
}
