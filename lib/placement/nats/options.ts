import { checkInteger, checkOptions, checkSignal, invalid } from '../../base/options.js'
import type { ClientTls } from '../../transport/connection.js'
import type { TcpOptions } from '../remote/options.js'

/** Options of `open()` for `nats:` places. */
export interface NatsOptions
  extends Pick<
    TcpOptions,
    'token' | 'tls' | 'connectTimeoutMs' | 'requestTimeoutMs' | 'signal' | 'publishBuffer' | 'subscribeBuffer'
  > {
  /** The text of a `.creds` file, as `nsc` makes it. */
  readonly credentials?: string
  /** On how many servers a topic that is made lies: 1, 3 or 5. Default 3 if three servers or more are named, else 1. One that is there stays as it is. */
  readonly replicas?: 1 | 3 | 5
}

export interface NatsSettings {
  /** Without what is secret. */
  readonly name: string
  readonly servers: readonly string[]
  readonly user: string | undefined
  readonly password: string | undefined
  readonly token: string | undefined
  readonly credentials: string | undefined
  readonly tls: ClientTls | undefined
  readonly replicas: 1 | 3 | 5
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly publishBuffer: number
  readonly subscribeBuffer: number
}

const optionNames = [
  'token',
  'tls',
  'connectTimeoutMs',
  'requestTimeoutMs',
  'signal',
  'publishBuffer',
  'subscribeBuffer',
  'credentials',
  'replicas',
] as const

const defaultPort = 4222
const form = 'nats://host, or nats://user:password@host:port,host:port,host:port'
const server = /^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:([0-9]{1,5}))?$/i

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkNatsOptions(place: string, options: NatsOptions): NatsSettings {
  checkOptions('open()', options, optionNames)
  const [, login, list] = /^nats:\/\/(?:([^@/]*)@)?([^@/]+)\/?$/i.exec(place) ?? []
  if (list === undefined) throw invalid(`That is no address of a cluster. Use ${form}.`)
  const servers = list.split(',').map((one) => {
    const [, host, , , port = String(defaultPort)] = server.exec(one) ?? []
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535)
      throw invalid(`'${one}' is no server of a cluster. Use ${form}.`)
    return `${host}:${Number(port)}`
  })
  const { user, password } = loginOf(login)
  const { token, credentials, tls, signal } = options
  const { connectTimeoutMs = 10_000, requestTimeoutMs = 30_000 } = options
  const { publishBuffer = 8 * 1024 * 1024, subscribeBuffer = 4 * 1024 * 1024 } = options
  const { replicas = servers.length >= 3 ? 3 : 1 } = options
  for (const [name, value] of Object.entries({ token, credentials })) {
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw invalid(`'${name}' must be a string, and not an empty one.`)
  }
  if (credentials !== undefined && !credentials.includes('-----BEGIN '))
    throw invalid("'credentials' must be the text of a .creds file, not its path: read the file first.")
  const ways = [user, token, credentials].filter((one) => one !== undefined)
  if (ways.length > 1) throw invalid('Give one of: user and password in the address, token, credentials.')
  if (tls !== undefined) checkOptions("'tls'", tls, ['ca', 'cert', 'key', 'servername'])
  if (![1, 3, 5].includes(replicas)) throw invalid("'replicas' must be 1, 3 or 5.")
  checkInteger('connectTimeoutMs', connectTimeoutMs, 1, 3_600_000)
  checkInteger('requestTimeoutMs', requestTimeoutMs, 1, 3_600_000)
  checkSignal(signal)
  checkInteger('publishBuffer', publishBuffer, 64 * 1024, 1024 * 1024 * 1024)
  checkInteger('subscribeBuffer', subscribeBuffer, 64 * 1024, 512 * 1024 * 1024)
  return {
    name: `nats://${servers.join(',')}`,
    servers,
    user,
    password,
    token,
    credentials,
    tls,
    replicas,
    connectTimeoutMs,
    requestTimeoutMs,
    signal,
    publishBuffer,
    subscribeBuffer,
  }
}

function loginOf(login: string | undefined): { user: string | undefined; password: string | undefined } {
  if (login === undefined) return { user: undefined, password: undefined }
  const colon = login.indexOf(':')
  try {
    const user = decodeURIComponent(colon < 0 ? login : login.slice(0, colon))
    const password = colon < 0 ? '' : decodeURIComponent(login.slice(colon + 1))
    if (user === '') throw invalid('The user in the address of the cluster is empty.')
    return { user, password }
  } catch (error) {
    if (error instanceof URIError)
      throw invalid('User and password of the address are not encoded as a URL has them: use encodeURIComponent().')
    throw error
  }
}
