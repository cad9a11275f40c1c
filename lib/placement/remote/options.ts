import { checkBoolean, checkChoice, checkInteger, checkOptions, checkSignal, invalid } from '../../base/options.js'
import type { ClientTls } from '../../transport/connection.js'
import { type Compression, compressions } from '../../wire/compression.js'

export type { ClientTls } from '../../transport/connection.js'

/** What happens to the connection, as it happens. */
export type Status = {
  readonly url: string
  /** Which of the connections it happens to, from 1 on: see `connections` in `TcpOptions`. */
  readonly connection: number
} & Happening

export type Happening =
  | { readonly type: 'connected'; readonly server: string }
  | { readonly type: 'disconnected'; readonly reason: Error }
  | { readonly type: 'reconnecting'; readonly attempt: number; readonly delayMs: number }
  /** A subscriber is behind by this many messages, and takes nothing. */
  | { readonly type: 'lagging'; readonly topic: string; readonly behind: number }

/** Options of `open()` for `tcp:`, `tls:`, `ws:` and `wss:` places. */
export interface TcpOptions {
  /** What the broker asks for. */
  readonly token?: string
  readonly tls?: ClientTls
  /** How long to wait for the first connection, and for a connection while there is none. Default 10 s. */
  readonly connectTimeoutMs?: number
  /**
   * How long to wait for the answer to a question: `topics()`, `info()`, `publisher()`, `subscriber()`. Then `TIMED_OUT`. Default 30 s: a publisher may have to
   * wait for a recovery.
   */
  readonly requestTimeoutMs?: number
  /** Gives up `open()`. What is open already goes on. */
  readonly signal?: AbortSignal | undefined
  /** Between two attempts to connect again: at first, and at most. A random part of it is left out. Default 50 ms and 5 s. */
  readonly reconnect?: { readonly minMs?: number; readonly maxMs?: number } | false
  /** What a publisher holds until it is acknowledged, in bytes. Beyond, publish() throws BACK_PRESSURE. Default 8 MiB. */
  readonly publishBuffer?: number
  /** What a subscriber has sent to it ahead of its reading, in bytes. Default 4 MiB. */
  readonly subscribeBuffer?: number
  /** How long messages may be held back so that more go together. Default 0: what is there at the end of a turn is sent. */
  readonly maxDelayMs?: number
  /**
   * How many connections to make, 1 to 64. Each publisher and each subscriber uses one of them, those with the fewest first, and stays with it; each
   * connection is made again by itself. Default 1.
   */
  readonly connections?: number
  /** `deflate` compresses batches of a kilobyte and more, where the broker does too. Default `none`. */
  readonly compression?: Compression
  readonly onStatus?: (status: Status) => void
}

/** An IP address, not a name. (Names hold no colon.) */
function isAddress(host: string): boolean {
  return host.includes(':') || /^\d{1,3}(\.\d{1,3}){3}$/.test(host)
}

export interface TcpSettings {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly isWebSocket: boolean
  readonly secure: boolean
  readonly token: string | undefined
  readonly tls: ClientTls
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly reconnect: { readonly minMs: number; readonly maxMs: number } | undefined
  readonly publishBuffer: number
  readonly subscribeBuffer: number
  readonly maxDelayMs: number
  readonly connections: number
  readonly compression: Compression
  readonly onStatus: (status: Status) => void
}

const tcpOptionNames = [
  'token',
  'tls',
  'connectTimeoutMs',
  'requestTimeoutMs',
  'signal',
  'reconnect',
  'publishBuffer',
  'subscribeBuffer',
  'maxDelayMs',
  'connections',
  'compression',
  'onStatus',
] as const

const defaultPort = 9000
/** As every WebSocket has it: a door is often behind a web server. */
const defaultPorts: Readonly<Record<string, number>> = { 'ws:': 80, 'wss:': 443 }

const forms = 'tcp://host:port, tls://host:port, ws://host:port or wss://host:port'

