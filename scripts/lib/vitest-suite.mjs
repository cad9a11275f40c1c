// Suites of vitest's: all tests, or some of them in other surroundings.
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { need } from './apt.mjs'
import { ensureCrashAddon } from './build.mjs'
import { ensureNatsServer } from './nats-server.mjs'
import { root, run } from './run.mjs'

/**
 * @param surroundings environment variables of the tests
 * @param files        names, or parts of them; none = all
 */
export const vitestSuite = ({ name, timeoutMinutes, surroundings = {}, files = [] }) => ({
  name,
  timeoutMinutes,
  async run({ log, timeoutMs }) {
    const report = join(root, 'build', `${name}.json`)
    rmSync(report, { force: true })
    const args = ['run', ...files, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    // Tests of what can't be had say that they are skipped, and why.
    const tryTo = (work) => work.then((missing) => missing && note(missing)).catch((error) => note(error.message))
    const note = (text) => appendFileSync(log, `${text}\n`)
    for (const name of ['python3', 'openssl', 'strace', 'promtool', 'chromium', 'python3-yaml', 'systemd-analyze'])
      await tryTo(need(name))
    await tryTo(ensureNatsServer())
    await tryTo(ensureCrashAddon().then(() => undefined))
    const env = { NO_COLOR: '1', ...surroundings }
    const { code } = await run('node_modules/.bin/vitest', args, { env, log, timeoutMs })
    if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0, reason: `vitest died (exit code ${code})` }
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(report, 'utf8'))
    const result = { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests }
    // A file that can't be loaded, or an error outside of every test, fails the run without failing a test.
    if (code !== 0 && result.failed === 0) result.failed = 1
    return result
  },
})
