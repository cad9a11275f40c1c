// redis-server with npm ioredis: a stream and a consumer group, XREADGROUP and XACK. In memory; nothing is written to a disk.
import type { Roles } from '../support/workload.js'
import { loadPeer } from './installed.js'

/** What is used of ioredis's interface. */
interface Connection {
  xgroup(...args: readonly (string | number)[]): Promise<unknown>
  xreadgroupBuffer(
    ...args: readonly (string | number)[]
  ): Promise<readonly (readonly [Buffer, readonly (readonly [Buffer, readonly Buffer[]])[]])[] | null>
  xack(stream: string, group: string, ...ids: readonly Buffer[]): Promise<number>
  pipeline(): { xadd(...args: readonly (string | Buffer)[]): void; exec(): Promise<unknown> }
  quit(): Promise<unknown>
}
type Redis = new (url: string) => Connection

interface Args {
  readonly url: string
  readonly count: number
}

const payload = Buffer.alloc(64, 7)

async function consume({ url, count }: Args, batch: number): Promise<number> {
  const { Redis } = loadPeer('ioredis') as { readonly Redis: Redis }
  const redis = new Redis(url)
  for (let done = 0; done < count; done += 1000) {
    const pipeline = redis.pipeline()
    for (let n = 0; n < 1000; n++) pipeline.xadd('bench', '*', 'd', payload)
    await pipeline.exec()
  }
  await redis.xgroup('CREATE', 'bench', 'g', '0')
  const begun = performance.now()
  for (let handled = 0; handled < count; ) {
    const found = await redis.xreadgroupBuffer(
      'GROUP',
      'g',
      'c',
      'COUNT',
      batch,
      'BLOCK',
      5000,
      'STREAMS',
      'bench',
      '>',
    )
    const entries = found?.[0]?.[1] ?? []
    if (entries.length === 0) throw new Error(`nothing came after ${handled} messages`)
    for (const [, fields] of entries)
      if (fields[1]?.length !== payload.length) throw new Error('a message is not whole')
    await redis.xack('bench', 'g', ...entries.map(([id]) => id))
    handled += entries.length
  }
  const seconds = (performance.now() - begun) / 1000
  await redis.quit()
  return seconds
}

export const roles: Roles = {
  batches: (args: Args) => consume(args, 256),
  single: (args: Args) => consume(args, 1),
}
