// npm run campaign -- cluster: topics in a cluster of three go through faults, by the hundred. Ends with 1 if anything promised was broken.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from '../lib/build.mjs'
import { fail } from '../lib/log.mjs'
import { ensureNatsServer, natsServer, versionOf } from '../lib/nats-server.mjs'
import { root } from '../lib/run.mjs'
import { bridgeKinds, loadBuild } from './bridges.mjs'
import { faults } from './faults.mjs'
import {
  inOwnNetwork,
  isOwnNetwork,
  Namespaces,
  namespacesMissing,
  ownNetworkEnv,
  startOwnNetwork,
} from './namespaces.mjs'
import { startServers, streamsOf } from './servers.mjs'
import { Traffic, untilCurrent } from './traffic.mjs'

const kinds = { ...faults, ...bridgeKinds }
const usual = ['killed', 'stopped', 'partitioned', 'cut', 'bridge', 'race']
const help = `npm run campaign -- cluster [options]: topics in a cluster of three go through faults. Ends with 1 if anything promised was broken.

  --kinds LIST   which (${usual.join(',')}); besides ${Object.keys(kinds).filter((kind) => !usual.includes(kind))}
${Object.entries(kinds)
  .map(([name, { what }]) => `                 ${name.padEnd(12)} ${what}`)
  .join('\n')}
  --rounds N     of each (100)
  --minute MS    how long a majority is away (60000)
  --seed N       to repeat a campaign; by default another one each time
  --mutants LIST try builds that are wrong in known ways, or all, and see that each is found
  --in FOLDER    where the servers keep their files (${tmpdir()})
  --dist FOLDER  the package to try, if not this one
  --json         one JSON document
  --help

nats-server is what is installed if it is recent enough, else that of Debian's next release; HERMES_NATS_RELEASE=trixie or sid decides otherwise.`

const options = {
  kinds: { type: 'string', default: usual.join(',') },
  rounds: { type: 'string', default: '100' },
  minute: { type: 'string', default: '60000' },
  seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
  mutants: { type: 'string', default: '' },
  in: { type: 'string', default: tmpdir() },
  dist: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
}

