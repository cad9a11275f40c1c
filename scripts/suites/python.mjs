import { exists } from '../lib/native-tests.mjs'
import { run } from '../lib/run.mjs'
import { skipUnless } from '../lib/suite.mjs'

export const suite = {
  name: 'python',
  timeoutMinutes: 5,
  present: () => exists('test/python'),
  async run({ log, timeoutMs }) {
    const missing = await skipUnless('python3')
    if (missing !== undefined) return missing
    const args = ['-B', '-m', 'unittest', 'discover', '-v', '-s', 'test/python', '-p', 'test_*.py', '-t', 'test/python']
    const { code, output } = await run('python3', args, { log, timeoutMs })
    const number = (pattern) => Number(pattern.exec(output)?.[1] ?? 0)
    const total = number(/^Ran (\d+) test/m)
    const verdict = output.slice(output.lastIndexOf('\nRan '))
    const pick = (word) => Number(new RegExp(`${word}=(\\d+)`).exec(verdict)?.[1] ?? 0)
    const failed = pick('failures') + pick('errors') + pick('unexpected successes')
    const skipped = pick('skipped')
    return { passed: total - failed - skipped, failed: code !== 0 && failed === 0 ? 1 : failed, skipped }
  },
}
