// full-speed.mjs <place> <topic> <writer>: publishes numbered messages as fast as it can, until it is killed or its stdin ends.
import { open, raw } from 'hermes-mq'
import { makePayload } from 'hermes-mq/testkit'

const [place, topic, writer] = process.argv.slice(2)
const hermes = await open(place)
const settings = { codec: raw, segmentBytes: 65_536, retention: { bytes: 1 << 20 } }
const publisher = await hermes.topic(topic, settings).publisher()
let running = true
process.stdin.on('end', () => {
  running = false
})
process.stdin.resume()
console.log('ready')
for (let number = 0; running; number++) {
  const payload = makePayload({ writer: Number(writer), number }, 64 + (number % 200))
  if (!publisher.publish(payload)) await publisher.ready()
  if (number % 512 === 0) await new Promise(setImmediate)
}
await hermes.close()
