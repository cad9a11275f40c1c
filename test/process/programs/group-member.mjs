// group-member.mjs {place, mode?, publish: [topic], count, read: [topic]}: publishes and reads as the user that it runs as.
import { open, raw } from '../../../dist/index.js'
import { options, report } from './common.mjs'

const { place, mode, publish, count, read } = options
const hermes = await open(place, mode === undefined ? {} : { mode })
const settings = { codec: raw, segmentBytes: 65_536 }
for (const topic of publish) {
  const publisher = await hermes.topic(topic, settings).publisher()
  for (let number = 0; number < count; number++) publisher.publish(new Uint8Array(400))
  await publisher.close()
}
const found = {}
for (const topic of read) {
  found[topic] = 0
  const subscriber = await hermes.topic(topic, settings).subscriber({ from: 'earliest' })
  while (subscriber.lag > 0) found[topic] += subscriber.poll(() => {}, 1000)
  await subscriber.close()
}
await hermes.close()
report('done', { found })
