import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { f64, struct, u32 } from '../../lib/index.js'
import { MpmcRing, removeRing, SpscByteRing, SpscRing } from '../../lib/ring/index.js'
import { codeOf, codeOfAsync, u32Of, u32s } from './helpers.js'

/** A name of this test's own. The ring is removed when the test ends. */
function ringName(): string {
  const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
  onTestFinished(() => void removeRing(name))
  return name
}

/** Starts the other side and waits until it is where its task says 'ready'. */
async function start(task: string, name: string, count = 0, from = 0): Promise<ChildProcess> {
  const args = [join(import.meta.dirname, 'process.mjs'), JSON.stringify({ task, name, count, from })]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(([code]) => `it ended with ${code}`)
  const said = once(child.stdout!, 'data').then(([text]) => String(text))
  expect(await Promise.race([said, ended])).toBe('ready\n')
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

const itemOf = (i: number) => [i, Math.imul(i, 0x9e3779b1) >>> 0]
const numbersOf = (bytes: Uint8Array) => [u32Of(bytes), u32Of(bytes, 1)]

test('keeps content and order between two processes, across the edge of 32 bits', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 256, itemBytes: 8, startIndex: 2 ** 32 - 5000, role: 'consumer' })
  await start('spsc produce', name, 200_000)
  let seen = 0
  let right = true
  while (!ring.ended) {
    const done = ring.poll((bytes) => {
      const [a, b] = itemOf(seen++)
      right &&= u32Of(bytes) === a && u32Of(bytes, 1) === b
    })
    if (done === 0 && !ring.ended) await ring.items()
  }
  expect({ seen, right }).toEqual({ seen: 200_000, right: true })
  ring.close()
})

test('keeps frames of changing size whole between two processes, with this one asleep in between', async () => {
  const name = ringName()
  const ring = SpscByteRing.create({ name, capacity: 1024, role: 'consumer' })
  await start('bytes produce', name, 20_000)
  let seen = 0
  let right = true
  while (!ring.ended) {
    ring.poll((bytes, label) => {
      right &&= label === seen && bytes.length === seen % 200 && bytes.every((byte) => byte === (seen & 255))
      seen++
    })
    if (!ring.ended) ring.waitForItems(1000)
  }
  expect({ seen, right }).toEqual({ seen: 20_000, right: true })
})

test('delivers every item once from two producer processes, each in order', async () => {
  const name = ringName()
  const ring = MpmcRing.create({ name, capacity: 64, itemBytes: 8 })
  await Promise.all([start('mpmc produce', name, 20_000, 0), start('mpmc produce', name, 20_000, 1)])
  const next = [0, 0]
  while (next[0]! + next[1]! < 40_000) {
    for (const bytes of ring.popBatch()) expect(u32Of(bytes, 1)).toBe(next[u32Of(bytes)]!++)
    if (next[0]! + next[1]! < 40_000) await ring.items()
  }
  expect(next).toEqual([20_000, 20_000])
}, 60_000)

test('delivers what a killed producer had published, then tells of its death, and lets a successor go on', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 64, itemBytes: 8, role: 'consumer' })
  const first = await start('spsc produce and stay', name, 10)
  expect(codeOf(() => SpscRing.attach(name, { role: 'producer' }))).toBe('EXCLUSIVE_HELD')
  await kill(first)
  const got = ring.popBatch().map(numbersOf)
  expect(got).toEqual(Array.from({ length: 10 }, (_, i) => itemOf(i)))
  // Whichever way it waits.
  expect(await codeOfAsync(ring.items())).toBe('PEER_DEAD')
  expect(codeOf(() => ring.waitForItems(5000))).toBe('PEER_DEAD')
  expect(codeOf(() => ring.tryPop())).toBe('PEER_DEAD')
  await start('spsc produce and stay', name, 10, 10)
  await ring.items()
  expect(ring.popBatch().map(numbersOf)).toEqual(Array.from({ length: 10 }, (_, i) => itemOf(10 + i)))
})

test('tells who merely polls of a death', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 64, itemBytes: 8, role: 'consumer' })
  const producer = await start('spsc produce and stay', name)
  expect(ring.tryPop()).toBeUndefined()
  await kill(producer)
  const poll = () => {
    for (const until = Date.now() + 5000; Date.now() < until; ) ring.tryPop()
  }
  expect(codeOf(poll)).toBe('PEER_DEAD')
})

