import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Programs that tests start run from dist/, so it has to be the present source.
    globalSetup: ['scripts/lib/vitest-setup.mjs'],
    setupFiles: process.env.HERMES_TEST_ENGINE === undefined ? [] : ['test/helpers/engine-setup.ts'],
    // A crash in native code takes one test file down, not the run.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    typecheck: {
      enabled: process.env.HERMES_TYPE_TESTS === '1',
      include: ['test/**/*.test-d.ts'],
      tsconfig: 'tsconfig.json',
    },
  },
})
