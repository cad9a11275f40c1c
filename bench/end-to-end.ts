// From a publisher's process to a subscriber's that polls.
import { open } from 'hermes-mq'
import { Sender } from './publish.js'
import { Child } from './support/children.js'
import { monotonicNs, pause } from './support/clock.js'
import { digits, millions, range } from './support/format.js'
import type { Place } from './support/places.js'
import { Quote, QuoteChecker, type QuoteFields } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Link, Roles, Workload } from './support/workload.js'

interface Args {
  readonly place: string
  readonly batch: number
  readonly warmup: number
  readonly count: number
  /** What the receiver compares while the clock runs. With `number`, all fields are compared afterwards. */
  readonly compare: 'all' | 'number'
}

async function publisher({ place, batch, warmup, count }: Args, link: Link): Promise<number> {
  await using hermes = await open(place)
  const sender = new Sender(await hermes.topic('bench', { codec: Quote }).publisher(), batch)
  await sender.send(1, warmup)
  link.tell('warm')
  await link.heard()
  const begun = monotonicNs()
  await sender.send(warmup + 1, warmup + count)
  return begun
}

type Handler = (quote: Readonly<QuoteFields>, message: { readonly sequence: number }) => void

async function subscriber({ place, warmup, count, compare }: Args, link: Link): Promise<number> {
  await using hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote })
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const checker = new QuoteChecker()
  const checkAll: Handler = (quote, { sequence }) => checker.check(quote, sequence)
  let seen = 0
  const checkNumber: Handler = (quote, { sequence }) => {
    if (quote.id !== ++seen || sequence !== seen) throw new Error(`message ${seen} arrived as ${quote.id}`)
  }
  const handler = compare === 'all' ? checkAll : checkNumber
  const receive = (last: number) => {
    for (let done = subscriber.position - 1; done < last; ) done += subscriber.poll(handler)
  }
  monotonicNs()
  link.tell('open')
  await link.heard()
  receive(warmup)
  link.tell('warm')
  await pause(1)
  receive(warmup + count)
  const ended = monotonicNs()
  if (subscriber.lag !== 0) throw new Error(`${subscriber.lag} messages more than were published`)
  if (compare === 'number') {
    subscriber.seek('earliest')
    while (subscriber.poll(checkAll) > 0);
  }
  checker.expect(warmup + count)
  return ended
}

export const roles: Roles = { publisher, subscriber }

/** One trial in two processes. Returns seconds from before the first publish until the last message was read and checked. */
export async function endToEnd(place: Place, given: Omit<Args, 'place'>): Promise<number> {
  const args: Args = { place: place.name, ...given }
  const reading = new Child<number>('end-to-end', 'subscriber', args)
  await reading.heard()
  const writing = new Child<number>('end-to-end', 'publisher', args)
  reading.tell('go')
  await Promise.all([reading.heard(), writing.heard()])
  await pause(20)
  writing.tell('go')
  const [begun, ended] = await Promise.all([writing.result, reading.result])
  return (ended - begun) / 1e9
}

const count = 3_000_000
const warmup = 400_000

export const workload: Workload = {
  name: 'end-to-end',
  title: 'Publisher to subscriber, two processes',
  about:
    `One process publishes ${count.toLocaleString('en-US')} messages, another polls and compares every field of each with what was sent, CRC check included. ` +
    'The time runs from before the first publish until the last message was read.',
  async run(context: Context) {
    const cases = [1, 256].flatMap((batch) =>
      (['dir', 'shm'] as const).map((kind) => ({ batch, kind, seconds: [] as number[] })),
    )
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const { batch, kind, seconds } of cases) {
        context.progress(`trial ${trial} of ${context.trials}: ${batch === 1 ? 'publish' : 'publishBatch'}, ${kind}`)
        const place = context.place(kind)
        seconds.push(await endToEnd(place, { batch, warmup, count, compare: 'all' }))
        place.remove()
      }
    }
    const results = cases.map(({ batch, kind, seconds }) => ({
      batch,
      kind,
      rate: trialsOf(seconds.map((one) => count / one)),
    }))
    const slowest = Math.min(...results.filter(({ batch }) => batch === 1).map(({ rate }) => rate.median))
    return {
      tables: [
        {
          title: 'Million messages per second, end to end',
          columns: ['call', 'place', 'M/s', 'range', 'ns each'],
          rows: results.map(({ batch, kind, rate }) => [
            batch === 1 ? 'publish' : `publishBatch of ${batch}`,
            kind === 'dir' ? 'directory' : 'shared memory',
            millions(rate.median),
            range(rate, millions),
            digits(1e9 / rate.median),
          ]),
        },
      ],
      targets: [
        {
          what: 'one by one, end to end, slower place',
          target: '≥ 7 M/s',
          measured: `${millions(slowest)} M/s`,
          met: slowest >= 7e6,
        },
      ],
      notes: [],
      data: results,
    }
  },
}