test('wakes who sleeps when the other side is killed', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 64, itemBytes: 8, role: 'consumer' })
  const producer = await start('spsc produce and stay', name)
  const waiting = codeOfAsync(ring.items())
  await new Promise((resolve) => setTimeout(resolve, 200))
  producer.kill('SIGKILL')
  expect(await waiting).toBe('PEER_DEAD')
})

test('tells a producer with a full ring that its consumer was killed, and a successor sees what was not consumed', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 4, itemBytes: 8, role: 'producer' })
  const values = [0, 1, 2, 3, 4, 5].map((n) => u32s(n, n))
  ring.pushBatch(values.slice(0, 2))
  const consumer = await start('spsc consume and stay', name, 2)
  await kill(consumer)
  expect(ring.pushBatch(values.slice(2))).toBe(4)
  expect(await codeOfAsync(ring.room())).toBe('PEER_DEAD')
  expect(codeOf(() => ring.tryPush(values[0]!))).toBe('PEER_DEAD')
  using successor = SpscRing.attach(name, { role: 'consumer' })
  expect(successor.popBatch().map((bytes) => u32Of(bytes))).toEqual([2, 3, 4, 5])
  expect(ring.tryPush(values[0]!)).toBe(true)
})

test('leaves nothing behind of a producer that was killed with an open claim', async () => {
  const name = ringName()
  const ring = SpscByteRing.create({ name, capacity: 1024, role: 'consumer' })
  await kill(await start('bytes claim and stay', name))
  expect(ring.popBatch()).toEqual([new Uint8Array([1, 2, 3])])
  expect(await codeOfAsync(ring.items())).toBe('PEER_DEAD')
  using successor = SpscByteRing.attach(name, { role: 'producer' })
  successor.tryPush(new Uint8Array([4]))
  expect(ring.tryPop()).toEqual(new Uint8Array([4]))
})

test('skips the claim of a killed producer, and counts it', async () => {
  const name = ringName()
  const ring = MpmcRing.create({ name, capacity: 8, itemBytes: 8 })
  const dying = await start('mpmc claim and stay', name)
  ring.tryPush(u32s(2, 2))
  expect(u32Of(ring.tryPop())).toBe(1)
  // It stands in the way as long as it lives.
  expect(ring.tryPop()).toBeUndefined()
  expect(ring.attached).toBe(2)
  await kill(dying)
  await ring.items()
  expect(u32Of(ring.tryPop())).toBe(2)
  expect([ring.voided, ring.attached]).toEqual([1, 1])
})

test('rids a successor of the claim that its predecessor was killed with', async () => {
  const name = ringName()
  const ring = MpmcRing.create({ name, capacity: 8, itemBytes: 8 })
  const dying = await start('mpmc claim and stay', name)
  ring.tryPush(u32s(2, 2))
  await kill(dying)
  // Takes the dead one's place before anybody has looked who is dead: its own life must not shield the old claim.
  using successor = MpmcRing.attach(name)
  expect(successor.participant).toBe(1)
  expect(ring.popBatch().map((bytes) => u32Of(bytes))).toEqual([1, 2])
})

test('gets the place back that a killed consumer was reading', async () => {
  const name = ringName()
  const ring = MpmcRing.create({ name, capacity: 2, itemBytes: 8 })
  ring.pushBatch([u32s(0, 0), u32s(1, 1)])
  const dying = await start('mpmc read and stay', name)
  expect(ring.tryPush(u32s(2, 2))).toBe(false)
  await kill(dying)
  await ring.room()
  expect(ring.tryPush(u32s(2, 2))).toBe(true)
  expect(ring.popBatch().map((bytes) => u32Of(bytes))).toEqual([1, 2])
})

test('gives an end, not a death, when the other process ends in order', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 4, itemBytes: 8, role: 'consumer' })
  const child = await start('spsc exit', name)
  if (child.exitCode === null) await once(child, 'exit')
  expect(child.exitCode).toBe(0)
  await ring.items()
  expect(ring.tryPop()).toBeUndefined()
  expect(ring.ended).toBe(true)
})

