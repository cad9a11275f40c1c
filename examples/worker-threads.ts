// Worker threads take part like processes: each opens the place for itself. Nothing is posted, cloned or transferred.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { open, struct, u8, u32 } from 'hermes-mq'

const Result = struct({ worker: u8, value: u32 })
const workers = 2
const perWorker = 5_000

if (isMainThread) await collect()
else await work(workerData as { place: string; worker: number })

async function work({ place, worker }: { place: string; worker: number }): Promise<void> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('results', { codec: Result }).publisher()
  for (let value = 0; value < perWorker; value++) {
    if (!publisher.publish({ worker, value })) await publisher.ready()
  }
}

async function collect(): Promise<void> {
  const given = process.argv[2]
  const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
  try {
    await using hermes = await open(place)
    const subscriber = await hermes.topic('results', { codec: Result }).subscriber({ from: 'earliest' })
    for (let worker = 0; worker < workers; worker++) {
      new Worker(fileURLToPath(import.meta.url), { workerData: { place, worker } })
    }
    // The messages of all workers are mixed; those of one worker keep their order.
    const next = new Array<number>(workers).fill(0)
    let inOrder = true
    let received = 0
    while (received < workers * perWorker) {
      await subscriber.ready()
      received += subscriber.poll(({ worker, value }) => {
        inOrder &&= next[worker] === value
        next[worker] = value + 1
      })
    }
    console.log(`${received} results of ${workers} workers, ${inOrder ? 'each in order' : 'OUT OF ORDER'}`)
  } finally {
    if (given === undefined) await rm(place, { recursive: true })
  }
}
