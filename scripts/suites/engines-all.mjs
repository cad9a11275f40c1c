import { vitestSuite } from '../lib/vitest-suite.mjs'

/** Every suite of brokers over the engine that is not the default. */
export const suite = vitestSuite({
  name: 'engines-all',
  timeoutMinutes: 25,
  surroundings: { HERMES_TEST_ENGINE: 'epoll' },
  files: [
    'test/broker/',
    'test/contract/tcp',
    'test/hostile/places',
    'test/api/durability',
    'test/api/request-reply',
    'test/testkit/faults',
  ],
})
