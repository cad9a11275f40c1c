import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { AdminThread } from '../../admin/beside.js'
import { HermesError } from '../../base/errors.js'
import { listenAddress } from '../../base/listen-address.js'
import { checkOptions, invalid } from '../../base/options.js'
import type { BrokerOptions, BrokerTls, defaultLimits } from '../../broker/options.js'
import { integer, timerDuration } from '../arguments.js'
import { fromFile } from '../file.js'
import { requireDirectory } from '../place.js'
import type { Session } from '../session.js'
import { untilStopped } from '../until-stopped.js'
import { globalsOf, withHelp } from './common.js'
import { Reload } from './serve-reload.js'

const defaultGraceMs = 5000

export interface ServeOptions {
  readonly host?: string
  readonly port?: number
  readonly config?: string
  readonly idle?: 'park' | 'spin'
  readonly engine?: BrokerOptions['engine']
  readonly insecure?: boolean
  readonly tlsKey?: string
  readonly tlsCert?: string
  readonly tlsCa?: string
  readonly grace?: number
  readonly admin?: string
  readonly ws?: string
  readonly wsOrigin?: readonly string[]
  readonly duration?: number
}

/** What the file of --config may say: as `BrokerOptions`, with file names in place of keys and certificates. */
const configNames = [
  'host',
  'port',
  'idle',
  'engine',
  'compression',
  'insecure',
  'tls',
  'webSocket',
  'access',
  'limits',
  'mode',
]

export function registerServe(program: Command, session: Session): void {
  const command = program
    .command('serve')
    .summary('put the topics of a directory on the network')
    .description(
      'Serves the topics of --dir to clients on other hosts, until it is stopped. Local processes may use them at the same time. ' +
        'Options override the environment, which overrides the file of --config. SIGHUP has it read that file, keys and certificates again: access entries and TLS change, and connections stay.',
    )
    .option('--host <address>', 'where to listen (default: 127.0.0.1); HERMES_HOST')
    .option('-p, --port <n>', 'where to listen, 0 for any free port (default: 9000); HERMES_PORT', integer(0, 65_535))
    .option('-c, --config <file>', `JSON: ${configNames.join(', ')}; file names of tls are relative to it`)
    .addOption(
      new Option('--idle <how>', 'spin polls without sleeping and keeps a core busy').choices(['park', 'spin']),
    )
    .addOption(
      new Option('--engine <name>', 'what carries the bytes: node (default), epoll (no TLS), or auto').choices([
        'node',
        'epoll',
        'uring',
        'auto',
      ]),
    )
    .option('--insecure', 'serve a public address without authentication')
    .option('--tls-key <file>', 'the private key, PEM; with --tls-cert')
    .option('--tls-cert <file>', 'the certificate, PEM')
    .option('--tls-ca <file>', 'ask clients for a certificate that this authority has signed, PEM')
    .option('--ws <address>', 'a door for browsers: WebSockets at host:port, as 127.0.0.1:9001; HERMES_WS')
    .option('--ws-origin <origin...>', 'pages that may connect there, as https://example.org; * for all')
    .option('--admin <address>', 'serve metrics and health over HTTP at host:port, as 127.0.0.1:9464; HERMES_ADMIN')
    .option('--grace <time>', 'how long clients may take to leave when it is stopped (default: 5s)', timerDuration)
    .option('-t, --duration <time>', 'stop after a time', timerDuration)
    .action(async (options: ServeOptions) => {
      const { dir } = globalsOf(command)
      requireDirectory(dir, 'serve', {
        broker: 'A broker serves the files of its own machine: clients use it as it is.',
        cluster: 'Clients use a cluster as it is; or `hermes mirror` its topics into a directory, and serve that.',
      })
      const wanted = await wantedOf(dir, options, session.streams.env)
      const { serve } = await import('../../broker/broker.js')
      const at = options.admin ?? session.streams.env['HERMES_ADMIN']
      const listen = at ? listenAddress(at) : undefined
      await using broker = await serve({ ...wanted, log: (line) => report(session, line) })
      const { settings, url, webSocketUrl } = broker
      await using admin = listen && (await adminOf(session, wanted, listen, webSocketUrl))
      if (admin !== undefined) broker.admitDashboard(Number(new URL(admin.url).port))
      session.out.line(
        session.json
          ? JSON.stringify({
              url,
              ...(webSocketUrl && { webSocketUrl }),
              ...(admin && { admin: admin.url }),
              ...shown(wanted, settings.limits),
            })
          : `Serving ${settings.dir} at ${url}${webSocketUrl === undefined ? '' : ` and ${webSocketUrl}`}${admin === undefined ? '' : `, and telling of it at ${admin.url}`}`,
      )
      await session.out.flush()
      session.note(`with ${JSON.stringify(shown(wanted, settings.limits))}`)
      const reload = new Reload(
        () => wantedOf(globalsOf(command).dir, options, session.streams.env),
        wanted,
        [broker, ...(admin === undefined ? [] : [admin])],
        (line) => report(session, line),
      )
      session.onHangup(() => reload.begin())
      await untilStopped(session, options.duration)
      await broker.drain(options.grace ?? defaultGraceMs)
    })
  withHelp(
    command,
    `
hermes serve --dir ./hermes-data
hermes serve --dir ./hermes-data --admin 127.0.0.1:9464
hermes serve --dir /var/lib/hermes --host 0.0.0.0 --config /etc/hermes.json
HERMES_TOKEN=… hermes serve --host 10.0.0.5 --tls-key key.pem --tls-cert cert.pem`,
  )
}

