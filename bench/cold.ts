// What a program pays before its first message: time to import, memory with one topic open, and the help page.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bytes, duration, range } from './support/format.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Workload } from './support/workload.js'

/** A fresh process each time: what is loaded once stays loaded. */
function timeOf(args: readonly string[]): number {
  const begun = process.hrtime.bigint()
  const { status, stderr } = spawnSync(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`)
  return Number(process.hrtime.bigint() - begun)
}

const program = (text: string): string[] => ['--input-type=module', '--eval', text]
const packageUrl = import.meta.resolve('hermes-mq')
const part = (name: string): string => new URL(name, packageUrl).href
const main = fileURLToPath(part('./cli/main.js'))

/** What each way loads, besides Node itself. The parts overlap: each stands for itself and what it stands on. */
const parts: readonly { readonly name: string; readonly args: string[] }[] = [
  { name: 'Node alone', args: program('') },
  { name: "import 'hermes-mq'", args: program(`import ${JSON.stringify(packageUrl)}`) },
  { name: '… the addon and crc32', args: program(`import ${JSON.stringify(part('./native/crc32.js'))}`) },
  { name: '… structs', args: program(`import ${JSON.stringify(part('./codec/struct/struct.js'))}`) },
  { name: '… MessagePack', args: program(`import ${JSON.stringify(part('./codec/msgpack.js'))}`) },
  { name: '… rings', args: program(`import ${JSON.stringify(part('./ring/index.js'))}`) },
  { name: '… open() and what it returns', args: program(`import ${JSON.stringify(part('./client/open.js'))}`) },
  {
    name: 'what open() loads for a directory',
    args: program(`import ${JSON.stringify(part('./placement/local/open.js'))}`),
  },
  {
    name: 'what open() loads for a broker',
    args: program(`import ${JSON.stringify(part('./placement/remote/open.js'))}`),
  },
  { name: 'hermes --help', args: [main, '--help'] },
]

const stages = ['Node alone', "import 'hermes-mq'", 'open()', 'a publisher', 'a subscriber, one message read'] as const

/** Resident bytes after each stage, of which the mapped log is a part. */
function memoryOf(place: string): number[] {
  const text = `
    import { readFileSync } from 'node:fs'
    const resident = []
    const note = () => resident.push(Number(/^VmRSS:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]) * 1024)
    note()
    const { f64, open, struct } = await import(${JSON.stringify(packageUrl)})
    note()
    const hermes = await open(${JSON.stringify(place)})
    note()
    const topic = hermes.topic('cold', { codec: struct({ price: f64 }) })
    const publisher = await topic.publisher()
    note()
    publisher.publish({ price: 1 })
    const subscriber = await topic.subscriber({ from: 'earliest' })
    if (subscriber.poll(() => {}) < 1) throw new Error('nothing was read')
    note()
    await hermes.close()
    console.log(JSON.stringify(resident))`
  const { status, stdout, stderr } = spawnSync(process.execPath, program(text), { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** Times of one trial are taken side by side, since a start takes what the machine has left. */
const startsPerTrial = 3

export const workload: Workload = {
  name: 'cold',
  title: 'Start of a program',
  about:
    "Time of new Node processes, from start to end; files are in the page cache. The figure of a part is the best of a trial's three starts, less the time of Node alone. Memory is resident memory, including the pages of Node's own program.",
  async run(context: Context) {
    const times = parts.map(() => [] as number[])
    const memory = stages.map(() => [] as number[])
    const place = context.place('dir')
    for (let trial = 1; trial <= context.trials; trial++) {
      context.progress(`trial ${trial} of ${context.trials}`)
      const best = parts.map(() => Number.POSITIVE_INFINITY)
      for (let start = 0; start < startsPerTrial; start++) {
        for (const [index, { args }] of parts.entries()) best[index] = Math.min(best[index] as number, timeOf(args))
      }
      for (const [index, ns] of best.entries()) times[index]?.push(index === 0 ? ns : ns - (best[0] as number))
      for (const [index, resident] of memoryOf(place.name).entries()) memory[index]?.push(resident)
    }
    place.remove()
    const starts = parts.map(({ name }, index) => ({ name, ns: trialsOf(times[index] ?? []) }))
    const resident = stages.map((name, index) => ({ name, bytes: trialsOf(memory[index] ?? []) }))
    const nsOf = (wanted: string) => starts.find(({ name }) => name === wanted)?.ns.median as number
    const [importing, help] = [nsOf("import 'hermes-mq'"), nsOf('hermes --help') + nsOf('Node alone')]
    const open = resident.at(-1)?.bytes.median as number
    return {
      tables: [
        {
          title: "Time until the process has ended, beyond Node's own",
          columns: ['what', 'median', 'range'],
          rows: starts.map(({ name, ns }) => [name, duration(ns.median), range(ns, duration)]),
        },
        {
          title: 'Resident memory',
          columns: ['after', 'median', 'range'],
          rows: resident.map(({ name, bytes: size }) => [name, bytes(size.median), range(size, bytes)]),
        },
      ],
      targets: [
        {
          what: "import 'hermes-mq' beyond Node's start",
          target: '≤ 30 ms',
          measured: duration(importing),
          met: importing <= 30e6,
        },
        { what: 'one topic open, resident', target: '≤ 60 MB', measured: bytes(open), met: open <= 60e6 },
        { what: 'hermes --help, Node included', target: '≤ 150 ms', measured: duration(help), met: help <= 150e6 },
      ],
      notes: [],
      data: { starts, resident, kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim() },
    }
  },
}
