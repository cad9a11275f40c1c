// Publishing alone: what a call of publish() or publishBatch() costs, without a reader.
import { open, type Publisher } from 'hermes-mq'
import { runChild } from './support/children.js'
import { pause } from './support/clock.js'
import { digits, millions, range } from './support/format.js'
import { Quote, QuoteChecker, type QuoteFields, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Roles, Workload } from './support/workload.js'

interface Args {
  readonly place: string
  readonly exclusive: boolean
  readonly batch: number
  readonly warmup: number
  readonly count: number
}

interface Measured {
  readonly seconds: number
  /** How often publish() asked to wait, and how long that took: part of `seconds`. */
  readonly waits: number
  readonly waitedSeconds: number
}

/** Publishes messages `first` to `last`, as publish() asks to: waiting whenever it returns false. */
export class Sender {
  waits = 0
  waitedMs = 0
  readonly #publisher: Publisher<QuoteFields>
  readonly #pool = new QuotePool()
  readonly #batch: QuoteFields[]

  constructor(publisher: Publisher<QuoteFields>, batch: number) {
    this.#publisher = publisher
    this.#batch = new Array<QuoteFields>(batch).fill(this.#pool.at(0))
  }

  async send(first: number, last: number): Promise<void> {
    let next = first
    while (next <= last) {
      next = this.#batch.length === 1 ? this.#some(next, last) : this.#someBatches(next, last)
      if (next > last) return
      const begun = performance.now()
      await this.#publisher.ready()
      this.waits++
      this.waitedMs += performance.now() - begun
    }
  }

  #some(first: number, last: number): number {
    const publisher = this.#publisher
    const pool = this.#pool
    for (let id = first; id <= last; id++) {
      if (!publisher.publish(pool.at(id))) return id + 1
    }
    return last + 1
  }

  #someBatches(first: number, last: number): number {
    const batch = this.#batch
    for (let id = first; id <= last; id += batch.length) {
      const left = last - id + 1
      const values = left < batch.length ? batch.slice(0, left) : batch
      this.#pool.fill(values, id)
      if (!this.#publisher.publishBatch(values)) return id + values.length
    }
    return last + 1
  }
}

async function publish({ place, exclusive, batch, warmup, count }: Args): Promise<Measured> {
  await using hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote })
  const publisher = await topic.publisher({ exclusive })
  const sender = new Sender(publisher, batch)
  await sender.send(1, warmup)
  await pause(20)
  sender.waits = 0
  sender.waitedMs = 0
  const begun = performance.now()
  await sender.send(warmup + 1, warmup + count)
  const seconds = (performance.now() - begun) / 1000

  const checker = new QuoteChecker()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  while (subscriber.poll((quote, { sequence }) => checker.check(quote, sequence), 4096) > 0);
  checker.expect(warmup + count)
  return { seconds, waits: sender.waits, waitedSeconds: sender.waitedMs / 1000 }
}

export const roles: Roles = { publish }

const count = 2_000_000
const warmup = 300_000
const batchSize = 256

export const workload: Workload = {
  name: 'publish',
  title: 'Publishing',
  about:
    `One process publishes ${count.toLocaleString('en-US')} messages after ${warmup.toLocaleString('en-US')} for warm-up and waits with ready() whenever ` +
    'publish() asks for it (included in the time). Encoding is included. No subscriber reads meanwhile; afterwards every field of every message is read and checked.',
  async run(context: Context) {
    const cases = [1, batchSize].flatMap((batch) =>
      (['dir', 'shm'] as const).flatMap((kind) =>
        [false, true].map((exclusive) => ({ batch, kind, exclusive, trials: [] as Measured[] })),
      ),
    )
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const { batch, kind, exclusive, trials } of cases) {
        context.progress(`trial ${trial} of ${context.trials}: ${batch === 1 ? 'publish' : 'publishBatch'}, ${kind}`)
        const place = context.place(kind)
        const args: Args = { place: place.name, exclusive, batch, warmup, count }
        trials.push(await runChild<Measured>('publish', 'publish', args))
        place.remove()
      }
    }
    const results = cases.map(({ batch, kind, exclusive, trials }) => ({
      batch,
      kind,
      exclusive,
      rate: trialsOf(trials.map(({ seconds }) => count / seconds)),
      ns: trialsOf(trials.map(({ seconds }) => (seconds * 1e9) / count)),
      waits: trials.map(({ waits }) => waits),
      waitedShare: trialsOf(trials.map(({ seconds, waitedSeconds }) => waitedSeconds / seconds)),
    }))
    const rateOf = (batch: number) =>
      Math.min(...results.filter((one) => one.batch === batch).map((one) => one.rate.median))
    const [single, batched] = [rateOf(1), rateOf(batchSize)]
    return {
      tables: [
        {
          title: 'Million messages per second, one publisher',
          columns: ['call', 'place', 'publisher', 'M/s', 'range', 'ns each', 'time spent in ready()'],
          rows: results.map(({ batch, kind, exclusive, rate, ns, waitedShare }) => [
            batch === 1 ? 'publish' : `publishBatch of ${batch}`,
            kind === 'dir' ? 'directory' : 'shared memory',
            exclusive ? 'exclusive' : 'shared',
            millions(rate.median),
            range(rate, millions),
            digits(ns.median),
            `${(waitedShare.median * 100).toFixed(0)} %`,
          ]),
        },
      ],
      targets: [
        {
          what: 'publish one by one, slowest case',
          target: '≥ 7 M/s',
          measured: `${millions(single)} M/s`,
          met: single >= 7e6,
        },
        {
          what: 'publishBatch of 256, slowest case',
          target: '≥ 15 M/s',
          measured: `${millions(batched)} M/s`,
          met: batched >= 15e6,
        },
      ],
      notes: [],
      data: results,
    }
  },
}
