import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
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
const mounted: string[] = []
const brokers: BrokerProcess[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.kill()
  for (const path of mounted.splice(0).reverse()) execFileSync('umount', ['-l', path])
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

/** A real ext4 in a file of a tmpfs that can be filled: blocks that ext4 has given away can then not be written. */
class FullDisk {
  readonly path: string
  readonly #store: string

  private constructor(path: string, store: string) {
    this.path = path
    this.#store = store
  }

  /** `undefined` if this user may not mount. */
  static make(base: string): FullDisk | undefined {
    const disk = new FullDisk(join(base, 'disk'), join(base, 'store'))
    for (const path of [disk.path, disk.#store]) mkdirSync(path)
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk.#store]).status !== 0) return undefined
    mounted.push(disk.#store)
    const image = join(disk.#store, 'image')
    const made = spawnSync('sh', [
      '-c',
      `truncate -s 48M ${image} && mkfs.ext4 -q -m 0 -b 4096 -O ^has_journal ${image} && mount -o loop ${image} ${disk.path}`,
    ])
    if (made.status !== 0) return undefined
    mounted.push(disk.path)
    return disk
  }

  fill(): void {
    // What the file system itself has to say is on its disk before.
    execFileSync('sync')
    const file = openSync(join(this.#store, 'ballast'), 'w')
    const block = Buffer.alloc(4096)
    try {
      while (writeSync(file, block) === block.length);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(file)
    }
  }

  giveRoomBack(): void {
    rmSync(join(this.#store, 'ballast'))
  }

  /** As after a power cut: nothing is left but what the disk holds. */
  remount(): void {
    execFileSync('umount', [this.path])
    execFileSync('mount', ['-o', 'loop', join(this.#store, 'image'), this.path])
  }
}

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

  it('keeps what it acknowledges on a real disk whose backing store is full, and after it', async ({ skip }) => {
    const base = folder()
    const disk = FullDisk.make(base)
    if (disk === undefined) return skip('this user may not mount an ext4')
    const broker = await BrokerProcess.start(join(disk.path, 'data'), 0)
    brokers.push(broker)
    const acknowledged = new Set<string>()
    const settings = { codec: text, segmentBytes: 8 << 20, maxPayloadBytes: 4096 }
    {
      await using hermes = await open(broker.url)
      const topic = hermes.topic('t', settings)
      const publisher = await topic.publisher({ durability: 'synced' })
      const publish = async (value: string) => {
        await publisher.publishAsync(value)
        acknowledged.add(value)
      }
      for (let n = 0; n < 100; n++) await publish(`before ${n} ${'x'.repeat(1000)}`)
      disk.fill()
      const late = Array.from({ length: 2000 }, (_, n) => publish(`full ${n} ${'x'.repeat(1000)}`).catch(() => {}))
      // The broker is told by the disk, and tries again by itself.
      while (!broker.log.includes('topic-retired')) await new Promise((resolve) => setTimeout(resolve, 10))
      disk.giveRoomBack()
      await Promise.all(late)
      for (let tries = 0; !acknowledged.has('after'); tries++) {
        // (What was refused while the disk was full ends the publisher: the program opens a new one.)
        await topic
          .publisher({ durability: 'synced' })
          .then(async (next) => {
            await next.publishAsync('after')
            acknowledged.add('after')
            await next.close()
          })
          .catch((error) => {
            if (tries === 200) throw error
          })
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      await publisher.close().catch(() => {})
    }
    await broker.kill()
    disk.remount()
    await using hermes = await open(join(disk.path, 'data'))
    const subscriber = await hermes.topic('t', { ...settings, create: false }).subscriber({ from: 'earliest' })
    const seen = new Map<string, number>()
    while (subscriber.poll((value) => seen.set(value, (seen.get(value) ?? 0) + 1), 1000) > 0);
    expect([...acknowledged].filter((value) => !seen.has(value))).toEqual([])
    expect([...seen].filter(([, times]) => times > 1)).toEqual([])
    expect(acknowledged.size).toBeGreaterThan(100)
  }, 120_000)
})
