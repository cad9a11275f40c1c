// What the suites of other lines of Node do with one: run what test/package/fixture and the quickstart do from an installed tarball, and tests.
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { installPacked } from './packed.mjs'
import { root, run } from './run.mjs'

/** vitest itself, or what it stands on, asks for a newer Node than the package does. */
export const withoutVitest = ['20.17.0']
/** `require` of an ES module. */
const withoutRequire = ['20.17.0']

/** Runs what test/package/fixture and the quickstart do, from an installed tarball. */
export async function checkInstalled({ packed, compiled }, { version, node, manager }, { log }) {
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

/** Runs these tests of TypeScript. */
export async function runTests(version, node, tests, { log, timeoutMs }) {
  const report = join(root, 'build', `vitest-${version}.json`)
  rmSync(report, { force: true })
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
