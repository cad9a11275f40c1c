import { exists } from '../lib/native-tests.mjs'
import { run } from '../lib/run.mjs'
import { countLines, skipUnless } from '../lib/suite.mjs'

/** What is kept in native/fuzz/corpus/, and ten seconds more for each target; `npm run fuzz -- 3600` does it for hours. The struct codec's fuzz is one of vitest. */
export const suite = {
  name: 'fuzz',
  timeoutMinutes: 10,
  present: () => exists('native/fuzz'),
  run: async ({ log, timeoutMs }) =>
    (await skipUnless('clang')) ??
    // By itself: where clang brings it, there is no package of this name.
    (await skipUnless('clang-rt')) ??
    countLines(
      await run('bash', ['scripts/fuzz.sh', '10', 'frame', 'segment', 'damage', 'control', 'group'], {
        log,
        timeoutMs,
      }),
    ),
}
