// Subscribers go through many segments, are made and given up, and garbage is collected all the while: { place, rounds }. Needs --expose-gc.
import { readFileSync } from 'node:fs'
import { raw } from '../../../dist/index.js'
import { options, place, report, turn } from './common.mjs'

const hermes = await place()
const settings = { codec: raw, segmentBytes: 1_048_576, retention: { bytes: 8 * 1_048_576 } }
const topic = hermes.topic('bytes', settings)
const publisher = await topic.publisher()
const steady = await topic.subscriber({ from: 'earliest' })
const value = new Uint8Array(4000)
/** Views and messages are kept longer than they are valid, and looked at again. */
const kept = []
let read = 0
const handler = (view, message) => {
  read++
  if (read % 100 === 0) kept.push(view, message)
  if (kept.length > 200) kept.splice(0, 100)
}
const mappings = () =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('.seg')).length

let most = 0
for (let round = 0; round < options.rounds; round++) {
  // A good segment's worth.
  for (let n = 0; n < 300; n++) {
    new DataView(value.buffer).setUint32(0, n)
    if (!publisher.publish(value)) await publisher.ready()
  }
  while (steady.poll(handler, 100) > 0);
  for (const thing of kept) {
    try {
      void (thing.sequence === undefined ? thing[0] : thing.timestampNs)
    } catch (error) {
      if (error.code !== 'CLOSED') throw error
    }
  }
  // Made, used and forgotten without a close.
  const forgotten = await topic.subscriber({ from: 'earliest' })
  forgotten.poll(handler, 500)
  if (round % 2 === 0) await forgotten.close()
  if (round % 5 === 0) globalThis.gc()
  await turn()
  most = Math.max(most, mappings())
}
const open = mappings()
await hermes.close()
kept.length = 0
for (let n = 0; n < 5; n++) {
  globalThis.gc()
  await turn()
}
report('result', {
  read,
  open,
  most,
  left: mappings(),
  rss: process.memoryUsage().rss,
  external: process.memoryUsage().external,
})
