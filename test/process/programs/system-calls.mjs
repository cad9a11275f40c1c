// Publishes and polls `count` messages, after warming up: { place, count }. How many system calls that takes is counted from outside.
import { Numbered, options, place, report } from './common.mjs'

const hermes = await place()
const topic = hermes.topic('ticks', { codec: Numbered })
const publisher = await topic.publisher()
const subscriber = await topic.subscriber({ from: 'earliest' })
const value = { producer: 1, n: 0, filler: '', last: 1 }
let seen = 0
const handler = (view) => {
  seen += view.producer
}
function run(count) {
  for (let done = 0; done < count; done += 1000) {
    for (let i = 0; i < 1000; i++) publisher.publish(value)
    while (subscriber.poll(handler, 1000) > 0);
  }
}
run(100_000)
seen = 0
run(options.count)
report('result', { seen })
await hermes.close()
