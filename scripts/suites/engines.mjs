import { vitestSuite } from '../lib/vitest-suite.mjs'

/** What brokers promise, over each engine that is not the default (which is what the suite vitest runs). */
export const suite = vitestSuite({
  name: 'engines',
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
