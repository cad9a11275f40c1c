import { clangFormat, nativeSources } from '../lib/format.mjs'
import { root, run } from '../lib/run.mjs'

/** TypeScript and scripts by Biome, C++ by clang-format: each counts as one test. */
export const suite = {
  name: 'lint',
  timeoutMinutes: 2,
  async run({ log, timeoutMs }) {
    const codes = [
      (await run('node_modules/.bin/biome', ['check', '--colors=off'], { log, timeoutMs })).code,
      (await run(clangFormat, ['--dry-run', '--Werror', ...nativeSources(root)], { log, timeoutMs })).code,
    ]
    const passed = codes.filter((code) => code === 0).length
    return { passed, failed: codes.length - passed, skipped: 0 }
  },
}
