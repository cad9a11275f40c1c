import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import { MpmcRing, type RingHandle, SpscByteRing, SpscRing } from '../../lib/ring/index.js'
import { codeOf, u32Of, u32s } from './helpers.js'

// Each item may cost both sides a sleep, and a busy machine wakes them late.
vi.setConfig({ testTimeout: 120_000 })

function start(handle: RingHandle, task: string, count = 0, number = 0): Worker {
  return new Worker(join(import.meta.dirname, 'worker.mjs'), { workerData: { handle, task, count, number } })
}

async function answer<T>(worker: Worker): Promise<T> {
  const [message] = (await once(worker, 'message')) as [T]
  return message
}

test('keeps content and order between two workers, across the edge of 32 bits', async () => {
  for (const capacity of [2, 1024]) {
    const [startIndex, count] = capacity === 2 ? [2 ** 32 - 2000, 4000] : [2 ** 32 - 5000, 1_000_000]
    const { handle } = SpscRing.create({ capacity, itemBytes: 8, startIndex })
    const consumer = start(handle, 'spsc consume')
    start(handle, 'spsc produce', count)
    expect(await answer(consumer)).toEqual({ seen: count, right: true })
  }
})

test('keeps frames of changing size whole and in order', async () => {
  const { handle } = SpscByteRing.create({ capacity: 1024, startIndex: 2 ** 32 - 4096 })
  const ring = SpscByteRing.attach(handle, { role: 'consumer' })
  start(handle, 'bytes produce', 100_000)
  let seen = 0
  let right = true
  while (!ring.ended) {
    ring.poll((bytes, label) => {
      right &&= label === seen && bytes.length === seen % 200 && bytes.every((byte) => byte === (seen & 255))
      seen++
    })
    if (!ring.ended) await ring.items()
  }
  expect({ seen, right }).toEqual({ seen: 100_000, right: true })
})

test('delivers every item once from three producers to two consumers, each in order', async () => {
  const count = 30_000
  const ring = MpmcRing.create({ capacity: 64, itemBytes: 8, startIndex: 2 ** 32 - 5000 })
  const consumers = [start(ring.handle, 'mpmc consume', count), start(ring.handle, 'mpmc consume', count)]
  const answers = Promise.all(consumers.map((worker) => answer<number[]>(worker)))
  await Promise.all([0, 1, 2].map((number) => once(start(ring.handle, 'mpmc produce', count, number), 'exit')))
  while (!ring.end()) await ring.room()
  const got = await answers
  for (const mine of got) {
    for (const number of [0, 1, 2]) {
      const own = mine.filter((value) => Math.floor(value / count) === number)
      expect(own.every((value, i) => i === 0 || value > (own[i - 1] as number))).toBe(true)
    }
  }
  expect(new Set(got.flat()).size).toBe(3 * count)
  expect(got.flat().length).toBe(3 * count)
})

test('goes on with a successor after a worker was terminated while pushing', async () => {
  const { handle } = SpscRing.create({ capacity: 16, itemBytes: 8 })
  const ring = SpscRing.attach(handle, { role: 'consumer' })
  for (let round = 0; round < 5; round++) {
    const worker = start(handle, 'spsc push for ever')
    await answer(worker)
    let expected = 0
    const check = (bytes: Uint8Array): void => expect(u32Of(bytes)).toBe(expected++)
    while (expected < 1000) {
      ring.poll(check)
      await ring.items()
    }
    await worker.terminate()
    expect(ring.evict('producer')).toBe(true)
    for (;;) {
      const code = codeOf(() => ring.poll(check))
      if (code === 'none') continue
      expect(code).toBe('PEER_DEAD')
      break
    }
  }
  const successor = SpscRing.attach(handle, { role: 'producer' })
  expect(successor.tryPush(u32s(5, 5))).toBe(true)
  expect(u32Of(ring.tryPop())).toBe(5)
})

test('skips the claim of a worker that was terminated in the middle', async () => {
  const ring = MpmcRing.create({ capacity: 8, itemBytes: 8 })
  const worker = start(ring.handle, 'mpmc claim and stay')
  const participant = await answer<number>(worker)
  ring.tryPush(u32s(1, 1))
  expect(ring.tryPop()).toBeUndefined()
  await worker.terminate()
  ring.evict(participant)
  expect(u32Of(ring.tryPop())).toBe(1)
})
