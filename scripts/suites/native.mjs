import { runNativeTests } from '../lib/native-tests.mjs'
import { addCounts } from '../lib/suite.mjs'

export const suite = {
  name: 'native',
  timeoutMinutes: 8,
  async run(context) {
    const build = { folder: 'native', options: ['-DCMAKE_BUILD_TYPE=Release'] }
    const plain = await runNativeTests(build, context)
    return addCounts(plain, await runNativeTests({ ...build, target: 'hermes_crash_tests' }, context))
  },
}
