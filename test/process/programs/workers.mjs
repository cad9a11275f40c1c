// Workers publish and subscribe, and are terminated in the middle of it: { place, topic, workers, rounds }.
import { Worker } from 'node:worker_threads'
import { Numbered, options, pause, place, report } from './common.mjs'

const { topic: name, workers, rounds } = options
const hermes = await place()
const topic = hermes.topic(name, { codec: Numbered, segmentBytes: 262_144 })
const seen = []
const all = await topic.subscriber({ from: 'earliest', wait: 'park' })

for (let round = 0; round < rounds; round++) {
  const started = Array.from({ length: workers }, (_, index) => {
    const workerData = { place: options.place, topic: name, producer: round * 100 + index, way: (round + index) % 4 }
    const worker = new Worker(new URL('worker.mjs', import.meta.url), { argv: [JSON.stringify(options)], workerData })
    const failed = new Promise((_, reject) => worker.once('error', reject))
    const busy = new Promise((resolve) => worker.once('message', resolve))
    return { worker, busy: Promise.race([busy, failed]) }
  })
  // Every other round, some are ended while they still begin.
  if (round % 2 === 0) await Promise.all(started.map(({ busy }) => busy))
  await pause(round * 7)
  await Promise.all(started.map(({ worker }) => worker.terminate()))
  const { publishers } = await topic.info()
  if (publishers !== 0) throw new Error(`${publishers} publishers are still there`)
  seen.push(round)
}
const next = new Map()
let skipped = 0
let wrong = 0
let expected = 1
const { nextSequence } = await topic.info()
while (all.position < nextSequence) {
  all.poll(({ producer, n }, { sequence }) => {
    skipped += sequence - expected
    expected = sequence + 1
    if (n !== (next.get(producer) ?? 0)) wrong++
    next.set(producer, n + 1)
  }, 4096)
}
report('result', { rounds: seen.length, skipped, wrong, messages: expected - 1 - skipped, producers: next.size })
// And the topic is as good as ever, here and in one more worker that may end by itself.
const last = new Worker(new URL('worker.mjs', import.meta.url), {
  argv: [JSON.stringify(options)],
  workerData: { place: options.place, topic: name, producer: 9999, way: 'once' },
})
const code = await new Promise((resolve) => last.once('exit', resolve))
await all.ready()
let late
all.poll(({ producer }) => {
  late = producer
})
report('last', { code, late })
await hermes.close()
