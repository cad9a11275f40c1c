import { need } from '../lib/apt.mjs'
import { exists } from '../lib/native-tests.mjs'
import { runUnittest } from '../lib/unittest.mjs'

export const suite = {
  name: 'python-client',
  timeoutMinutes: 5,
  present: () => exists('clients/python/tests'),
  async run(context) {
    // For the certificates of its TLS tests, which are skipped without.
    const missing = await need('openssl')
    if (missing !== undefined) context.print(missing)
    return runUnittest('clients/python/tests', 'clients/python', context)
  },
}
