// What a message costs besides time: bytes allocated in JavaScript's heap, and system calls.
import { accessSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'hermes-mq'
import { Sender } from './publish.js'
import { runChild } from './support/children.js'
import { digits } from './support/format.js'
import { findProgram } from './support/machine.js'
import { Quote, type QuoteFields, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Roles, Table, Workload } from './support/workload.js'

const ways = ['publish', 'publishBatch', 'poll4', 'poll8', 'control'] as const
type Way = (typeof ways)[number]

const names: Readonly<Record<Way, string>> = {
  publish: 'publish',
  publishBatch: 'publishBatch of 256',
  poll4: 'poll, four fields read',
  poll8: 'poll, all eight fields read',
  control: 'control: publish of a new object each time',
}

interface Args {
  readonly place: string
  readonly way: Way
  readonly segmentBytes: number
}

const warmup = 600_000
const count = 1_500_000
const chunk = 100_000
/** All messages in one segment: entering the next one makes V8 collect, because it counts mapped bytes as memory. */
const oneSegment = 512 * 2 ** 20
const usualSegment = 100 * 2 ** 20

/** Warms up, then calls `begin`, moves `count` messages, with `between` after each chunk, and calls `end`. */
async function move(
  { place, way, segmentBytes }: Args,
  begin: () => void,
  between: () => void,
  end: () => void,
): Promise<void> {
  await using hermes = await open(place)
  const topic = hermes.topic('bench', { codec: Quote, segmentBytes })
  const publisher = await topic.publisher()
  const sender = new Sender(publisher, way === 'publishBatch' ? 256 : 1)
  if (way === 'poll4' || way === 'poll8') {
    await sender.send(1, warmup + count)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    // In an array of floats, because V8 would make an object for each new value of a variable.
    const sum = new Float64Array(1)
    const handler = way === 'poll4' ? sumFour(sum) : sumEight(sum)
    const receive = (last: number) => {
      for (let done = subscriber.position - 1; done < last; )
        done += subscriber.poll(handler, Math.min(256, last - done))
    }
    receive(warmup)
    begin()
    for (let last = warmup + chunk; last <= warmup + count; last += chunk) {
      receive(last)
      between()
    }
    end()
    checkSum(sum[0] as number, way)
    return
  }
  const pool = new QuotePool()
  await sender.send(1, warmup)
  // The control must be warm too.
  for (let id = 1; id <= warmup; id++) if (way === 'control') publisher.publish({ ...pool.at(id) })
  const start = publisher.lastSequence
  begin()
  for (let first = 1; first <= count; first += chunk) {
    if (way === 'control') {
      for (let id = first; id < first + chunk; id++) publisher.publish({ ...pool.at(id) })
    } else {
      await sender.send(first, first + chunk - 1)
    }
    between()
  }
  end()
  if (publisher.lastSequence !== start + count) throw new Error(`${publisher.lastSequence - start} messages went out`)
}

type Handler = (quote: Readonly<QuoteFields>, message: { readonly sequence: number }) => void

function sumFour(sum: Float64Array): Handler {
  return (quote) => {
    sum[0] = (sum[0] as number) + quote.price + quote.bid + quote.ask + quote.vwap
  }
}

function sumEight(sum: Float64Array): Handler {
  return (quote, { sequence }) => {
    const numbers = quote.price + quote.bid + quote.ask + quote.vwap + quote.id + quote.time + quote.size
    sum[0] = (sum[0] as number) + numbers + quote.symbol.length + sequence
  }
}

/** Compares with what the same handler makes of the messages as they were sent. */
function checkSum(found: number, way: 'poll4' | 'poll8'): void {
  const sum = new Float64Array(1)
  const handler = way === 'poll4' ? sumFour(sum) : sumEight(sum)
  const pool = new QuotePool()
  for (let id = 1; id <= warmup + count; id++) handler(pool.at(id), { sequence: id })
  if (found !== sum[0]) throw new Error(`the messages read sum up to ${found}, not ${sum[0]}`)
}

/** The mapped segments that a subscriber goes through count as external memory, so that is left out. */
function used(): number {
  return process.memoryUsage().heapUsed
}

/** Returns bytes allocated for each message. Runs with a young generation so large that nothing is collected meanwhile. */
async function allocate(args: Args): Promise<number> {
  const { gc } = globalThis as { gc?: () => void }
  if (gc === undefined) throw new Error('this role needs --expose-gc')
  const readings: number[] = []
  // A reading allocates a little itself: the first ones warm it up.
  for (let i = 0; i < 100; i++) used()
  await move(
    args,
    () => {
      gc()
      gc()
      readings.push(used())
    },
    () => readings.push(used()),
    () => {},
  )
  const steps = readings.slice(1).map((reading, index) => reading - (readings[index] as number))
  if (steps.some((step) => step < 0)) throw new Error('a garbage collection fell into the measurement')
  return steps.reduce((sum, step) => sum + step, 0) / count
}

const beginMark = '/hermes-bench-begin'
const endMark = '/hermes-bench-end'

/** A system call that shows in strace's record. */
function mark(name: string): void {
  try {
    accessSync(name)
  } catch {
    // It isn't there, and need not be.
  }
}

async function call(args: Args): Promise<void> {
  await move(
    args,
    () => mark(beginMark),
    () => {},
    () => mark(endMark),
  )
}

export const roles: Roles = { allocate, call }

interface Calls {
  readonly main: number
  readonly others: number
  readonly byName: Readonly<Record<string, number>>
}

/** Counts the calls between the marks: of the thread that made the marks, and of all others. */
function countCalls(record: string): Calls {
  let main: string | undefined
  let ended = false
  const byName: Record<string, number> = {}
  const calls = { main: 0, others: 0 }
  for (const line of record.split('\n')) {
    const [, thread, name = ''] = /^(\d+)\s+(\w+)\(/.exec(line) ?? []
    if (thread === undefined) continue
    if (line.includes(beginMark)) main = thread
    else if (line.includes(endMark)) ended = true
    else if (main !== undefined && !ended) {
      if (thread === main) {
        calls.main++
        byName[name] = (byName[name] ?? 0) + 1
      } else calls.others++
    }
  }
  if (!ended) throw new Error("the marks are not in strace's record")
  return { ...calls, byName }
}

async function traceCalls(context: Context, way: Way): Promise<Calls> {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-strace-'))
  const record = join(folder, 'record')
  const place = context.place('dir')
  try {
    const under = ['strace', '-f', '-qq', '-e', 'signal=none', '-o', record]
    await runChild('cost', 'call', { place: place.name, way, segmentBytes: usualSegment } satisfies Args, { under })
    return countCalls(readFileSync(record, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true })
    place.remove()
  }
}

export const workload: Workload = {
  name: 'cost',
  title: 'Allocation and system calls',
  about:
    `${count.toLocaleString('en-US')} messages in a directory after ${warmup.toLocaleString('en-US')} for warm-up. Allocation: growth of V8’s heap within a segment, while nothing is collected. ` +
    'System calls: counted by strace between two marks, through at least one rotation; those of the publishing or polling thread, and those of the process’s other threads (which prepare segments).',
  async run(context: Context) {
    const allocations: { way: Way; perMessage: number }[] = []
    const nodeArgs = ['--expose-gc', '--min-semi-space-size=512', '--max-semi-space-size=512']
    for (const way of ways) {
      const trials: number[] = []
      for (let trial = 1; trial <= Math.ceil(context.trials / 3); trial++) {
        context.progress(`allocation, ${way}`)
        const place = context.place('dir')
        trials.push(
          await runChild('cost', 'allocate', { place: place.name, way, segmentBytes: oneSegment } satisfies Args, {
            nodeArgs,
          }),
        )
        place.remove()
      }
      allocations.push({ way, perMessage: trialsOf(trials).median })
    }
    const tables: Table[] = [
      {
        title: 'Bytes allocated for each message',
        columns: ['call', 'bytes'],
        rows: allocations.map(({ way, perMessage }) => [names[way], digits(perMessage)]),
      },
    ]
    const most = Math.max(
      ...allocations.filter(({ way }) => way === 'publish' || way.startsWith('poll')).map((one) => one.perMessage),
    )
    const targets = [
      {
        what: 'allocation for each message, publish and poll',
        target: 'none (< 0.5 B)',
        measured: `${digits(most)} B`,
        met: most < 0.5,
      },
    ]
    const notes = ['Waiting with ready() allocates: bytes above zero for a publisher that had to wait come from there.']
    const calls: { way: Way; calls: Calls }[] = []
    if (findProgram('strace') === undefined) {
      notes.push('System calls were left out: strace is not installed.')
    } else {
      for (const way of ['publish', 'publishBatch', 'poll8'] as const) {
        context.progress(`system calls, ${way}`)
        calls.push({ way, calls: await traceCalls(context, way) })
      }
      const per = (number: number) => digits((number / count) * 1e6)
      tables.push({
        title: 'System calls for each million messages',
        columns: ['call', 'by this thread', 'by others', 'which, in all'],
        rows: calls.map(({ way, calls: { main, others, byName } }) => [
          names[way],
          per(main),
          per(others),
          Object.entries(byName)
            .map(([name, number]) => `${name} ${number}`)
            .join(', '),
        ]),
      })
      const worst = Math.max(...calls.map((one) => one.calls.main)) / count
      targets.push({
        what: 'system calls for each message, publish and poll',
        target: 'none (< 0.001)',
        measured: digits(worst * 1e6).concat(' in a million'),
        met: worst < 0.001,
      })
    }
    return { tables, targets, notes, data: { allocations, calls } }
  },
}
