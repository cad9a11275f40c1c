import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { flipBit, overwrite, segmentFiles, topicFolder } from '../helpers/log-files.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const count = json<number>()

/** A directory with a topic of three messages that was closed in order. */
async function filled(place: string, mode?: number): Promise<void> {
  await using hermes = await open(place, mode === undefined ? {} : { mode })
  await using publisher = await hermes.topic('counts', { codec: count, segmentBytes: 65_536 }).publisher()
  publisher.publishBatch([1, 2, 3])
}

test('makes directories that only their owner may enter, unless asked otherwise', async () => {
  const base = folder()
  for (const [mode, folders, files] of [
    [undefined, 0o700, 0o600],
    [0o660, 0o770, 0o660],
    [0o644, 0o755, 0o644],
  ] as const) {
    const place = join(base, String(mode))
    await filled(place, mode)
    const bits = (path: string) => statSync(path).mode & 0o777
    const topic = topicFolder(place, 'counts')
    for (const path of [place, join(place, 'topics'), topic]) expect(bits(path)).toBe(folders)
    const [segment] = segmentFiles(place, 'counts')
    for (const path of [
      join(place, 'hermes.json'),
      join(topic, 'topic.json'),
      join(topic, 'control'),
      join(topic, 'locks'),
      segment!,
    ]) {
      expect(bits(path)).toBe(files)
    }
  }
})

test('opens a path, a file URL as text and as an object, and what a link leads to', async () => {
  const base = folder()
  const place = join(base, 'a b', 'deeper')
  await filled(place)
  symlinkSync(place, join(base, 'link'))
  for (const one of [place, pathToFileURL(place), pathToFileURL(place).href, join(base, 'link'), `${place}/`]) {
    await using hermes = await open(one, { create: false })
    expect(await hermes.topics()).toEqual(['counts'])
  }
})

test('names the parameters of a file: URL, which has none', async () => {
  const error = await failure('INVALID_ARGUMENT', () => open('file:///tmp/hermes-a?create=false&mode=384'))
  expect(error.message).toContain("has query parameters ('create', 'mode'), and a file: URL of a place only a path")
})

test('refuses places that are none', async () => {
  for (const place of [
    '',
    'a\0b',
    'file:///a%00b',
    'file:///tmp/a?create=false',
    'file:///tmp/a?',
    'file:///tmp/a#b',
    'file://host/x',
    'file:///a%2Fb',
    undefined,
    null,
    5,
    {},
    ['./x'],
    Symbol('x'),
  ]) {
    await failure('INVALID_ARGUMENT', () => open(place as string))
  }
  for (const place of ['http://x/y', 'redis:x', new URL('https://x/')]) await failure('UNSUPPORTED', () => open(place))
  for (const name of ['', '../x', '.x', '-x', 'a/b', 'x'.repeat(129), 'a\n'])
    await failure('INVALID_NAME', () => open(`shm:${name}`))
  expect(existsSync('/dev/shm/hermes-')).toBe(false)
})

test('refuses options of open() that do not exist or can not be', async () => {
  const place = join(folder(), 'data')
  const error = await failure('UNKNOWN_OPTION', () => open(place, { crate: false } as never))
  expect(error.message).toContain("Did you mean 'create'?")
  for (const options of [null, 5, [], { create: 1 }, { mode: '600' }, { mode: 0o400 }, { mode: 0o1777 }]) {
    await failure('INVALID_ARGUMENT', () => open(place, options as never))
  }
  expect(existsSync(place)).toBe(false)
})

test('makes nothing where that was not asked for', async () => {
  const base = folder()
  await failure('NOT_FOUND', () => open(join(base, 'none'), { create: false }))
  await failure('NOT_HERMES', () => open(base, { create: false }))
  expect(existsSync(join(base, 'hermes.json'))).toBe(false)
})

test('refuses a directory that holds something else, and leaves it alone', async () => {
  const base = folder()
  writeFileSync(join(base, 'thesis.txt'), 'years of work')
  await failure('NOT_HERMES', () => open(base))
  writeFileSync(join(base, 'hermes.json'), '{"format":"something else"}')
  await failure('NOT_HERMES', () => open(base))
  writeFileSync(join(base, 'hermes.json'), '[]')
  await failure('NOT_HERMES', () => open(base))
  expect(readFileSync(join(base, 'thesis.txt'), 'utf8')).toBe('years of work')
  expect(existsSync(join(base, 'topics'))).toBe(false)
})

test('refuses a file in the place of a directory', async () => {
  const base = folder()
  const file = join(base, 'file')
  writeFileSync(file, '')
  await failure('NOT_A_DIRECTORY', () => open(file))
  await failure('NOT_A_DIRECTORY', () => open(file, { create: false }))
  await failure('NOT_A_DIRECTORY', () => open(join(file, 'deeper')))
  const place = join(base, 'data')
  await filled(place)
  writeFileSync(join(place, 'topics', 'taken'), '')
  await using hermes = await open(place)
  await failure('NOT_A_DIRECTORY', () => hermes.topic('taken', { codec: count }).publisher())
  expect(await hermes.topics()).toEqual(['counts'])
})

