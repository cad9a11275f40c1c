import { runNativeTests, skipUnlessSanitizer, withoutAddressRandomisation } from '../lib/native-tests.mjs'

/** Test suites that run threads against each other carry one of these words in their name. */
const filter = '*Stress*:*Concurrent*:*Thread*'

export const suite = {
  name: 'native-tsan',
  timeoutMinutes: 8,
  run: async (context) =>
    (await skipUnlessSanitizer('thread')) ??
    runNativeTests(
      {
        folder: 'tsan',
        options: ['-DHERMES_SANITIZE=thread'],
        filter,
        env: { TSAN_OPTIONS: 'halt_on_error=1' },
        program: withoutAddressRandomisation(),
      },
      context,
    ),
}
