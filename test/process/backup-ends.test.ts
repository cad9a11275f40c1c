import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { open, raw } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, makeFolder, removeFolder } from '../helpers/folder.js'
import { flipBit, segmentFiles } from '../helpers/log-files.js'

/* Backups that do not come to their end, and of places where several things are damaged at once. */

const folderOf = foldersPerTest()
const main = join(import.meta.dirname, '../../dist/cli/main.js')
const payload = Buffer.alloc(1000, 'x')

async function filled(place: string, messages: number): Promise<void> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }).publisher()
  for (let n = 0; n < messages; n++) if (!publisher.publish(payload)) await publisher.ready()
  await publisher.close()
}

async function messagesIn(place: string): Promise<number> {
  await using hermes = await open(place, { create: false })
  const { messages, damage } = await hermes.verify('t')
  expect(damage).toEqual([])
  return messages
}

describe('a backup', () => {
  test('that is killed at any moment leaves nothing under its name, and the next one is whole', async () => {
    const folder = folderOf()
    const place = join(folder, 'place')
    await filled(place, 20_000)
    let midway = 0
    for (let round = 0; round < 4; round++) {
      const to = join(folder, `copy-${round}`)
      const child = spawn(process.execPath, [main, 'backup', place, to], { stdio: 'ignore' })
      const ended = once(child, 'exit')
      const halfMade = () => readdirSync(folder).find((name) => name.startsWith(`copy-${round}.tmp-`))
      await expect.poll(() => halfMade() ?? child.exitCode, { timeout: 60_000, interval: 1 }).not.toBeNull()
      // Where it stands by then: at the first segments, or further on.
      const files = () => readdirSync(join(folder, halfMade() ?? '.', 'topics/t')).length
      for (let looks = 0; looks < 2000 && !existsSync(to); looks++) {
        try {
          if (files() > round * 40) break
        } catch {
          // (the topic's folder is not there yet, or the copy has its name)
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
      child.kill('SIGKILL')
      await ended
      const left = halfMade()
      if (existsSync(to)) {
        // It was faster. What has the name is whole.
        expect(await messagesIn(to)).toBe(20_000)
        rmSync(to, { recursive: true })
      } else if (left !== undefined) {
        midway++
        // The remedy of operations.md; it is in nobody's way before.
        if (round % 2 === 0) rmSync(join(folder, left), { recursive: true })
      }
      await using hermes = await open(place)
      await hermes.backup(to)
      expect(await messagesIn(to)).toBe(20_000)
      rmSync(to, { recursive: true })
    }
    expect(midway).toBeGreaterThan(0)
    expect(await messagesIn(place)).toBe(20_000)
  }, 180_000)

  test('into a disk that is too small says so and leaves nothing; with room it is whole', async ({ skip }) => {
    const disk = makeFolder()
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]).status !== 0) {
      removeFolder(disk)
      return skip('this user may not mount a small tmpfs')
    }
    try {
      const place = join(folderOf(), 'place')
      await filled(place, 10_000)
      await using hermes = await open(place)
      const { message } = await failure('DISK_FULL', () => hermes.backup(join(disk, 'copy')))
      expect(message).toContain(join(disk, 'copy'))
      expect(readdirSync(disk)).toEqual([])
      spawnSync('mount', ['-o', 'remount,size=64m', disk])
      await hermes.backup(join(disk, 'copy'))
      expect(await messagesIn(join(disk, 'copy'))).toBe(10_000)
    } finally {
      spawnSync('umount', ['-l', disk])
      removeFolder(disk)
    }
  }, 60_000)
})

test('several damages at once are told together, and repaired by one repair', async () => {
  const folder = folderOf()
  const place = join(folder, 'place')
  await filled(place, 2000)
  const segments = segmentFiles(place, 't')
  expect(segments.length).toBeGreaterThan(20)
  flipBit(segments[3] as string, 256 + 1040 * 5 + 100)
  rmSync(segments[7] as string)
  truncateSync(segments[11] as string, 32_768)
  writeFileSync(segments[15] as string, Buffer.alloc(65_536))
  rmSync(segments[18] as string)
  mkdirSync(segments[18] as string)
  rmSync(join(place, 'topics/t/control'))
  rmSync(join(place, 'topics/t/locks'))
  const hermes = await open(place, { create: false })
  const report = await hermes.doctor()
  expect(report.findings.filter(({ severity }) => severity === 'problem')).not.toEqual([])
  await hermes.repair('t')
  // Five segments were hit; of two nothing is left, of one a half, of one all but a message.
  const { damage, messages, nextSequence } = await hermes.verify('t')
  expect([damage, nextSequence]).toEqual([[], 2001])
  const perSegment = Math.floor((65_536 - 256) / 1032)
  expect(messages).toBeGreaterThanOrEqual(2000 - 1 - 4 * (perSegment + 2))
  expect(messages).toBeLessThan(2000 - 3 * (perSegment - 2))
  const after = await hermes.doctor()
  expect(after.findings.filter(({ severity }) => severity === 'problem')).toEqual([])
  {
    await using publisher = await hermes.topic('t', { codec: raw }).publisher()
    publisher.publish(payload)
    expect(publisher.lastSequence).toBe(2001)
  }
  const subscriber = await hermes.topic('t', { codec: raw }).subscriber({ from: 'earliest' })
  let read = 0
  while (subscriber.position < 2002) read += subscriber.poll((bytes) => expect(payload.equals(bytes)).toBe(true))
  expect(read).toBe(messages + 1)
  await hermes.close()
}, 60_000)
