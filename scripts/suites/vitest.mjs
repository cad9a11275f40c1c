import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { need } from '../lib/apt.mjs'
import { ensureCrashAddon } from '../lib/build.mjs'
import { ensureNatsServer } from '../lib/nats-server.mjs'
import { root, run } from '../lib/run.mjs'

const report = join(root, 'build', 'vitest.json')

export const suite = {
  name: 'vitest',
  timeoutMinutes: 25,
  async run({ log, timeoutMs }) {
    rmSync(report, { force: true })
    const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    // Tests of what can't be had say that they are skipped, and why.
    const tryTo = (work) => work.then((missing) => missing && note(missing)).catch((error) => note(error.message))
    const note = (text) => appendFileSync(log, `${text}\n`)
    for (const name of ['python3', 'openssl', 'strace', 'promtool', 'chromium', 'python3-yaml', 'systemd-analyze'])
      await tryTo(need(name))
    await tryTo(ensureNatsServer())
    await tryTo(ensureCrashAddon().then(() => undefined))
    const env = { HERMES_TYPE_TESTS: '1', NO_COLOR: '1' }
    const { code } = await run('node_modules/.bin/vitest', args, { env, log, timeoutMs })
    if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0, reason: `vitest died (exit code ${code})` }
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(report, 'utf8'))
    const result = { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests }
    // A file that can't be loaded, or an error outside of every test, fails the run without failing a test.
    if (code !== 0 && result.failed === 0) result.failed = 1
    return result
  },
}
