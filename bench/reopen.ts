// Opening a large topic that was closed in order.
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type From, open, type Subscriber } from 'hermes-mq'
import { Sender } from './publish.js'
import { runChild } from './support/children.js'
import { bytes, duration, range } from './support/format.js'
import { frameBytes, Quote, type QuoteFields } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Roles, Workload } from './support/workload.js'

interface WriteArgs {
  readonly place: string
  readonly count: number
}

/** Returns the time stamp of the message in the middle, in ms since 1970. */
async function write({ place, count }: WriteArgs): Promise<number> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher({ exclusive: true })
  const sender = new Sender(publisher, 256)
  const half = Math.floor(count / 2)
  await sender.send(1, half)
  // A pause, so that the millisecond between the halves is known.
  await new Promise((resolve) => setTimeout(resolve, 3))
  const middleMs = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 3))
  await sender.send(half + 1, count)
  return middleMs
}

const ways = ['publisher', 'earliest', 'latest', 'sequence', 'date'] as const
type Way = (typeof ways)[number]

interface OpenArgs {
  readonly place: string
  readonly count: number
  readonly middleMs: number
  readonly way: Way
}

/** Returns what opening took, in ns, from open() on. The first message proves where the subscriber stands. */
async function reopen({ place, count, middleMs, way }: OpenArgs): Promise<number> {
  const half = Math.floor(count / 2)
  // Deep in a segment: what lies before it there must be walked over.
  const sequence = Math.floor(count * 0.618)
  const begun = performance.now()
  const hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote })
  let ns: number
  if (way === 'publisher') {
    const publisher = await topic.publisher()
    ns = (performance.now() - begun) * 1e6
    if (publisher.recovery?.ran !== false) throw new Error('the topic was not closed in order')
  } else {
    const from: From = way === 'sequence' ? sequence : way === 'date' ? new Date(middleMs) : way
    const subscriber = await topic.subscriber({ from })
    ns = (performance.now() - begun) * 1e6
    const wanted = { earliest: 1, latest: count + 1, sequence, date: half + 1 }[way]
    checkFirst(subscriber, wanted, count)
  }
  await hermes.close()
  return ns
}

function checkFirst(subscriber: Subscriber<unknown, Readonly<QuoteFields>>, wanted: number, count: number): void {
  let first = count + 1
  const found = subscriber.poll((quote, message) => {
    first = quote.id
    if (message.sequence !== wanted) throw new Error(`sequence ${message.sequence}, not ${wanted}`)
  }, 1)
  if (first !== wanted || found !== (wanted > count ? 0 : 1)) throw new Error(`message ${first}, not ${wanted}`)
}

export const roles: Roles = { write, reopen }

const names: Readonly<Record<Way, string>> = {
  publisher: 'publisher',
  earliest: 'subscriber from the earliest message',
  latest: 'subscriber from the latest',
  sequence: 'subscriber from a sequence',
  date: 'subscriber from a Date',
}

export const workload: Workload = {
  name: 'reopen',
  title: 'Opening a large topic',
  about:
    'A topic of 64-byte messages in a directory, written, closed in order, then opened by fresh processes. The time runs from the call of open() until the publisher or subscriber is open; the first message then ' +
    'proves its position. The files are in the page cache, as far as memory suffices.',
  async run(context: Context) {
    const size = context.gib * 2 ** 30
    const count = Math.floor(size / frameBytes)
    const place = context.place('dir')
    const { bavail, bsize } = await statfs(dirname(place.path))
    const need = size + 1.5 * 2 ** 30
    if (bavail * bsize < need) {
      const note = `Left out: it needs ${bytes(need)} of disk, and ${bytes(bavail * bsize)} are free. Choose another place with --dir, or a smaller topic with --gib.`
      return { tables: [], targets: [], notes: [note], data: { skipped: note } }
    }
    context.progress(`writing ${bytes(size)}`)
    const middleMs = await runChild<number>('reopen', 'write', { place: place.name, count } satisfies WriteArgs)
    const cases = ways.map((way) => ({ way, trials: [] as number[] }))
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const { way, trials } of cases) {
        context.progress(`trial ${trial} of ${context.trials}: ${names[way]}`)
        const args: OpenArgs = { place: place.name, count, middleMs, way }
        trials.push(await runChild<number>('reopen', 'reopen', args))
      }
    }
    place.remove()
    const results = cases.map(({ way, trials }) => ({ way, ns: trialsOf(trials) }))
    const slowest = Math.max(...results.map(({ ns }) => ns.median))
    return {
      tables: [
        {
          title: `Opening a topic of ${bytes(size)}, ${count.toLocaleString('en-US')} messages`,
          columns: ['what', 'median', 'range'],
          rows: results.map(({ way, ns }) => [names[way], duration(ns.median), range(ns, duration)]),
        },
      ],
      targets: [
        {
          what: `opening a ${bytes(size)} topic, slowest way`,
          target: '≤ 100 ms',
          measured: duration(slowest),
          met: slowest <= 100e6,
        },
      ],
      notes: [],
      data: { bytes: size, count, results },
    }
  },
}
