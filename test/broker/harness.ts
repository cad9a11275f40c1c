import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

const program = join(import.meta.dirname, 'broker-process.mjs')

/** A broker in a process of its own. */
export class BrokerProcess {
  readonly url: string
  readonly port: number
  readonly #child: ChildProcess
  readonly #errors: string[]
  /** What it has printed after its URL, line by line. */
  readonly said: string[] = []

  private constructor(child: ChildProcess, url: string, errors: string[]) {
    this.#child = child
    child.stdout?.on('data', (data) => this.said.push(...String(data).trim().split('\n')))
    this.url = url
    this.port = Number(new URL(url).port)
    this.#errors = errors
  }

  static async start(dir: string, port = 0, env: Readonly<Record<string, string>> = {}): Promise<BrokerProcess> {
    const child = spawn(process.execPath, [program, dir, String(port)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    const errors: string[] = []
    child.stderr?.on('data', (data) => errors.push(String(data)))
    const line = await Promise.race([
      once(child.stdout as NodeJS.ReadableStream, 'data').then(([data]) => String(data).trim()),
      once(child, 'exit').then(() => ''),
    ])
    if (line === '') throw new Error(`the broker did not start: ${errors.join('')}`)
    return new BrokerProcess(child, line, errors)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get log(): string {
    return this.#errors.join('')
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode
    const gone = once(this.#child, 'exit')
    this.#child.kill(signal)
    await gone
    return this.#child.exitCode
  }
}

/** How a proxy treats the bytes that go through it. */
export type Fault = 'none' | 'cut' | 'half-open' | 'mute' | 'trickle' | 'delay'

/** Stands between clients and a broker, and does to their connections what networks do. */
export class FaultyNetwork {
  readonly #server: Server
  readonly #target: number
  readonly #random: () => number
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  fault: Fault = 'none'
  cuts = 0
  /** New connections are closed at once. */
  refuses = false
  /** Carried, in both directions. */
  bytes = 0

  private constructor(target: number, random: () => number) {
    this.#target = target
    this.#random = random
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket))
  }

  static async start(target: number, random: () => number): Promise<FaultyNetwork> {
    const proxy = new FaultyNetwork(target, random)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  #serve(client: Socket): void {
    if (this.refuses) {
      client.destroy()
      return
    }
    const broker = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    const pair = [client, broker] as const
    this.#pairs.add(pair)
    // (behind the greeting: a first connection that is cut is for the caller of open() to know)
    let left = this.fault === 'cut' ? 2000 + Math.floor(this.#random() * 200_000) : Number.POSITIVE_INFINITY
    const end = () => {
      this.#pairs.delete(pair)
      client.destroy()
      broker.destroy()
    }
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      // Who is behind a half-open connection does not learn that the other end is gone.
      const gone = () => {
        if (this.fault !== 'half-open') end()
      }
      from.on('error', gone)
      from.on('close', gone)
      from.on('data', (chunk: Buffer) => {
        this.bytes += chunk.length
        if (this.fault === 'half-open') return
        // What the broker says is lost on the way; what it is told arrives.
        if (this.fault === 'mute' && from === broker) return
        left -= chunk.length
        if (left <= 0) {
          // In the middle of whatever was being said.
          this.cuts++
          to.write(chunk.subarray(0, Math.floor(this.#random() * chunk.length)), end)
          return
        }
        if (this.fault === 'trickle') {
          for (let at = 0; at < chunk.length && at < 2000; at++) to.write(chunk.subarray(at, at + 1))
          if (chunk.length > 2000) to.write(chunk.subarray(2000))
        } else if (this.fault === 'delay') {
          from.pause()
          setTimeout(() => {
            if (!to.destroyed) to.write(chunk)
            from.resume()
          }, this.#random() * 10)
        } else if (!to.write(chunk)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
      })
    }
  }

  /** Cuts all connections. */
  cut(): void {
    for (const [client, broker] of this.#pairs) {
      this.cuts++
      client.destroy()
      broker.destroy()
    }
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** Cuts one connection: the oldest is 0. */
  cutOne(which: number): void {
    const [client, broker] = [...this.#pairs][which] as readonly [Socket, Socket]
    this.cuts++
    client.destroy()
    broker.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** Small, seeded, the same everywhere: mulberry32 (Tommy Ettinger, public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
