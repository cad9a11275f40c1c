import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/* The broker's own files, lost or damaged: what is said names the file and the remedy, and the remedy works. */

const token = 'a-token-that-is-long-enough'
const access = [{ name: 'app', token, publish: ['*'], subscribe: ['*'], administer: true, maxBytes: 1_000_000 }]
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 1024 }

/** A place that a broker has served; and that is gone afterwards. */
async function served(work: (dir: string, publishOne: () => Promise<number>) => Promise<void>): Promise<void> {
  const dir = makeFolder()
  const publishOne = async () => {
    await using broker = await serve({ dir, port: 0, access })
    await using hermes = await open(broker.url, { token })
    await using publisher = await hermes.topic('t', small).publisher()
    return (await publisher.publishAsync('one more')).sequence
  }
  try {
    expect(await publishOne()).toBe(1)
    await work(dir, publishOne)
  } finally {
    removeFolder(dir)
  }
}

const damages: Record<string, (path: string) => void> = {
  zeroed: (path) => writeFileSync(path, Buffer.alloc(statSync(path).size)),
  truncated: (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  empty: (path) => truncateSync(path, 0),
  'of somebody else': (path) => writeFileSync(path, '{"format":"other","version":1}'),
  'without a version': (path) =>
    writeFileSync(path, readFileSync(path, 'utf8').replace('"version":1', '"version":"1"')),
  'with other contents': (path) =>
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), used: { app: 7 }, producers: 7 })),
  'with a count that is none': (path) =>
    writeFileSync(
      path,
      JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), used: { app: { t: -1 } }, producers: [{ id: 'x' }] }),
    ),
  'no file': (path) => {
    rmSync(path)
    mkdirSync(path)
  },
}

const files = {
  'quotas.json': 'quotas.json',
  'producers.json': 'topics/t/producers.json',
} as const

describe.each(Object.entries(files))('%s', (name, path) => {
  test.each(Object.keys(damages))('%s, keeps publishers away and says what to do', async (how) => {
    await served(async (dir, publishOne) => {
      const file = join(dir, path)
      damages[how]?.(file)
      const error = await publishOne().then(
        () => undefined,
        (failed: Error) => failed,
      )
      expect(error).toMatchObject({ code: expect.stringMatching(/^(CORRUPT|NOT_HERMES)$/) })
      expect(error?.message).toContain(name)
      expect(error?.message).toMatch(/remove (it|the file)/)
      const contents = how.startsWith('with ')
      await using local = await open(dir)
      const { findings } = await local.doctor()
      const told = findings.filter(({ check }) => check === 'broker-files')
      // What is inside only the broker looks at.
      if (!contents) {
        expect(told).toMatchObject([{ severity: 'problem', message: expect.stringContaining(name) }])
        expect(told[0]?.advice).toContain('remove the file')
      }
      rmSync(file, { recursive: true })
      expect(await publishOne()).toBe(2)
    })
  })

  test('lost, is made anew', async () => {
    await served(async (dir, publishOne) => {
      rmSync(join(dir, path))
      expect(await publishOne()).toBe(2)
      expect(statSync(join(dir, path)).size).toBeGreaterThan(0)
    })
  })
})

test('a place that has counted is a place without its hermes.json too', async () => {
  await served(async (dir, publishOne) => {
    expect(statSync(join(dir, 'quotas.json')).size).toBeGreaterThan(0)
    writeFileSync(join(dir, 'quotas.json.tmp-7'), '')
    rmSync(join(dir, 'hermes.json'))
    expect(await publishOne()).toBe(2)
  })
})

test('a place on a file system that is read-only is read, and served and published to once it is not', async ({
  skip,
}) => {
  const disk = makeFolder()
  const mount = (...args: string[]) => spawnSync('mount', [...args, disk]).status === 0
  const umount = () => spawnSync('umount', ['-l', disk])
  if (!mount('-t', 'tmpfs', '-o', 'size=20m', 'tmpfs')) {
    removeFolder(disk)
    return skip('this user may not mount a tmpfs')
  }
  try {
    const dir = join(disk, 'data')
    const publishOne = async () => {
      await using hermes = await open(dir)
      await using publisher = await hermes.topic('t', small).publisher()
      publisher.publish('one more')
      return publisher.lastSequence
    }
    expect(await publishOne()).toBe(1)
    expect(mount('--bind', disk)).toBe(true)
    expect(mount('-o', 'remount,ro,bind')).toBe(true)
    const served = await failure('ACCESS_DENIED', () => serve({ dir, port: 0 }))
    expect(served.message).toContain('read-only')
    const published = await failure('ACCESS_DENIED', publishOne)
    expect(published.message).toContain('read-only')
    {
      await using hermes = await open(dir, { create: false })
      const subscriber = await hermes.topic('t', small).subscriber({ from: 'earliest' })
      let read = 0
      while (subscriber.position < 2) read += subscriber.poll(() => {})
      expect(read).toBe(1)
    }
    umount()
    expect(await publishOne()).toBe(2)
    await using _ = await serve({ dir, port: 0 })
  } finally {
    umount()
    umount()
    removeFolder(disk)
  }
})
