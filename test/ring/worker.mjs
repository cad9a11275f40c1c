// The other side of a ring, in a worker thread. workerData: { handle, kind, task, count, number }.
import { parentPort, workerData } from 'node:worker_threads'
import { MpmcRing, SpscByteRing, SpscRing } from '../../dist/ring/index.js'

const { handle, task, count, number } = workerData
const item = new Uint8Array(8)
const view = new DataView(item.buffer)

function itemOf(a, b) {
  view.setUint32(0, a, true)
  view.setUint32(4, b, true)
  return item
}

/** Pushes, asleep while there is no room. */
function push(ring, ...value) {
  while (!ring.tryPush(...value)) ring.waitForRoom(1000)
}

const tasks = {
  'spsc produce'() {
    const ring = SpscRing.attach(handle, { role: 'producer' })
    for (let i = 0; i < count; i++) push(ring, itemOf(i, Math.imul(i, 0x9e3779b1) >>> 0))
    ring.close()
  },
  'spsc consume'() {
    const ring = SpscRing.attach(handle, { role: 'consumer' })
    let seen = 0
    let right = true
    while (!ring.ended) {
      const done = ring.poll((bytes) => {
        const got = new DataView(bytes.buffer, bytes.byteOffset, 8)
        right &&= got.getUint32(0, true) === seen && got.getUint32(4, true) === Math.imul(seen, 0x9e3779b1) >>> 0
        seen++
      })
      if (done === 0 && !ring.ended) ring.waitForItems(1000)
    }
    parentPort.postMessage({ seen, right })
  },
  'spsc push for ever'() {
    const ring = SpscRing.attach(handle, { role: 'producer' })
    parentPort.postMessage('ready')
    for (let i = 0; ; i++) push(ring, itemOf(i, 0))
  },
  'bytes produce'() {
    const ring = SpscByteRing.attach(handle, { role: 'producer' })
    for (let i = 0; i < count; i++) push(ring, new Uint8Array(i % 200).fill(i & 255), i)
    ring.close()
  },
  'mpmc produce'() {
    const ring = MpmcRing.attach(handle)
    for (let i = 0; i < count; i++) push(ring, itemOf(number, i))
    ring.close()
  },
  'mpmc consume'() {
    const ring = MpmcRing.attach(handle)
    const got = []
    while (!ring.ended) {
      for (const bytes of ring.popBatch()) {
        const at = new DataView(bytes.buffer, bytes.byteOffset, 8)
        got.push(at.getUint32(0, true) * count + at.getUint32(4, true))
      }
      if (!ring.ended) ring.waitForItems(1000)
    }
    ring.close()
    parentPort.postMessage(got)
  },
  'mpmc claim and stay'() {
    const ring = MpmcRing.attach(handle)
    ring.claim()
    parentPort.postMessage(ring.participant)
    setInterval(() => undefined, 1000)
  },
}

tasks[task]()