test('finishes a directory whose making was cut short', async () => {
  const place = folder()
  mkdirSync(join(place, 'topics', 'half'), { recursive: true })
  writeFileSync(join(place, 'hermes.json.tmp-1-abc'), '{"for')
  await filled(place)
  await using hermes = await open(place)
  expect(await hermes.topics()).toEqual(['counts'])
  await (await hermes.topic('half', { codec: count, segmentBytes: 65_536 }).publisher()).close()
})

const newer = (file: string) => writeFileSync(file, readFileSync(file, 'utf8').replace(/"version": ?1/, '"version":2'))
const two = Buffer.from([2, 0, 0, 0])

test('refuses what a newer version wrote: the directory, the topic, its control file, a segment', async () => {
  const place = folder()
  await filled(place)
  const topic = topicFolder(place, 'counts')
  const use = async () => {
    await using hermes = await open(place)
    const counts = hermes.topic('counts', { codec: count })
    await using subscriber = await counts.subscriber({ from: 'earliest' })
    subscriber.poll(() => {})
    await (await counts.publisher()).close()
  }
  await use()
  const damages: [string, (file: string) => void][] = [
    [join(place, 'hermes.json'), newer],
    [join(topic, 'topic.json'), newer],
    [join(topic, 'control'), (file) => overwrite(file, 8, two)],
    [segmentFiles(place, 'counts')[0]!, (file) => overwrite(file, 8, two)],
  ]
  for (const [file, change] of damages) {
    const before = readFileSync(file)
    change(file)
    const error = await failure('VERSION_MISMATCH', use)
    expect(error.message).toContain(file)
    overwrite(file, 0, before)
    await use()
  }
})

test('refuses damaged descriptions and control files, and still lists the other topics', async () => {
  const place = folder()
  await filled(place)
  const topic = topicFolder(place, 'counts')
  const use = async () => {
    await using hermes = await open(place)
    await using _ = await hermes.topic('counts', { codec: count }).subscriber()
  }
  const damages: [string, (before: Buffer) => Buffer, 'CORRUPT' | 'NOT_HERMES'][] = [
    [join(place, 'hermes.json'), () => Buffer.alloc(0), 'CORRUPT'],
    [join(place, 'hermes.json'), (before) => before.subarray(0, 10), 'CORRUPT'],
    [join(place, 'hermes.json'), () => Buffer.from('{"format":"hermes"}'), 'CORRUPT'],
    [join(topic, 'topic.json'), (before) => before.subarray(0, 30), 'CORRUPT'],
    [join(topic, 'topic.json'), () => Buffer.from('{"format":"hermes-topic","version":1}'), 'CORRUPT'],
    [join(topic, 'topic.json'), () => Buffer.from('{"format":"hermes"}'), 'NOT_HERMES'],
    [join(topic, 'control'), () => Buffer.alloc(0), 'CORRUPT'],
    [join(topic, 'control'), (before) => before.subarray(0, 4096), 'CORRUPT'],
    [join(topic, 'control'), () => Buffer.alloc(40_960), 'CORRUPT'],
  ]
  for (const [file, change, code] of damages) {
    const before = readFileSync(file)
    writeFileSync(file, change(before))
    const error = await failure(code, use)
    expect(error.message).toContain(file)
    if (file !== join(place, 'hermes.json')) {
      await using hermes = await open(place)
      expect(await hermes.topics()).toEqual(['counts'])
    }
    writeFileSync(file, before)
    await use()
  }
  // The checked part of the control file, bit by bit; the rest is caches.
  for (const offset of [0, 8, 12, 16, 24, 28, 32, 40, 55, 60]) {
    flipBit(join(topic, 'control'), offset, 3)
    const code = offset === 8 ? 'VERSION_MISMATCH' : 'CORRUPT'
    await failure(code, use)
    flipBit(join(topic, 'control'), offset, 3)
  }
  await use()
})

test.skipIf(process.getuid?.() !== 0)(
  'refuses what the user may not read or write, and reads what he may',
  async () => {
    const base = folder()
    chmodSync(base, 0o755)
    const mine = join(base, 'mine')
    const shown = join(base, 'shown')
    await filled(mine)
    await filled(shown, 0o644)
    const program = Program.start('stranger.mjs', { base, mine, shown }, { uid: 65_534, gid: 65_534 })
    expect(await program.report('codes')).toEqual({
      is: 'codes',
      made: 'ACCESS_DENIED',
      opened: 'ACCESS_DENIED',
      publisher: 'ACCESS_DENIED',
      topic: 'ACCESS_DENIED',
      retention: 'ACCESS_DENIED',
    })
    expect(await program.report('read')).toMatchObject({ values: [1, 2, 3], lag: 0, nextSequence: 4 })
    // One who may not write can't be woken, and still learns of news.
    await program.report('waiting')
    await using hermes = await open(shown)
    await using publisher = await hermes.topic('counts', { codec: count }).publisher()
    publisher.publish(4)
    expect(await program.report('news')).toMatchObject({ values: [4] })
    await program.finish()
  },
)
