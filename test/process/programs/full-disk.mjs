// Publishes until the disk is full, is told when room is back, and goes on: { place, topic, lowWaterBytes, payload }.
import { createInterface } from 'node:readline'
import { raw } from '../../../dist/index.js'
import { codeOf, options, pause, place, report } from './common.mjs'

const { lowWaterBytes, payload } = options
const hermes = await place()
const topic = hermes.topic(options.topic, {
  codec: raw,
  segmentBytes: 1_048_576,
  ...(lowWaterBytes === undefined ? {} : { lowWaterBytes }),
})
const publisher = await topic.publisher()
const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
const value = new Uint8Array(payload)
const words = new DataView(value.buffer)
let accepted = 0

/** Publishes until it's refused, or `most`. Returns the code. */
async function fill(most) {
  for (let n = 0; n < most; n++) {
    words.setUint32(0, accepted, true)
    const code = await codeOf(() => publisher.publish(value))
    if (code !== 'none') return code
    accepted++
    if (n % 64 === 0) await publisher.ready()
  }
  return 'none'
}

/** Reads everything there is, and checks it. */
function readAll() {
  let read = 0
  let wrong = 0
  while (
    subscriber.poll((view, { sequence }) => {
      if (new DataView(view.buffer, view.byteOffset).getUint32(0, true) !== sequence - 1) wrong++
      read++
    }, 1000) > 0
  );
  return { read, wrong }
}

const code = await fill(1e6)
// Again and again: it's refused each time, and nothing is half-written.
const again = [
  await fill(1),
  await codeOf(() => publisher.publishBatch([value, value])),
  await codeOf(() => publisher.publishAsync(value)),
]
await publisher.flush('written')
const synced = await codeOf(() => publisher.flush('synced'))
const { diskAlarm, nextSequence } = await topic.info()
report('full', { code, again, synced, accepted, diskAlarm, nextSequence, ...readAll() })
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'go on') break
}
let resumed = 'DISK_FULL'
for (let tries = 0; tries < 100 && resumed === 'DISK_FULL'; tries++) {
  resumed = await fill(30)
  await pause(20)
}
const info = await topic.info()
report('resumed', { code: resumed, accepted, diskAlarm: info.diskAlarm, nextSequence: info.nextSequence, ...readAll() })
await hermes.close()
process.stdin.destroy()
