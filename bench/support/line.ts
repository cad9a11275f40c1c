import { Worker } from 'node:worker_threads'

const rounds = 200_000

const echo = `
  const { workerData } = require('node:worker_threads')
  const words = new Int32Array(workerData)
  for (let round = 1; round <= ${rounds}; round++) {
    while (Atomics.load(words, 0) !== round);
    Atomics.store(words, 32, round)
  }
`

/**
 * The floor under every round trip: nanoseconds for one word to go to another thread and an answer to come back, over two cache
 * lines, with nothing else done. It tells how far apart the two processors are just now: a virtual machine's may move.
 */
export async function lineRoundTripNs(): Promise<number> {
  const shared = new SharedArrayBuffer(256)
  const words = new Int32Array(shared)
  const worker = new Worker(echo, { eval: true, workerData: shared })
  await new Promise((resolve) => worker.once('online', resolve))
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  const skipped = rounds / 4
  let begun = 0
  for (let round = 1; round <= rounds; round++) {
    if (round === skipped + 1) begun = performance.now()
    Atomics.store(words, 0, round)
    while (Atomics.load(words, 32) !== round);
  }
  const ns = ((performance.now() - begun) * 1e6) / (rounds - skipped)
  await ended
  return ns
}
