// There and back between two processes over two topics.

import { open, type Subscriber, type Wait } from 'hermes-mq'
import { Child } from './support/children.js'
import { clockCostNs } from './support/clock.js'
import { duration, latencyCells, latencyColumns, range } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { lineRoundTripNs } from './support/line.js'
import type { Place } from './support/places.js'
import { Quote, QuoteChecker, type QuoteFields, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Link, Roles, Workload } from './support/workload.js'

/** `poll`: a bare loop of poll(). Otherwise `await ready()` before each poll, with this strategy. */
export type Waiting = 'poll' | Wait

interface Args {
  readonly place: string
  readonly waiting: Waiting
  readonly warmup: number
  readonly count: number
}

interface Measured {
  readonly latencies: string
  readonly clockNs: number
}

interface Ends {
  readonly place: string
  readonly waiting: Waiting
}

async function openEnds({ place, waiting }: Ends, out: string, back: string) {
  const hermes = await open(place)
  const publisher = await hermes.topic(out, { codec: Quote }).publisher()
  const wait = waiting === 'poll' ? 'spin' : waiting
  const subscriber = await hermes.topic(back, { codec: Quote }).subscriber({ from: 'earliest', wait })
  return { hermes, publisher, subscriber }
}

type QuoteSubscriber = Pick<Subscriber<unknown, Readonly<QuoteFields>>, 'poll' | 'ready'>
type QuoteHandler = Parameters<QuoteSubscriber['poll']>[0]

async function pollAfterReady(subscriber: QuoteSubscriber, handler: QuoteHandler): Promise<void> {
  while (subscriber.poll(handler) === 0) await subscriber.ready()
}

async function pinger(args: Args, link: Link): Promise<Measured> {
  const { hermes, publisher, subscriber } = await openEnds(args, 'ping', 'pong')
  const { waiting, warmup, count } = args
  const clockNs = clockCostNs()
  const pool = new QuotePool()
  const checker = new QuoteChecker()
  const handler: QuoteHandler = (quote, { sequence }) => checker.check(quote, sequence)
  const latencies = new Latencies()
  link.tell('open')
  await link.heard()
  for (let id = 1; id <= warmup + count; id++) {
    const begun = performance.now()
    publisher.publish(pool.at(id))
    if (waiting === 'poll') while (subscriber.poll(handler) === 0);
    else await pollAfterReady(subscriber, handler)
    const ns = (performance.now() - begun) * 1e6
    if (id > warmup) latencies.record(ns)
  }
  checker.expect(warmup + count)
  await hermes.close()
  return { latencies: latencies.encode(), clockNs }
}

async function ponger(args: Args, link: Link): Promise<void> {
  const { hermes, publisher, subscriber } = await openEnds(args, 'pong', 'ping')
  const { waiting, warmup, count } = args
  const pool = new QuotePool()
  const checker = new QuoteChecker()
  const handler: QuoteHandler = (quote, { sequence }) => {
    checker.check(quote, sequence)
    publisher.publish(pool.at(quote.id))
  }
  link.tell('open')
  await link.heard()
  while (checker.count < warmup + count) {
    if (waiting === 'poll') subscriber.poll(handler)
    else await pollAfterReady(subscriber, handler)
  }
  checker.expect(warmup + count)
  await hermes.close()
}

export const roles: Roles = { pinger, ponger }

/** One trial in two processes. */
export async function roundTrip(place: Place, waiting: Waiting, warmup: number, count: number): Promise<Measured> {
  const args: Args = { place: place.name, waiting, warmup, count }
  const ponging = new Child<null>('round-trip', 'ponger', args)
  await ponging.heard()
  const pinging = new Child<Measured>('round-trip', 'pinger', args)
  await pinging.heard()
  ponging.tell('go')
  pinging.tell('go')
  const [measured] = await Promise.all([pinging.result, ponging.result])
  return measured
}

const count = 300_000
const warmup = 100_000

export const workload: Workload = {
  name: 'round-trip',
  title: 'Round trip between two processes',
  about:
    `One process publishes on one topic and polls another until the answer arrives, ${count.toLocaleString('en-US')} times in each trial. Both ends poll in a loop (a core each), ` +
    'and check every field of every message. Each message is encoded and decoded twice on the way.',
  async run(context: Context) {
    const cases = (['dir', 'shm'] as const).map((kind) => ({ kind, trials: [] as Measured[] }))
    const lines: number[] = []
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const { kind, trials } of cases) {
        context.progress(`trial ${trial} of ${context.trials}: ${kind}`)
        const place = context.place(kind)
        lines.push(await lineRoundTripNs())
        trials.push(await roundTrip(place, 'poll', warmup, count))
        place.remove()
      }
    }
    const results = cases.map(({ kind, trials }) => ({
      kind,
      latency: Latencies.merge(trials.map(({ latencies }) => latencies)).summary(),
      medians: trialsOf(trials.map(({ latencies }) => Latencies.merge([latencies]).at(50))),
    }))
    const clockNs = trialsOf(cases.flatMap(({ trials }) => trials.map((one) => one.clockNs))).median
    const median = Math.max(...results.map(({ medians }) => medians.median))
    return {
      tables: [
        {
          title: 'Round trip, both ends polling',
          columns: ['place', ...latencyColumns, 'p50 of the trials'],
          rows: results.map(({ kind, latency, medians }) => [
            kind === 'dir' ? 'directory' : 'shared memory',
            ...latencyCells(latency),
            range(medians, duration),
          ]),
        },
      ],
      targets: [
        {
          what: 'round trip, median, slower place',
          target: '≤ 0.8 µs',
          measured: duration(median),
          met: median <= 800,
        },
      ],
      notes: [
        `Each figure includes one reading of the clock, ${duration(clockNs)}.`,
        `A bare word to another thread and back, measured before each trial: ${lines.map(duration).join(', ')}. Where these differ by much, ` +
          'the host has moved the processors further apart or nearer together, and the round trips of the trials differ with them.',
      ],
      data: { results, clockNs, lines },
    }
  },
}
