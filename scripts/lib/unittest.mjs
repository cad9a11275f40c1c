// Runs Python's unittest over a folder, for suites.
import { run } from './run.mjs'
import { skipUnless } from './suite.mjs'

/**
 * @param tests the folder of the test_*.py files
 * @param top   the folder that they import from
 */
export async function runUnittest(tests, top, { log, timeoutMs }) {
  const missing = await skipUnless('python3')
  if (missing !== undefined) return missing
  const args = ['-B', '-m', 'unittest', 'discover', '-v', '-s', tests, '-p', 'test_*.py', '-t', top]
  const { code, output } = await run('python3', args, { log, timeoutMs })
  const number = (pattern) => Number(pattern.exec(output)?.[1] ?? 0)
  const total = number(/^Ran (\d+) test/m)
  const verdict = output.slice(output.lastIndexOf('\nRan '))
  const pick = (word) => Number(new RegExp(`${word}=(\\d+)`).exec(verdict)?.[1] ?? 0)
  const failed = pick('failures') + pick('errors') + pick('unexpected successes')
  const skipped = pick('skipped')
  return { passed: Math.max(0, total - failed - skipped), failed: code !== 0 && failed === 0 ? 1 : failed, skipped }
}
