import { exists } from '../lib/native-tests.mjs'
import { run } from '../lib/run.mjs'
import { countLines } from '../lib/suite.mjs'

/** Ten seconds for each target; `npm run fuzz -- 3600` does it for hours. */
export const suite = {
  name: 'fuzz',
  timeoutMinutes: 10,
  present: () => exists('native/fuzz'),
  run: async ({ log, timeoutMs }) => countLines(await run('bash', ['scripts/fuzz.sh', '10'], { log, timeoutMs })),
}
