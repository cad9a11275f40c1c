import { exists } from '../lib/native-tests.mjs'
import { run } from '../lib/run.mjs'
import { countLines, skipUnless } from '../lib/suite.mjs'

/**
 * What is kept in native/fuzz/corpus/, and a fixed number of runs with a fixed seed for each target: the same ones each time, so that a commit fails by
 * what it changes and not by luck. `npm run fuzz -- 3600` explores for hours, with random seeds. The struct codec's fuzz is one of vitest.
 */
export const suite = {
  name: 'fuzz',
  timeoutMinutes: 10,
  present: () => exists('native/fuzz'),
  run: async ({ log, timeoutMs }) =>
    (await skipUnless('clang')) ??
    // By itself: where clang brings it, there is no package of this name.
    (await skipUnless('clang-rt')) ??
    countLines(
      await run('bash', ['scripts/fuzz.sh', '--fixed', 'frame', 'packet', 'segment', 'damage', 'control', 'group'], {
        log,
        timeoutMs,
      }),
    ),
}
