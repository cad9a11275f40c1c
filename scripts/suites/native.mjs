import { runNativeTests } from '../lib/native-tests.mjs'

export const suite = {
  name: 'native',
  timeoutMinutes: 6,
  run: (context) => runNativeTests({ folder: 'native', options: ['-DCMAKE_BUILD_TYPE=Release'] }, context),
}
