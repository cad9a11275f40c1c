import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { HermesError, open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { numbers, take } from '../helpers/receive.js'
import { pause } from './harness.js'

const folder = foldersPerTest()
const mounted: string[] = []
afterEach(() => {
  for (const path of mounted.splice(0)) execFileSync('umount', ['-l', path])
})

/** A disk of 12 MB; `undefined` if this user may not mount one. */
function smallDisk(): string | undefined {
  const path = join(folder(), 'disk')
  mkdirSync(path)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', path]).status !== 0) return undefined
  mounted.push(path)
  return path
}

it('tells remote publishers of a full disk, loses nothing that it acknowledged, and goes on when there is room', async ({
  skip,
}) => {
  const disk = smallDisk()
  if (disk === undefined) return skip('this user may not mount a small tmpfs')
  const filler = join(disk, 'filler')
  writeFileSync(filler, Buffer.alloc(4 << 20))
  const lines: { readonly event: string; readonly [fact: string]: unknown }[] = []
  await using broker = await serve({ dir: join(disk, 'data'), port: 0, log: (line) => lines.push(line) })
  await using hermes = await open(broker.url)
  const topic = hermes.topic('t', { codec: text, segmentBytes: 1024 * 1024 })
  const publishers = await Promise.all([topic.publisher(), topic.publisher({ durability: 'synced' })])
  const receipts = new Map<string, number>()
  const codes = new Set<unknown>()
  let count = 0

  /** Publishes until it is refused, or `most`. */
  async function publish(index: number, most: number): Promise<boolean> {
    const publisher = publishers[index] as (typeof publishers)[0]
    const waits: Promise<void>[] = []
    let refused = false
    for (let n = 0; n < most && !refused; n++) {
      const value = `${index}:${count++}:`.padEnd(3000, '.')
      waits.push(
        publisher.publishAsync(value).then(
          ({ sequence }) => void receipts.set(value, sequence),
          (error: unknown) => {
            codes.add(error instanceof HermesError ? error.code : error)
            refused = true
          },
        ),
      )
      if (n % 32 === 31) await publisher.ready()
    }
    await Promise.all(waits)
    return refused
  }

  expect(await Promise.all([publish(0, 10_000), publish(1, 10_000)])).toEqual([true, true])
  expect([...codes]).toEqual(['DISK_FULL'])
  const full = receipts.size
  expect(full * 3000).toBeGreaterThan(2 << 20)
  // Again and again, and for whoever comes now; those who only read are served.
  for (const index of [0, 1, 0]) expect(await publish(index, 100)).toBe(true)
  const other = await open(broker.url)
  const late = other.topic('t', { codec: text })
  await failure('DISK_FULL', async () => (await late.publisher()).publishAsync('x'.repeat(3000)))
  // (it says once more that something was not stored)
  await other.close().catch(() => {})
  expect([...codes]).toEqual(['DISK_FULL'])
  expect((await topic.info()).diskAlarm).toBe(true)
  const trouble = lines.filter((line) => line.event === 'trouble')
  expect(trouble.length).toBeGreaterThan(0)
  expect(trouble[0]).toMatchObject({ level: 'warn', topic: 't', code: 'DISK_FULL', address: '127.0.0.1' })
  expect(trouble[0]?.['message']).toContain('free')

  rmSync(filler)
  const end = performance.now() + 30_000
  for (const index of [0, 1]) {
    while ((await publish(index, 30)) && performance.now() < end) await pause(20)
    expect(await publish(index, 30)).toBe(false)
  }
  expect(receipts.size).toBeGreaterThanOrEqual(full + 120)

  const { nextSequence, diskAlarm } = await topic.info()
  expect(diskAlarm).toBe(false)
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const stored = await take(subscriber, nextSequence - 1)
  expect(stored.map((one) => one.sequence)).toEqual(numbers(1, nextSequence - 1))
  for (const [value, sequence] of receipts) expect(stored[sequence - 1]?.value === value, value.slice(0, 12)).toBe(true)
  expect(new Set(stored.map((one) => one.value)).size).toBe(stored.length)
  // What was refused may have been stored by a later attempt to send it, but never before what came earlier.
  for (const index of [0, 1]) {
    const mine = stored.map((one) => one.value.split(':')).filter(([from]) => from === String(index))
    const order = mine.map(([, n]) => Number(n))
    expect(order).toEqual([...order].sort((a, b) => a - b))
  }
}, 60_000)