/** What stands before an '@' may be a secret. */
const withoutUser = (place: string): string => place.replace(/\/\/.*@/s, '//')

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkTcpOptions(place: string, options: TcpOptions): TcpSettings {
  checkOptions('open()', options, tcpOptionNames)
  let url: URL
  try {
    url = new URL(place)
  } catch (cause) {
    const port = /:(\d+)\/?$/.exec(place)?.[1]
    const what = Number(port) > 65_535 ? `has the port ${port}, and ports go up to 65535` : 'is no URL'
    throw invalid(`'${withoutUser(place)}' ${what}: use ${forms}.`, { cause: String(cause) })
  }
  if (url.hostname === '') throw invalid(`'${withoutUser(place)}' names no host: use ${forms}.`)
  const isWebSocket = url.protocol === 'ws:' || url.protocol === 'wss:'
  const extras = [
    ...(url.username !== '' || url.password !== '' ? ["something before an '@'; a token is an option"] : []),
    // (A web server in front of the door may go by the path.)
    ...(isWebSocket || ['', '/'].includes(url.pathname) ? [] : [`the path '${url.pathname}'`]),
    ...(url.search === '' ? [] : ["something behind a '?'"]),
    ...(url.hash === '' ? [] : ["something behind a '#'"]),
  ]
  if (extras.length > 0) {
    throw invalid(`The address has ${extras.join(', and ')}: give ${url.protocol}//${url.host} and nothing more.`)
  }
  const { token, tls = {}, connectTimeoutMs = 10_000, reconnect = {}, publishBuffer = 8 * 1024 * 1024 } = options
  const { subscribeBuffer = 4 * 1024 * 1024, maxDelayMs = 0, onStatus = () => {} } = options
  const { connections = 1, compression = 'none', requestTimeoutMs = 30_000, signal } = options
  if (token !== undefined && (typeof token !== 'string' || token === '' || token.length > 4096))
    throw invalid("'token' must be a string of 1 to 4096 characters.")
  checkOptions("'tls'", tls, ['ca', 'cert', 'key', 'servername'])
  checkInteger('connectTimeoutMs', connectTimeoutMs, 1, 3_600_000)
  checkInteger('requestTimeoutMs', requestTimeoutMs, 1, 3_600_000)
  checkSignal(signal)
  checkInteger('publishBuffer', publishBuffer, 64 * 1024, 1024 * 1024 * 1024)
  checkInteger('subscribeBuffer', subscribeBuffer, 64 * 1024, 512 * 1024 * 1024)
  checkInteger('maxDelayMs', maxDelayMs, 0, 10_000)
  checkInteger('connections', connections, 1, 64)
  checkChoice('compression', compression, compressions)
  if (typeof onStatus !== 'function') throw invalid("'onStatus' must be a function.")
  if (reconnect === false) checkBoolean('reconnect', reconnect)
  else if ((reconnect as unknown) === true) throw invalid("'reconnect' must be false, or an object: { minMs, maxMs }.")
  else checkOptions("'reconnect'", reconnect, ['minMs', 'maxMs'])
  const { minMs = 50, maxMs = 5000 } = reconnect === false ? {} : reconnect
  checkInteger('reconnect.minMs', minMs, 1, 3_600_000)
  checkInteger('reconnect.maxMs', maxMs, minMs, 3_600_000)
  const secure = url.protocol === 'tls:' || url.protocol === 'wss:'
  if (!secure && options.tls !== undefined) {
    throw invalid(
      `'tls' is given, but ${url.protocol}//${url.host} is a connection in clear text. Use ${isWebSocket ? 'wss' : 'tls'}://${url.host}, or leave 'tls' out.`,
    )
  }
  for (const name of ['ca', 'cert', 'key'] as const) {
    // Node takes any text for `ca`, and then trusts no certificate.
    if (tls[name] !== undefined && !String(tls[name]).includes('-----BEGIN '))
      throw invalid(`'tls.${name}' must be a PEM text, not a path: read the file first.`)
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = Number(url.port || (defaultPorts[url.protocol] ?? defaultPort))
  return {
    url: `${url.protocol}//${url.hostname}:${port}${url.pathname === '/' ? '' : url.pathname}`,
    host,
    port,
    isWebSocket,
    secure,
    token,
    // Names, not addresses, go into a TLS greeting.
    tls: tls.servername !== undefined || isAddress(host) ? tls : { ...tls, servername: host },
    connectTimeoutMs,
    requestTimeoutMs,
    signal,
    reconnect: reconnect === false ? undefined : { minMs, maxMs },
    publishBuffer,
    subscribeBuffer,
    maxDelayMs,
    connections,
    compression,
    onStatus,
  }
}
