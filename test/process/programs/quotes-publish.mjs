// Publishes the rows of a quotes file, going on behind the last one that is in the log: { place, topic, file, slowFrom }.
import { readFileSync } from 'node:fs'
import { options, pause, place, report } from './common.mjs'
import { Quote } from './quotes.mjs'

const hermes = await place()
const topic = hermes.topic(options.topic, { codec: Quote, segmentBytes: 1_048_576 })
const publisher = await topic.publisher()

/** The row after the newest message; what died in the middle of its publication left a void, and is looked past. */
async function firstMissingRow() {
  const { nextSequence } = await topic.info()
  for (let sequence = nextSequence - 1; sequence >= 1; sequence--) {
    const subscriber = await topic.subscriber({ from: sequence })
    let row
    subscriber.poll((quote) => {
      row = quote.row
    }, 1)
    await subscriber.close()
    if (row !== undefined) return row + 1
  }
  return 0
}

const lines = readFileSync(options.file, 'utf8').trimEnd().split('\n')
const first = await firstMissingRow()
report('begins', { row: first })
for (let row = first; row < lines.length; row++) {
  const [askPrice, askSize, bidPrice, bidSize] = lines[row].split(',').map(Number)
  if (!publisher.publish({ row, askPrice, askSize, bidPrice, bidSize })) await publisher.ready()
  if (row === options.slowFrom) report('half')
  if (row > options.slowFrom && row % 64 === 0) await pause(1)
}
await hermes.close()
report('done', { rows: lines.length })
