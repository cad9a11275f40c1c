// A member of test/process/group-soak.test.ts, in a directory or through a broker. Notes in a file whatever it gets and settles, before and after, so that a kill loses no note.
//
//   {place, journal, instance, kind, leaseMs, maxInFlight, workMs}
//
// Reads lines: `block <ms>` keeps the event loop busy for so long; `end` leaves the group in order.
import { openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { json, open } from '../../../dist/index.js'

const { place, journal, instance, kind, leaseMs, maxInFlight, workMs } = JSON.parse(process.argv[2])
const file = openSync(journal, 'a')
const note = (what, job, more = {}) => {
  const { value, sequence, deliveries } = job
  const line = {
    what,
    instance,
    n: value.n,
    key: value.key,
    sequence,
    deliveries,
    at: Number(process.hrtime.bigint()),
    ...more,
  }
  writeSync(file, `${JSON.stringify(line)}\n`)
}
const hermes = await open(place, place.startsWith('tcp:') ? { reconnect: { minMs: 5, maxMs: 50 } } : {})
const topic = hermes.topic('soak', { codec: json() })
const options = kind === 'keyed' ? { key: 'key' } : {}
const group = await topic.group('members', {
  ...options,
  leaseMs,
  maxInFlight,
  maxDeliveries: 0,
  backoffMs: 1,
  member: instance,
})
createInterface({ input: process.stdin }).on('line', (line) => {
  const [what, ms] = line.split(' ')
  if (what === 'end')
    void group
      .close({ timeoutMs: 5000 })
      .then(() => hermes.close())
      .then(() => process.exit(0))
  if (what === 'block') for (const until = performance.now() + Number(ms); performance.now() < until; );
})
console.log(JSON.stringify({ is: 'ready' }))
for await (const job of group) {
  note('got', job)
  if (workMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * workMs))
  // Now and then it does not succeed.
  const fails = job.deliveries === 1 && job.value.n % 97 === 0
  note(fails ? 'returning' : 'settling', job)
  try {
    if (fails) await job.nack({ delayMs: 0 })
    else await job.ack()
    note(fails ? 'returned' : 'settled', job)
  } catch (error) {
    note('failed', job, { code: error.code ?? String(error) })
  }
}
