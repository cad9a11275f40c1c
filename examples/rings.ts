// Rings between worker threads, in a SharedArrayBuffer: two workers put results into one MpmcRing and this thread takes them out.
// The last worker to finish ends the ring; without that the consumer would wait for ever, since any participant may push.
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { MpmcRing, type RingHandle, struct, u8, u32 } from 'hermes-mq'

const Result = struct({ worker: u8, value: u32 })
const workers = 2
const perWorker = 5_000

interface Task {
  handle: RingHandle
  /** How many workers are still at it: one Int32 that they share. */
  left: Int32Array
  worker: number
}

if (isMainThread) await collect()
else work(workerData as Task)

function work({ handle, left, worker }: Task): void {
  using ring = MpmcRing.attach(handle, { codec: Result })
  for (let value = 0; value < perWorker; value++) {
    while (!ring.tryPush({ worker, value })) ring.waitForRoom(1000)
  }
  if (Atomics.sub(left, 0, 1) === 1) while (!ring.end()) ring.waitForRoom(1000)
}

async function collect(): Promise<void> {
  using ring = MpmcRing.create({ capacity: 1024, codec: Result })
  const left = new Int32Array(new SharedArrayBuffer(4)).fill(workers)
  for (let worker = 0; worker < workers; worker++) {
    const task: Task = { handle: ring.handle, left, worker }
    new Worker(fileURLToPath(import.meta.url), { workerData: task })
  }
  const next = new Array<number>(workers).fill(0)
  let inOrder = true
  while (!ring.ended) {
    const taken = ring.poll((view) => {
      const expected = next[view.worker] ?? 0
      if (view.value !== expected) inOrder = false
      next[view.worker] = expected + 1
    })
    if (taken === 0 && !ring.ended) await ring.items()
  }
  const sum = next.reduce((total, count) => total + count, 0)
  console.log(`${sum} results of ${workers} workers, ${inOrder ? 'each in order' : 'out of order'}`)
}
