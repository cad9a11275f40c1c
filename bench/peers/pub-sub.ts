// What brokers of others do in the network workload: the same roles as Hermes's, with whatever client they have.
import { setImmediate as turn } from 'node:timers/promises'
import { cpuNs, type FlowArgs, type PingArgs, type Received, type Sent } from '../network/roles.js'
import { monotonicNs } from '../support/clock.js'
import { Latencies } from '../support/histogram.js'
import type { Link, Roles } from '../support/workload.js'
import { Marks, PeerReceiver, PeerSource, peerBytes } from './peer.js'

/** A connection to a broker. */
export interface PubSub {
  /** Sends it at the end of the turn at the latest. The memory is the connection's from now on. */
  publish(subject: string, payload: Uint8Array): void
  /** Resolves once it is in force. */
  subscribe(subject: string, handler: (payload: Uint8Array) => void): Promise<void>
  close(): Promise<void>
}

/** Messages handed over in one turn of the event loop. */
const burst = 1024
/** How far the publisher may be ahead, as these brokers have no back-pressure: they disconnect a slow subscriber, or it fills their memory. */
const ahead = 100_000
const reportEvery = 20_000

/** Sends messages, but no more than `ahead` that the subscriber has not reported. */
class PacedSource {
  readonly #connection: PubSub
  readonly #source = new PeerSource()
  #taken = 0
  #wake = () => {}

  constructor(connection: PubSub) {
    this.#connection = connection
  }

  async open(): Promise<void> {
    await this.#connection.subscribe('progress', (payload) => {
      this.#taken = Number(Buffer.from(payload).toString())
      this.#wake()
    })
  }

  async send(first: number, last: number): Promise<void> {
    for (let id = first; id <= last; ) {
      const end = Math.min(last + 1, id + burst)
      for (; id < end; id++) this.#connection.publish('bench', this.#source.message(id))
      await turn()
      await this.taken(id - ahead)
    }
  }

  /** Resolves once the subscriber has reported so many. */
  async taken(count: number): Promise<void> {
    while (this.#taken < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

export function pubSubRoles(connect: (url: string) => Promise<PubSub>): Roles {
  async function publisher({ url, warmup, count }: FlowArgs, link: Link): Promise<Sent> {
    const connection = await connect(url)
    const source = new PacedSource(connection)
    await source.open()
    link.tell('open')
    await link.heard()
    await source.send(1, warmup)
    link.tell('warm')
    await link.heard()
    const used = cpuNs()
    const begunNs = monotonicNs()
    await source.send(warmup + 1, warmup + count)
    const sent: Sent = { begunNs, cpuNs: cpuNs() - used }
    await source.taken(warmup + count)
    await connection.close()
    return sent
  }

  async function subscriber({ url, warmup, count }: FlowArgs, link: Link): Promise<Received> {
    const connection = await connect(url)
    const marks = new Marks()
    const receiver = new PeerReceiver([warmup, warmup + count], (mark) => marks.reach(mark))
    let received = 0
    await connection.subscribe('bench', (payload) => {
      receiver.take(payload, 0, payload.length)
      if (++received % reportEvery === 0 || received === warmup + count)
        connection.publish('progress', Buffer.from(String(received)))
    })
    monotonicNs()
    link.tell('open')
    await link.heard()
    await marks.wait(warmup)
    link.tell('warm')
    const used = cpuNs()
    await marks.wait(warmup + count)
    const result: Received = { endedNs: monotonicNs(), cpuNs: cpuNs() - used }
    link.tell('done')
    await link.heard()
    await connection.close()
    return result
  }

  /** One message at a time, over two connections of one process. */
  async function pings({ url, warmup, count }: PingArgs): Promise<string> {
    const [there, here] = [await connect(url), await connect(url)]
    const source = new PeerSource()
    const receiver = new PeerReceiver([], () => {})
    const latencies = new Latencies()
    let arrived = () => {}
    let begun = 0
    let id = 0
    await here.subscribe('ping', (payload) => {
      const ns = (performance.now() - begun) * 1e6
      receiver.take(payload, 0, peerBytes)
      if (id > warmup) latencies.record(ns)
      arrived()
    })
    while (id < warmup + count) {
      const message = source.message(++id)
      const wait = new Promise<void>((resolve) => {
        arrived = resolve
      })
      begun = performance.now()
      there.publish('ping', message)
      await wait
    }
    await Promise.all([there.close(), here.close()])
    return latencies.encode()
  }

  return { publisher, subscriber, pings }
}
