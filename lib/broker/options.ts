import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import { isHostAndPort } from '../base/address.js'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkChoice, checkInteger, checkOptions, invalid, show } from '../base/options.js'
import { schemeMissing } from '../placement/registry.js'
import { type Compression, compressions } from '../wire/compression.js'
import { Access, type AccessEntry } from './access.js'
import { type EngineName, engineNames } from './engine/engine.js'
import { checkOrigins } from './engine/origins.js'

export interface BrokerLimits {
  /** Sockets, also those that have not said HELLO yet. */
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  /** Of one access entry. */
  readonly maxConnectionsPerIdentity: number
  /** Sockets of one address that have not said HELLO yet: the oldest gives way. */
  readonly maxUnauthenticatedPerAddress: number
  /** Of `maxConnections`, kept for access entries with `administer`; a quarter of them at most. */
  readonly reservedConnections: number
  /** New connections from one address, per second. */
  readonly maxHandshakesPerSecond: number
  /** Publishers and subscribers of one connection. */
  readonly maxChannels: number
  /** Subscribers of all clients; a quarter of it for one access entry. Fewer, if the system allows too few open files. */
  readonly maxSubscribers: number
  /** Members of groups and holders of durable subscriptions of all clients; a quarter of it for one access entry. Fewer, if the system allows too few open files. */
  readonly maxMembers: number
  /** Groups and durable subscriptions of one topic that clients may make. */
  readonly maxGroups: number
  /** A member of which nothing is heard any more keeps what it holds for so long after its connection was given up, and for its lease at most. */
  readonly memberGraceMs: number
  /** And one whose own system has ended the connection, as it does for a process that was killed, for so long. */
  readonly memberReturnMs: number
  /** Remote publishers of one topic, connected and remembered; 65,535 at most, a quarter of it for one access entry. */
  readonly maxProducers: number
  /** Topics that are open at the same time. Fewer, if the system allows too few open files. */
  readonly maxTopics: number
  /** An unused topic is closed after this time. */
  readonly idleTopicMs: number
  /** A publisher whose connection is lost is remembered for so long: what it sends again until then is stored once. */
  readonly producerMemoryMs: number
  /** Frames in one batch, in bytes. (A topic with larger messages gets room for one.) */
  readonly maxBatchBytes: number
  /** Set aside for packets that are not whole or wait for their turn, for all clients; a quarter of it for one access entry. */
  readonly maxBufferedBytes: number
  /** Written for clients that do not take it, for all clients; a quarter of it for one access entry. Beyond, each connection gets little more. */
  readonly maxUnreadBytes: number
  /** What a topic's publishers may store through the broker, until retention makes room. Without a limit by default. */
  readonly maxTopicBytes: number
  readonly handshakeTimeoutMs: number
  /** The rest of a packet that has begun has to come in this time, for each MiB of it. */
  readonly packetTimeoutMs: number
  readonly heartbeatMs: number
  /** A client that takes nothing of what was written to it for so long is cut off. */
  readonly slowConsumerMs: number
  /** A subscriber that does not read on may hold a segment that retention has removed for so long; one that does, ten times as long. */
  readonly removedSegmentMs: number
}

export const defaultLimits: BrokerLimits = {
  maxConnections: 1024,
  maxConnectionsPerAddress: 512,
  maxConnectionsPerIdentity: 512,
  maxUnauthenticatedPerAddress: 128,
  reservedConnections: 16,
  maxHandshakesPerSecond: 200,
  maxChannels: 1024,
  maxSubscribers: 16_384,
  maxMembers: 4096,
  maxGroups: 1024,
  memberGraceMs: 5000,
  memberReturnMs: 150,
  maxProducers: 65_535,
  maxTopics: 10_000,
  idleTopicMs: 30_000,
  producerMemoryMs: 86_400_000,
  maxBatchBytes: 262_144,
  maxBufferedBytes: 256 * 1024 * 1024,
  maxUnreadBytes: 256 * 1024 * 1024,
  maxTopicBytes: Number.MAX_SAFE_INTEGER,
  handshakeTimeoutMs: 5_000,
  packetTimeoutMs: 30_000,
  heartbeatMs: 10_000,
  slowConsumerMs: 30_000,
  removedSegmentMs: 60_000,
}

