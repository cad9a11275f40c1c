import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { main, usePlace } from '../cli/helpers.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

const folder = foldersPerTest()
const cli = usePlace()
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 1024 }
type Line = { readonly level: string; readonly event: string; readonly [fact: string]: unknown }
const mounted: string[] = []
afterEach(() => {
  for (const path of mounted.splice(0)) execFileSync('umount', ['-l', path])
})

function smallDisk(): string | undefined {
  const path = join(folder(), 'disk')
  mkdirSync(path)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', path]).status !== 0) return undefined
  mounted.push(path)
  return path
}

describe('a topic that can not be opened', () => {
  it('is in the log, with its code, and makes ping fail until it works', async () => {
    const dir = folder()
    const lines: Line[] = []
    await using broker = await serve({ dir, port: 0, log: (line) => lines.push(line) })
    await using hermes = await open(broker.url)
    expect(await hermes.health()).toEqual({ canPublish: true, problems: [] })
    const file = join(dir, 'topics', 't')
    // Something else is where the topic belongs.
    writeFileSync(file, 'a file')
    for (let n = 0; n < 5; n++)
      await hermes
        .topic('t', small)
        .publisher()
        .catch(() => {})
    const failed = lines.filter((line) => line.event === 'topic-failed')
    expect(failed[0]).toMatchObject({ level: 'error', topic: 't', code: 'NOT_A_DIRECTORY' })
    // The others were counted.
    await expect
      .poll(() => lines.find((line) => line['repeated'] === 4), { timeout: 10_000 })
      .toMatchObject({
        level: 'error',
        event: 'topic-failed',
        topic: 't',
      })
    const { canPublish, problems } = await hermes.health()
    expect(canPublish).toBe(false)
    expect(problems.join()).toContain("Topic 't' failed: NOT_A_DIRECTORY")
    const ping = await cli.hermes(['ping', '--url', broker.url, '--json'])
    expect(ping.code).toBe(1)
    expect(JSON.parse(ping.stdout).health.canPublish).toBe(false)
    expect(ping.stderr).toContain("can't publish")
    rmSync(file)
    await using publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('works')
    expect(await hermes.health()).toEqual({ canPublish: true, problems: [] })
    expect((await cli.hermes(['ping', '--url', broker.url])).code).toBe(0)
  })

  it("is no failure of the broker's if the client asked for the wrong thing", async () => {
    const lines: Line[] = []
    await using broker = await serve({ dir: folder(), port: 0, log: (line) => lines.push(line) })
    await using hermes = await open(broker.url)
    await failure('NOT_FOUND', () => hermes.topic('t', { ...small, create: false }).publisher())
    await using _ = await hermes.topic('t', small).publisher()
    await failure('CONFIG_MISMATCH', () => hermes.topic('t', { ...small, segmentBytes: 131_072 }).publisher())
    expect(lines.filter((line) => line.event === 'topic-failed')).toEqual([])
    expect((await hermes.health()).canPublish).toBe(true)
  })

  it('is not for everybody to read about', async () => {
    const dir = folder()
    const access = [
      { name: 'reader', token: 'a-token-that-is-long-enough', subscribe: ['*'], administer: false },
      { name: 'admin', token: 'another-token-long-enough', publish: ['*'], subscribe: ['*'], administer: true },
    ]
    await using broker = await serve({ dir, port: 0, access })
    await using admin = await open(broker.url, { token: 'another-token-long-enough' })
    writeFileSync(join(dir, 'topics', 'secret'), 'a file')
    await admin
      .topic('secret', small)
      .publisher()
      .catch(() => {})
    await using reader = await open(broker.url, { token: 'a-token-that-is-long-enough' })
    const { canPublish, problems } = await reader.health()
    expect(canPublish).toBe(false)
    expect(problems.join()).not.toContain('secret')
    expect((await admin.health()).problems.join()).toContain('secret')
  })
})

describe('a disk that is nearly full', () => {
  it('makes ping fail before anybody publishes, and doctor and info say the same', async ({ skip }) => {
    const disk = smallDisk()
    if (disk === undefined) return skip('this user may not mount a small tmpfs')
    const dir = join(disk, 'data')
    await using broker = await serve({ dir, port: 0 })
    await using hermes = await open(broker.url)
    await using publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('there is room')
    await publisher.flush()
    expect((await hermes.health()).canPublish).toBe(true)
    const { bsize, bavail } = statfsSync(disk)
    writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize - 100_000))
    const { canPublish, problems, code } = await hermes.health()
    expect([canPublish, code]).toEqual([false, 'DISK_FULL'])
    expect(problems.join()).toContain('low-water mark')
    const ping = await cli.hermes(['ping', '--url', broker.url])
    expect([ping.code, ping.stderr]).toEqual([6, expect.stringContaining('DISK_FULL')])
    expect((await hermes.topic('t', small).info()).diskAlarm).toBe(true)
    const doctor = await cli.hermes(['doctor', '--dir', dir])
    expect(doctor.stdout).toContain('DISK_FULL')
    rmSync(join(disk, 'filler'))
    expect((await hermes.health()).canPublish).toBe(true)
    expect((await hermes.topic('t', small).info()).diskAlarm).toBe(false)
  })

  it('is not made fuller by verify, which finds no damage there', async ({ skip }) => {
    const disk = smallDisk()
    if (disk === undefined) return skip('this user may not mount a small tmpfs')
    const dir = join(disk, 'data')
    await using hermes = await open(dir)
    const topic = hermes.topic('t', { codec: text, segmentBytes: 4 << 20, lowWaterBytes: 0 })
    await using publisher = await topic.publisher()
    for (let n = 0; n < 100; n++) await publisher.publishAsync('x'.repeat(1000))
    const free = () => statfsSync(disk).bavail * statfsSync(disk).bsize
    // (what is prepared ahead settles first)
    await new Promise((resolve) => setTimeout(resolve, 300))
    writeFileSync(join(disk, 'filler'), Buffer.alloc(free() - 64 * 1024))
    const before = free()
    const report = await hermes.verify('t')
    expect(report.damage).toEqual([])
    expect(report.messages).toBe(100)
    expect(before - free()).toBe(0)
  })
})

describe('a configuration file', () => {
  it('that may not be read is not taken for one that is not there', async ({ skip }) => {
    const file = join(folder(), 'hermes.json')
    writeFileSync(file, '{}', { mode: 0o000 })
    const args = [main, 'serve', '--dir', join(folder(), 'data'), '--config', file, '--port', '0']
    // Root may read everything: as somebody else, then.
    const other = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const started = spawnSync(process.execPath, args, { ...other, encoding: 'utf8', timeout: 60_000 })
    if (started.error !== undefined || started.stderr.includes('Cannot find module'))
      return skip('another user may not run this program')
    expect(started.stderr).toContain('ACCESS_DENIED')
    expect(started.status).toBe(4)
    const missing = await cli.hermes(['serve', '--config', `${file}.not-there`, '--port', '0'])
    expect(missing.stderr).toContain('NOT_FOUND')
    expect(missing.code).toBe(3)
  })
})
