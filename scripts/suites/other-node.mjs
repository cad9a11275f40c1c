// Another line of Node for each commit: the tarball as a user has it, and the tests that show within seconds whether the addon and the loading of
// modules do there. The suite `nodes` does all of them, and more.
import { ensureDist, ensureExamples } from '../lib/build.mjs'
import { byTurn, ensureNode, nodeVersions } from '../lib/nodes.mjs'
import { checkInstalled, runTests, withoutVitest } from '../lib/on-node.mjs'
import { compileFixture, pack } from '../lib/packed.mjs'
import { addCounts, countFaults, skip } from '../lib/suite.mjs'

const tests = [
  'test/ring',
  'test/mmap',
  'test/codec/struct.test.ts',
  'test/contract/dir.test.ts',
  'test/process/workers.test.ts',
]
tests.push('test/process/permission.test.ts', 'test/package/binding.test.ts', 'test/package/native-loader.test.ts')

export const suite = {
  name: 'other-node',
  timeoutMinutes: 6,
  async run(context) {
    if (process.platform !== 'linux' || process.arch !== 'x64') return skip('the other Nodes are for Linux x64')
    // The suites vitest and package run on this Node.
    const version = byTurn(nodeVersions.filter((one) => one !== process.versions.node && !withoutVitest.includes(one)))
    await ensureDist()
    await ensureExamples()
    const node = await ensureNode(version)
    const packed = await pack()
    const compiled = await compileFixture(packed, context)
    const results = await checkInstalled({ packed, compiled }, { version, node, manager: 'npm' }, context)
    const counts = addCounts(countFaults(results, context.print), await runTests(version, node, tests, context))
    return { ...counts, reason: counts.reason ?? `Node ${version}` }
  },
}