/** Keys and certificates in PEM. */
export interface BrokerTls {
  readonly key: string | Buffer
  readonly cert: string | Buffer
  /** With it, clients need a certificate that it has signed. */
  readonly ca?: string | Buffer
}

/** One line of the broker's log. */
export type BrokerLog = (line: {
  readonly level: 'info' | 'warn' | 'error'
  readonly event: string
  readonly [fact: string]: unknown
}) => void

export interface BrokerOptions {
  /** The directory whose topics are served, or `shm:name`; made if it's not there. */
  readonly dir: string
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 9000; 0 = any that is free. */
  readonly port?: number
  readonly tls?: BrokerTls
  /** Listen for WebSockets too, with the same TLS, access rights and limits. */
  readonly webSocket?: WebSocketOptions
  /** Access rights. Without it authentication is not configured. */
  readonly access?: readonly AccessEntry[]
  /** Serve a public address without authentication. */
  readonly insecure?: boolean
  /** `park` (default) sleeps while there is nothing to do; `spin` polls without sleeping and takes a core for it. */
  readonly idle?: 'park' | 'spin'
  /**
   * What carries the bytes: `node` (default), Node's own streams; `epoll`, the addon, which takes less of the processor but speaks no TLS;
   * `auto`, `epoll` where it is to be had, else `node`. `uring` is refused as yet, with `UNSUPPORTED`.
   */
  readonly engine?: EngineName
  /** `deflate` (default) compresses batches for clients that ask for it; `none` never compresses. */
  readonly compression?: Compression
  readonly limits?: Partial<BrokerLimits>
  /** Permission bits of new files; as in `open()`. */
  readonly mode?: number
  readonly log?: BrokerLog
}

export interface WebSocketOptions {
  /** Default: that of the broker. */
  readonly host?: string
  /** Default 9001; 0 = any that is free. */
  readonly port?: number
  /** Origins whose pages may connect, as `https://example.org`, beside pages from this port itself. `*`: all pages. Programs that send no origin need none. */
  readonly origins?: readonly string[]
}

export interface BrokerSettings {
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly tls: BrokerTls | undefined
  readonly webSocket: Required<WebSocketOptions> | undefined
  readonly access: Access
  readonly insecure: boolean
  readonly idle: 'park' | 'spin'
  readonly engine: EngineName
  readonly compression: Compression
  readonly limits: BrokerLimits
  readonly mode: number | undefined
  readonly log: BrokerLog
}

export const defaultWebSocketPort = 9001

const names = [
  'dir',
  'host',
  'port',
  'tls',
  'webSocket',
  'access',
  'insecure',
  'idle',
  'engine',
  'compression',
  'limits',
  'mode',
  'log',
]

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `UNAUTHORIZED` */
export function checkBrokerOptions(options: BrokerOptions): BrokerSettings {
  checkOptions('serve()', options, names)
  const {
    dir,
    host = '127.0.0.1',
    port = 9000,
    tls,
    access = [],
    insecure = false,
    idle = 'park',
    engine = 'node',
    compression = 'deflate',
    mode,
    log = () => {},
  } = options
  if (typeof dir !== 'string' || dir === '') throw invalid("serve() needs the 'dir' whose topics it is to serve.")
  if (isHostAndPort(dir) && !existsSync(dir)) throw schemeMissing(dir)
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(dir)?.[1]?.toLowerCase()
  if (scheme !== undefined && scheme !== 'shm' && scheme !== 'file') {
    throw new HermesError('UNSUPPORTED', `A broker serves a directory or 'shm:name', not '${dir}'.`, {
      details: { scheme: `${scheme}:` },
    })
  }
  if (typeof host !== 'string' || host === '') throw invalid("'host' must be a host name or an address.")
  checkInteger('port', port, 0, 65_535)
  checkBoolean('insecure', insecure)
  checkChoice('idle', idle, ['park', 'spin'])
  checkChoice('engine', engine, engineNames)
  checkChoice('compression', compression, compressions)
  if (mode !== undefined) checkInteger('mode', mode, 0o600, 0o777)
  if (typeof log !== 'function') throw invalid(`'log' must be a function of a line, not ${show(log)}.`)
  if (!Array.isArray(access)) throw invalid("'access' must be a list of entries.")
  if (tls !== undefined) checkTls(tls)
  const known = new Access(access)
  checkGuarded(host, known, tls, insecure)
  const webSocket = options.webSocket && checkWebSocket(options.webSocket, host)
  if (webSocket !== undefined) checkGuarded(webSocket.host, known, tls, insecure)
  const limits = checkLimits(options.limits ?? {})
  return { dir, host, port, tls, webSocket, access: known, insecure, idle, engine, compression, limits, mode, log }
}

