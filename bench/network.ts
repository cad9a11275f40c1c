// Over TCP: from a publisher's process through a broker to a subscriber's, beside the brokers of others.
import { type Cpu, type Flow, flow, pings, type StartServer, type Sustained, sustained } from './network/flow.js'
import { findPeerProgram, type Idle, Server } from './network/server.js'
import { hasPeer, type PeerPackage } from './peers/installed.js'
import { bytes, digits, duration, latencyCells, latencyColumns, millions, range } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Workload } from './support/workload.js'

const count = 2_000_000
const warmup = 500_000
const peerCount = 300_000
const peerWarmup = 100_000
const pingCount = 10_000
const pingWarmup = 5_000
const rate = 500_000
const rateSeconds = 4
const rateWarmupSeconds = 2
/** What a trial writes, so that there is memory for it: see `Context.place`. */
const flowBytes = 512 << 20
const pingBytes = 64 << 20

/** Something measured once in each trial. */
interface Contestant<Measured> {
  readonly name: string
  measure(context: Context): Promise<Measured>
  readonly trials: Measured[]
}

const single = 'Hermes, publish'
const batched = 'Hermes, publishBatch of 256'
const nats = 'core NATS'
const redis = 'Redis, PUBLISH'
const spinning = 'Hermes, spin'
const parked = 'Hermes, park'

/** Runs `work` with a broker on a directory of its own. */
async function onHermes<Result>(
  context: Context,
  idle: Idle,
  warmBytes: number,
  work: (start: StartServer) => Promise<Result>,
): Promise<Result> {
  const place = context.place('dir', warmBytes)
  try {
    return await work(() => Server.hermes(place.path, idle))
  } finally {
    place.remove()
  }
}

function hermesFlow(name: string, batch: number, module = 'network/hermes'): Contestant<Flow> {
  const measure = (context: Context) =>
    onHermes(context, 'park', flowBytes, (start) => flow(module, start, { batch, warmup, count }))
  return { name, measure, trials: [] }
}

function peerFlow(name: string, module: string, start: StartServer): Contestant<Flow> {
  const measure = () => flow(module, start, { batch: 1, warmup: peerWarmup, count: peerCount })
  return { name, measure, trials: [] }
}

function hermesPings(name: string, idle: Idle): Contestant<string> {
  const args = { spin: idle === 'spin', warmup: pingWarmup, count: pingCount }
  const measure = (context: Context) =>
    onHermes(context, idle, pingBytes, (start) => pings('network/hermes', start, args))
  return { name, measure, trials: [] }
}

function peerPings(name: string, module: string, start: StartServer): Contestant<string> {
  const measure = () => pings(module, start, { spin: false, warmup: pingWarmup, count: pingCount })
  return { name, measure, trials: [] }
}

/** The peers that are installed, and a note for each that is not. */
function findPeers(): { readonly found: ReadonlySet<string>; readonly notes: readonly string[] } {
  const found = new Set<string>()
  const notes: string[] = []
  const look = (name: string, program: string, client: PeerPackage) => {
    if (findPeerProgram(program) === undefined)
      notes.push(`${name} was left out: there is no ${program} (a package of Debian's).`)
    else if (!hasPeer(client))
      notes.push(
        `${name} was left out: its client is not installed. \`npm run bench -- --peers\` installs it into bench/peers.`,
      )
    else found.add(name)
  }
  look(nats, 'nats-server', 'nats')
  look(redis, 'redis-server', 'ioredis')
  return { found, notes }
}

async function measureAll<Measured>(context: Context, all: readonly Contestant<Measured>[]): Promise<void> {
  for (let trial = 1; trial <= context.trials; trial++) {
    for (const one of all) {
      context.progress(`trial ${trial} of ${context.trials}: ${one.name}`)
      one.trials.push(await one.measure(context))
    }
  }
}

const middle = (values: readonly number[]) => trialsOf(values).median

function cpuCells(trials: readonly { readonly cpu: Cpu }[]): string[] {
  return (['publisher', 'server', 'subscriber'] as const).map((who) =>
    digits(middle(trials.map(({ cpu }) => cpu[who]))),
  )
}

