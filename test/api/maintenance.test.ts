import { spawnSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Hermes, open, raw, type VerifyProgress } from '../../lib/index.js'
import { foldersPerTest, root } from '../helpers/folder.js'
import { flipBit, overwrite, segmentFiles, storedFrames, topicFolder } from '../helpers/log-files.js'

const folder = foldersPerTest()
const settings = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 4096 }

/**
 * A place with a closed topic 't' of `count` messages of 1,000 bytes. Published by a process that has ended: within one, the next segment may
 * still be prepared after `close`, and these tests compare files.
 */
async function filled(count: number): Promise<{ place: string; hermes: Hermes }> {
  const place = folder()
  const program = `
    const { open, raw } = await import(${JSON.stringify(join(root, 'dist/index.js'))})
    const hermes = await open(${JSON.stringify(place)})
    const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 65536, maxPayloadBytes: 4096 }).publisher()
    for (let n = 0; n < ${count}; n++) publisher.publish(new Uint8Array(1000).fill(n))
    await hermes.close()`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return { place, hermes: await open(place) }
}

/** Every file of a topic with its bytes. */
function contents(place: string): Record<string, string> {
  const at = topicFolder(place, 't')
  const names = readdirSync(at, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(at, name)).isFile(),
  )
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(at, name)).toString('latin1')]))
}

test('verify counts what is there, tells its progress, and changes nothing', async () => {
  const { place, hermes } = await filled(300)
  const before = contents(place)
  const progress: VerifyProgress[] = []
  const report = await hermes.verify('t', { onProgress: (one) => progress.push(one), concurrency: 2 })
  expect(report).toMatchObject({ topic: 't', segments: 5, messages: 300, voids: 0, unfinished: 0, damage: [] })
  expect(report).toMatchObject({ firstSequence: 1, nextSequence: 301, bytes: 300 * 1032 })
  expect(progress.at(-1)).toMatchObject({ messages: 300, bytes: 300 * 1032 })
  expect(progress.length).toBe(progress.at(-1)?.totalSegments)
  expect(contents(place)).toEqual(before)
})

test('verify of an empty topic is good', async () => {
  const { hermes } = await filled(0)
  expect(await hermes.verify('t')).toMatchObject({
    segments: 1,
    messages: 0,
    firstSequence: 1,
    nextSequence: 1,
    damage: [],
  })
})

test('verify names the sequences of a flipped bit, and repair sets just them aside', async () => {
  const { place, hermes } = await filled(300)
  const frame = storedFrames(place, 't').find(({ sequence }) => sequence === 100) as { file: string; offset: number }
  flipBit(frame.file, frame.offset + 500)
  const { damage, messages } = await hermes.verify('t')
  expect(messages).toBe(299)
  expect(damage).toMatchObject([
    { segment: 2, offset: frame.offset, bytes: 1032, firstSequence: 100, count: 1, file: '' },
  ])
  const before = contents(place)
  expect((await hermes.repair('t', { dryRun: true })).damage).toEqual(damage)
  expect(contents(place)).toEqual(before)
  const repaired = await hermes.repair('t')
  expect(repaired.damage).toMatchObject([
    { segment: 2, offset: frame.offset, bytes: 1032, firstSequence: 100, count: 1 },
  ])
  expect(statSync(repaired.damage[0]?.file as string).size).toBe(1032)
  expect(await hermes.verify('t')).toMatchObject({ damage: [], messages: 299, voids: 1, nextSequence: 301 })
  expect((await hermes.doctor()).findings.filter(({ check }) => check === 'quarantine')).toHaveLength(1)
})

test('verify goes on behind a segment that is truncated, missing, or of another header', async () => {
  const { place, hermes } = await filled(300)
  const pristine = `${place}.copy`
  cpSync(place, pristine, { recursive: true })
  const restore = () => cpSync(pristine, place, { recursive: true })
  const [, second = ''] = segmentFiles(place, 't')
  try {
    truncateSync(second, 10_000)
    expect((await hermes.verify('t')).damage).toMatchObject([
      { segment: 2, bytes: 10_000, reason: expect.stringContaining('truncated') },
    ])
    restore()
    renameSync(second, `${second}.away`)
    const missing = await hermes.verify('t')
    expect(missing).toMatchObject({ segments: 5, damage: [{ segment: 2, reason: 'the segment file is missing' }] })
    expect(missing.messages).toBeGreaterThan(200)
    rmSync(`${second}.away`)
    restore()
    flipBit(second, 20)
    expect((await hermes.verify('t')).damage).toMatchObject([{ segment: 2, offset: 0 }])
    restore()
    expect((await hermes.verify('t')).damage).toEqual([])
  } finally {
    rmSync(pristine, { recursive: true })
  }
})

