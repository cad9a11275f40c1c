import { existsSync, readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'
import { pause } from './harness.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 1024 }
type Line = { readonly event: string; readonly [fact: string]: unknown }

async function broker(limits = {}, lines: Line[] = []): Promise<{ dir: string; broker: Broker }> {
  const dir = folder()
  return { dir, broker: await serve({ dir, port: 0, limits, log: (line) => lines.push(line) }) }
}

/** Files below the folder that this process has open. */
function openFiles(dir: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dir)
    } catch {
      return false
    }
  }).length
}

describe('a topic whose folder is removed under a running broker', () => {
  it('is a new one for whoever comes then: nothing that is acknowledged is lost', async () => {
    const { dir, broker: served } = await broker()
    await using one = served
    await using hermes = await open(one.url)
    const topic = hermes.topic('t', small)
    const before = await topic.publisher({ durability: 'synced' })
    await before.publishAsync('of the old one')
    await before.close()
    // As operations.md says: nobody has it open.
    rmSync(join(dir, 'topics', 't'), { recursive: true })
    const behind = await topic.publisher({ durability: 'synced' })
    const { sequence } = await behind.publishAsync('of the new one')
    expect(sequence).toBe(1)
    await behind.close()
    // A local process sees what the broker has acknowledged.
    await using local = await open(dir)
    const subscriber = await local.topic('t', small).subscriber({ from: 'earliest' })
    expect((await take(subscriber, 1)).map(({ value }) => value)).toEqual(['of the new one'])
  })

  it('loses nothing that a synced publisher is told afterwards, also while it is publishing', async () => {
    const lines: Line[] = []
    const { dir, broker: served } = await broker({}, lines)
    await using one = served
    await using hermes = await open(one.url)
    const topic = hermes.topic('t', small)
    const publisher = await topic.publisher({ durability: 'synced' })
    const reading = await topic.subscriber({ from: 'earliest' })
    const acknowledged: string[] = []
    const end = { reached: false }
    let count = 0
    const publishing = (async () => {
      while (!end.reached) {
        const value = `m${count++}`
        await publisher.publishAsync(value)
        acknowledged.push(value)
      }
    })()
    await expect.poll(() => acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(50)
    rmSync(join(dir, 'topics', 't'), { recursive: true, force: true })
    // Those whose acknowledgement was under way when the folder went are not meant.
    const gone = acknowledged.length + 2
    await expect.poll(() => acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(gone + 50)
    end.reached = true
    await publishing
    await publisher.close()
    await failure('NOT_FOUND', async () => {
      for await (const _ of reading);
    })
    await using local = await open(dir)
    const { nextSequence } = await local.topic('t', small).info()
    const subscriber = await local.topic('t', small).subscriber({ from: 'earliest' })
    const kept = (await take(subscriber, nextSequence - 1)).map(({ value }) => value)
    expect(new Set(kept).size).toBe(kept.length)
    for (const value of acknowledged.slice(gone)) expect(kept).toContain(value)
    expect(lines.some((line) => line.event === 'topic-retired' && line['code'] === 'NOT_FOUND')).toBe(true)
  })

  it('is noticed within seconds by those who only read or only write', async () => {
    const { dir, broker: served } = await broker()
    await using one = served
    await using hermes = await open(one.url)
    const topic = hermes.topic('t', small)
    await using publisher = await topic.publisher()
    await publisher.publishAsync('old')
    const subscriber = await topic.subscriber({ from: 'latest' })
    rmSync(join(dir, 'topics', 't'), { recursive: true })
    await failure('NOT_FOUND', async () => {
      for await (const _ of subscriber);
    })
    await expect.poll(() => existsSync(join(dir, 'topics', 't', 'topic.json')), { timeout: 30_000 }).toBe(true)
    // What was written and not synced went with the folder.
    await failure('NOT_FOUND', () => publisher.flush('synced'))
    const { sequence } = await publisher.publishAsync('new')
    expect(sequence).toBe(1)
  })
})

describe('topics that nobody uses', () => {
  it('are closed after a while, and opened again with all that they hold', async () => {
    const { dir, broker: served } = await broker({ idleTopicMs: 200 })
    await using one = served
    await using hermes = await open(one.url)
    const topics = Array.from({ length: 20 }, (_, n) => hermes.topic(`t${n}`, small))
    for (const topic of topics) {
      const publisher = await topic.publisher()
      await publisher.publishAsync('kept')
      await publisher.close()
    }
    await expect.poll(() => openFiles(join(dir, 'topics')), { timeout: 30_000 }).toBe(0)
    for (const topic of topics) {
      const subscriber = await topic.subscriber({ from: 'earliest' })
      expect((await take(subscriber, 1)).map(({ value }) => value)).toEqual(['kept'])
    }
  })

  it('give their place to others: only topics in use count', async () => {
    const { broker: served } = await broker({ maxTopics: 5 })
    await using one = served
    await using hermes = await open(one.url)
    for (let n = 0; n < 30; n++) {
      const publisher = await hermes.topic(`t${n}`, small).publisher()
      await publisher.publishAsync('kept')
      await publisher.close()
    }
    const held = await Promise.all(numbersTo(5).map((n) => hermes.topic(`t${n}`, small).publisher()))
    const refused = await failure('LIMIT', () => hermes.topic('t6', small).publisher())
    expect(refused.details).toMatchObject({ topic: 't6', limit: 5 })
    await held[0]?.close()
    await using sixth = await hermes.topic('t6', small).publisher()
    await sixth.publishAsync('kept too')
    for (const publisher of held) await publisher.close()
  })

  it('stay open while somebody subscribes, however quiet they are', async () => {
    const { dir, broker: served } = await broker({ idleTopicMs: 50 })
    await using one = served
    await using hermes = await open(one.url)
    // (a subscriber does not make its topic)
    await (await hermes.topic('t', small).publisher()).close()
    const subscriber = await hermes.topic('t', small).subscriber()
    await pause(500)
    expect(openFiles(join(dir, 'topics'))).toBeGreaterThan(0)
    await using publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('heard')
    expect((await take(subscriber, 1)).map(({ value }) => value)).toEqual(['heard'])
  })
})

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n)
}

it('tidies up after a deletion that was cut short, when it begins to serve', async () => {
  const dir = join(folder(), 'data')
  {
    await using local = await open(dir)
    await (await local.topic('gone', { codec: text }).publisher()).publishAsync('a')
    await local.topic('kept', { codec: text }).publisher()
  }
  renameSync(join(dir, 'topics', 'gone'), join(dir, 'topics', '.deleted-gone-0123456789ab'))
  const broker = await serve({ dir, port: 0 })
  try {
    expect(readdirSync(join(dir, 'topics'))).toEqual(['kept'])
  } finally {
    await broker.close()
  }
})
