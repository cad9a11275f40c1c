import type { TLSSocket } from 'node:tls'

/** Why a TLS handshake failed, seen from the broker, by Node's code for it: what it means and what to do. */
const meanings: Readonly<Record<string, string>> = {
  ECONNRESET:
    "the client ended the connection within the handshake. It may not trust the broker's certificate, or have gone.",
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the client did not finish the handshake in time.',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA:
    "the client does not trust the broker's certificate: give it the certificate of the authority (tls.ca, HERMES_TLS_CA).",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: "the client did not accept the broker's certificate.",
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: "the client did not accept the broker's certificate.",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    "the client takes the broker's certificate for expired: look at both clocks.",
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'the client gave no certificate, and this broker asks for one.',
  ERR_SSL_CERTIFICATE_VERIFY_FAILED:
    "the client's certificate is not signed by the authority of 'tls.ca', or has expired.",
}

const notTls = 'the client does not speak TLS: it has to connect to tls:// in place of tcp://.'
const clearText: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNKNOWN_PROTOCOL',
  'ERR_SSL_WRONG_VERSION_NUMBER',
])

/**
 * A sentence for the log.
 *
 * @param socket of the client: where its certificate was not accepted, Node says so there, and of the error only that the connection ended
 */
export function tlsFailure(error: Error, socket: Partial<Pick<TLSSocket, 'authorizationError'>>): string {
  const { authorizationError } = socket
  if (authorizationError) {
    return `the client's certificate is not accepted (${authorizationError}): it has to be valid now, and signed by the authority of 'tls.ca'.`
  }
  const { code = '', reason } = error as Error & { code?: string; reason?: string }
  if (clearText.has(code)) return notTls
  // What OpenSSL says itself names its source files.
  return meanings[code] ?? `${reason ?? error.message.trim()}.`
}
