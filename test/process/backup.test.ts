import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type Hermes, json, open, raw } from '../../lib/index.js'
import { readPayload } from '../../lib/testkit/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { flipBit, overwrite, segmentFiles, storedFrames } from '../helpers/log-files.js'

const folderOf = foldersPerTest()
const children = new Set<ChildProcess>()
afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  children.clear()
})

async function startPublisher(place: string, writer: number): Promise<ChildProcess> {
  const program = join(import.meta.dirname, 'programs/full-speed.mjs')
  const child = spawn(process.execPath, [program, place, 't', String(writer)], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.add(child)
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

/** Reads a topic of numbered messages from end to end, and checks that nothing is missing or wrong in it. */
async function readAll(hermes: Hermes, first: number, next: number): Promise<number> {
  const subscriber = await hermes.topic('t', { codec: raw, create: false }).subscriber({ from: 'earliest' })
  const numbers = new Map<number, number>()
  let expected = first
  let messages = 0
  while (subscriber.position < next) {
    const handled = subscriber.poll((payload, { sequence }) => {
      // (A killed publisher may leave a void: sequences that are no message.)
      expect(sequence).toBeGreaterThanOrEqual(expected)
      expected = sequence + 1
      const id = readPayload(payload)
      if (id === undefined) throw new Error(`message ${sequence} is not what was published`)
      const before = numbers.get(id.writer)
      if (before !== undefined) expect(id.number).toBe(before + 1)
      numbers.set(id.writer, id.number)
      messages++
    }, 256)
    if (handled === 0 && subscriber.lag === 0) break
  }
  expect(subscriber.position).toBe(next)
  await subscriber.close()
  return messages
}

describe('backup', () => {
  test('is exact at a sequence while four publishers write at full speed and retention removes segments', async () => {
    const folder = folderOf()
    const place = join(folder, 'place')
    const hermes = await open(place)
    for (let writer = 0; writer < 4; writer++) await startPublisher(place, writer)
    for (let round = 0; round < 20; round++) {
      const before = (await hermes.info('t')).nextSequence
      const to = join(folder, `backup-${round}`)
      const { topics } = await hermes.backup(to)
      expect(topics).toMatchObject([{ topic: 't', damage: [] }])
      const [{ firstSequence, nextSequence, segments }] = topics as [(typeof topics)[number]]
      expect(nextSequence).toBeGreaterThanOrEqual(before)
      const copy = await open(to)
      const report = await copy.verify('t')
      expect(report).toMatchObject({ damage: [], unfinished: 0, firstSequence, nextSequence, segments })
      expect(await copy.info('t')).toMatchObject({ firstSequence, nextSequence, retention: { bytes: 1 << 20 } })
      // More than one segment, or nothing would be said about what lies between them.
      expect(segments).toBeGreaterThan(2)
      expect(await readAll(copy, firstSequence, nextSequence)).toBe(report.messages)
      const publisher = await copy.topic('t', { codec: raw }).publisher()
      expect(publisher.recovery?.damage).toEqual([])
      expect(publisher.publish(Buffer.from('x'))).toBeDefined()
      expect(publisher.lastSequence).toBe(nextSequence)
      await copy.close()
    }
    await hermes.close()
    expect(readdirSync(folder).filter((name) => name.includes('.tmp'))).toEqual([])
  }, 240_000)

  test('of a publisher that died in the middle holds what follows its unfinished messages', async () => {
    const folder = folderOf()
    const place = join(folder, 'place')
    const hermes = await open(place)
    const dying = await startPublisher(place, 0)
    await startPublisher(place, 1)
    dying.kill('SIGKILL')
    await once(dying, 'exit')
    const to = join(folder, 'backup')
    const { topics } = await hermes.backup(to)
    const copy = await open(to)
    const [{ firstSequence, nextSequence }] = topics as [(typeof topics)[number]]
    await readAll(copy, firstSequence, nextSequence)
    await copy.close()
    await hermes.close()
  }, 60_000)

  test('holds topics of every kind, the empty one too, with modes and settings; only those that are named', async () => {
    const folder = folderOf()
    const hermes = await open(join(folder, 'place'), { mode: 0o640 })
    const a = await hermes
      .topic('a', { codec: json, maxPayloadBytes: 100, retention: { ageMs: 5_000_000 } })
      .publisher()
    a.publish({ n: 1 })
    await (await hermes.topic('b', { codec: json }).publisher()).close()
    writeFileSync(join(folder, 'place/topics/a/producers.json'), '{"producers":[]}')
    const seen: number[] = []
    mkdirSync(join(folder, 'all'))
    const report = await hermes.backup(join(folder, 'all'), { onProgress: ({ copiedBytes }) => seen.push(copiedBytes) })
    expect(report.topics.map(({ topic, nextSequence }) => [topic, nextSequence])).toEqual([
      ['a', 2],
      ['b', 1],
    ])
    expect(seen.length).toBeGreaterThan(0)
    expect(statSync(join(folder, 'all/topics/a/0000000001.seg')).mode & 0o777).toBe(0o640)
    expect(statSync(join(folder, 'all/topics/a/control')).mode & 0o777).toBe(0o640)
    expect(readFileSync(join(folder, 'all/topics/a/producers.json'), 'utf8')).toBe('{"producers":[]}')
    const copy = await open(join(folder, 'all'))
    expect(await copy.info('a')).toMatchObject({ maxPayloadBytes: 100, retention: { ageMs: 5_000_000 } })
    await copy.close()
    await hermes.backup(join(folder, 'one'), { topics: ['b'] })
    expect(readdirSync(join(folder, 'one/topics'))).toEqual(['b'])
    await hermes.close()
  })

  test('is refused where something lies, in the place itself, and leaves nothing when it is stopped', async () => {
    const folder = folderOf()
    const hermes = await open(join(folder, 'place'))
    const publisher = await hermes.topic('t', { codec: json }).publisher()
    publisher.publish(1)
    await failure('INVALID_ARGUMENT', () => hermes.backup(join(folder, 'place')))
    await failure('INVALID_ARGUMENT', () => hermes.backup(join(folder, 'place/backup')))
    await failure('INVALID_ARGUMENT', () => hermes.backup('shm:backup'))
    await failure('NOT_FOUND', () => hermes.backup(join(folder, 'x'), { topics: ['none'] }))
    mkdirSync(join(folder, 'full'))
    writeFileSync(join(folder, 'full/file'), '')
    await failure('INVALID_ARGUMENT', () => hermes.backup(join(folder, 'full')))
    await failure('ABORTED', () => hermes.backup(join(folder, 'y'), { signal: AbortSignal.abort() }))
    expect(readdirSync(folder).sort()).toEqual(['full', 'place'])
    await hermes.close()
  })

  test('of a damaged topic tells the damage, and holds everything else', async () => {
    const folder = folderOf()
    const place = join(folder, 'place')
    const hermes = await open(place)
    const publisher = await hermes.topic('t', { codec: json, segmentBytes: 65_536 }).publisher()
    for (let n = 0; n < 5000; n++) publisher.publish({ n })
    await publisher.close()
    flipBit(segmentFiles(place, 't')[1] as string, 256 + 40 * 100 + 34)
    const { topics } = await hermes.backup(join(folder, 'copy'))
    expect(topics[0]?.damage).toHaveLength(1)
    const copy = await open(join(folder, 'copy'))
    expect(await copy.verify('t')).toMatchObject({ damage: [], nextSequence: 5001 })
    await copy.close()
    // The place is as it was.
    expect((await hermes.verify('t')).damage).toHaveLength(1)
    expect(existsSync(join(place, 'topics/t/quarantine'))).toBe(false)
    await hermes.close()
  })

  test('copies what stands behind an unfinished message of 140 MiB', async () => {
    const folder = folderOf()
    const place = join(folder, 'place')
    const hermes = await open(place)
    const bytes = 140 << 20
    const settings = { codec: raw, segmentBytes: 2 ** 30, maxPayloadBytes: bytes, lowWaterBytes: 0 }
    const publisher = await hermes.topic('t', settings).publisher()
    publisher.publish(Buffer.from('first'))
    // Of zeros, as memory is that is claimed and not written yet.
    publisher.publish(Buffer.alloc(bytes))
    publisher.publish(Buffer.from('last'))
    const [, large] = storedFrames(place, 't')
    const claim = Buffer.alloc(8)
    // In the name of a publisher that is not there.
    claim.writeBigUInt64LE(0xc1n | (200n << 8n) | (1n << 18n) | (BigInt((large?.span ?? 0) / 8) << 34n))
    overwrite(large?.file ?? '', large?.offset ?? 0, claim)
    overwrite(large?.file ?? '', (large?.offset ?? 0) + 8, Buffer.alloc(24))
    const { topics } = await hermes.backup(join(folder, 'copy'))
    expect(topics[0]).toMatchObject({ nextSequence: 4, unfinished: 1 })
    const copy = await open(join(folder, 'copy'))
    const subscriber = await copy.topic('t', { codec: raw, create: false }).subscriber({ from: 'earliest' })
    const seen: [number, string][] = []
    while (subscriber.poll((value, { sequence }) => seen.push([sequence, Buffer.from(value).toString()]), 10) > 0);
    expect(seen).toEqual([
      [1, 'first'],
      [3, 'last'],
    ])
    await copy.close()
    await hermes.close()
  }, 240_000)
})
