// redis-server with npm bullmq: jobs that a worker handles, and BullMQ removes once they are done. In memory; nothing is written to a disk.
import type { Roles } from '../support/workload.js'
import { loadPeer } from './installed.js'

/** What is used of bullmq's interface. */
interface Options {
  readonly connection: { readonly url: string; readonly maxRetriesPerRequest: null }
}
interface Queue {
  addBulk(jobs: readonly { name: string; data: unknown; opts: object }[]): Promise<unknown>
  close(): Promise<void>
}
interface Worker {
  run(): Promise<void>
  close(): Promise<void>
}
interface BullMq {
  readonly Queue: new (name: string, options: Options) => Queue
  readonly Worker: new (
    name: string,
    handler: (job: { readonly data: { readonly payload: string } }) => Promise<void>,
    options: Options & { readonly concurrency: number; readonly autorun: boolean },
  ) => Worker
}

interface Args {
  readonly url: string
  readonly count: number
}

/** (its data are JSON) */
const payload = 'x'.repeat(64)

async function handle({ url, count }: Args, concurrency: number): Promise<number> {
  const { Queue, Worker } = loadPeer('bullmq') as BullMq
  const connection = { url, maxRetriesPerRequest: null }
  const queue = new Queue('bench', { connection })
  const opts = { removeOnComplete: true }
  for (let done = 0; done < count; done += 1000)
    await queue.addBulk(Array.from({ length: 1000 }, () => ({ name: 'job', data: { payload }, opts })))
  let handled = 0
  let end = () => {}
  const isDone = new Promise<void>((resolve) => {
    end = resolve
  })
  const handler = async ({ data }: { readonly data: { readonly payload: string } }) => {
    if (data.payload.length !== payload.length) throw new Error('a job is not whole')
    if (++handled === count) end()
  }
  const worker = new Worker('bench', handler, { connection, concurrency, autorun: false })
  const begun = performance.now()
  const running = worker.run()
  await isDone
  const seconds = (performance.now() - begun) / 1000
  await worker.close()
  await running
  await queue.close()
  return seconds
}

export const roles: Roles = {
  batches: (args: Args) => handle(args, 256),
  single: (args: Args) => handle(args, 1),
}