function checkWebSocket(options: WebSocketOptions, ownHost: string): Required<WebSocketOptions> {
  checkOptions("'webSocket'", options, ['host', 'port', 'origins'])
  const { host = ownHost, port = defaultWebSocketPort, origins = [] } = options
  if (typeof host !== 'string' || host === '') throw invalid("'webSocket.host' must be a host name or an address.")
  checkInteger('webSocket.port', port, 0, 65_535)
  return { host, port, origins: checkOrigins(origins) }
}

/** Authentication is configured, or not needed. @throws HermesError `UNAUTHORIZED` */
export function checkGuarded(host: string, access: Access, tls: BrokerTls | undefined, insecure: boolean): void {
  if (!access.isOpen || tls?.ca !== undefined || insecure || isLoopback(host)) return
  throw new HermesError(
    'UNAUTHORIZED',
    `${host} can be reached from other machines, and authentication is not configured. Give 'access' entries or a client CA, or say 'insecure' (\`hermes serve\`: HERMES_TOKEN or --config, --tls-ca, --insecure).`,
    { details: { host } },
  )
}

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkTls(tls: BrokerTls): void {
  checkOptions("'tls'", tls, ['key', 'cert', 'ca'])
  if (tls.key === undefined || tls.cert === undefined) throw invalid("'tls' needs a 'key' and a 'cert'.")
  checkPem(tls)
}

/** Refuses what TLS could not be spoken with, before anything is opened. @throws HermesError `INVALID_ARGUMENT` */
function checkPem({ key, cert, ca }: BrokerTls): void {
  const pem = { key, cert, ...(ca === undefined ? {} : { ca }) }
  for (const [name, value] of Object.entries(pem)) {
    if (typeof value !== 'string' && !Buffer.isBuffer(value))
      throw invalid(`'tls.${name}' must be a PEM text or a Buffer of one, not ${show(value)}.`)
    if (!value.includes('-----BEGIN '))
      throw invalid(`'tls.${name}' must be a PEM text (-----BEGIN …): read the file first.`)
  }
  const noCertificate = 'holds no certificate that can be read'
  const noKey = 'holds no private key that can be read without a passphrase'
  const another = "does not belong to 'tls.cert': give the key that the certificate was made with"
  const tries: [name: string, why: string, work: () => unknown][] = [
    ['cert', noCertificate, () => createSecureContext({ cert })],
    // (A context passes over an authority that it can't read.)
    ['ca', noCertificate, () => ca === undefined || new X509Certificate(ca)],
    ['key', noKey, () => createSecureContext({ key })],
    ['key', another, () => createSecureContext({ key, cert })],
  ]
  for (const [name, why, work] of tries) {
    try {
      work()
    } catch (cause) {
      throw new HermesError('INVALID_ARGUMENT', `'tls.${name}' ${why}.`, { cause })
    }
  }
}

function checkLimits(given: Partial<BrokerLimits>): BrokerLimits {
  checkOptions("'limits'", given, Object.keys(defaultLimits))
  for (const [name, value] of Object.entries(given)) {
    const isShared = name === 'maxBufferedBytes' || name === 'maxUnreadBytes'
    const bytes = name === 'maxTopicBytes' || isShared
    const least = name === 'reservedConnections' ? 0 : isShared ? 1024 * 1024 : 1
    checkInteger(`limits.${name}`, value, least, bytes ? Number.MAX_SAFE_INTEGER : 2 ** 30)
  }
  const limits = { ...defaultLimits, ...given }
  checkInteger('limits.maxBatchBytes', limits.maxBatchBytes, 4096, 16 * 1024 * 1024)
  return limits
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

export function isLoopback(host: string): boolean {
  const family = isIP(host)
  if (family === 0) return host.toLowerCase() === 'localhost'
  return loopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}
