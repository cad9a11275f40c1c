// A broker whose clients have tokens: node victim-broker.mjs <dir>. Prints its URL.
import { serve } from '../../dist/broker/broker.js'

const broker = await serve({
  engine: process.env.HERMES_TEST_ENGINE,
  dir: process.argv[2],
  port: 0,
  access: [
    { name: 'victim', token: 'victim-victim-victim', administer: true },
    {
      name: 'attacker',
      token: 'attacker-attacker-attacker',
      publish: ['open', 'many*'],
      subscribe: ['open', 'long', 'many*'],
    },
  ],
  limits: { maxHandshakesPerSecond: 1000 },
})
process.stdout.write(`${broker.url}\n`)
