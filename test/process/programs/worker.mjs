// A worker of workers.mjs. Never stops by itself, but for the way 'once'.
import { parentPort, workerData } from 'node:worker_threads'
import { open } from '../../../dist/index.js'
import { Numbered, turn } from './common.mjs'

const { place, topic: name, producer, way } = workerData
const hermes = await open(place)
const topic = hermes.topic(name, { codec: Numbered, segmentBytes: 262_144 })
const publisher = await topic.publisher({ durability: way === 1 ? 'synced' : 'written' })
const value = (n) => ({ producer, n, filler: 'w', last: n & 0xff })
let n = 0
if (way === 'once') {
  publisher.publish(value(n++))
} else {
  const subscriber = await topic.subscriber({ from: 'earliest', wait: way === 2 ? 'park' : 'adaptive' })
  parentPort.postMessage('busy')
  if (way === 2) {
    // Asleep in the kernel, most of the time.
    void (async () => {
      for await (const _ of subscriber);
    })()
  }
  for (;;) {
    for (let i = 0; i < 100; i++) publisher.publish(value(n++))
    if (way === 1) await Promise.all(Array.from({ length: 10 }, () => publisher.publishAsync(value(n++))))
    if (way !== 2) subscriber.poll(() => {}, 1000)
    await publisher.ready()
    await turn()
  }
}
