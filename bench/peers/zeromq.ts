// ZeroMQ (npm zeromq) over a Unix domain socket between two processes: PUSH to PULL, and PAIR there and back.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Roles } from '../support/workload.js'
import { loadPeer } from './installed.js'
import { Marks, type PeerArgs, PeerReceiver, PeerSource, timeMessages } from './peer.js'
import { RoundTrips } from './round-trips.js'

/** What is used of zeromq's interface. */
interface SendingSocket {
  sendHighWaterMark: number
  connect(address: string): void
  send(message: Uint8Array): Promise<void>
  close(): void
}
interface ReceivingSocket extends AsyncIterable<[Buffer]> {
  receiveHighWaterMark: number
  bind(address: string): Promise<void>
  close(): void
}
interface ZeroMq {
  readonly Push: new () => SendingSocket
  readonly Pull: new () => ReceivingSocket
  readonly Pair: new () => SendingSocket & ReceivingSocket
}

const role = 'hermes-peer-zeromq'

function load(): ZeroMq {
  return loadPeer('zeromq') as ZeroMq
}

async function start(echo: boolean, marks: readonly number[], address: string): Promise<ChildProcess> {
  const args = [role, JSON.stringify({ echo, marks, address })]
  const child = fork(fileURLToPath(import.meta.url), args, { execArgv: [] })
  await once(child, 'message')
  return child
}

async function throughput(args: PeerArgs): Promise<number> {
  const { Push } = load()
  const marks = new Marks()
  const address = `ipc://${join(args.folder, 'push')}`
  const child = await start(false, [args.warmup, args.warmup + args.count], address)
  child.on('message', (mark: number) => marks.reach(mark))
  const socket = new Push()
  socket.sendHighWaterMark = 10_000
  socket.connect(address)
  const source = new PeerSource()
  const seconds = await timeMessages(args, marks, async (first, last) => {
    for (let id = first; id <= last; id++) await socket.send(source.message(id))
  })
  socket.close()
  child.disconnect()
  return seconds
}

async function roundTrip(args: PeerArgs): Promise<string> {
  const { Pair } = load()
  const address = `ipc://${join(args.folder, 'pair')}`
  const child = await start(true, [], address)
  const socket = new Pair()
  socket.connect(address)
  const trips = new RoundTrips(args, (message) => void socket.send(message))
  trips.next()
  const answers = (async () => {
    for await (const [message] of socket) trips.answered(message, 0, message.length)
  })()
  const latencies = await trips.done
  socket.close()
  child.disconnect()
  await answers
  return latencies
}

export const roles: Roles = { throughput, roundTrip }

if (process.argv[2] === role) {
  const { echo, marks, address } = JSON.parse(process.argv[3] ?? '') as {
    echo: boolean
    marks: number[]
    address: string
  }
  process.on('disconnect', () => process.exit())
  const { Pull, Pair } = load()
  const receiver = new PeerReceiver(marks, (mark) => process.send?.(mark))
  if (echo) {
    const socket = new Pair()
    await socket.bind(address)
    process.send?.('bound')
    for await (const [message] of socket) await socket.send(message)
  } else {
    const socket = new Pull()
    socket.receiveHighWaterMark = 10_000
    await socket.bind(address)
    process.send?.('bound')
    for await (const [message] of socket) receiver.take(message, 0, message.length)
  }
}
