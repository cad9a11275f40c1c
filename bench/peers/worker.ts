// node:worker_threads: postMessage between two threads of one process.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Roles } from '../support/workload.js'
import { Marks, type PeerArgs, PeerReceiver, PeerScratch, timeMessages } from './peer.js'
import { RoundTrips } from './round-trips.js'

interface Errand {
  readonly echo: boolean
  readonly marks: readonly number[]
}

function start(errand: Errand): Worker {
  const worker = new Worker(new URL(import.meta.url), { workerData: errand })
  worker.once('error', (error) => {
    throw error
  })
  return worker
}

async function throughput(args: PeerArgs): Promise<number> {
  const marks = new Marks()
  const worker = start({ echo: false, marks: [args.warmup, args.warmup + args.count] })
  worker.on('message', (mark: number) => marks.reach(mark))
  const scratch = new PeerScratch()
  const seconds = await timeMessages(args, marks, async (first, last) => {
    for (let id = first; id <= last; id++) worker.postMessage(scratch.encode(id))
  })
  await worker.terminate()
  return seconds
}

async function roundTrip(args: PeerArgs): Promise<string> {
  const worker = start({ echo: true, marks: [] })
  const trips = new RoundTrips(args, (message) => worker.postMessage(message))
  worker.on('message', (message: Uint8Array) => trips.answered(message, 0, message.length))
  trips.next()
  const latencies = await trips.done
  await worker.terminate()
  return latencies
}

export const roles: Roles = { throughput, roundTrip }

if (!isMainThread) {
  const { echo, marks } = workerData as Errand
  const port = parentPort
  const receiver = new PeerReceiver(marks, (mark) => port?.postMessage(mark))
  port?.on('message', (message: Uint8Array) => {
    if (echo) port.postMessage(message)
    else receiver.take(message, 0, message.length)
  })
}
