import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { open, raw } from '../../lib/index.js'
import { crashPoints, flipBit, Oracle, overwrite, readEverything, runToCrashPoint } from '../../lib/testkit/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'
import { storedFrames, topicFolder } from '../helpers/log-files.js'

const folder = foldersPerTest()
const addon = join(root, 'build/crash-points/hermes.node')
const stamp = join(root, 'build/crash-points/hermes.sources')
const missing = !existsSync(addon) || !existsSync(stamp)
if (missing)
  console.log(`crash points: ${addon} is missing, so nothing is killed. Run: npm run build:native -- --crash-points`)
const writer = join(root, 'dist/testkit/kill-writer.js')

/** Those that a recovery from damage does not come to: see below, and LogRecoveryCrashAtLoweredMark in native/test/log_crash_test.cc. */
const special = new Set(['recover:written-anew', 'recover:lowered'])

/** The names in the calls of the core. */
function namesInTheCore(): string[] {
  const names = new Set<string>()
  for (const file of readdirSync(join(root, 'native/core'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.cc')) continue
    const text = readFileSync(join(root, 'native/core', file), 'utf8')
    for (const [, name = ''] of text.matchAll(/crash_point\("([^"]+)"\)/g)) names.add(name)
  }
  return [...names].sort()
}

test('the core lists all of its crash points', () => {
  const text = readFileSync(join(root, 'native/core/log/crash_point.cc'), 'utf8')
  const [, list = ''] = /kPoints\[\] = \{([^}]*)\}/.exec(text) ?? []
  const listed = [...list.matchAll(/"([^"]+)"/g)].map(([, name = '']) => name)
  expect(listed.length).toBeGreaterThan(10)
  expect(listed).toEqual(namesInTheCore())
})

test('a released addon has no crash points, and a path of none is told', async () => {
  expect(crashPoints()).toEqual([])
  const file = join(folder(), 'hermes.node')
  writeFileSync(file, 'no addon')
  const error = await failure('NATIVE_UNAVAILABLE', () => crashPoints(file))
  expect(error.message).toContain('--crash-points')
})

/** A place with a topic that rotates soon. */
async function fresh(): Promise<string> {
  const place = folder()
  const hermes = await open(place)
  await (await hermes.topic('t', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }).publisher()).close()
  await hermes.close()
  return place
}

/** What a writer told of itself, in the order in which it did. */
function hear(oracle: Oracle, id: number, stdout: string): void {
  let acknowledged = 0
  // A line that it was killed in the middle of says nothing.
  for (const line of stdout.split('\n').slice(0, -1)) {
    const [word = '', rest = ''] = line.split(' ')
    const end = Number(rest)
    if (word === 'attempt') oracle.attempt(id, end)
    if (word !== 'written' && word !== 'synced') continue
    for (let number = word === 'synced' ? 0 : acknowledged; number < end; number++)
      oracle.acknowledge({ writer: id, number }, word)
    acknowledged = end
  }
}

async function kill(place: string, oracle: Oracle, id: number, point: string, passage: number): Promise<void> {
  const report = await runToCrashPoint({ addon, point, passage, program: writer, args: [place, 't', String(id), '5'] })
  hear(oracle, id, report.stdout)
  if (!report.reached) throw new Error(`${point} was not reached: ${JSON.stringify(report).slice(0, 1000)}`)
}

/** Opens the topic without crash points, reads everything, and publishes on. */
async function judge(place: string, oracle: Oracle, level: 'written' | 'synced' | 'none'): Promise<void> {
  const hermes = await open(place)
  const publisher = await hermes.topic('t', { codec: raw }).publisher()
  expect(publisher.recovery?.ran).toBe(true)
  const reading = await readEverything(hermes, 't')
  expect(reading.damage).toEqual([])
  expect(oracle.check({ ...reading, level })).toEqual([])
  publisher.publish(new Uint8Array(8))
  expect(publisher.lastSequence).toBe(reading.nextSequence)
  await hermes.close()
}

describe.skipIf(missing)('a publisher that is killed', () => {
  const points = namesInTheCore().filter((name) => !/^(recover|rewrite|group|remove|metrics):/.test(name))

  beforeAll(() => {
    expect(crashPoints(addon)).toEqual(namesInTheCore())
  })

  test.each(points)('at %s loses nothing that it acknowledged', async (point) => {
    const place = await fresh()
    const oracle = new Oracle()
    await kill(place, oracle, 0, point, 1)
    await kill(place, oracle, 1, point, 2)
    await judge(place, oracle, 'written')
  })
})

describe.skipIf(missing)('a publisher that is killed while it recovers', () => {
  const points = namesInTheCore().filter((name) => name.startsWith('recover:') && !special.has(name))

  // After a power cut: an open claim, a message that never reached the disk in the middle, and bytes behind a torn tail. Only what was synced counts.
  test.each(points)('at %s leaves what the next one makes good', async (point) => {
    const place = await fresh()
    const oracle = new Oracle()
    await kill(place, oracle, 0, 'batch:claimed', 8)
    const control = join(topicFolder(place, 't'), 'control')
    if (point !== 'recover:void') {
      const frames = storedFrames(place, 't').filter(({ type }) => type === 'data')
      const synced = readFileSync(control).readBigUInt64LE(640 + 16)
      const unsynced = frames.filter(({ sequence }) => sequence >= synced)
      const middle = unsynced.at(-20)
      const torn = unsynced.at(-3)
      if (middle === undefined || torn === undefined) throw new Error(`only ${unsynced.length} messages are not synced`)
      flipBit(middle.file, middle.offset + 40)
      overwrite(torn.file, torn.offset + 33, Buffer.alloc(Math.min(12_000, 65_536 - torn.offset - 33), 0xee))
      overwrite(control, 896, Buffer.from('another boot id!'))
    }
    await kill(place, oracle, 1, point, 1)
    await judge(place, oracle, point === 'recover:void' ? 'written' : 'synced')
  })
})

describe.skipIf(missing)('a publisher that is killed while it makes a failed sync good', () => {
  const points = namesInTheCore().filter((name) => name.startsWith('rewrite:') || name === 'recover:written-anew')

  test.each(points)('at %s leaves that to the next one, and loses nothing', async (point) => {
    const place = await fresh()
    const oracle = new Oracle()
    await kill(place, oracle, 0, 'append:claimed', 100)
    const control = join(topicFolder(place, 't'), 'control')
    const noted = Buffer.alloc(16)
    const failure = 28n // ENOSPC, in the sync of generation 0
    noted.writeBigUInt64LE(failure, 0)
    noted.writeBigUInt64LE(failure ^ 0x48524d5350415245n, 8)
    overwrite(control, 680, noted)
    await kill(place, oracle, 1, point, 1)
    expect(readFileSync(control).subarray(680, 696)).toEqual(noted)
    await judge(place, oracle, 'written')
    expect(readFileSync(control).subarray(680, 696)).toEqual(Buffer.alloc(16))
  })
})

describe.skipIf(missing)('who deletes a topic by force and is killed', () => {
  const points = namesInTheCore().filter((name) => name.startsWith('remove:'))
  const deleter = `import { open } from ${JSON.stringify(join(root, 'dist/index.js'))}
    await (await open(process.argv[2])).admin.deleteTopic('t', { force: true })`

  test.each(points)('at %s leaves the topic or nothing', async (point) => {
    const place = await fresh()
    const user = await open(place)
    const publisher = await user.topic('t', { codec: raw }).publisher()
    publisher.publish(new Uint8Array(8))
    const program = join(folder(), 'deleter.mjs')
    writeFileSync(program, deleter)
    expect(await runToCrashPoint({ addon, point, program, args: [place] })).toMatchObject({ reached: true })
    const hermes = await open(place)
    if (point === 'remove:held' || point === 'remove:announced') {
      expect(await hermes.topics()).toEqual(['t'])
      publisher.publish(new Uint8Array(8))
      expect((await hermes.info('t')).nextSequence).toBe(3)
    } else {
      expect(await hermes.topics()).toEqual([])
      expect(readdirSync(join(place, 'topics'))).toEqual([expect.stringMatching(/^\.deleted-t-/)])
      // Whoever comes next tells those who use it, and removes the files.
      await hermes.admin.createTopic('t', { codec: raw })
      await failure('TOPIC_DELETED', () => publisher.publish(new Uint8Array(8)))
      expect((await hermes.info('t')).nextSequence).toBe(1)
    }
    await user.close()
    await hermes.admin.deleteTopic('t')
    expect(readdirSync(join(place, 'topics'))).toEqual([])
    await hermes.close()
  })
})

test.skipIf(missing)('a point that there is not is refused, and one that is not reached is told', async () => {
  const program = join(folder(), 'program.mjs')
  writeFileSync(program, `console.log(process.env.HERMES_CRASH); process.exitCode = 3`)
  const refused = await failure('INVALID_ARGUMENT', () => runToCrashPoint({ addon, point: 'apend:claimed', program }))
  expect(refused.message).toContain("'append:claimed'")
  await failure('INVALID_ARGUMENT', () => runToCrashPoint({ addon, point: 'append:claimed', passage: 0, program }))
  expect(await runToCrashPoint({ addon, point: 'append:claimed', passage: 7, program })).toEqual({
    reached: false,
    timedOut: false,
    exitCode: 3,
    stdout: 'append:claimed@7\n',
    stderr: '',
  })
  writeFileSync(program, 'setInterval(() => {}, 1000)')
  const stuck = await runToCrashPoint({ addon, point: 'append:claimed', program, timeoutMs: 500 })
  expect([stuck.reached, stuck.timedOut]).toEqual([false, true])
})
