import { vitestSuite } from '../lib/vitest-suite.mjs'

export const suite = vitestSuite({ name: 'vitest', timeoutMinutes: 25, surroundings: { HERMES_TYPE_TESTS: '1' } })
