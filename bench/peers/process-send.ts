// node:child_process: process.send between a process and its child, with serialization 'advanced'.
import { type ChildProcess, fork } from 'node:child_process'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Roles } from '../support/workload.js'
import { Marks, type PeerArgs, PeerReceiver, PeerScratch, timeMessages } from './peer.js'
import { RoundTrips } from './round-trips.js'

const role = 'hermes-peer-process-send'

function start(echo: boolean, marks: readonly number[]): ChildProcess {
  const args = [role, JSON.stringify({ echo, marks })]
  return fork(fileURLToPath(import.meta.url), args, { serialization: 'advanced', execArgv: [] })
}

async function throughput(args: PeerArgs): Promise<number> {
  const marks = new Marks()
  const child = start(false, [args.warmup, args.warmup + args.count])
  child.on('message', (mark: number) => marks.reach(mark))
  const scratch = new PeerScratch()
  const seconds = await timeMessages(args, marks, async (first, last) => {
    for (let id = first; id <= last; id++) if (!child.send(scratch.encode(id))) await turn()
  })
  child.disconnect()
  return seconds
}

async function roundTrip(args: PeerArgs): Promise<string> {
  const child = start(true, [])
  const trips = new RoundTrips(args, (message) => child.send(message))
  child.on('message', (message: Uint8Array) => trips.answered(message, 0, message.length))
  trips.next()
  const latencies = await trips.done
  child.disconnect()
  return latencies
}

export const roles: Roles = { throughput, roundTrip }

if (process.argv[2] === role) {
  const { echo, marks } = JSON.parse(process.argv[3] ?? '') as { echo: boolean; marks: number[] }
  const receiver = new PeerReceiver(marks, (mark) => process.send?.(mark))
  process.on('message', (message: Uint8Array) => {
    if (echo) process.send?.(message)
    else receiver.take(message, 0, message.length)
  })
}
