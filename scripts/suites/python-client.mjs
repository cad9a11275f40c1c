import { exists } from '../lib/native-tests.mjs'
import { runUnittest } from '../lib/unittest.mjs'

export const suite = {
  name: 'python-client',
  timeoutMinutes: 5,
  present: () => exists('clients/python/tests'),
  run: (context) => runUnittest('clients/python/tests', 'clients/python', context),
}
