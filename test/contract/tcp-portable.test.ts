import { afterAll, expect, test, vi } from 'vitest'
import { failure } from '../helpers/failure.js'

// Before anything is imported: this process has no addon, as on a system that there is none for. The broker, in another one, has it.
const native = vi.hoisted(() => {
  const before = process.env.HERMES_NATIVE
  process.env.HERMES_NATIVE = 'none'
  return before
})

import { MpmcRing, open } from '../../lib/index.js'
import { addonIfPresent } from '../../lib/native/load.js'
import { brokersThere } from './broker-there.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'
import { remotePlacement } from './remote.js'

afterAll(() => {
  if (native === undefined) delete process.env.HERMES_NATIVE
  else process.env.HERMES_NATIVE = native
})

runContract(remotePlacement('tcp, without the addon', brokersThere({ HERMES_NATIVE: native ?? '' }), {}), cases)

test('this process has no addon, and what needs it says so', async () => {
  expect(addonIfPresent()).toBeUndefined()
  for (const [place, what] of [
    ['./never-made', 'A directory'],
    ['shm:never-made', 'Shared memory'],
    ['ring:never-made', 'A ring'],
  ] as const) {
    const error = await failure('NATIVE_UNAVAILABLE', () => open(place))
    expect(error.message).toMatch(new RegExp(`^${what} can't be used without the native addon`))
  }
  const error = await failure('NATIVE_UNAVAILABLE', async () =>
    MpmcRing.create({ name: 'never-made', capacity: 64, itemBytes: 8 } as never),
  )
  expect(error.message).toContain('A named ring')
})
