// Reads numbered messages until told to stop and at the end, or until `total`: { place, topic, total, wait }. Checks all of them.
import { Numbered, options, place, report } from './common.mjs'

const { topic: name, total = Number.POSITIVE_INFINITY, wait = 'adaptive' } = options
const hermes = await place()
const subscriber = await hermes.topic(name, { codec: Numbered }).subscriber({ from: 'earliest', wait })
report('open')

let stopAt = Number.POSITIVE_INFINITY
process.stdin.on('data', (chunk) => {
  stopAt = Number(String(chunk))
  controller.abort()
  process.stdin.destroy()
})
let controller = new AbortController()

let expected = 1
let messages = 0
let skipped = 0
let wrong = 0
let longestGapMs = 0
let last = 0
const next = new Map()

function handle({ producer, n, filler, last: tail }, { sequence }) {
  if (sequence < expected) wrong++
  skipped += sequence - expected
  expected = sequence + 1
  if (n !== (next.get(producer) ?? 0) || filler !== `message ${n}` || tail !== (n & 0xff)) wrong++
  next.set(producer, n + 1)
  messages++
}

while (messages < total && subscriber.position < stopAt) {
  const polled = subscriber.poll(handle, 4096)
  const now = performance.now()
  if (polled > 0) {
    if (last > 0) longestGapMs = Math.max(longestGapMs, now - last)
    last = now
    continue
  }
  try {
    if (stopAt === Number.POSITIVE_INFINITY) await subscriber.ready({ signal: controller.signal })
    else if (subscriber.lag === 0) break
  } catch (error) {
    if (error.code !== 'ABORTED') throw error
    controller = new AbortController()
  }
}
report('result', {
  messages,
  skipped,
  wrong,
  longestGapMs,
  position: subscriber.position,
  next: Object.fromEntries(next),
})
await hermes.close()
process.stdin.destroy()
