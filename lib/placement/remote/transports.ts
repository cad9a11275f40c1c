import type { Transport } from '../../transport/connection.js'
import type { TcpSettings } from './options.js'

/** What carries packets to the broker of these settings. Its code is loaded when it is needed. */
export async function transportOf(settings: TcpSettings): Promise<Transport> {
  const { url, host, port, isWebSocket, secure, tls } = settings
  const target = { url, host, port }
  if (isWebSocket) return (await import('../../transport/ws.js')).wsTransport(target, secure ? tls : undefined)
  if (secure) return (await import('../../transport/tls.js')).tlsTransport(target, tls)
  return (await import('../../transport/tcp.js')).tcpTransport(target)
}
