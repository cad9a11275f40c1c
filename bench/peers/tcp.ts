// node:net: TCP over the loopback interface between two processes, each message with a length before it.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Roles } from '../support/workload.js'
import { Marks, type PeerArgs, PeerReceiver, PeerSource, peerBytes, regionOf, timeMessages } from './peer.js'
import { RoundTrips } from './round-trips.js'

const role = 'hermes-peer-tcp'
const lengthBytes = 4

/** Cuts a stream of bytes into messages. */
class Splitter {
  #rest: Buffer = Buffer.alloc(0)
  readonly #take: (bytes: Uint8Array, offset: number, length: number) => void

  constructor(take: (bytes: Uint8Array, offset: number, length: number) => void) {
    this.#take = take
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= lengthBytes) {
      const length = bytes.readUInt32LE(at)
      if (bytes.length - at < lengthBytes + length) break
      this.#take(bytes, at + lengthBytes, length)
      at += lengthBytes + length
    }
    this.#rest = bytes.subarray(at)
  }
}

async function start(echo: boolean, marks: readonly number[]): Promise<{ child: ChildProcess; socket: Socket }> {
  const child = fork(fileURLToPath(import.meta.url), [role, JSON.stringify({ echo, marks })], { execArgv: [] })
  const [port] = (await once(child, 'message')) as [number]
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  await once(socket, 'connect')
  return { child, socket }
}

async function throughput(args: PeerArgs): Promise<number> {
  const marks = new Marks()
  const { child, socket } = await start(false, [args.warmup, args.warmup + args.count])
  child.on('message', (mark: number) => marks.reach(mark))
  const source = new PeerSource()
  const size = lengthBytes + peerBytes
  const seconds = await timeMessages(args, marks, async (first, last) => {
    for (let next = first; next <= last; next += args.batch) {
      const messages = Math.min(args.batch, last - next + 1)
      // The socket may keep it for a while, so each write has memory of its own.
      const buffer = Buffer.allocUnsafe(messages * size)
      const target = regionOf(buffer)
      for (let at = 0, id = next; at < buffer.length; at += size, id++) {
        target.data.setUint32(at, peerBytes, true)
        source.encode(id, target, at + lengthBytes)
      }
      if (!socket.write(buffer)) await once(socket, 'drain')
    }
  })
  socket.destroy()
  child.disconnect()
  return seconds
}

async function roundTrip(args: PeerArgs): Promise<string> {
  const { child, socket } = await start(true, [])
  const buffer = Buffer.alloc(lengthBytes + peerBytes)
  buffer.writeUInt32LE(peerBytes)
  const trips = new RoundTrips(args, (message) => {
    buffer.set(message, lengthBytes)
    socket.write(buffer)
  })
  const splitter = new Splitter((bytes, offset, length) => trips.answered(bytes, offset, length))
  socket.on('data', (chunk) => splitter.push(chunk))
  trips.next()
  const latencies = await trips.done
  socket.destroy()
  child.disconnect()
  return latencies
}

export const roles: Roles = { throughput, roundTrip }

if (process.argv[2] === role) {
  const { echo, marks } = JSON.parse(process.argv[3] ?? '') as { echo: boolean; marks: number[] }
  const receiver = new PeerReceiver(marks, (mark) => process.send?.(mark))
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    const answer = Buffer.alloc(lengthBytes + peerBytes)
    answer.writeUInt32LE(peerBytes)
    const splitter = new Splitter((bytes, offset, length) => {
      if (echo) {
        answer.set(bytes.subarray(offset, offset + length), lengthBytes)
        socket.write(answer)
      } else receiver.take(bytes, offset, length)
    })
    socket.on('data', (chunk) => splitter.push(chunk))
    socket.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  process.on('disconnect', () => process.exit())
}