/** Numbers in [0, 1), always the same for a seed (mulberry32). */
function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function readArguments(args) {
  try {
    return parseArgs({ options, args }).values
  } catch (error) {
    return fail(`${error.message}\n\n${help}`)
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]

/** All rounds of one kind, on a cluster of its own. */
async function runKind(name, { rounds, seed, folder, build, minuteMs, tell }) {
  const kind = kinds[name]
  const network = kind.ownNetwork ? await Namespaces.make(3) : undefined
  const cluster = await startServers({ size: 3, folder, addresses: network?.addresses })
  const result = { rounds: 0, messages: 0, violations: [], gapsMs: [], reached: undefined }
  let traffic
  try {
    const made = kind.make?.({ ...build, cluster, folder })
    if (made === undefined) traffic = await Traffic.open(build.api, cluster.url)
    for (let round = 0; round < rounds; round++) {
      // (each round repeats by itself)
      const random = seeded(seed + round)
      try {
        if (traffic !== undefined) await untilCurrent(cluster, streamsOf)
        const one = await (made?.round(random, seed + round) ??
          traffic.round(() => kind.act({ cluster, network, random, minuteMs })))
        result.messages += one.messages
        if (one.gapMs !== undefined) result.gapsMs.push(Math.round(one.gapMs))
        result.violations.push(...one.faults.map((message) => ({ kind: name, round, seed: seed + round, message })))
        result.rounds++
      } catch (error) {
        result.violations.push({ kind: name, round, seed: seed + round, message: error.stack ?? String(error) })
        // What follows would be about what is left of this round.
        break
      }
      tell(name, round + 1, rounds, result)
      if (result.violations.length > 0 && traffic !== undefined) break
    }
    result.reached = made?.reached
  } finally {
    await traffic?.close()
    await cluster.close()
    await network?.close()
  }
  return result
}

export async function clusterCampaign(args) {
  const values = readArguments(args)
  if (values.help) {
    console.log(help)
    return 0
  }
  const number = (name) => {
    const value = Number(values[name])
    if (!Number.isSafeInteger(value) || value < 0) fail(`--${name} takes an integer of at least 0, not ${values[name]}`)
    return value
  }
  const chosen = values.kinds.split(',').filter((name) => name !== '')
  for (const name of chosen)
    if (kinds[name] === undefined) fail(`--kinds takes some of ${Object.keys(kinds).join(',')}; not ${name}`)
  const [rounds, seed, minuteMs] = [number('rounds'), number('seed'), number('minute')]
  if (!isOwnNetwork()) {
    if (values.dist === '') await setup()
    const missing = await ensureNatsServer()
    if (missing !== undefined) fail(missing)
    if (values.mutants === '' && chosen.some((name) => kinds[name].ownNetwork)) {
      const why = namespacesMissing()
      if (why !== undefined) fail(`${why}. Leave out: ${chosen.filter((name) => kinds[name].ownNetwork).join(',')}`)
      const command = [
        ...inOwnNetwork,
        process.execPath,
        ...process.execArgv,
        ...process.argv.slice(1),
        '--seed',
        String(seed),
      ]
      const { status } = spawnSync(command[0], command.slice(1), {
        stdio: 'inherit',
        env: { ...process.env, ...ownNetworkEnv },
      })
      return status ?? 1
    }
  }
  if (isOwnNetwork()) startOwnNetwork()
  const version = versionOf(natsServer())
  if (values.mutants !== '') {
    const { checkMutants, mutants } = await import('./mutants.mjs')
    const only = values.mutants === 'all' ? Object.keys(mutants) : values.mutants.split(',')
    return checkMutants({ only, seed, version, json: values.json })
  }
  const dist = values.dist === '' ? join(root, 'dist') : resolve(values.dist)
  const build = { ...(await loadBuild(dist)), dist }
  if (!values.json) console.log(`seed ${seed}, nats-server ${version}, three servers, sync_interval: always`)
  const tell = (name, done, of, { violations }) => {
    const last = violations.at(-1)
    if (!values.json && last?.round === done - 1) process.stderr.write(`${name}, seed ${last.seed}: ${last.message}\n`)
    if (!values.json && (done % 10 === 0 || done === of))
      process.stderr.write(`${name}: ${done} of ${of}, ${violations.length} violations\n`)
  }
  const results = {}
  for (const name of chosen) {
    const folder = mkdtempSync(join(values.in, 'hermes-cluster-'))
    const begun = performance.now()
    try {
      results[name] = await runKind(name, { rounds, seed, folder, build, minuteMs, tell })
    } finally {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    }
    const { violations, gapsMs, messages, reached, rounds: done } = results[name]
    if (values.json) continue
    const seconds = ((performance.now() - begun) / 1000).toFixed(1)
    console.log(
      `${name}: ${kinds[name].what}: ${violations.length} violations in ${done} rounds of ${messages} messages (${seconds} s)`,
    )
    if (gapsMs.length > 0)
      console.log(
        `  longest time without an acknowledgement: median ${median(gapsMs)} ms, ${Math.min(...gapsMs)} to ${Math.max(...gapsMs)} ms`,
      )
    if (reached !== undefined)
      console.log(
        `  ${Object.entries(reached)
          .map(([step, times]) => `${step} ${times}`)
          .join(', ')}`,
      )
    for (const { round, seed: again, message } of violations.slice(0, 20))
      console.log(`  round ${round} (--rounds 1 --seed ${again}): ${message}`)
  }
  const broken = Object.values(results).reduce((sum, { violations }) => sum + violations.length, 0)
  if (values.json) console.log(JSON.stringify({ seed, version, results }))
  else console.log(broken === 0 ? 'No promise was broken.' : `${broken} violations.`)
  return broken === 0 ? 0 : 1
}
