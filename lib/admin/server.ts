import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, Server as SecureServer } from 'node:https'
import { type AddressInfo, isIPv6, type Socket } from 'node:net'
import { resolve } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { HermesError } from '../base/errors.js'
import { isOurs } from '../broker/engine/origins.js'
import { cannotListen, shownAddress } from '../broker/listening.js'
import { checkReloadOptions, type ReloadOptions } from '../broker/reload.js'
import { LocalPlacement } from '../placement/local/placement.js'
import { type Directory, openDirectory } from '../store/directory.js'
import type { Answer } from './answer.js'
import { answer } from './answers.js'
import { Messages } from './messages.js'
import { type AdminOptions, type AdminSettings, checkAdminOptions } from './options.js'
import { Snapshots } from './snapshots.js'

/** Of all clients together. Further connections are closed at once. */
const mostConnections = 256
const mostHeaderBytes = 8192
/** A request that is not whole in this time is given up. */
const requestMs = 5000
/** A client that says nothing more is closed after so long. */
const quietMs = 10_000

/** Tells of a place over HTTP: metrics, health, and what is in it as JSON. It changes nothing. Made by `serveAdmin()`. */
export class AdminServer implements AsyncDisposable {
  readonly settings: AdminSettings
  readonly #server: Server
  readonly #snapshots: Snapshots
  readonly #messages: Messages
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(settings: AdminSettings, directory: Directory) {
    this.settings = settings
    this.#snapshots = new Snapshots(new LocalPlacement(directory))
    this.#messages = new Messages(directory)
    const { tls } = settings
    const options = {
      maxHeaderSize: mostHeaderBytes,
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: quietMs,
    }
    const listener = (request: IncomingMessage, response: ServerResponse) => void this.#respond(request, response)
    this.#server =
      tls === undefined
        ? createServer(options, listener)
        : createSecureServer(
            {
              ...options,
              key: tls.key,
              cert: tls.cert,
              minVersion: 'TLSv1.2',
              handshakeTimeout: requestMs,
              ...(tls.ca !== undefined && { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
            },
            listener,
          )
    this.#server.maxConnections = mostConnections
    this.#server.on('connection', (socket: Socket) => socket.setTimeout(quietMs, () => socket.destroy()))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      if (!socket.writable) return
      const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  get url(): string {
    const { host, tls } = this.settings
    return `${tls === undefined ? 'http' : 'https'}://${isIPv6(host) ? `[${host}]` : host}:${this.port}`
  }

  /** @internal */
  async listen(): Promise<void> {
    const { host, port } = this.settings
    await new Promise<void>((done, failed) => {
      const onError = (cause: NodeJS.ErrnoException) => failed(cannotListen(cause, shownAddress(host, port)))
      this.#server.once('error', onError)
      this.#server.listen(port, host, () => {
        this.#server.off('error', onError)
        // What fails later, as for want of descriptors, concerns one client.
        this.#server.on('error', () => {})
        done()
      })
    })
  }

  /** As `Broker.reload`: each request is asked for its rights. @throws HermesError as that */
  reload(options: ReloadOptions): void {
    const { access, tls } = checkReloadOptions(options, this.settings)
    if (access !== undefined) this.settings.access.become(access)
    if (tls !== undefined && this.#server instanceof SecureServer)
      this.#server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' })
  }

  /** Ends all connections. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= new Promise((done) => {
      this.#server.close(() => done())
      this.#server.closeAllConnections()
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let reply: Answer
    try {
      reply = this.#isForUs(request)
        ? await answer(this.settings, this.#snapshots, this.#messages, request, certificateName(request))
        : { status: 421, type: 'text/plain; charset=utf-8', body: 'This name is not served here.\n' }
    } catch (error) {
      // Paths and the like are for the log of who runs this, not for who asks.
      const code = error instanceof HermesError ? error.code : 'FAILED'
      reply = { status: 500, type: 'application/json', body: `${JSON.stringify({ error: { code } })}\n` }
    }
    const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body
    response.writeHead(reply.status, {
      'Content-Type': reply.type,
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'X-Frame-Options': 'DENY',
      'Content-Security-Policy': "default-src 'none'",
      ...reply.headers,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }

  /**
   * Whether the request names this server. Without authentication, a page from elsewhere could have a browser ask in its place, under a
   * name of its own that leads to this address.
   */
  #isForUs({ headers }: IncomingMessage): boolean {
    const { access, host } = this.settings
    return !access.isOpen || isOurs(headers.host, host)
  }
}

function certificateName({ socket }: IncomingMessage): string | undefined {
  const secure = socket as Partial<TLSSocket>
  if (secure.authorized !== true) return undefined
  const name = secure.getPeerCertificate?.().subject?.CN
  return typeof name === 'string' ? name : undefined
}

/**
 * Serves what is known of a directory over HTTP, with or without a broker there.
 *
 * @throws HermesError `NOT_FOUND`, `NOT_HERMES`, `UNAUTHORIZED`, `IO_FAILED`, …
 */
export async function serveAdmin(options: AdminOptions): Promise<AdminServer> {
  const settings = checkAdminOptions(options)
  const directory = await openDirectory(resolve(settings.dir), false, undefined)
  const server = new AdminServer(settings, directory)
  await server.listen()
  return server
}
