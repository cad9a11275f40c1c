import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { makeFolder, removeFolder, root } from './folder.js'

/*
 * Servers of NATS on loopback: one, or a cluster of three. scripts/lib/nats-server.mjs fetches the program.
 */

const { natsServer } = (await import(pathToFileURL(join(root, 'scripts/lib/nats-server.mjs')).href)) as {
  natsServer(): string | undefined
}
const program = natsServer()

/** Why there is no server here; `undefined` if there is one. */
export const natsMissing =
  program === undefined ? 'nats-server 2.10 or later is not here: npm test fetches it' : undefined

/** One server process. */
export class NatsServer {
  readonly port: number
  readonly #config: string
  #child: ChildProcess | undefined
  #log = ''

  constructor(port: number, config: string) {
    this.port = port
    this.#config = config
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  async start(): Promise<void> {
    const child = spawn(program as string, ['-c', this.#config], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    let failure: Error | undefined
    child.once('error', (error) => {
      failure = error
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-20_000)
    })
    for (const until = performance.now() + 30_000; !this.#log.includes('Server is ready'); await sleep(20)) {
      if (failure !== undefined) throw failure
      if (child.exitCode !== null || performance.now() > until)
        throw new Error(`nats-server does not start:\n${this.#log}`)
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    this.#child = undefined
    this.#log = ''
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  send(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }
}

export interface NatsCluster {
  readonly servers: readonly NatsServer[]
  readonly url: string
  close(): Promise<void>
}

/** @param size 1, or 3 that form a cluster */
export async function startNats(size: 1 | 3, extra = ''): Promise<NatsCluster> {
  const folder = makeFolder()
  const ports = await freePorts(2 * size)
  const clients = ports.slice(0, size)
  const routes = ports.slice(size)
  const servers = clients.map((port, index) => {
    const store = join(folder, `store-${index}`)
    mkdirSync(store)
    const cluster =
      size === 1
        ? ''
        : `cluster { name: test, listen: "127.0.0.1:${routes[index]}", routes: [${routes.map((one) => `"nats://127.0.0.1:${one}"`).join(', ')}] }`
    const config = join(folder, `server-${index}.conf`)
    writeFileSync(
      config,
      `server_name: s${index}\nlisten: "127.0.0.1:${port}"\njetstream { store_dir: "${store}" }\n${cluster}\n${extra}\n`,
    )
    return new NatsServer(port, config)
  })
  try {
    await Promise.all(servers.map((server) => server.start()))
    if (size > 1) await untilPlaced(clients, size)
  } catch (error) {
    await Promise.all(servers.map((server) => server.kill()))
    removeFolder(folder)
    throw error
  }
  return {
    servers,
    url: `nats://${clients.map((port) => `127.0.0.1:${port}`).join(',')}`,
    close: async () => {
      await Promise.all(servers.map((server) => server.kill()))
      removeFolder(folder)
    },
  }
}

/** Servers that have just been started need a moment to find each other and to agree on a leader. */
async function untilPlaced(ports: readonly number[], replicas: number): Promise<void> {
  const connection = await connect({ servers: ports.map((port) => `127.0.0.1:${port}`), timeout: 20_000 })
  try {
    for (const until = performance.now() + 60_000; ; await sleep(100)) {
      try {
        const manager = await jetstreamManager(connection, { timeout: 2000 })
        await manager.streams.add({ name: 'warm-up', subjects: ['warm-up'], num_replicas: replicas })
        await manager.streams.delete('warm-up')
        return
      } catch (error) {
        if (performance.now() > until) throw error
      }
    }
  } finally {
    await connection.close()
  }
}

async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = []
  for (let index = 0; index < count; index++) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    held.push(server)
  }
  const ports = held.map((server) => (server.address() as { port: number }).port)
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