/** The broker's admin server, in a thread of its own: what is asked there holds up no client. */
async function adminOf(
  session: Session,
  { dir, access, tls, insecure }: BrokerOptions,
  listen: { readonly host: string; readonly port: number },
  webSocketUrl: string | undefined,
): Promise<AdminThread> {
  const options = {
    dir,
    ...listen,
    expectsBroker: true,
    ...(webSocketUrl !== undefined && { webSocketUrl }),
    ...(access !== undefined && { access }),
    ...(tls !== undefined && { tls }),
    ...(insecure !== undefined && { insecure }),
  }
  const { serveAdminBeside } = await import('../../admin/beside.js')
  return serveAdminBeside(options, (error) =>
    report(session, { level: 'error', event: 'admin-failed', error: String(error) }),
  )
}

/** What the options, the environment and the file of --config say, in this order. */
export async function wantedOf(dir: string, options: ServeOptions, env: NodeJS.ProcessEnv): Promise<BrokerOptions> {
  const config = options.config === undefined ? {} : await readConfig(options.config)
  const { HERMES_HOST: host, HERMES_PORT: port, HERMES_TOKEN: token } = env
  const tls = await tlsOf(options, config['tls'])
  const webSocket = webSocketOf(options, env, config['webSocket'])
  const wanted: Record<string, unknown> = { ...config, dir }
  if (tls !== undefined) wanted['tls'] = tls
  if (webSocket !== undefined) wanted['webSocket'] = webSocket
  if (host) wanted['host'] = host
  if (port) wanted['port'] = portOf(port)
  if (token)
    wanted['access'] = [
      { name: 'HERMES_TOKEN', token, administer: true },
      ...((config['access'] as unknown[] | undefined) ?? []),
    ]
  for (const name of ['host', 'port', 'idle', 'engine', 'insecure'] as const) {
    if (options[name] !== undefined) wanted[name] = options[name]
  }
  return wanted as unknown as BrokerOptions
}

function webSocketOf({ ws, wsOrigin }: ServeOptions, env: NodeJS.ProcessEnv, config: unknown): unknown {
  const at = ws ?? env['HERMES_WS']
  if (at === undefined || at === '') {
    if (wsOrigin !== undefined && config === undefined)
      throw invalid('--ws-origin is for a door: give its address with --ws.')
    return wsOrigin === undefined ? config : { ...(config as object), origins: wsOrigin }
  }
  const { host, port } = listenAddress(at)
  return { ...(config as object | undefined), host, port, ...(wsOrigin !== undefined && { origins: wsOrigin }) }
}

function portOf(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw invalid(`HERMES_PORT must be a port, not '${text}'.`)
  return port
}

async function readConfig(file: string): Promise<Record<string, unknown>> {
  let content: unknown
  try {
    content = JSON.parse(await readText(file))
  } catch (cause) {
    if (cause instanceof HermesError) throw cause
    throw new HermesError('INVALID_ARGUMENT', `${file} holds no JSON: ${(cause as Error).message}.`, { cause })
  }
  checkOptions(file, content, configNames)
  return content as Record<string, unknown>
}

async function tlsOf(options: ServeOptions, config: unknown): Promise<BrokerTls | undefined> {
  if (config !== undefined) checkOptions("'tls'", config, ['key', 'cert', 'ca'])
  const files = (config ?? {}) as Readonly<Record<'key' | 'cert' | 'ca', unknown>>
  const named = (name: 'key' | 'cert' | 'ca'): string | undefined => {
    const file = files[name]
    if (file === undefined) return undefined
    if (typeof file !== 'string' || file === '') throw invalid(`'tls.${name}' in ${options.config} must name a file.`)
    // Wherever the broker is started: what a file says is relative to the file.
    return resolve(dirname(options.config ?? ''), file)
  }
  const key = options.tlsKey ?? named('key')
  const cert = options.tlsCert ?? named('cert')
  const ca = options.tlsCa ?? named('ca')
  if (key === undefined && cert === undefined && ca === undefined) return undefined
  if (key === undefined || cert === undefined)
    throw invalid('TLS needs both a key and a certificate: --tls-key and --tls-cert.')
  const tls = { key: await readText(key), cert: await readText(cert) }
  return ca === undefined ? tls : { ...tls, ca: await readText(ca) }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    return fromFile(error, file)
  }
}

/** The effective configuration, without what must stay secret. */
function shown(wanted: BrokerOptions, limits: typeof defaultLimits): Record<string, unknown> {
  const { host = '127.0.0.1', port = 9000, idle = 'park', insecure = false, access = [], tls } = wanted
  const { compression = 'deflate', engine = 'node', webSocket } = wanted
  return {
    dir: wanted.dir,
    host,
    port,
    idle,
    engine,
    compression,
    ...(webSocket !== undefined && { webSocket }),
    insecure,
    tls: tls === undefined ? false : tls.ca === undefined ? true : 'mutual',
    access: access.map(({ name, publish, subscribe, consume, administer = false, maxBytes }) => ({
      name,
      publish,
      subscribe,
      consume,
      administer,
      maxBytes,
    })),
    limits,
  }
}

/** A line for people, or JSON, on stderr. */
function report(
  session: Session,
  line: { readonly level: string; readonly event: string; readonly [fact: string]: unknown },
): void {
  if (session.json) {
    session.streams.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`)
    return
  }
  const { level, event, ...facts } = line
  const known = Object.entries(facts).filter(([, value]) => value !== undefined)
  const text = known.map(
    ([name, value]) =>
      `${name}=${typeof value === 'string' || typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  )
  session.note([new Date().toISOString(), level, event, ...text].join(' '))
}
