// npm run campaign: kills, power cuts and damage by the thousand, from the test kit. Ends with 1 if anything promised was broken.
//
//   npm run campaign                                        the whole campaign
//   npm run campaign -- --kills 50 --power-cuts 500 --damages 500
//   npm run campaign -- --seed 7 --power-cuts 100 --kills 0 --group-cuts 0 --damages 0
//   npm run campaign -- --at-length calls              of the suites that npm test runs a part of, these and at full length
//   npm run campaign -- cluster --rounds 100           topics in a cluster of three (scripts/cluster/campaign.mjs)
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from './lib/build.mjs'
import { fail } from './lib/log.mjs'

if (process.argv[2] === 'cluster') {
  const { clusterCampaign } = await import('./cluster/campaign.mjs')
  const code = await clusterCampaign(process.argv.slice(3))
  // (a pipe takes what is left first)
  process.stdout.write('', () => process.exit(code))
  await new Promise(() => {})
}

const help = `npm run campaign -- [options]: kills, power cuts and damage by the thousand. Ends with 1 if anything promised was broken.

  --kills N         rounds of kill -9 (1000)
  --power-cuts N    power cuts (10000)
  --group-cuts N    power cuts while members of groups work, locally and through a broker (1000)
  --damages N       damaged topics (10000)
  --seed N          to repeat a campaign; by default another one each time
  --writers N       publishers of a round (3)
  --readers N       subscribers of a round (2)
  --in FOLDER       where topics are put (${tmpdir()})
  --dist FOLDER     the package to try, if not this one
  --at-length LIST  suites of which npm test runs a part, here at full length, or none (calls,syncs,topics,containers,members)
  --json            one JSON document
  --help

npm run campaign -- cluster --help: topics in a cluster of three go through faults`

const options = {
  kills: { type: 'string', default: '1000' },
  'power-cuts': { type: 'string', default: '10000' },
  'group-cuts': { type: 'string', default: '1000' },
  damages: { type: 'string', default: '10000' },
  seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
  'at-length': { type: 'string', default: 'calls,syncs,topics,containers,members' },
  writers: { type: 'string', default: '3' },
  readers: { type: 'string', default: '2' },
  in: { type: 'string', default: tmpdir() },
  dist: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
}

function readArguments() {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return fail(`${error.message}\n\n${help}`)
  }
}

const values = readArguments()
if (values.help) {
  console.log(help)
  process.exit(0)
}
const number = (name) => {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < 0) fail(`--${name} takes an integer of at least 0, not ${values[name]}`)
  return value
}
const root = new URL('..', import.meta.url).pathname
const native = (filter) => [join(root, 'build/native/hermes_tests'), `--gtest_filter=${filter}`, '--gtest_brief=1']
const vitest = (file) => [process.execPath, join(root, 'node_modules/vitest/vitest.mjs'), 'run', file]
/** Suites of which npm test runs a part, or a short time: here all of it, or long. */
const lengths = {
  calls: [
    'each system call of the log fails, with each errno',
    vitest('test/process/fail-calls.test.ts'),
    { HERMES_FAIL_CALLS: 'all' },
  ],
  syncs: ['failing syncs, with each errno and on a full disk', native('LogSync*:LogRewrite*'), {}],
  topics: ['10,000 topics in one process', vitest('test/process/tasks.test.ts'), { HERMES_TOPICS: '10000' }],
  members: [
    'members of a group are killed, stopped and kept busy: 1,000 rounds of 1,000 messages',
    vitest('test/process/group-soak.test.ts'),
    { HERMES_SOAK_ROUNDS: '1000', HERMES_SOAK_MESSAGES: '1000', HERMES_SOAK_SEED: values.seed },
  ],
  containers: ['PID namespaces, limits of memory and tasks', vitest('test/process/containers.test.ts'), {}],
}
const chosen = values['at-length'].split(',').filter((name) => name !== '' && name !== 'none')
for (const name of chosen)
  if (lengths[name] === undefined)
    fail(`--at-length takes some of ${Object.keys(lengths).join(',')}, or none; not ${name}`)
const seed = number('seed') >>> 0
const kinds = ['kills', 'power-cuts', 'group-cuts', 'damages']
const counts = Object.fromEntries(kinds.map((kind) => [kind, number(kind)]))
const sizes = { writers: number('writers'), readers: number('readers') }
// Another build than the clone's is taken as it is.
if (values.dist === '') await setup()
const dist = values.dist === '' ? new URL('../dist', import.meta.url).pathname : values.dist
const { damages, groupPowerCuts, killRounds, powerCuts } = await import(join(dist, 'testkit/index.js'))
const { serve } = await import(join(dist, 'broker/broker.js'))

let drawn = 0
const progress = (what, total) => (done) => {
  const now = performance.now()
  if (values.json || (done < total && now - drawn < (process.stderr.isTTY ? 200 : 10_000))) return
  drawn = now
  process.stderr.write(
    process.stderr.isTTY
      ? `\r\u001b[K${what}: ${done} of ${total}${done === total ? '\n' : ''}`
      : `${what}: ${done} of ${total}\n`,
  )
}

if (!values.json) console.log(`seed ${seed}`)
const results = {}
for (const [what, count] of Object.entries(counts)) {
  if (count === 0) continue
  const folder = mkdtempSync(join(values.in, 'hermes-campaign-'))
  const begun = performance.now()
  try {
    const onCase = progress(what, count)
    const ofGroups = (options) => groupPowerCuts({ ...options, serve: (dir) => serve({ dir, port: 0 }) })
    const work = { 'power-cuts': powerCuts, 'group-cuts': ofGroups, damages }[what]
    const result =
      work === undefined
        ? await killRounds({ place: folder, rounds: count, seed, ...sizes, onRound: onCase })
        : await work({ folder, count, seed, onCase })
    results[what] = { ...result, seconds: (performance.now() - begun) / 1000 }
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  if (values.json) continue
  const { violations, seconds, counts: inside, ...rest } = results[what]
  const facts = Object.entries({ ...rest, ...inside }).map(([name, value]) => `${name} ${value}`)
  console.log(`${what}: ${violations.length} violations in ${count} (${seconds.toFixed(1)} s): ${facts.join(', ')}`)
  for (const { kind, message } of violations.slice(0, 40)) console.log(`  ${kind}: ${message}`)
}
for (const name of values.dist === '' ? chosen : []) {
  const [what, [program, ...args], env] = lengths[name]
  if (!existsSync(program))
    fail(`${program} is missing: npm test -- --only native builds it, or leave it out by --at-length`)
  const begun = performance.now()
  const { status } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: values.json ? ['ignore', 2, 2] : 'inherit',
  })
  const violations =
    status === 0 ? [] : [{ kind: name, message: `${[program, ...args].join(' ')} ended with ${status}` }]
  results[name] = { seed, cases: 1, counts: {}, violations, seconds: (performance.now() - begun) / 1000 }
  if (!values.json)
    console.log(`${name}: ${what}: ${status === 0 ? 'as promised' : 'FAILED'} (${results[name].seconds.toFixed(1)} s)`)
}
if (values.json) console.log(JSON.stringify({ seed, results }))
const broken = Object.values(results).reduce((sum, { violations }) => sum + violations.length, 0)
if (!values.json) console.log(broken === 0 ? 'No promise was broken.' : `${broken} violations.`)
process.exitCode = broken === 0 ? 0 : 1
