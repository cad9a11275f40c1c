import { runNativeTests, skipUnlessSanitizer, withoutAddressRandomisation } from '../lib/native-tests.mjs'

export const suite = {
  name: 'native-asan',
  timeoutMinutes: 8,
  run: async (context) =>
    (await skipUnlessSanitizer('address,undefined')) ??
    runNativeTests(
      {
        folder: 'asan',
        options: ['-DHERMES_SANITIZE=address,undefined'],
        env: { UBSAN_OPTIONS: 'print_stacktrace=1' },
        program: withoutAddressRandomisation(),
      },
      context,
    ),
}
