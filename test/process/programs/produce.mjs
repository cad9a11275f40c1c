// Publishes numbered messages: { place, topic, producer, count, batch, paced, acknowledge, segmentBytes, abandon }.
import { Numbered, options, pause, place, report, turn } from './common.mjs'

const {
  topic: name,
  producer,
  count,
  batch = 1,
  paced = false,
  acknowledge = 0,
  segmentBytes,
  abandon = false,
} = options
const hermes = await place()
const topic = hermes.topic(name, { codec: Numbered, ...(segmentBytes === undefined ? {} : { segmentBytes }) })
const publisher = await topic.publisher()
report('open', { recovery: publisher.recovery })
let stop = false
process.stdin.on('data', () => {
  stop = true
  process.stdin.destroy()
})
process.stdin.unref?.()

const value = (n) => ({ producer, n, filler: `message ${n}`, last: n & 0xff })
let n = 0
while (n < count && !stop) {
  let room
  if (batch > 1) {
    const size = Math.min(batch, count - n)
    room = publisher.publishBatch(Array.from({ length: size }, (_, index) => value(n + index)))
    n += size
  } else {
    room = publisher.publish(value(n))
    n++
  }
  if (acknowledge > 0 && n % acknowledge === 0) report('acknowledged', { n, sequence: publisher.lastSequence })
  if (!room) await publisher.ready()
  if (paced) await pause(1)
  else if (n % 4096 < batch) await turn()
}
await publisher.flush()
report('done', { n })
if (abandon) process.kill(process.pid, 'SIGKILL')
await hermes.close()
process.stdin.destroy()
