// Consumer groups: one member claims, handles and acknowledges messages of 64 bytes; in a directory, through a broker, and beside work queues of others.
import { type Group, open } from 'hermes-mq'
import { findPeerProgram, Server } from './network/server.js'
import { hasPeer } from './peers/installed.js'
import { runChild } from './support/children.js'
import { digits, millions, range } from './support/format.js'
import { Quote, QuoteChecker, type QuoteFields, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Roles, Workload } from './support/workload.js'

interface Args {
  readonly place: string
  readonly how: 'poll' | 'batches' | 'single' | 'run'
  readonly count: number
}

type QuoteGroup = Group<QuoteFields, QuoteFields>

/** Handles `count` messages and acknowledges each. Returns the seconds that it took, from the first claim on. */
const members: Readonly<
  Record<Args['how'], (group: QuoteGroup, checker: QuoteChecker, count: number) => Promise<void>>
> = {
  async poll(group, checker, count) {
    for (let handled = 0; handled < count; )
      handled += group.poll((quote, { sequence }) => checker.check(quote, sequence), 256)
  },
  async batches(group, checker, count) {
    let handled = 0
    for await (const jobs of group.batches(256)) {
      for (const { value, sequence } of jobs) checker.check(value, sequence)
      await group.ack(jobs)
      handled += jobs.length
      if (handled >= count) return
    }
  },
  async single(group, checker, count) {
    let handled = 0
    for await (const job of group) {
      checker.check(job.value, job.sequence)
      await job.ack()
      if (++handled >= count) return
    }
  },
  async run(group, checker, count) {
    const stop = new AbortController()
    let handled = 0
    const handler = ({ value, sequence }: { readonly value: QuoteFields; readonly sequence: number }) => {
      checker.check(value, sequence)
      if (++handled >= count) stop.abort()
    }
    await group.run(handler, { concurrency: 256, signal: stop.signal })
  },
}

async function work({ place, how, count }: Args): Promise<number> {
  const hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote })
  const group = await topic.group(`g-${how}`, { maxInFlight: 4096 })
  const begun = performance.now()
  await members[how](group, new QuoteChecker(), count)
  const seconds = (performance.now() - begun) / 1000
  const { totals } = await group.describe()
  if (totals.settled < count - 256 || totals.late > 0)
    throw new Error(`settled ${totals.settled} of ${count}, ${totals.late} late`)
  await group.close({ timeoutMs: 5000 })
  await hermes.close()
  return seconds
}

/** What is to be handled: published before, as the peers' are. */
async function fill({ place, count }: Pick<Args, 'place' | 'count'>): Promise<void> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher()
  const pool = new QuotePool()
  for (let id = 1; id <= count; id++) if (!publisher.publish(pool.at(id))) await publisher.ready()
}

export const roles: Roles = { work, fill }

interface Contestant {
  readonly name: string
  readonly isOurs: boolean
  readonly isRemote: boolean
  measure(context: Context): Promise<number>
  readonly trials: number[]
}

function ours(name: string, how: Args['how'], count: number, isRemote: boolean): Contestant {
  return {
    name,
    isOurs: true,
    isRemote,
    async measure(context) {
      const place = context.place('dir', 256 << 20)
      const server = isRemote ? await Server.hermes(place.path, 'park') : undefined
      try {
        await runChild<void>('groups', 'fill', { place: place.path, count })
        const seconds = await runChild<number>('groups', 'work', { place: server?.url ?? place.path, how, count })
        return count / seconds
      } finally {
        await server?.stop()
        place.remove()
      }
    },
    trials: [],
  }
}

function peer(name: string, module: string, role: string, count: number, start: () => Promise<Server>): Contestant {
  return {
    name,
    isOurs: false,
    isRemote: true,
    async measure() {
      const server = await start()
      try {
        return count / (await runChild<number>(`peers/${module}`, role, { url: server.url, count }))
      } finally {
        await server.stop()
      }
    },
    trials: [],
  }
}

function peers(): { readonly found: readonly Contestant[]; readonly notes: readonly string[] } {
  const found: Contestant[] = []
  const notes: string[] = []
  const redis = findPeerProgram('redis-server') !== undefined && hasPeer('ioredis')
  const nats = findPeerProgram('nats-server') !== undefined && hasPeer('nats')
  if (redis) {
    found.push(
      peer('Redis Streams, XREADGROUP and XACK of 256', 'redis-streams', 'batches', 200_000, Server.redis),
      peer('Redis Streams, one at a time', 'redis-streams', 'single', 20_000, Server.redis),
    )
  } else notes.push('Redis Streams was left out: it needs redis-server and `npm run bench -- --peers`.')
  const bull = findPeerProgram('redis-server') !== undefined && hasPeer('bullmq')
  if (bull) {
    found.push(
      peer('BullMQ, a worker of 256 at a time', 'bullmq', 'batches', 20_000, Server.redis),
      peer('BullMQ, one at a time', 'bullmq', 'single', 5000, Server.redis),
    )
  } else notes.push('BullMQ was left out: it needs redis-server and `npm run bench -- --peers`.')
  if (nats)
    found.push(peer('JetStream, pull of 256, acknowledged each', 'jetstream', 'batches', 50_000, Server.jetStream))
  else notes.push('JetStream was left out: it needs nats-server and `npm run bench -- --peers`.')
  return { found, notes }
}

export const workload: Workload = {
  name: 'groups',
  title: 'Consumer groups: claim, handle, acknowledge',
  about:
    'One member, in its own process, handles messages of 64 bytes that were published before, and acknowledges each; the peers’ streams were also filled before. Hermes keeps messages and acknowledgements in files; Redis keeps them in memory, JetStream the messages in files.',
  async run(context: Context) {
    const { found, notes } = peers()
    const all = [
      ours('Hermes, local, poll of 256', 'poll', 2_000_000, false),
      ours('Hermes, local, batches of 256', 'batches', 1_000_000, false),
      ours('Hermes, local, one at a time', 'single', 300_000, false),
      ours('Hermes, TCP, batches of 256', 'batches', 1_000_000, true),
      ours('Hermes, TCP, run(), 256 at a time', 'run', 300_000, true),
      ours('Hermes, TCP, one at a time', 'single', 20_000, true),
      ...found,
    ]
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const one of all) {
        context.progress(`trial ${trial} of ${context.trials}: ${one.name}`)
        one.trials.push(await one.measure(context))
      }
    }
    const rates = all.map((one) => ({ ...one, rate: trialsOf(one.trials) }))
    const best = Math.max(...rates.filter((one) => !one.isOurs).map(({ rate }) => rate.median), 0)
    const rateOf = (name: string) => rates.find((one) => one.name === name)?.rate.median ?? 0
    const target = (name: string, least: number) => ({
      what: name,
      target: `${millions(least)} M/s`,
      measured: `${millions(rateOf(name))} M/s`,
      met: rateOf(name) >= least,
    })
    return {
      tables: [
        {
          title: 'Million messages per second',
          columns: ['way', 'M/s', 'range', 'times the best of the others'],
          rows: rates.map((one) => [
            one.name,
            millions(one.rate.median),
            range(one.rate, millions),
            one.isOurs && best > 0 ? `${digits(one.rate.median / best)} ×` : '',
          ]),
        },
      ],
      targets: [
        target('Hermes, local, poll of 256', 2e6),
        target('Hermes, local, one at a time', 3e5),
        target('Hermes, TCP, batches of 256', 5e5),
      ],
      notes,
      data: rates.map(({ name, trials }) => ({ name, trials })),
    }
  },
}