test('verify notices zeros in the middle of a segment, at the end of the log, and in a base sequence', async () => {
  const { place, hermes } = await filled(300)
  const frames = storedFrames(place, 't')
  const [, second = ''] = segmentFiles(place, 't')
  const middle = frames.find(({ sequence }) => sequence === 100) as { offset: number }
  const kept = readFileSync(second)
  overwrite(second, middle.offset, Buffer.alloc(65_536 - middle.offset))
  const [damage] = (await hermes.verify('t')).damage
  const third = frames.find(({ file }) => file.endsWith('3.seg')) as { sequence: number }
  expect(damage).toMatchObject({ segment: 2, offset: middle.offset, firstSequence: 100, count: third.sequence - 100 })
  overwrite(second, 0, kept)
  const last = frames.at(-1) as { file: string; offset: number }
  overwrite(last.file, last.offset, Buffer.alloc(1032))
  expect((await hermes.verify('t')).damage).toMatchObject([
    { segment: 5, offset: last.offset, firstSequence: 300, count: 1 },
  ])
  const thirdFile = segmentFiles(place, 't')[2] as string
  overwrite(thirdFile, 64, Buffer.alloc(8))
  expect((await hermes.verify('t')).damage[0]).toMatchObject({
    segment: 3,
    reason: expect.stringContaining('base sequence'),
  })
})

test('a lost or damaged control file is damage, and repair makes a lost one again', async () => {
  const { place, hermes } = await filled(100)
  const control = join(topicFolder(place, 't'), 'control')
  flipBit(control, 20)
  expect((await hermes.verify('t')).damage).toMatchObject([{ segment: 0, reason: expect.stringContaining('damaged') }])
  rmSync(control)
  expect((await hermes.verify('t')).damage).toMatchObject([{ segment: 0, reason: expect.stringContaining('missing') }])
  expect((await hermes.repair('t')).damage).toEqual([])
  expect(await hermes.verify('t')).toMatchObject({ messages: 100, damage: [] })
})

test('verify goes on while somebody publishes; repair is refused then', async () => {
  const { hermes } = await filled(10)
  const publisher = await hermes.topic('t', settings).publisher()
  let messages = 10
  for (let round = 0; round < 20; round++) {
    const verifying = hermes.verify('t')
    for (let n = 0; n < 50; n++, messages++) publisher.publish(new Uint8Array(700))
    expect((await verifying).damage).toEqual([])
  }
  expect(await hermes.verify('t')).toMatchObject({ messages, damage: [] })
  await expect(hermes.repair('t')).rejects.toMatchObject({ code: 'EXCLUSIVE_HELD' })
  await publisher.close()
  expect((await hermes.repair('t')).damage).toEqual([])
})

test('an aborted verify says so', async () => {
  const { hermes } = await filled(300)
  const stop = new AbortController()
  const verifying = hermes.verify('t', { signal: stop.signal, concurrency: 1, onProgress: () => stop.abort() })
  await expect(verifying).rejects.toMatchObject({ code: 'ABORTED' })
  await expect(hermes.verify('t', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
})

test('bad calls are refused with a clear code', async () => {
  const { hermes } = await filled(1)
  await expect(hermes.verify('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(hermes.repair('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(hermes.verify('../t')).rejects.toMatchObject({ code: 'INVALID_NAME' })
  await expect(hermes.verify('t', { concurrency: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(hermes.repair('t', { dryrun: true } as object)).rejects.toMatchObject({ code: 'UNKNOWN_OPTION' })
  await hermes.close()
  await expect(hermes.verify('t')).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(hermes.doctor()).rejects.toMatchObject({ code: 'CLOSED' })
})

test('doctor names publishers, and topics that can not be looked at', async () => {
  const { place, hermes } = await filled(5)
  const publisher = await hermes.topic('t', settings).publisher()
  const { findings } = await hermes.doctor()
  expect(findings.map(({ check }) => check)).toEqual(
    expect.arrayContaining([
      'disk-room',
      'file-system',
      'rights',
      'shared-memory',
      'open-files',
      'tasks',
      'mappings',
      'kernel',
      'participants',
    ]),
  )
  expect(findings.find(({ check }) => check === 'participants')?.details).toMatchObject({
    publishers: [{ pid: process.pid }],
  })
  await publisher.close()
  flipBit(join(topicFolder(place, 't'), 'control'), 20)
  const sick = await hermes.doctor()
  expect(sick.severity).toBe('problem')
  expect(sick.findings.find(({ severity }) => severity === 'problem')).toMatchObject({
    check: 'files',
    topic: 't',
    details: { faults: [{ file: 'control', kind: 'header' }] },
  })
})
