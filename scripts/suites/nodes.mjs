// Each supported line of Node: the tarball installed by npm and run as a user would, and a part of the tests of TypeScript. One line has its turn
// with each commit; the others load the tarball.
//
//   HERMES_NODES=all                 each of them has its turn
//   HERMES_NODES=24.21.0             this one alone
//   HERMES_NODES_TESTS='test/ring'   these tests, in place of the part
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ensureDist, ensureExamples } from '../lib/build.mjs'
import { byTurn, ensureNode, nodeVersions } from '../lib/nodes.mjs'
import { compileFixture, installPacked, pack } from '../lib/packed.mjs'
import { root, run } from '../lib/run.mjs'
import { addCounts, countFaults, skip } from '../lib/suite.mjs'

/** What may differ between lines of Node: the addon, memory shared with it, workers, sockets, streams, the loading of modules. */
const part = [
  'test/codec',
  'test/contract',
  'test/frame',
  'test/mmap',
  'test/ring',
  'test/package/native-loader.test.ts',
]
part.push('test/package/binding.test.ts', 'test/process/workers.test.ts', 'test/process/terminate.test.ts')

/** vitest itself, or what it stands on, asks for a newer Node than the package does. */
const withoutVitest = ['20.17.0']
/** `require` of an ES module. */
const withoutRequire = ['20.17.0']

/** Runs what test/package/fixture and the quickstart do, from an installed tarball. */
async function checkInstalled({ packed, compiled }, { version, node, manager }, { log }) {
  const results = []
  const { folder, env, remove } = await installPacked(packed.tarball, { node, manager })
  try {
    cpSync(compiled, join(folder, 'out'), { recursive: true })
    for (const name of ['quickstart.js', 'quickstart']) {
      cpSync(join(root, 'build', 'js', 'examples', name), join(folder, 'out', name), { recursive: true })
    }
    const programs = ['out/esm.js', 'out/addon.js', 'out/quickstart.js']
    if (!withoutRequire.includes(version)) programs.push('out/cjs.cjs')
    for (const program of programs) {
      const options = { cwd: folder, env: { ...env, QUICKSTART_MESSAGES: '20000' }, log, timeoutMs: 120_000 }
      const { code, output } = await run(node, [program], options)
      const isGood =
        code === 0 && (!program.includes('quickstart') || output.match(/100\.00 % delivered/g)?.length === 2)
      results.push({
        name: `Node ${version}, installed by ${manager}: ${program} runs`,
        fault: isGood ? undefined : `it ended with ${code}: ${output.trim().split('\n').at(-1)}`,
      })
    }
  } finally {
    remove()
  }
  return results
}

async function runTests(version, node, { log, timeoutMs }) {
  const report = join(root, 'build', `vitest-${version}.json`)
  rmSync(report, { force: true })
  const tests = process.env.HERMES_NODES_TESTS?.split(/[\s,]+/) ?? part
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...tests, '--reporter=default', '--reporter=json']
  // Programs that a test starts by name are of this Node too.
  const env = { NO_COLOR: '1', PATH: `${dirname(node)}:${process.env.PATH}` }
  const { code } = await run(node, [...args, `--outputFile.json=${report}`], { env, log, timeoutMs })
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(report, 'utf8'))
    const failed = code !== 0 && numFailedTests === 0 ? 1 : numFailedTests
    return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests }
  } catch {
    return { passed: 0, failed: 1, skipped: 0, reason: `vitest died on Node ${version} (exit code ${code})` }
  }
}

export const suite = {
  name: 'nodes',
  timeoutMinutes: 12,
  async run(context) {
    if (process.platform !== 'linux' || process.arch !== 'x64') return skip('the other Nodes are for Linux x64')
    const choice = process.env.HERMES_NODES ?? ''
    if (choice !== '' && choice !== 'all' && !nodeVersions.includes(choice)) {
      throw new Error(`HERMES_NODES is all or one of ${nodeVersions.join(', ')}, not ${choice}`)
    }
    // The suites vitest and package run on this Node.
    const others = nodeVersions.filter((version) => version !== process.versions.node)
    const turns = choice === 'all' ? others : [choice || byTurn(others.filter((v) => !withoutVitest.includes(v)))]
    await ensureDist()
    await ensureExamples()
    const packed = await pack()
    const compiled = await compileFixture(packed, context)
    let counts = { passed: 0, failed: 0, skipped: 0 }
    for (const version of choice === '' || choice === 'all' ? others : turns) {
      const node = await ensureNode(version)
      for (const manager of turns.includes(version) ? ['npm', 'pnpm'] : ['npm']) {
        counts = addCounts(
          counts,
          countFaults(await checkInstalled({ packed, compiled }, { version, node, manager }, context), context.print),
        )
      }
      if (!turns.includes(version)) continue
      const tests = withoutVitest.includes(version)
        ? skip(`vitest does not run on Node ${version}`)
        : await runTests(version, node, context)
      context.print(`Node ${version}: ${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`)
      counts = addCounts(counts, tests)
    }
    return { ...counts, reason: counts.reason ?? `tests on Node ${turns.join(', ')}` }
  },
}
