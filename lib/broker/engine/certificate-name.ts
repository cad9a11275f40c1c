import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** The common name in the certificate that a client has shown, if an authority that the broker trusts has signed it. */
export function certificateNameOf(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : undefined
}
