// Hermes beside the other ways from one Node process to another, in the same run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endToEnd } from './end-to-end.js'
import { hasPeer } from './peers/installed.js'
import type { PeerArgs } from './peers/peer.js'
import { roundTrip, type Waiting } from './round-trip.js'
import { runChild } from './support/children.js'
import { digits, latencyCells, latencyColumns, millions, range } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Workload } from './support/workload.js'

/** One way to send messages, measured once. */
interface Contestant<Measured> {
  readonly name: string
  /** The contestant to which it's compared. */
  readonly against: string
  measure(context: Context): Promise<Measured>
  readonly trials: Measured[]
}

const single = 'Hermes, publish'
const batched = 'Hermes, publishBatch of 256'
const polling = 'Hermes, polling'
const parked = 'Hermes, park'

function hermesRate(name: string, batch: number): Contestant<number> {
  const count = 2_000_000
  return {
    name,
    against: name,
    async measure(context) {
      const place = context.place('dir')
      const seconds = await endToEnd(place, { batch, warmup: 400_000, count, compare: 'number' })
      place.remove()
      return count / seconds
    },
    trials: [],
  }
}

function peerRate(name: string, peer: string, count: number, batch = 1): Contestant<number> {
  return {
    name,
    against: batch === 1 ? single : batched,
    measure: async () => count / (await runPeer<number>(peer, 'throughput', { warmup: count / 4, count, batch })),
    trials: [],
  }
}

function hermesTrip(name: string, waiting: Waiting, count: number): Contestant<string> {
  return {
    name,
    against: name,
    async measure(context) {
      const place = context.place('dir')
      const { latencies } = await roundTrip(place, waiting, count / 4, count)
      place.remove()
      return latencies
    },
    trials: [],
  }
}

function peerTrip(name: string, peer: string): Contestant<string> {
  return {
    name,
    against: polling,
    measure: () => runPeer<string>(peer, 'roundTrip', { warmup: 4000, count: 10_000, batch: 1 }),
    trials: [],
  }
}

async function runPeer<Result>(peer: string, role: string, args: Omit<PeerArgs, 'folder'>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-peer-'))
  try {
    return await runChild<Result>(`peers/${peer}`, role, { ...args, folder } satisfies PeerArgs)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function measureAll<Measured>(context: Context, contestants: readonly Contestant<Measured>[]): Promise<void> {
  for (let trial = 1; trial <= context.trials; trial++) {
    for (const one of contestants) {
      context.progress(`trial ${trial} of ${context.trials}: ${one.name}`)
      one.trials.push(await one.measure(context))
    }
  }
}

/** Ratios are taken within each trial, so that a change of the machine's mood between trials doesn't enter. */
function ratios<Measured>(
  one: Contestant<Measured>,
  against: string,
  all: readonly Contestant<Measured>[],
  divide: (ours: Measured, theirs: Measured) => number,
) {
  const ours = all.find(({ name }) => name === against)
  if (ours === undefined) throw new Error(`no contestant is called ${against}`)
  return trialsOf(one.trials.map((theirs, trial) => divide(ours.trials[trial] as Measured, theirs)))
}

export const workload: Workload = {
  name: 'peers',
  title: 'Beside other ways between two Node processes',
  about:
    'Hermes (a durable topic in a directory) and its peers run in alternation. All encode the same eight fields with the same codec; Hermes also stores every message in the log. In the throughput runs receivers ' +
    'compare the number in each message; in the round trip Hermes compares all fields. postMessage goes between threads, the others between processes.',
  async run(context: Context) {
    const zeroMq = hasPeer('zeromq')
    const rates = [
      hermesRate(single, 1),
      hermesRate(batched, 256),
      peerRate('TCP, 256 messages a write', 'tcp', 2_000_000, 256),
      peerRate('worker_threads postMessage', 'worker', 200_000),
      ...(zeroMq ? [peerRate('ZeroMQ PUSH/PULL, ipc', 'zeromq', 200_000)] : []),
      peerRate('TCP, one message a write', 'tcp', 200_000),
      peerRate('process.send', 'process-send', 100_000),
    ]
    const trips = [
      hermesTrip(polling, 'poll', 200_000),
      hermesTrip(parked, 'park', 10_000),
      peerTrip('worker_threads postMessage', 'worker'),
      peerTrip('process.send', 'process-send'),
      peerTrip('TCP, loopback', 'tcp'),
      ...(zeroMq ? [peerTrip('ZeroMQ PAIR, ipc', 'zeromq')] : []),
    ]
    await measureAll(context, rates)
    await measureAll(context, trips)

    const median = (encoded: string) => Latencies.merge([encoded]).at(50)
    const faster = (ours: string, theirs: string) => median(theirs) / median(ours)
    const throughput = rates.map((one) => ({
      name: one.name,
      against: one.against,
      rate: trialsOf(one.trials),
      ratio: ratios(one, one.against, rates, (ours, theirs) => ours / theirs),
    }))
    const latency = trips.map((one) => ({
      name: one.name,
      latency: Latencies.merge(one.trials).summary(),
      ratio: ratios(one, polling, trips, faster),
      parkedRatio: ratios(one, parked, trips, faster),
    }))
    const times = (name: string, against: string, ratio: { readonly median: number }) =>
      name === against ? '' : `${digits(ratio.median)} ×`
    return {
      tables: [
        {
          title: 'Throughput, end to end',
          columns: ['way', 'M/s', 'range', 'Hermes is faster by', 'compared with'],
          rows: throughput.map(({ name, against, rate, ratio }) => [
            name,
            millions(rate.median),
            range(rate, millions),
            times(name, against, ratio),
            name === against ? '' : against,
          ]),
        },
        {
          title: 'Round trip',
          columns: ['way', ...latencyColumns, 'p50 ÷ Hermes polling', 'p50 ÷ Hermes park'],
          rows: latency.map(({ name, latency, ratio, parkedRatio }) => [
            name,
            ...latencyCells(latency),
            times(name, polling, ratio),
            times(name, parked, parkedRatio),
          ]),
        },
      ],
      targets: [],
      notes: [
        'Polling uses a core at each end; the peers and “park” sleep in the kernel between messages. Below 1 × a peer was quicker.',
        ...(zeroMq
          ? []
          : ['ZeroMQ was left out: it is not installed. `npm run bench -- --peers` installs it into bench/peers.']),
      ],
      data: { throughput, latency },
    }
  },
}
