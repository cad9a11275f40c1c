// How long a look at a place takes, and its text for Prometheus: node bench/scrape.bench.mjs [topics] [groups per topic] [folder]
// The place is made first, in shared memory unless a folder is given, and removed afterwards.
import { mkdtempSync, rmSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { open, raw } from '../dist/index.js'
import { metricsText } from '../dist/metrics/text.js'

const [topics = 1000, groups = 10] = process.argv.slice(2, 4).map(Number)
const place = mkdtempSync(`${process.argv[4] ?? '/dev/shm'}/hermes-scrape-`)
try {
  const hermes = await open(place)
  const codec = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }
  for (let t = 0; t < topics; t++) {
    const topic = hermes.topic(`topic-${String(t).padStart(5, '0')}`, codec)
    const publisher = await topic.publisher()
    for (let i = 0; i < 100; i++) publisher.publish(new Uint8Array(64))
    await publisher.close()
    for (let g = 0; g < groups; g++) await (await topic.subscriber({ name: `group-${g}`, from: 'earliest' })).close()
  }
  await hermes.close()
  const looks = []
  const texts = []
  const watcher = await open(place)
  const first = performance.now()
  await watcher.metrics()
  const firstMs = performance.now() - first
  const delay = monitorEventLoopDelay({ resolution: 1 })
  for (let round = 0; round < 40; round++) {
    delay.enable()
    const begun = performance.now()
    const report = await watcher.metrics()
    const looked = performance.now()
    const text = metricsText(report, 'openmetrics')
    const ended = performance.now()
    delay.disable()
    looks.push(looked - begun)
    texts.push(ended - looked)
    if (round === 0)
      console.log(`${report.topics.length} topics, ${report.groups.length} groups, ${text.length} characters`)
  }
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1].toFixed(1)
  const worst = (list) => Math.max(...list).toFixed(1)
  const both = looks.map((ms, i) => ms + texts[i])
  console.log(`first look ${firstMs.toFixed(1)} ms`)
  console.log(
    `look ${median(looks)} ms (worst ${worst(looks)}), text ${median(texts)} ms (worst ${worst(texts)}), both ${median(both)} ms`,
  )
  await watcher.close()
} finally {
  rmSync(place, { recursive: true, force: true })
}
