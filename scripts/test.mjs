// npm test: sets the clone up, runs every suite, and ends with one line of counts over all of them.
//
//   npm test -- --only vitest,lint     these suites
//   npm test -- --skip native-tsan     all but these
//   npm test -- --list                 the names; nodes, runtimes, arm64-addon and engines-all run only when asked for
//   npm test -- --verbose              with the output of suites that pass
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from './lib/build.mjs'
import { bold, fail, green, red, seconds, yellow } from './lib/log.mjs'
import { root } from './lib/run.mjs'
import { runSuite } from './lib/suite.mjs'

/** In this order: quick verdicts first. */
const names = [
  'sources',
  'prebuild',
  'lint',
  'typecheck',
  'native',
  'vitest',
  'engines',
  'python',
  'python-client',
  'package',
  'other-node',
  'site',
  'cmake-package',
  'models',
  'fuzz',
  'arm64',
  'native-asan',
  'native-tsan',
]

/** Only with --only: they take minutes, and most of them fetch other lines of Node. */
const onRequest = ['nodes', 'runtimes', 'arm64-addon', 'engines-all']

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    skip: { type: 'string', multiple: true, default: [] },
    list: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})
const split = (list) => list.flatMap((entry) => entry.split(','))
const known = [...names, ...onRequest]
const unknown = [...split(values.only), ...split(values.skip)].filter((name) => !known.includes(name))
if (unknown.length > 0) fail(`no suite is called ${unknown.join(', ')}; there are: ${known.join(', ')}`)
if (values.list) {
  for (const name of known) console.log(name)
  process.exit(0)
}

const chosen = (values.only.length === 0 ? names : known)
  .filter((name) => values.only.length === 0 || split(values.only).includes(name))
  .filter((name) => !split(values.skip).includes(name))

try {
  await setup()
} catch (error) {
  // Counted as one failure. The suites that need nothing of the failed step still give their verdict.
  console.error(`${red('hermes: set-up failed:')} ${error.message}`)
  process.exitCode = 1
}

const logs = join(root, 'build', 'test-logs')
mkdirSync(logs, { recursive: true })

async function runNamed(name) {
  const log = join(logs, `${name}.log`)
  rmSync(log, { force: true })
  writeFileSync(log, '')
  const { suite } = await import(`./suites/${name}.mjs`)
  const result = await runSuite(suite, log)
  return result && { ...result, log }
}

const total = { passed: 0, failed: 0, skipped: 0 }
if (process.exitCode === 1) total.failed += 1
for (const name of chosen) {
  const start = Date.now()
  const result = await runNamed(name)
  if (result === undefined) continue
  for (const key of Object.keys(total)) total[key] += result[key]
  const output = readFileSync(result.log, 'utf8')
  if (result.failed > 0 || values.verbose) console.log(output.split('\n').slice(-400).join('\n'))
  const verdict = result.failed > 0 ? red('failed') : result.passed === 0 ? yellow('skipped') : green('passed')
  const counts = `${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped`
  const reason = result.reason === undefined ? '' : ` (${result.reason})`
  console.log(`${bold(name.padEnd(14))} ${verdict}: ${counts} in ${seconds(start)}${reason}`)
}

console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exit(total.failed > 0 ? 1 : 0)