test('is shared by the worker threads of a process, each with a mapping of its own', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 4, itemBytes: 8, role: 'consumer' })
  expect(codeOf(() => ring.handle)).toBe('UNSUPPORTED')
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(({ SpscRing }) => {
      const ring = SpscRing.attach(workerData.name, { role: 'producer' })
      ring.tryPush(new Uint8Array(8).fill(7))
      parentPort.postMessage('pushed')
      setInterval(() => ring.closed, 1000)
    })`
  const module = join(import.meta.dirname, '..', '..', 'dist', 'ring', 'index.js')
  const worker = new Worker(code, { eval: true, workerData: { name, module } })
  await once(worker, 'message')
  expect(ring.tryPop()).toEqual(new Uint8Array(8).fill(7))
  expect(codeOf(() => SpscRing.attach(name, { role: 'producer' }))).toBe('EXCLUSIVE_HELD')
  // What a thread held is given back when it is ended from outside.
  await worker.terminate()
  await ring.items()
  expect(ring.ended).toBe(true)
  SpscRing.attach(name, { role: 'producer' }).close()
})

test('refuses what is no ring, another kind, size or layout, and a bad name', async () => {
  const name = ringName()
  const Quote = struct({ bid: f64, size: u32 })
  expect(codeOf(() => SpscRing.attach(name, { role: 'producer' }))).toBe('NOT_FOUND')
  SpscRing.create({ name, capacity: 4, codec: Quote }).close()
  expect(codeOf(() => MpmcRing.attach(name))).toBe('CONFIG_MISMATCH')
  expect(codeOf(() => SpscRing.create({ name, capacity: 8, codec: Quote }))).toBe('CONFIG_MISMATCH')
  expect(codeOf(() => SpscRing.attach(name, { itemBytes: 8 }))).toBe('CONFIG_MISMATCH')
  const Other = struct({ bid: u32, size: f64 })
  expect(codeOf(() => SpscRing.attach(name, { codec: Other }))).toBe('CODEC_MISMATCH')
  SpscRing.attach(name, { codec: Quote }).close()
  for (const bad of ['', '../x', 'a/b', 'x'.repeat(300)]) {
    expect(codeOf(() => SpscRing.attach(bad, {}))).toBe('INVALID_NAME')
    expect(codeOf(() => removeRing(bad))).toBe('INVALID_NAME')
  }
  expect(removeRing(name)).toBe(true)
  expect(removeRing(name)).toBe(false)
  writeFileSync(`/dev/shm/hermes.ring-${name}`, 'something else')
  expect(codeOf(() => SpscRing.attach(name, {}))).toBe('NOT_HERMES')
  writeFileSync(`/dev/shm/hermes.ring-${name}`, new Uint8Array(4096))
  expect(codeOf(() => SpscRing.attach(name, {}))).toBe('NOT_HERMES')
})

test('answers with errors, and takes its memory away, after close', async () => {
  const name = ringName()
  const ring = SpscRing.create({ name, capacity: 4, itemBytes: 8, role: 'producer' })
  const { region } = ring
  ring.tryPush(u32s(1, 1))
  ring.close()
  ring.close()
  expect(region.bytes.length).toBe(0)
  const uses = [
    () => ring.tryPush(u32s(1, 1)),
    () => ring.size,
    () => ring.waitForRoom(5),
    () => ring.evict('consumer'),
  ]
  for (const use of uses) expect(codeOf(use)).toBe('CLOSED')
  expect(await codeOfAsync(ring.room())).toBe('CLOSED')

  const shared = ringName()
  const mpmc = MpmcRing.create({ name: shared, capacity: 4, itemBytes: 8 })
  using other = MpmcRing.attach(shared)
  mpmc.tryPush(u32s(1, 1))
  // Closed while its own handler looks at an item.
  expect(
    mpmc.poll((bytes) => {
      mpmc.close()
      expect(u32Of(bytes)).toBe(1)
    }),
  ).toBe(1)
  for (const use of [
    () => mpmc.tryPop(),
    () => mpmc.size,
    () => mpmc.voided,
    () => mpmc.attached,
    () => mpmc.evict(0),
  ]) {
    expect(codeOf(use)).toBe('CLOSED')
  }
  mpmc.abort()
  expect([other.attached, other.size]).toEqual([1, 0])
})

test('ends a wait when it is closed, and when its signal fires', async () => {
  const ring = SpscRing.create({ name: ringName(), capacity: 4, itemBytes: 8, role: 'consumer' })
  const controller = new AbortController()
  const aborted = codeOfAsync(ring.items({ signal: controller.signal }))
  await new Promise((resolve) => setTimeout(resolve, 100))
  controller.abort()
  expect(await aborted).toBe('ABORTED')
  const closed = codeOfAsync(ring.items())
  await new Promise((resolve) => setTimeout(resolve, 100))
  ring.close()
  expect(await closed).toBe('CLOSED')
})
