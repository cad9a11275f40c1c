import { mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type HermesError, open, text } from '../../lib/index.js'
import { FailingSync } from '../helpers/fail-sync.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'
import { BrokerProcess } from './harness.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const brokers: BrokerProcess[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.kill()
})

async function failing(): Promise<{ dir: string; broker: BrokerProcess; sync: FailingSync } | undefined> {
  const base = folder()
  const dir = join(base, 'data')
  mkdirSync(dir)
  const sync = FailingSync.make(base)
  if (sync === undefined) return undefined
  const broker = await BrokerProcess.start(dir, 0, sync.env)
  brokers.push(broker)
  return { dir, broker, sync }
}

const { ENOSPC, EIO, EDQUOT, EROFS } = constants.errno

describe('a broker whose disk refuses a sync', () => {
  it.for([
    ['ENOSPC', ENOSPC],
    ['EDQUOT', EDQUOT],
    ['EROFS', EROFS],
    ['EIO', EIO],
  ] as const)(
    'opens the topic anew after %s: what was not acknowledged is stored once, and nobody is ended',
    async ([, errno], { skip }) => {
      const made = await failing()
      if (made === undefined) return skip('there is no C compiler')
      const { broker, sync } = made
      await using hermes = await open(broker.url)
      const topic = hermes.topic('t', small)
      const publishers = await Promise.all([1, 2, 3].map(() => topic.publisher({ durability: 'synced' })))
      const subscriber = await topic.subscriber({ from: 'earliest' })
      await Promise.all(publishers.map((publisher, index) => publisher.publishAsync(`${index}:before`)))
      sync.fail(errno, 1)
      const receipts = await Promise.all(
        publishers.flatMap((publisher, index) => [1, 2, 3].map((n) => publisher.publishAsync(`${index}:${n}`))),
      )
      expect(sync.left).toBe(0)
      expect(receipts).toHaveLength(9)
      const values = (await take(subscriber, 12)).map(({ value }) => value)
      expect(new Set(values).size).toBe(12)
      expect((await topic.info()).nextSequence).toBe(13)
      expect(broker.log).toContain('topic-retired')
      for (const publisher of publishers) await publisher.close()
    },
  )

  it('tells a flush, as what was written and not synced is uncertain then, and goes on', async ({ skip }) => {
    const made = await failing()
    if (made === undefined) return skip('there is no C compiler')
    const { broker, sync } = made
    await using hermes = await open(broker.url)
    const topic = hermes.topic('t', small)
    await using asking = await topic.publisher()
    await using other = await topic.publisher()
    for (const publisher of [asking, other]) await publisher.publishAsync('written')
    sync.fail(EIO, 1)
    const told = await failure('IO_FAILED', () => asking.flush('synced'))
    expect(told.details).toMatchObject({ topic: 't' })
    // The other one had not asked; it's told when it does, once.
    await other.publishAsync('behind')
    await failure('IO_FAILED', () => other.flush('synced'))
    await other.flush('synced')
    await asking.publishAsync('behind')
    await asking.flush('synced')
    expect((await topic.info()).nextSequence).toBe(5)
  })

  it('tells those who wait if opening anew is of no use, and serves them again once the disk does', async ({
    skip,
  }) => {
    const made = await failing()
    if (made === undefined) return skip('there is no C compiler')
    const { broker, sync } = made
    await using hermes = await open(broker.url)
    const topic = hermes.topic('t', small)
    const first = await topic.publisher({ durability: 'synced', exclusive: true })
    await first.publishAsync('before')
    sync.fail(EIO, 1_000_000)
    await failure('IO_FAILED', () => first.publishAsync('lost'))
    await first.close().catch((error: HermesError) => expect(error.code).toBe('IO_FAILED'))
    sync.fail(EIO, 0)
    // Nobody holds the topic.
    await using second = await topic.publisher({ durability: 'synced', exclusive: true })
    await second.publishAsync('again')
    expect(broker.log).toContain('"topic":"t"')
  })
})
