// One side of a topic in a `ring:` place, in a process of its own: node topic-program.mjs '{"task": …, "place": …, "count": …}'.
import { open, struct, u32 } from '../../dist/index.js'

const { task, place, topic: name, count = 0, from = 0 } = JSON.parse(process.argv[2])
const say = (text) => process.stdout.write(`${text}\n`)
const hermes = await open(place)
const topic = hermes.topic(name, { codec: struct({ n: u32, twice: u32 }), segmentBytes: 65_536 })
const stay = () => setInterval(() => undefined, 1000)
const value = (n) => ({ n, twice: (2 * n) >>> 0 })

const tasks = {
  async publish() {
    const publisher = await topic.publisher()
    say('ready')
    for (let n = from; n < from + count; n++) if (!publisher.publish(value(n))) await publisher.ready()
    await hermes.close()
  },
  async 'publish and stay'() {
    const publisher = await topic.publisher()
    for (let n = from; n < from + count; n++) if (!publisher.publish(value(n))) await publisher.ready()
    say('ready')
    stay()
  },
  async 'publish for ever'() {
    const publisher = await topic.publisher()
    say('ready')
    for (let n = from; ; n++) if (!publisher.publish(value(n))) await publisher.ready()
  },
  async 'consume and stay'() {
    const subscriber = await topic.subscriber()
    for (let left = count; left > 0; ) {
      left -= subscriber.poll(() => {}, left)
      if (left > 0) await subscriber.ready()
    }
    say('ready')
    stay()
  },
}

await tasks[task]()
