// One trial of a kind: a server, a publisher and a subscriber, each in a process of its own.
import { Child, runChild } from '../support/children.js'
import { pause } from '../support/clock.js'
import type { FlowArgs, PacedArgs, PingArgs, Received, Sent } from './roles.js'
import type { Memory, Server } from './server.js'

/** What one message has cost each process, in nanoseconds of a processor, its share of the kernel's work included. */
export interface Cpu {
  readonly publisher: number
  readonly server: number
  readonly subscriber: number
}

export interface Flow {
  readonly perSecond: number
  readonly cpu: Cpu
}

export type StartServer = () => Promise<Server>

/** @param module the file whose roles are played, without its ending */
export async function flow(module: string, start: StartServer, given: Omit<FlowArgs, 'url'>): Promise<Flow> {
  return withServer(start, async (server) => {
    const args: FlowArgs = { url: server.url, ...given }
    const reading = new Child<Received>(module, 'subscriber', args)
    await reading.heard()
    const writing = new Child<Sent>(module, 'publisher', args)
    await writing.heard()
    reading.tell('go')
    writing.tell('go')
    await Promise.all([reading.heard(), writing.heard()])
    await pause(50)
    const used = server.cpuNs()
    writing.tell('go')
    await reading.heard()
    const serverNs = server.cpuNs() - used
    reading.tell('go')
    const [sent, received] = await Promise.all([writing.result, reading.result])
    return {
      perSecond: (given.count * 1e9) / (received.endedNs - sent.begunNs),
      cpu: {
        publisher: sent.cpuNs / given.count,
        server: serverNs / given.count,
        subscriber: received.cpuNs / given.count,
      },
    }
  })
}

export interface Sustained {
  readonly perSecond: number
  /** Of one core. */
  readonly serverShare: number
  /** At the end. */
  readonly memory: Memory
  readonly cpu: Cpu
}

/** Messages at a steady rate, in bursts of a millisecond. */
export async function sustained(start: StartServer, given: Omit<PacedArgs, 'url'>): Promise<Sustained> {
  return withServer(start, async (server) => {
    const args = { url: server.url, ...given }
    const reading = new Child<Received>('network/hermes', 'subscriber', { ...args, batch: 1 } satisfies FlowArgs)
    await reading.heard()
    const writing = new Child<Sent>('network/hermes', 'pacedPublisher', args satisfies PacedArgs)
    await writing.heard()
    reading.tell('go')
    writing.tell('go')
    await writing.heard()
    const begun = performance.now()
    const used = server.cpuNs()
    await reading.heard()
    await reading.heard()
    const serverNs = server.cpuNs() - used
    const seconds = (performance.now() - begun) / 1000
    const memory = server.memory()
    reading.tell('go')
    const [sent, received] = await Promise.all([writing.result, reading.result])
    return {
      perSecond: (given.count * 1e9) / (received.endedNs - sent.begunNs),
      serverShare: serverNs / 1e9 / seconds,
      memory,
      cpu: {
        publisher: sent.cpuNs / given.count,
        server: serverNs / given.count,
        subscriber: received.cpuNs / given.count,
      },
    }
  })
}

/** One-way latencies: a histogram, encoded. */
export function pings(module: string, start: StartServer, given: Omit<PingArgs, 'url'>): Promise<string> {
  return withServer(start, (server) =>
    runChild<string>(module, 'pings', { url: server.url, ...given } satisfies PingArgs),
  )
}

async function withServer<Result>(start: StartServer, work: (server: Server) => Promise<Result>): Promise<Result> {
  const server = await start()
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}
