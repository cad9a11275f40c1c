// One-way latency under a steady load, for each way of waiting.
import { open, type Wait } from 'hermes-mq'
import type { Waiting } from './round-trip.js'
import { Child } from './support/children.js'
import { monotonicNs, pause } from './support/clock.js'
import { latencyCells, latencyColumns } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { Quote, QuoteChecker, type QuoteFields, QuotePool } from './support/quote.js'
import type { Context, Link, Roles, Workload } from './support/workload.js'

interface Args {
  readonly place: string
  readonly waiting: Waiting
  readonly rate: number
  readonly warmup: number
  readonly count: number
}

async function publisher({ place, rate, warmup, count }: Args, link: Link): Promise<number> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher()
  const pool = new QuotePool()
  const apart = 1e9 / rate
  let late = 0
  monotonicNs()
  link.tell('open')
  await link.heard()
  const begun = monotonicNs() + 1e6
  for (let id = 1; id <= warmup + count; id++) {
    // When the message should have gone out, however late the publisher itself is: nothing is left out by waiting.
    const due = begun + id * apart
    let now = monotonicNs()
    while (now < due) now = monotonicNs()
    if (now - due > 1e6) late++
    const quote = pool.at(id)
    quote.time = due
    publisher.publish(quote)
  }
  return late
}

async function subscriber({ place, waiting, warmup, count }: Args, link: Link): Promise<string> {
  await using hermes = await open(place)
  const wait: Wait = waiting === 'poll' ? 'spin' : waiting
  const subscriber = await hermes.topic('bench', { codec: Quote }).subscriber({ from: 'earliest', wait })
  const checker = new QuoteChecker(true)
  const latencies = new Latencies()
  const handler = (quote: Readonly<QuoteFields>, { sequence }: { readonly sequence: number }) => {
    const ns = monotonicNs() - quote.time
    checker.check(quote, sequence)
    if (sequence > warmup) latencies.record(ns)
  }
  monotonicNs()
  link.tell('open')
  await link.heard()
  while (checker.count < warmup + count) {
    if (subscriber.poll(handler) === 0 && waiting !== 'poll') await subscriber.ready()
  }
  checker.expect(warmup + count)
  return latencies.encode()
}

export const roles: Roles = { publisher, subscriber }

const rates = [1_000, 10_000, 100_000]
const waitings: readonly Waiting[] = ['poll', 'spin', 'adaptive', 'park']
const seconds = 0.8
const warmupSeconds = 0.2

export const workload: Workload = {
  name: 'paced',
  title: 'One-way latency under a steady load',
  about:
    'A publisher sends at a fixed rate to a subscriber in another process. The latency of a message counts from the moment when it was due, not from when the publisher sent it, so a stall shows in ' +
    'every message that it delayed (no coordinated omission). “poll” is a bare loop of poll(); the others await ready() with that strategy.',
  async run(context: Context) {
    const cases = rates.flatMap((rate) =>
      waitings.map((waiting) => ({ rate, waiting, trials: [] as string[], late: [] as number[] })),
    )
    const runs = Math.ceil(context.trials / 2)
    for (let trial = 1; trial <= runs; trial++) {
      for (const { rate, waiting, trials, late } of cases) {
        context.progress(`trial ${trial} of ${runs}: ${rate}/s, ${waiting}`)
        const place = context.place('dir')
        const [warmup, count] = [rate * warmupSeconds, rate * seconds]
        const args: Args = { place: place.name, waiting, rate, warmup, count }
        const reading = new Child<string>('paced', 'subscriber', args)
        const writing = new Child<number>('paced', 'publisher', args)
        await Promise.all([reading.heard(), writing.heard()])
        await pause(10)
        reading.tell('go')
        writing.tell('go')
        late.push(await writing.result)
        trials.push(await reading.result)
        place.remove()
      }
    }
    const results = cases.map(({ rate, waiting, trials, late }) => ({
      rate,
      waiting,
      latency: Latencies.merge(trials).summary(),
      late: late.reduce((sum, one) => sum + one, 0),
    }))
    const late = results.reduce((sum, one) => sum + one.late, 0)
    return {
      tables: [
        {
          title: 'From due time to handler, directory',
          columns: ['messages/s', 'waiting', ...latencyColumns],
          rows: results.map(({ rate, waiting, latency }) => [
            rate.toLocaleString('en-US'),
            waiting,
            ...latencyCells(latency),
          ]),
        },
      ],
      targets: [],
      notes: [
        `Trials: ${runs}, of ${seconds} s each.`,
        'The clocks of the two processes are aligned to about 50 ns.',
        ...(late > 0
          ? [
              `The publisher itself was more than 1 ms late for ${late.toLocaleString('en-US')} messages, because it had no core of its own; the figures include that.`,
            ]
          : []),
      ],
      data: results,
    }
  },
}
