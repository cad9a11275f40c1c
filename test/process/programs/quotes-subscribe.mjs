// Writes the quotes file again from what it receives, up to its last row: { place, topic, rows, poll }. Reports its hash.
import { createHash } from 'node:crypto'
import { options, place, report } from './common.mjs'
import { Quote } from './quotes.mjs'

const hermes = await place()
const subscriber = await hermes
  .topic(options.topic, { codec: Quote, segmentBytes: 1_048_576 })
  .subscriber({ from: 'earliest' })
report('open')
const hash = createHash('sha256')
let rows = 0
const take = ({ row, askPrice, askSize, bidPrice, bidSize }) => {
  if (row !== rows) throw new Error(`row ${row} came where ${rows} was next`)
  hash.update(`${askPrice},${askSize},${bidPrice},${bidSize}\n`)
  rows++
}
if (options.poll) {
  while (rows < options.rows) {
    await subscriber.ready()
    subscriber.poll(take, 4096)
  }
} else {
  for await (const batch of subscriber.batches(1000)) {
    for (const { value } of batch) take(value)
    if (rows >= options.rows) break
  }
}
report('result', { rows, hash: hash.digest('hex') })
await hermes.close()
