import { vitestSuite } from '../lib/vitest-suite.mjs'

/** Where the addon does the work: what clients send and are sent, who is slow, hostile or gone, and what ends meanwhile. */
const files = [
  'test/contract/tcp.test.ts',
  'test/hostile/places.test.ts',
  ...[
    'bounds',
    'broker',
    'crowd',
    'damaged-files',
    'deferrable',
    'disk-full',
    'endings',
    'exhaustion',
    'fair-openings',
    'false-acks',
    'faults',
    'health',
    'hostile',
    'large-payloads',
    'late-settlements',
    'limits',
    'mixed',
    'orderly',
    'pool',
    'reload',
    'rights',
    'security',
    'seek',
    'topics',
  ].map((name) => `test/broker/${name}.test.ts`),
]

/** What brokers promise, over the engine that is not the default (which is what the suite vitest runs). All of it: engines-all. */
export const suite = vitestSuite({
  name: 'engines',
  timeoutMinutes: 10,
  surroundings: { HERMES_TEST_ENGINE: 'epoll' },
  files,
})