export const workload: Workload = {
  name: 'network',
  title: 'Over TCP, through a broker',
  about:
    'A publisher’s process, `hermes serve` on a directory and a subscriber’s process, over the loopback interface. The broker stores every message in its log; the peers store nothing. ' +
    `Throughput: ${count.toLocaleString('en-US')} messages, from before the first publish until the last one was read; the receiver compares the number in each during the run, and all fields in a second reading. ` +
    'One-way latency: from publish to handler; each message is sent after the one before has arrived. Publisher and subscriber are one process with two connections, so that one clock times both ends.',
  async run(context: Context) {
    const { found, notes } = findPeers()
    const flows = [
      hermesFlow(single, 1),
      hermesFlow(batched, 256),
      hermesFlow(`${single}, without the addon`, 1, 'network/hermes-portable'),
      hermesFlow(`${batched}, without the addon`, 256, 'network/hermes-portable'),
      ...(found.has(nats) ? [peerFlow(nats, 'peers/nats', Server.nats)] : []),
      ...(found.has(redis) ? [peerFlow(redis, 'peers/redis', Server.redis)] : []),
    ]
    const latencies = [
      hermesPings(spinning, 'spin'),
      hermesPings(parked, 'park'),
      ...(found.has(nats) ? [peerPings(nats, 'peers/nats', Server.nats)] : []),
      ...(found.has(redis) ? [peerPings(redis, 'peers/redis', Server.redis)] : []),
    ]
    const steady: Contestant<Sustained> = {
      name: `${rate.toLocaleString('en-US')} messages/s`,
      measure: () =>
        onHermes(context, 'park', flowBytes, (start) =>
          sustained(start, { rate, warmup: rate * rateWarmupSeconds, count: rate * rateSeconds }),
        ),
      trials: [],
    }
    await measureAll(context, flows)
    await measureAll(context, latencies)
    await measureAll({ ...context, trials: Math.ceil(context.trials / 3) }, [steady])

    const rates = flows.map(({ name, trials }) => ({
      name,
      rate: trialsOf(trials.map((one) => one.perSecond)),
      trials,
    }))
    const rateOf = (name: string) => rates.find((one) => one.name === name)
    const ours = rateOf(batched) as (typeof rates)[number]
    // Within each trial, so that a change of the machine's mood between trials doesn't enter.
    const faster = (theirs: (typeof rates)[number]) =>
      trialsOf(theirs.trials.map((one, trial) => (ours.trials[trial] as Flow).perSecond / one.perSecond))
    const times = latencies.map(({ name, trials }) => ({
      name,
      latency: Latencies.merge(trials).summary(),
      medians: trialsOf(trials.map((one) => Latencies.merge([one]).at(50))),
      p99s: trialsOf(trials.map((one) => Latencies.merge([one]).at(99))),
    }))
    const timeOf = (name: string) => times.find((one) => one.name === name)
    const [spin, park] = [timeOf(spinning), timeOf(parked)] as [(typeof times)[number], (typeof times)[number]]
    const share = middle(steady.trials.map(({ serverShare }) => serverShare))
    const anonymous = Math.max(...steady.trials.map(({ memory }) => memory.anonymous))
    const file = Math.max(...steady.trials.map(({ memory }) => memory.file + memory.shared))
    const reached = middle(steady.trials.map(({ perSecond }) => perSecond))
    const natsRate = rateOf(nats)
    const natsTime = timeOf(nats)
    return {
      tables: [
        {
          title: 'Million messages per second, end to end',
          columns: ['way', 'M/s', 'range', 'publishBatch is faster by', 'publisher, ns each', 'broker', 'subscriber'],
          rows: rates.map((one) => [
            one.name,
            millions(one.rate.median),
            range(one.rate, millions),
            one === ours ? '' : `${digits(faster(one).median)} ×`,
            ...cpuCells(one.trials),
          ]),
        },
        {
          title: 'One-way latency, one message at a time',
          columns: ['way', ...latencyColumns, 'p50 of the trials', 'p99 of the trials'],
          rows: times.map(({ name, latency, medians, p99s }) => [
            name,
            ...latencyCells(latency),
            range(medians, duration),
            range(p99s, duration),
          ]),
        },
        {
          title: `${rate.toLocaleString('en-US')} messages/s for ${rateSeconds} seconds, in bursts of a millisecond`,
          columns: [
            'messages/s',
            'broker, of one core',
            'its memory',
            'and mapped files',
            'publisher, ns each',
            'broker',
            'subscriber',
          ],
          rows: [
            [
              Math.round(reached).toLocaleString('en-US'),
              `${digits(share * 100)} %`,
              bytes(anonymous),
              bytes(file),
              ...cpuCells(steady.trials),
            ],
          ],
        },
      ],
      targets: [
        {
          what: 'over TCP, batched, end to end',
          target: '≥ 3 M/s',
          measured: `${millions(ours.rate.median)} M/s`,
          met: ours.rate.median >= 3e6,
        },
        ...(natsRate === undefined
          ? []
          : [
              {
                what: 'over TCP, batched, beside core NATS',
                target: '≥ 5 ×',
                measured: `${digits(faster(natsRate).median)} ×`,
                met: faster(natsRate).median >= 5,
              },
            ]),
        {
          what: 'over TCP, one way, spinning, median',
          target: '≤ 30 µs',
          measured: duration(spin.medians.median),
          met: spin.medians.median <= 30_000,
        },
        {
          what: 'over TCP, one way, spinning, p99',
          target: '≤ 100 µs',
          measured: duration(spin.p99s.median),
          met: spin.p99s.median <= 100_000,
        },
        ...(natsTime === undefined
          ? []
          : [
              {
                what: 'over TCP, one way, parked, median',
                target: `≤ core NATS’s ${duration(natsTime.medians.median)}`,
                measured: duration(park.medians.median),
                met: park.medians.median <= natsTime.medians.median,
              },
            ]),
        {
          what: `broker at ${rate.toLocaleString('en-US')} messages/s`,
          target: '< 30 % of one core',
          measured: `${digits(share * 100)} %`,
          met: share < 0.3 && reached > 0.98 * rate,
        },
        {
          what: `broker’s memory at ${rate.toLocaleString('en-US')} messages/s`,
          target: '< 100 MB',
          measured: bytes(anonymous),
          met: anonymous < 100e6,
        },
      ],
      notes: [
        'ns each: processor time per message of each process, with all its threads and its share of the kernel’s work. Three busy processes share two cores, so the least time of a message is half of the sum.',
        'The broker’s memory is its private memory (RssAnon). The pages of the log that it has mapped (RssFile) belong to the kernel’s page cache, which takes them back when it needs them.',
        '“spin”: the broker polls its sockets without sleeping (`--idle spin`), and the client once in each turn of its event loop (`wait: "spin"`). Each keeps a core busy; on two cores no other program may run, or the p99 is a time slice of the scheduler. ' +
          'The targets’ figures are medians of the trials’ percentiles.',
        ...(natsRate === undefined
          ? []
          : [
              'The peers’ publishers hand over messages one by one, 1,024 in a turn, and are at most 100,000 ahead of the subscriber, because these brokers disconnect a slower subscriber, or queue for it without a limit.',
            ]),
        ...notes,
      ],
      data: {
        throughput: rates,
        latency: times,
        sustained: steady.trials,
      },
    }
  },
}
