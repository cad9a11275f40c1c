import { expect, it } from 'vitest'
import { open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'

it('refuses tls options for a connection in clear text', async () => {
  const error = await failure('INVALID_ARGUMENT', () => open('tcp://127.0.0.1:1', { tls: { ca: 'x' } }))
  expect(error.message).toContain('tls://127.0.0.1:1')
})
