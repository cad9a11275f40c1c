import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { exists } from '../lib/native-tests.mjs'
import { root, run } from '../lib/run.mjs'
import { countLines, skipUnless } from '../lib/suite.mjs'

export const suite = {
  name: 'models',
  timeoutMinutes: 5,
  /** Only a clone that has Promela models has this suite. */
  present: () => exists('test/model') && readdirSync(join(root, 'test', 'model')).some((name) => name.endsWith('.pml')),
  // (gcc by itself comes without the C library's headers; g++ brings them.)
  run: async ({ log, timeoutMs }) =>
    (await skipUnless('spin', 'gcc', 'g++')) ?? countLines(await run('bash', ['scripts/model.sh'], { log, timeoutMs })),
}
