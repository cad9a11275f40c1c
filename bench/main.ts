// npm run bench: measures what Hermes does to 64-byte messages, and says on which machine. `--help` lists the options.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { workload as cluster } from './cluster.js'
import { workload as cold } from './cold.js'
import { workload as cost } from './cost.js'
import { workload as endToEnd } from './end-to-end.js'
import { workload as groups } from './groups.js'
import { workload as network } from './network.js'
import { workload as paced } from './paced.js'
import { hasAllPeers, peersFolder } from './peers/installed.js'
import { workload as peers } from './peers.js'
import { workload as publish } from './publish.js'
import { workload as reopen } from './reopen.js'
import { workload as rotation } from './rotation.js'
import { workload as roundTrip } from './round-trip.js'
import { killChildren } from './support/children.js'
import { drawFigures, writeFigures } from './support/figures.js'
import { describeMachine, root } from './support/machine.js'
import { Places } from './support/places.js'
import { loadWarning, machineText, markdown, type Report, type Result, resultText } from './support/report.js'
import type { Context, Workload } from './support/workload.js'
import { workload as sync } from './sync.js'

const workloads: readonly Workload[] = [
  publish,
  endToEnd,
  roundTrip,
  paced,
  rotation,
  reopen,
  cold,
  sync,
  cost,
  peers,
  network,
  groups,
  cluster,
]

const help = `npm run bench -- [workload …] [options]

Workloads (all unless named): ${workloads.map(({ name }) => name).join(', ')}

  --json          print one JSON document to stdout, and nothing else there
  --trials N      measure each case N times (3; 7 with --report)
  --peers         install the peers' npm packages (ZeroMQ, NATS, Redis) and measure them too
  --figures       draw docs/figures/*.svg
  --report        all of it, and write docs/benchmarks.md
  --from FILE     take the results from a file that --json wrote, and measure nothing
  --dir FOLDER    where topics are put (${tmpdir()})
  --gib N         size of the topic that 'reopen' opens (10); 'sync' takes 1 at most
  --help

Exit codes: 0 done, 1 a workload failed, 2 wrong arguments. The last results are kept in build/bench/latest.json.`

/** Says it on stderr, so that stdout holds results only. */
function warn(text: string): void {
  process.stderr.write(`bench: ${text}\n`)
}

function refuse(text: string): never {
  warn(text)
  process.exit(2)
}

const terminal = process.stderr.isTTY
function progress(text: string): void {
  if (terminal) process.stderr.write(`\r\x1b[K${text}`)
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        peers: { type: 'boolean', default: false },
        figures: { type: 'boolean', default: false },
        report: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        trials: { type: 'string' },
        from: { type: 'string' },
        dir: { type: 'string', default: tmpdir() },
        gib: { type: 'string', default: '10' },
      },
    })
  } catch (error) {
    return refuse(`${(error as Error).message}\n\n${help}`)
  }
}

const { values, positionals } = readArguments()
if (values.help) {
  console.log(help)
  process.exit(0)
}
const unknown = positionals.filter((name) => !workloads.some((one) => one.name === name))
if (unknown.length > 0) {
  refuse(`there is no workload ${unknown.join(', ')}; there are: ${workloads.map(({ name }) => name).join(', ')}`)
}
const trials = Number(values.trials ?? (values.report ? 7 : 3))
if (!Number.isInteger(trials) || trials < 1) refuse(`--trials takes a number from 1 on, not ${values.trials}`)
const gib = Number(values.gib)
if (!(gib > 0)) refuse(`--gib takes a number above 0, not ${values.gib}`)

const chosen = workloads.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
const report = values.from === undefined ? await measure() : (JSON.parse(readFileSync(values.from, 'utf8')) as Report)
if (values.json) console.log(JSON.stringify(report, undefined, 2))
if (values.figures || values.report) {
  const figures = drawFigures(report)
  writeFigures(figures, join(root, 'docs', 'figures'))
  warn(
    `drew ${figures.map(({ file }) => `docs/figures/${file}`).join(', ') || 'nothing: these workloads have no figure'}`,
  )
  if (values.report) {
    writeFileSync(join(root, 'docs', 'benchmarks.md'), markdown(report, figures))
    warn('wrote docs/benchmarks.md')
  }
}
process.exit(report.failures.length > 0 ? 1 : 0)

function installPeers(): void {
  if (hasAllPeers()) return
  progress('installing npm packages into bench/peers')
  try {
    // ZeroMQ's prebuilt libraries are in its package: no install script is needed.
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--silent']
    execFileSync('npm', args, { cwd: peersFolder, stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    warn(
      `bench/peers can't be installed here, so they are left out: ${(error as Error).message.trim().split('\n').at(-1)}`,
    )
  }
}

async function measure(): Promise<Report> {
  const machine = describeMachine(values.dir)
  const begun = performance.now()
  if (values.peers || values.report) installPeers()
  const warning = loadWarning(machine)
  if (!values.json) console.log(`${machineText(machine)}\n`)
  if (warning !== undefined) warn(warning)
  if (machine.fileSystem === 'tmpfs') {
    warn(`${machine.directory} is in memory (tmpfs), so nothing here shows a disk; choose another place with --dir`)
  }
  const places = new Places(machine.directory)
  const cleanUp = () => {
    killChildren()
    places.removeAll()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      cleanUp()
      process.exit(130)
    })
  }
  const results: Result[] = []
  const failures: { name: string; reason: string }[] = []
  try {
    for (const { name, title, about, run } of chosen) {
      const context: Context = {
        trials,
        gib,
        peers: values.peers || values.report,
        place: (kind, warmBytes) => places.make(kind, warmBytes),
        progress: (text) => progress(`${name}: ${text}`),
      }
      try {
        const result: Result = { name, title, about, ...(await run(context)) }
        results.push(result)
        progress('')
        if (!values.json) console.log(`${resultText(result)}\n`)
      } catch (error) {
        progress('')
        const reason = (error as Error).message
        failures.push({ name, reason })
        warn(`${name} failed, so it has no figures: ${reason}`)
        killChildren()
      }
    }
  } finally {
    cleanUp()
  }
  const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ')
  const done: Report = { machine, command, trials, seconds: (performance.now() - begun) / 1000, results, failures }
  mkdirSync(join(root, 'build', 'bench'), { recursive: true })
  writeFileSync(join(root, 'build', 'bench', 'latest.json'), JSON.stringify(done))
  return done
}
