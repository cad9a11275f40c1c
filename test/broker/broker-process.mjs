// A broker in a process of its own, for tests that kill it: node broker-process.mjs <dir> <port>. Prints its URL; on SIGUSR2, what its objects
// take after a collection, in bytes.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { serve } from '../../dist/broker/broker.js'

const [dir, port] = process.argv.slice(2)
const limits = { heartbeatMs: 500, handshakeTimeoutMs: 2000, maxHandshakesPerSecond: 100_000 }
const broker = await serve({
  engine: process.env.HERMES_TEST_ENGINE,
  dir,
  port: Number(port),
  limits,
  log: (line) => process.stderr.write(`${JSON.stringify(line)}\n`),
})
process.stdout.write(`${broker.url}\n`)
process.on('SIGTERM', () => void broker.drain(2000).then(() => process.exit(0)))
process.on('SIGUSR2', () => {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external } = process.memoryUsage()
  process.stdout.write(`${heapUsed + external}\n`)
})
