// Each supported line of Node: the tarball installed by npm and run as a user would, and a part of the tests of TypeScript. One line has its turn
// with each commit; the others load the tarball.
//
//   HERMES_NODES=all                 each of them has its turn
//   HERMES_NODES=24.21.0             this one alone
//   HERMES_NODES_TESTS='test/ring'   these tests, in place of the part
import { ensureDist, ensureExamples } from '../lib/build.mjs'
import { byTurn, ensureNode, nodeVersions } from '../lib/nodes.mjs'
import { checkInstalled, runTests, withoutVitest } from '../lib/on-node.mjs'
import { compileFixture, pack } from '../lib/packed.mjs'
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
        : await runTests(version, node, process.env.HERMES_NODES_TESTS?.split(/[\s,]+/) ?? part, context)
      context.print(`Node ${version}: ${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`)
      counts = addCounts(counts, tests)
    }
    return { ...counts, reason: counts.reason ?? `tests on Node ${turns.join(', ')}` }
  },
}
