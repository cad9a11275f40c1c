import { run } from '../lib/run.mjs'

export const suite = {
  name: 'typecheck',
  timeoutMinutes: 3,
  async run({ log, timeoutMs }) {
    const { code } = await run('node_modules/.bin/tsc', ['-p', 'tsconfig.json'], { log, timeoutMs })
    return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 }
  },
}
