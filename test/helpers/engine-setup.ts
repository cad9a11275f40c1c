import { vi } from 'vitest'
import type { BrokerOptions } from '../../lib/broker/options.js'

/*
 * For HERMES_TEST_ENGINE: brokers that tests start in their own process have that engine, unless they speak TLS. (Those in a process of their own
 * read it themselves.) So the same suites run over each: scripts/suites/engines.mjs.
 */
vi.mock('../../lib/broker/broker.js', async (load) => {
  const actual = await load<typeof import('../../lib/broker/broker.js')>()
  const engine = process.env['HERMES_TEST_ENGINE'] as NonNullable<BrokerOptions['engine']>
  return {
    ...actual,
    serve: (options: BrokerOptions) =>
      actual.serve(options?.tls === undefined && options?.engine === undefined ? { ...options, engine } : options),
  }
})
