// A server in a process of its own: the broker, or a peer's.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { track } from '../support/children.js'
import { pause } from '../support/clock.js'
import { findProgram, root } from '../support/machine.js'

export type Idle = 'park' | 'spin'
export type Engine = 'node' | 'epoll'

/** Resident memory in bytes. */
export interface Memory {
  /** Of the process itself: heaps and stacks. */
  readonly anonymous: number
  /** Pages of files that it has mapped: programs, libraries, and the log. The kernel counts them for its page cache too, and drops them at will. */
  readonly file: number
  readonly shared: number
}

const startMs = 10_000
const tickNs = 1e7

export class Server {
  readonly url: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  /** `hermes serve` on a directory. */
  static async hermes(dir: string, idle: Idle, engine: Engine = 'node'): Promise<Server> {
    const program = join(root, 'dist', 'cli', 'main.js')
    const args = [program, 'serve', '--json', '--dir', dir, '--port', '0', '--idle', idle, '--engine', engine]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    track(child)
    child.stderr.resume()
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), failure(child)])) as [string]
    const { url } = JSON.parse(line) as { url: string }
    return new Server(child, url)
  }

  static async nats(): Promise<Server> {
    const port = await freePort()
    const program = spawn(peerProgram('nats-server'), ['-a', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
    return Server.#listening(program, 'nats', port)
  }

  /** With streams in files, in a folder of the system's that goes with the machine's temporary files. */
  static async jetStream(): Promise<Server> {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'hermes-jetstream-'))
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder]
    const child = spawn(peerProgram('nats-server'), args, { stdio: 'ignore' })
    child.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    return Server.#listening(child, 'nats', port)
  }

  static async redis(): Promise<Server> {
    const port = await freePort()
    // Nothing is stored, and a subscriber that is behind is not cut off.
    const settings = ['--save', '', '--appendonly', 'no', '--client-output-buffer-limit', 'pubsub 0 0 0']
    const args = ['--bind', '127.0.0.1', '--port', String(port), ...settings]
    return Server.#listening(spawn(peerProgram('redis-server'), args, { stdio: 'ignore' }), 'redis', port)
  }

  static async #listening(child: ChildProcess, scheme: string, port: number): Promise<Server> {
    track(child)
    await Promise.race([reachable(port), failure(child)])
    return new Server(child, `${scheme}://127.0.0.1:${port}`)
  }

  /** What all threads of the process have used so far, in nanoseconds of a processor. */
  cpuNs(): number {
    const { pid } = this.#child
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [, , , , , , , , , , , user, system] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(user) + Number(system)) * tickNs
  }

  memory(): Memory {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024
    return { anonymous: field('RssAnon'), file: field('RssFile'), shared: field('RssShmem') }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await gone
  }
}

/** The program of a peer. Debian has some where only root's PATH leads. */
export function findPeerProgram(name: string): string | undefined {
  return findProgram(name) ?? findProgram(name, '/usr/sbin')
}

function peerProgram(name: string): string {
  const program = findPeerProgram(name)
  if (program === undefined) throw new Error(`${name} is not installed`)
  return program
}

async function failure(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, 'exit')
  throw new Error(`${child.spawnargs.join(' ')} ended (${signal ?? code})`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function reachable(port: number): Promise<void> {
  const until = performance.now() + startMs
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      socket.destroy()
      return
    } catch (cause) {
      if (performance.now() > until) throw new Error(`no process listens on port ${port}`, { cause })
      await pause(20)
    }
  }
}
