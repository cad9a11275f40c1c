import type { Target, Transport } from './connection.js'
import { connectFailure } from './failure.js'
import { overWebSocket, type WebSocketLike } from './web-socket.js'

type WebSocketClass = new (url: string) => WebSocketLike

/** The WebSocket of the browser, or of whatever has one. It needs nothing of Node. */
export function webTransport(target: Target): Transport {
  return {
    connect(events) {
      const { WebSocket } = globalThis as unknown as { readonly WebSocket: WebSocketClass }
      return overWebSocket(new WebSocket(target.url), 'arraybuffer', events)
    },
    explain: (reason) => connectFailure(reason, target, undefined),
  }
}
