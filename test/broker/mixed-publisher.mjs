// Publishes in rounds: node mixed-publisher.mjs <place> <name> <messages per round>. Each line on stdin is a round; its number is printed once
// everything is acknowledged.
import { createInterface } from 'node:readline'
import { open, raw } from '../../dist/index.js'

const [place, name, messages] = process.argv.slice(2)
const hermes = await open(place)
const publisher = await hermes.topic('mixed', { codec: raw }).publisher()
process.stdout.write('ready\n')
let number = 0
let round = 0
for await (const _ of createInterface({ input: process.stdin })) {
  const last = number + Number(messages)
  while (number < last) {
    // One by one and in batches, of many lengths.
    if (number % 100 < 50) {
      if (!publisher.publish(payload(number++))) await publisher.ready()
    } else {
      const batch = []
      while (batch.length < 50 && number < last) batch.push(payload(number++))
      if (!publisher.publishBatch(batch)) await publisher.ready()
    }
  }
  await publisher.flush()
  process.stdout.write(`${++round}\n`)
}
await publisher.close()
await hermes.close()

function payload(n) {
  return Buffer.from(`${name}:${n}:${'.'.repeat(n % 97)}`)
}
