import type { AddressInfo, Server, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import type { EngineHost, EngineTls } from './engine.js'

/** Connections that the system keeps for a server until they are accepted. */
const backlog = 511

type Certificate = Pick<EngineTls, 'key' | 'cert' | 'ca'>

const secured = ({ key, cert, ca }: Certificate) =>
  ({ key, cert, ...(ca !== undefined && { ca }), minVersion: 'TLSv1.2' }) as const

/** What a server of Node is made with to speak TLS. */
export const tlsOptions = (tls: EngineTls) => ({
  ...secured(tls),
  ...(tls.ca !== undefined && { requestCert: true, rejectUnauthorized: true }),
  handshakeTimeout: tls.handshakeTimeoutMs,
})

/** For handshakes from now on. */
export function renewCertificate(server: Server, certificate: Certificate): void {
  if (!(server instanceof TlsServer)) throw new Error('This engine does not speak TLS.')
  server.setSecureContext(secured(certificate))
}

/** 0 while it does not listen. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo | null)?.port ?? 0
}

/** Later failures of listening are told to `host`. */
export function listenAt(
  server: Server,
  address: string,
  port: number,
  host: Pick<EngineHost<unknown>, 'failed'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: address, port, backlog }, () => {
      server.removeAllListeners('error')
      server.on('error', ({ message }) => host.failed('listen-failed', { message }))
      resolve()
    })
  })
}

/** Tells a socket from all others that are open. */
export function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

/**
 * The socket's descriptor. The system gives out the lowest that is free, so a high one says that nearly all below it are in use. (Waiting
 * for the error would not do: libuv closes connections that it has no descriptor for, without an event.)
 */
export function descriptorOf(socket: Socket): number {
  const { fd } = (socket as Socket & { _handle?: { readonly fd?: number } | null })._handle ?? {}
  return fd ?? -1
}
