import { exists } from '../lib/native-tests.mjs'
import { runUnittest } from '../lib/unittest.mjs'

export const suite = {
  name: 'python',
  timeoutMinutes: 5,
  present: () => exists('test/python'),
  run: (context) => runUnittest('test/python', 'test/python', context),
}
