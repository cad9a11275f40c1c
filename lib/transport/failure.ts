import { HermesError } from '../base/errors.js'
import { systemAdvice } from '../base/system-advice.js'
import type { ClientTls, Target } from './connection.js'
import { WebSocketFailed } from './web-socket.js'

const unknownAuthority =
  "the broker's certificate is not signed by an authority that this program trusts. Give the authority's certificate with tls: { ca }, or to the command line in HERMES_TLS_CA (a self-signed certificate is its own authority)."
const clearText =
  'what answers there does not speak TLS. If the broker has no certificate (`--tls-cert`), connect to tcp:// in place of tls://; else look at the port.'
const certificateWanted =
  'the broker asks for a client certificate, and none was given. Give one with tls: { cert, key }, or to the command line in HERMES_TLS_CERT and HERMES_TLS_KEY, signed by the authority that the broker trusts.'
const certificateRefused =
  'the broker did not accept our client certificate. Give one with tls: { cert, key }, or to the command line in HERMES_TLS_CERT and HERMES_TLS_KEY, that has not expired, signed by the authority that the broker trusts.'
const noCommonProtocol =
  'the two sides have no version or cipher of TLS in common. Hermes needs TLS 1.2 or later on both sides.'

/** What TLS fails with, by Node's code for it: what it means and what to do. */
const meanings: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  CERT_UNTRUSTED: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_HAS_EXPIRED:
    "the broker's certificate has expired. Renew it at the broker; if it is valid, look at this machine's clock.",
  CERT_NOT_YET_VALID:
    "the broker's certificate is not valid yet. Look at this machine's clock, and at the broker's when the certificate was made.",
  CERT_REVOKED: "the broker's certificate was revoked. Get a new one for the broker.",
  ERR_SSL_WRONG_VERSION_NUMBER: clearText,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: clearText,
  ERR_SSL_UNKNOWN_PROTOCOL: clearText,
  ERR_SSL_HTTP_REQUEST: clearText,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: certificateWanted,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: certificateRefused,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: certificateRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: certificateRefused,
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: certificateRefused,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: noCommonProtocol,
  ERR_SSL_UNSUPPORTED_PROTOCOL: noCommonProtocol,
  ERR_SSL_NO_PROTOCOLS_AVAILABLE: noCommonProtocol,
}

/** What a connection was lost with, or not made. @returns as it is, if it is a HermesError that says why already */
export function connectFailure(reason: Error, target: Target, tls: ClientTls | undefined): HermesError {
  if (reason instanceof HermesError && reason.code !== 'TIMED_OUT') return reason
  const { url } = target
  const message = `No connection to ${url}: ${meaning(reason, target.host, tls)}`
  return new HermesError('CONNECTION_FAILED', message, { cause: reason, details: { url } })
}

function meaning(reason: Error, host: string, tls: ClientTls | undefined): string {
  const { code = '' } = reason as NodeJS.ErrnoException
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the broker's certificate is not for '${tls?.servername ?? host}'. Connect by a name that it has, or say with tls: { servername } which name it has. (${reason.message})`
  }
  if (code === 'ECONNREFUSED') {
    return `nothing listens there (${reason.message}). Start a broker with \`hermes serve\`, or look at host and port.`
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name '${host}' leads to no address (${reason.message}).`
  const known = meanings[code]
  // With certificates of clients, a server without an alert for it simply ends what it does not accept.
  if (known === certificateWanted && tls?.cert !== undefined) return certificateRefused
  if (known !== undefined) return known
  if (reason instanceof WebSocketFailed) return webSocketAdvice
  const answered = /^Unexpected server response: (\d+)/.exec(reason.message)?.[1]
  if (answered !== undefined)
    return `what answers there takes no WebSocket of ours (HTTP ${answered}). Connect to the broker's door (\`hermes serve --ws\`).`
  const advice = systemAdvice(reason)
  const text = `${reason.message || code}.`.replace(/\.\.$/, '.')
  if (advice !== undefined) return `${text} ${advice}`
  if (tls === undefined) return reason instanceof ClosedByBroker ? `${text} ${secureAdvice}` : text
  if (code === 'ECONNRESET' || code === 'EPIPE' || reason instanceof ClosedByBroker) return `${text} ${endedAdvice}`
  return code.startsWith('ERR_SSL') ? `the TLS handshake failed (${text.replace(/\.$/, '')}).` : text
}

const secureAdvice = 'If it is a broker with a certificate (`--tls-cert`), connect to tls:// in place of tcp://.'

const webSocketAdvice =
  'a browser tells no reason. Look whether a broker has its door there (`hermes serve --ws`), whether its `--ws-origin` allows this page, and whether a page of https: uses wss:.'

const endedAdvice =
  'If the broker takes only clients with a certificate of its authority, give one with tls: { cert, key }, or to the command line in HERMES_TLS_CERT and HERMES_TLS_KEY.'

/** The other side has ended the connection, without a word. */
export class ClosedByBroker extends Error {
  constructor() {
    super('the broker closed the connection')
  }
}

/** What node:tls throws at once: certificates and keys that it can't read. */
export function unusableTls(cause: unknown): HermesError {
  const what = cause instanceof Error ? cause.message : String(cause)
  return new HermesError(
    'INVALID_ARGUMENT',
    `The certificates in 'tls' can't be used: 'ca', 'cert' and 'key' are PEM texts, and 'key' belongs to 'cert' (${what}).`,
    { cause },
  )
}
