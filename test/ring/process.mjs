// The other side of a named ring, in a process of its own: node process.mjs '{"task": …, "name": …, "count": …}'.
// Says 'ready' on its standard output once it is attached.
import { MpmcRing, SpscByteRing, SpscRing } from '../../dist/ring/index.js'

const { task, name, count, from = 0 } = JSON.parse(process.argv[2])
const say = (text) => process.stdout.write(`${text}\n`)
const item = new Uint8Array(8)
const view = new DataView(item.buffer)

function itemOf(a, b) {
  view.setUint32(0, a, true)
  view.setUint32(4, b, true)
  return item
}

function push(ring, ...value) {
  while (!ring.tryPush(...value)) ring.waitForRoom(1000)
}

/** Lives on until it is killed, and keeps `ring`: one that nobody refers to is closed in order by the garbage collector. */
const stay = (ring) => setInterval(() => ring.closed, 1000)

const tasks = {
  'spsc produce'() {
    const ring = SpscRing.attach(name, { role: 'producer' })
    say('ready')
    for (let i = from; i < from + count; i++) push(ring, itemOf(i, Math.imul(i, 0x9e3779b1) >>> 0))
    ring.close()
  },
  'spsc produce and stay'() {
    const ring = SpscRing.attach(name, { role: 'producer' })
    for (let i = from; i < from + count; i++) push(ring, itemOf(i, Math.imul(i, 0x9e3779b1) >>> 0))
    say('ready')
    stay(ring)
  },
  'spsc consume for ever'() {
    const ring = SpscRing.attach(name, { role: 'consumer' })
    say('ready')
    for (;;) if (ring.tryPop() === undefined) ring.waitForItems(1000)
  },
  'spsc consume and stay'() {
    const ring = SpscRing.attach(name, { role: 'consumer' })
    for (let i = 0; i < count; ) {
      if (ring.tryPop() === undefined) ring.waitForItems(1000)
      else i++
    }
    say('ready')
    stay(ring)
  },
  'spsc exit'() {
    SpscRing.attach(name, { role: 'producer' })
    say('ready')
  },
  'bytes produce'() {
    const ring = SpscByteRing.attach(name, { role: 'producer' })
    say('ready')
    for (let i = 0; i < count; i++) push(ring, new Uint8Array(i % 200).fill(i & 255), i)
    ring.close()
  },
  'bytes claim and stay'() {
    const ring = SpscByteRing.attach(name, { role: 'producer' })
    ring.tryPush(new Uint8Array([1, 2, 3]))
    ring.claim(8)
    say('ready')
    stay(ring)
  },
  'mpmc produce'() {
    const ring = MpmcRing.attach(name)
    say('ready')
    for (let i = 0; i < count; i++) push(ring, itemOf(from, i))
    ring.close()
  },
  'mpmc claim and stay'() {
    const ring = MpmcRing.attach(name)
    push(ring, itemOf(1, 1))
    ring.claim()
    say('ready')
    stay(ring)
  },
  'mpmc read and stay'() {
    const ring = MpmcRing.attach(name)
    ring.poll(() => {
      say('ready')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })
  },
}

tasks[task]()
