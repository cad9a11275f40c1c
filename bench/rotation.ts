// What a single publish costs while the log goes through segments.
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { open } from 'hermes-mq'
import { runChild } from './support/children.js'
import { duration, latencyCells, latencyColumns, millions, range } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { frameBytes, Quote, QuoteChecker, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Roles, Workload } from './support/workload.js'

interface Args {
  readonly place: string
  readonly path: string
  readonly count: number
  /** Messages per second; 0 = as fast as publish() and ready() let it. */
  readonly rate: number
}

interface Measured {
  readonly latencies: string
  /** The publishes that began a segment, in ns. */
  readonly rotations: readonly number[]
  readonly perSecond: number
  readonly waits: number
  readonly waitedShare: number
}

/** The sequence that each segment begins with, read off the files: see docs/log-format.md. */
function baseSequences(place: string): number[] {
  const folder = join(place, 'topics', 'bench')
  const names = readdirSync(folder).filter((name) => /^\d+\.seg$/.test(name))
  const bases = names.toSorted().map((name) => {
    const file = openSync(join(folder, name), 'r')
    const base = Buffer.alloc(8)
    readSync(file, base, 0, 8, 64)
    closeSync(file)
    return Number(base.readBigUInt64LE())
  })
  // The last one is prepared, but not in use.
  return bases.filter((base) => base > 0)
}

async function publish({ place, path, count, rate }: Args): Promise<Measured> {
  await using hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote })
  const publisher = await topic.publisher()
  const pool = new QuotePool()
  const warmup = 200_000
  const took = new Float32Array(count + 1).fill(1)
  for (let id = 1; id <= warmup; id++) if (!publisher.publish(pool.at(id))) await publisher.ready()
  let waits = 0
  let waited = 0
  const apart = rate === 0 ? 0 : 1000 / rate
  const begun = performance.now()
  let before = begun
  for (let id = warmup + 1; id <= count; id++) {
    if (apart > 0) {
      // A publish that comes late because of the one before it is charged for that too.
      before = begun + (id - warmup) * apart
      while (performance.now() < before);
    }
    const roomy = publisher.publish(pool.at(id))
    const now = performance.now()
    took[id] = (now - before) * 1e6
    before = now
    if (!roomy) {
      await publisher.ready()
      waits++
      before = performance.now()
      waited += before - now
    }
  }
  const seconds = (performance.now() - begun) / 1000

  const bases = baseSequences(path)
  const rotations = bases.filter((base) => base > warmup).map((base) => took[base] as number)
  const checker = new QuoteChecker()
  const subscriber = await topic.subscriber({ from: 'earliest', verify: false })
  while (subscriber.poll((quote, { sequence }) => checker.check(quote, sequence), 4096) > 0);
  checker.expect(count)
  return {
    latencies: Latencies.of(took.subarray(warmup + 1)).encode(),
    rotations,
    perSecond: (count - warmup) / seconds,
    waits,
    waitedShare: waited / 1000 / seconds,
  }
}

export const roles: Roles = { publish }

const segments = 11
const segmentBytes = 104_857_600
const pacedRate = 2_000_000

export const workload: Workload = {
  name: 'rotation',
  title: 'Rotation: every publish timed across segments',
  about:
    `One process publishes through ${segments} segments of 100 MiB in a directory, one by one, and times each call: as fast as publish() and ready() let it, and at ${pacedRate / 1e6} million/s with latency counted from when the ` +
    'call was due. The files show afterwards which publishes began a segment.',
  async run(context: Context) {
    const count = Math.ceil((segments * segmentBytes) / frameBytes)
    const cases = [0, pacedRate].map((rate) => ({ rate, trials: [] as Measured[] }))
    const runs = Math.ceil(context.trials / 3)
    for (let trial = 1; trial <= runs; trial++) {
      for (const { rate, trials } of cases) {
        context.progress(`trial ${trial}: ${rate === 0 ? 'as fast as it goes' : `${rate}/s`}`)
        const place = context.place('dir')
        const args: Args = { place: place.name, path: place.path, count, rate }
        const measured = await runChild<Measured>('rotation', 'publish', args)
        if (measured.rotations.length < segments - 1) throw new Error(`only ${measured.rotations.length} rotations`)
        trials.push(measured)
        place.remove()
      }
    }
    const results = cases.map(({ rate, trials }) => ({
      rate,
      latency: Latencies.merge(trials.map(({ latencies }) => latencies)).summary(),
      rotations: trialsOf(trials.flatMap(({ rotations }) => rotations)),
      perSecond: trialsOf(trials.map(({ perSecond }) => perSecond)),
      waits: trialsOf(trials.map(({ waits }) => waits)),
      waitedShare: trialsOf(trials.map(({ waitedShare }) => waitedShare)),
    }))
    const name = (rate: number) => (rate === 0 ? 'as fast as it goes' : `${millions(rate)} million/s`)
    return {
      tables: [
        {
          title: 'Every publish',
          columns: ['load', ...latencyColumns, 'M/s sustained', 'time spent in ready()'],
          rows: results.map(({ rate, latency, perSecond, waitedShare }) => [
            name(rate),
            ...latencyCells(latency),
            millions(perSecond.median),
            `${(waitedShare.median * 100).toFixed(0)} %`,
          ]),
        },
        {
          title: 'The publishes that began a segment',
          columns: ['load', 'rotations', 'median', 'range'],
          rows: results.map(({ rate, rotations }) => [
            name(rate),
            String(rotations.all.length),
            duration(rotations.median),
            range(rotations, duration),
          ]),
        },
      ],
      targets: [],
      notes: [`Trials: ${runs}. The first 200,000 messages of each are for warm-up and not counted.`],
      data: results,
    }
  },
}
