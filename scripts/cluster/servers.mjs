// Servers of NATS with JetStream: one, or three that form a cluster. The tests, the campaign, the bench and scripts/cluster.mjs use them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { natsServer } from '../lib/nats-server.mjs'
import { which } from '../lib/run.mjs'

const startMs = 60_000
/**
 * Three servers that are new find each other within 3 s or so. One start of ten or twenty (seen with 2.10.27) they do not at all: "no suitable peers for placement", for minutes. Started anew, they do.
 */
const placeMs = 15_000
const mostStarts = 6
const stopMs = 10_000

/** Why there is no server here; `undefined` if there is one. */
export function natsMissing() {
  return natsServer() === undefined ? 'nats-server 2.10 or later is not here: npm test fetches it' : undefined
}

/** One server process. */
export class NatsServer {
  #child
  #log
  #config
  #enter

  /**
   * @param address where clients reach it: `{ host, port }`
   * @param config  its file
   * @param log     where its log goes
   * @param enter   what stands in front of the command, to start it in a namespace
   */
  constructor(address, config, log, enter = []) {
    this.address = address
    this.#config = config
    this.#log = log
    this.#enter = enter
  }

  get port() {
    return this.address.port
  }

  get pid() {
    return this.#child?.pid ?? 0
  }

  /** @param detached it outlives this process */
  async start({ detached = false } = {}) {
    const log = openSync(this.#log, 'w')
    // (it ends with this process, however that ends)
    const bound = detached || which('setpriv') === undefined ? [] : ['setpriv', '--pdeathsig', 'KILL', '--']
    const [program, ...args] = [...this.#enter, ...bound, natsServer(), '-c', this.#config]
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached })
    closeSync(log)
    if (detached) child.unref()
    this.#child = child
    let failure
    child.once('error', (error) => {
      failure = error
    })
    for (const until = performance.now() + startMs; !this.#said('Server is ready'); await sleep(20)) {
      if (failure !== undefined) throw failure
      if (child.exitCode !== null || performance.now() > until) throw new Error('nats-server does not start')
    }
  }

  get lastLines() {
    return `server at ${this.address.host}:${this.port}:\n${readFileSync(this.#log, 'utf8').slice(-2000)}`
  }

  #said(words) {
    return readFileSync(this.#log, 'utf8').includes(words)
  }

  get isRunning() {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** Resolves once it is gone. */
  async kill(signal = 'SIGKILL') {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
    await gone
    clearTimeout(timer)
  }

  send(signal) {
    this.#child?.kill(signal)
  }
}

/**
 * @typedef {object} ServersOptions
 * @property {number} [size]    1, or 3 that form a cluster
 * @property {string} folder    for their files
 * @property {string} [extra]   more lines of configuration
 * @property {string} [jetstream] more lines of its `jetstream` block
 * @property {readonly { host: string, port: number, route: number, enter?: readonly string[] }[]} [addresses] where they listen; by default on free ports of loopback
 * @property {boolean} [detached] they outlive this process
 */

/** Servers that run, and answer. @param {ServersOptions} options */
export async function startServers({ size = 3, folder, extra = '', jetstream = '', addresses, detached = false }) {
  const places = addresses ?? (await onLoopback(size))
  const routes = places.map(({ host, route }) => `"nats://${host}:${route}"`).join(', ')
  const stores = places.map((_, index) => join(folder, `store-${index}`))
  const isNew = !stores.some((store) => existsSync(store))
  const servers = places.map(({ host, port, route, enter }, index) => {
    const store = stores[index]
    const cluster = size === 1 ? '' : `cluster { name: hermes, listen: "${host}:${route}", routes: [${routes}] }`
    const config = join(folder, `server-${index}.conf`)
    writeFileSync(
      config,
      `server_name: s${index}\nlisten: "${host}:${port}"\njetstream {\n  store_dir: "${store}"\n  sync_interval: always\n  ${jetstream}\n}\n${cluster}\n${extra}\n`,
    )
    return new NatsServer({ host, port }, config, join(folder, `server-${index}.log`), enter)
  })
  const stop = () => Promise.all(servers.map((server) => server.kill()))
  for (let starts = 1; ; starts++) {
    try {
      await Promise.all(servers.map((server) => server.start({ detached })))
      if (size > 1) await untilPlaced(places, size)
      break
    } catch (error) {
      const logs = servers.map((server) => server.lastLines).join('\n')
      await stop()
      if (starts === mostStarts || size === 1)
        throw new Error(`the servers do not come together: ${error.message}\n${logs}`, { cause: error })
      // (what they have agreed on so far is what is wrong; data from before stays)
      if (isNew) for (const store of stores) rmSync(store, { recursive: true, force: true })
    }
  }
  return { servers, url: urlOf(places), close: stop }
}

export function urlOf(addresses) {
  return `nats://${addresses.map(({ host, port }) => `${host}:${port}`).join(',')}`
}

/** Does something with the streams behind Hermes' back. */
export async function streamsOf(url, work, { timeout = 20_000, ...login } = {}) {
  const { connect } = await import('@nats-io/transport-node')
  const { jetstreamManager } = await import('@nats-io/jetstream')
  const servers = url.replace(/^nats:\/\/([^@]*@)?/, '').split(',')
  const connection = await connect({ servers, timeout, ...login })
  try {
    return await work(await jetstreamManager(connection, { timeout }), connection)
  } finally {
    await connection.close()
  }
}

/** Servers that have just been started need a moment to find each other and to agree on a leader. */
async function untilPlaced(addresses, replicas) {
  const stream = { name: 'warm-up', subjects: ['warm-up'], num_replicas: replicas }
  for (const until = performance.now() + placeMs; ; await sleep(100)) {
    try {
      await streamsOf(
        urlOf(addresses),
        async (manager) => {
          await manager.streams.add(stream)
          await manager.streams.delete(stream.name)
        },
        { timeout: 2000 },
      )
      return
    } catch (error) {
      if (performance.now() > until) throw error
    }
  }
}

async function onLoopback(size) {
  const ports = await freePorts(2 * size)
  return Array.from({ length: size }, (_, n) => ({ host: '127.0.0.1', port: ports[n], route: ports[size + n] }))
}

async function freePorts(count) {
  const held = []
  for (let index = 0; index < count; index++) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    held.push(server)
  }
  const ports = held.map((server) => server.address().port)
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
