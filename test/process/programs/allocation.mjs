// Publishes and polls struct messages, and reports how much the JavaScript heap grew by that: { place, count }. Needs --expose-gc.
import { PerformanceObserver } from 'node:perf_hooks'
import { struct, u32 } from '../../../dist/index.js'
import { options, pause, place, report } from './common.mjs'

const hermes = await place()
const topic = hermes.topic('ticks', { codec: struct({ producer: u32, n: u32 }), segmentBytes: 536_870_912 })
const publisher = await topic.publisher()
const subscriber = await topic.subscriber({ from: 'earliest' })
const value = { producer: 1, n: 0 }
// A number beyond 31 bits in a plain variable would be an object of its own.
const sum = new Float64Array(1)
const handler = (view, message) => {
  sum[0] += view.n + view.producer + message.sequence
}
const room = 1000

/** Publishes and polls in turn. Nothing here makes an object for a message, so that what is measured is the library's. */
function run(count) {
  for (let done = 0; done < count; done += room) {
    for (let i = 0; i < room; i++) {
      value.n = done + i
      publisher.publish(value)
    }
    for (let polled = 0; polled < room; ) polled += subscriber.poll(handler, room)
  }
}

let collections = 0
let since = Number.POSITIVE_INFINITY
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.startTime > since) collections++
})
observer.observe({ entryTypes: ['gc'] })
// Until the compiler has settled.
run(900_000)
await pause(200)
run(100_000)
await pause(50)
globalThis.gc()
globalThis.gc()
since = performance.now()
const before = process.memoryUsage().heapUsed
run(options.count)
const after = process.memoryUsage().heapUsed
await pause(50)
report('result', { bytes: after - before, collections, sum: sum[0], position: subscriber.position })
await hermes.close()
