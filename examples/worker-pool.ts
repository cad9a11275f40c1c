// A pool of worker threads that share jobs. The first one dies in the middle of its work: its jobs are given out again, and none is lost.
// Takes a directory as its argument. Without one, a temporary directory.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { open, struct, u8, u32 } from 'hermes-mq'

const Job = struct({ id: u32 })
const Result = struct({ id: u32, worker: u8 })
const jobs = 2_000

if (isMainThread) await manage()
else await work(workerData as { place: string; worker: number })

async function work({ place, worker }: { place: string; worker: number }): Promise<void> {
  const hermes = await open(place)
  const results = await hermes.topic('results', { codec: Result }).publisher()
  const pool = await hermes.topic('jobs', { codec: Job }).group('pool')
  let done = 0
  await pool.run(({ value }) => {
    // (This one dies with the job in its hands: nobody has acknowledged it.)
    if (worker === 0 && ++done === 100) process.exit()
    results.publish({ id: value.id, worker })
  })
}

async function manage(): Promise<void> {
  const given = process.argv[2]
  const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
  try {
    await using hermes = await open(place)
    const publisher = await hermes.topic('jobs', { codec: Job }).publisher()
    for (let id = 0; id < jobs; id++) publisher.publish({ id })
    const results = await hermes.topic('results', { codec: Result }).subscriber({ from: 'earliest' })
    const start = (worker: number) => new Worker(fileURLToPath(import.meta.url), { workerData: { place, worker } })
    await once(start(0), 'exit')
    const threads = [start(1), start(2)]
    // At least once: what a worker had done when it died, and not acknowledged, is done again.
    const done = new Set<number>()
    while (done.size < jobs) {
      await results.ready()
      results.poll(({ id }) => done.add(id))
    }
    console.log(`${done.size} jobs done, though one of 3 workers died`)
    await Promise.all(threads.map((thread) => thread.terminate()))
  } finally {
    if (given === undefined) await rm(place, { recursive: true })
  }
}
