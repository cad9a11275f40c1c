// Many messages at once: cheaper for the publisher, and for a subscriber that writes them on to a database in bulk.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { f64, open, struct, u53 } from 'hermes-mq'

const Reading = struct({ sensor: u53, celsius: f64 })
const total = 10_000

function* readings(): Generator<{ sensor: number; celsius: number }> {
  for (let i = 0; i < total; i++) yield { sensor: i % 16, celsius: 20 + (i % 7) / 2 }
}

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
try {
  await using hermes = await open(place)
  const topic = hermes.topic('readings', { codec: Reading })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber({ from: 'earliest' })

  // Takes any iterable. Messages become visible in groups of up to 256.
  publisher.publishBatch(readings())
  // Waits until all of it is in the log. (In a directory it is there already.)
  await publisher.flush()
  console.log(`published ${publisher.lastSequence} readings`)

  let received = 0
  let batches = 0
  let sum = 0
  for await (const batch of subscriber.batches(1000)) {
    batches++
    received += batch.length
    for (const { value } of batch) sum += value.celsius
    if (received === total) break
  }
  console.log(`received ${received} readings in ${batches} batches`)
  console.log(`${(sum / received).toFixed(2)} degrees on average`)
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
