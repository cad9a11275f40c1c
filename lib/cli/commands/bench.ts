import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { Durability } from '../../model/topic.js'
import { integer } from '../arguments.js'
import { runTogether } from '../bench/run.js'
import type { Latency, Outcome, Task } from '../bench/task.js'
import { fromFile } from '../file.js'
import { type FileSystem, fileSystemOf, type Machine, machineText, thisMachine } from '../machine.js'
import type { Session } from '../session.js'
import { grouped, table } from '../text-format.js'
import { withHelp } from './common.js'

interface BenchOptions {
  readonly in: string
  readonly messages: number
  readonly rounds: number
  readonly only?: Workload['name']
}

interface Workload {
  readonly name: 'publish' | 'batch' | 'end-to-end' | 'round-trip' | 'synced' | 'synced-group'
  readonly title: string
  readonly durability: Durability
  /** The outcome of the task with this index counts. */
  readonly measured: number
  tasks(place: string, options: BenchOptions): readonly Task[]
}

const batch = 256
const awaiting = 64

const workloads: readonly Workload[] = [
  {
    name: 'publish',
    title: 'publish, one by one',
    durability: 'written',
    measured: 0,
    tasks: (place, { messages }) => [{ role: 'publish', place, messages, batch: 1 }],
  },
  {
    name: 'batch',
    title: `publishBatch of ${batch}`,
    durability: 'written',
    measured: 0,
    tasks: (place, { messages }) => [{ role: 'publish', place, messages, batch }],
  },
  {
    name: 'end-to-end',
    title: 'end to end, two processes',
    durability: 'written',
    measured: 1,
    tasks: (place, { messages }) => [
      { role: 'publish', place, messages, batch: 1 },
      { role: 'receive', place, messages },
    ],
  },
  {
    name: 'round-trip',
    title: 'round trip, two processes',
    durability: 'written',
    measured: 1,
    tasks: (place, { rounds }) => [
      { role: 'pong', place },
      { role: 'ping', place, rounds },
    ],
  },
  {
    name: 'synced',
    title: 'publishAsync, one by one',
    durability: 'synced',
    measured: 0,
    tasks: (place) => [{ role: 'publish-synced', place, messages: 200, awaiting: 1 }],
  },
  {
    name: 'synced-group',
    title: `publishAsync, ${awaiting} at once`,
    durability: 'synced',
    measured: 0,
    tasks: (place) => [{ role: 'publish-synced', place, messages: 100 * awaiting, awaiting }],
  },
]

export function registerBench(program: Command, session: Session): void {
  const command = program
    .command('bench')
    .summary('measure this machine, quickly')
    .description(
      'Measures publishing, delivery between two processes and round trips with messages of 64 bytes (a struct of eight fields), ' +
        'each in processes of its own, in a temporary directory that is removed afterwards. --dir is ignored.',
    )
    .option('--in <directory>', 'where to make the temporary directory: another disk gives other figures', tmpdir())
    .option('-n, --messages <n>', 'messages of each throughput run', integer(1000, 50_000_000), 2_000_000)
    .option('--rounds <n>', 'round trips', integer(100, 50_000_000), 200_000)
    .addOption(new Option('--only <name>', 'run one workload').choices(workloads.map(({ name }) => name)))
    .action((options: BenchOptions) => {
      if (program.getOptionValueSource('url') === 'cli') {
        throw new HermesError(
          'UNSUPPORTED',
          'hermes bench measures this machine, in a directory of its own: leave --url out. `hermes battle --url …` measures a broker or a cluster.',
        )
      }
      return bench(session, options)
    })
  withHelp(
    command,
    `
hermes bench
hermes bench --in /dev/shm
hermes bench --only round-trip --json | jq .results[0].latencyNs.p50`,
  )
}

interface Result extends Outcome {
  readonly name: string
  readonly title: string
  readonly durability: Durability
  readonly perSecond: number
}

async function bench(session: Session, options: BenchOptions): Promise<void> {
  const base = resolve(options.in)
  const folder = await mkdtemp(join(base, 'hermes-bench-')).catch((error) => fromFile(error, base))
  const results: Result[] = []
  try {
    const machine = { ...thisMachine(), ...(await fileSystemOf(folder)) }
    if (!session.json) {
      session.out.line(machineText(machine))
      session.out.line(`messages of 64 bytes in ${machine.directory} (${machine.fileSystem})`)
      session.out.line('')
    }
    await session.out.flush()
    for (const workload of workloads) {
      if (options.only !== undefined && workload.name !== options.only) continue
      if (session.streams.stderr.isTTY) session.note(`${workload.title} …`)
      const result = await measure(workload, join(folder, workload.name), options, session.signal)
      if (result === undefined) return
      results.push(result)
    }
    print(session, machine, results)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** `undefined` if the signal fired. */
async function measure(
  workload: Workload,
  place: string,
  options: BenchOptions,
  signal: AbortSignal,
): Promise<Result | undefined> {
  try {
    const outcomes = await runTogether(workload.tasks(place, options), signal)
    const outcome = outcomes[workload.measured]
    if (outcome === undefined) throw new HermesError('IO_FAILED', `The benchmark '${workload.name}' has no outcome.`)
    const { name, title, durability } = workload
    return { name, title, durability, ...outcome, perSecond: Math.round(outcome.messages / outcome.seconds) }
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

function print(session: Session, machine: Machine & FileSystem, results: readonly Result[]): void {
  if (session.json) {
    session.out.line(JSON.stringify({ payloadBytes: 64, machine, results }))
    return
  }
  const rows = results.map(({ title, durability, perSecond, messages, seconds, latencyNs }) => [
    title,
    durability,
    perSecond,
    latencyNs === undefined ? `${((seconds * 1e9) / messages).toFixed(0)} ns each` : latencyText(latencyNs),
  ])
  const [head = '', ...lines] = table([['WORKLOAD', 'DURABILITY', 'PER SECOND', 'TIME'], ...rows])
  session.out.line(session.bold(head))
  for (const line of lines) session.out.line(line)
  session.out.line('')
  session.out.line('written: survives the end of any process. synced: survives the loss of power.')
}

function latencyText({ p50, p99, p999, max }: Latency): string {
  const us = (ns: number) => (ns < 100_000 ? (ns / 1000).toFixed(2) : grouped(ns / 1000))
  return `p50 ${us(p50)} µs, p99 ${us(p99)}, p99.9 ${us(p999)}, max ${us(max)}`
}
