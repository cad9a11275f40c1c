import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { serve } from '../../lib/broker/index.js'
import { type Hermes, open, raw, type Topic, type Watermarks } from '../../lib/index.js'
import { makePayload, Oracle, PowerLossSimulator, readEverything } from '../../lib/testkit/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'
import { overwrite, segmentFiles, topicFolder } from '../helpers/log-files.js'

const folder = foldersPerTest()
const codec = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 4096 }

async function marksOf(topic: Topic<Uint8Array, unknown, unknown>): Promise<Watermarks> {
  const { watermarks, nextSequence, syncedSequence } = await topic.info()
  expect([watermarks.written, watermarks.synced]).toEqual([nextSequence, syncedSequence])
  return watermarks
}

/** Waits for another thread or process; the time only bounds a hang. */
async function until(done: () => boolean | Promise<boolean>): Promise<void> {
  for (let look = 0; !(await done()); look++) {
    if (look === 3000) throw new Error('it did not happen')
    await sleep(10)
  }
}

async function synced(hermes: Hermes, sequence: number): Promise<void> {
  await until(async () => (await hermes.info('t')).watermarks.synced === sequence)
}

/* ---- acknowledgements ---- */

test('a synced publisher counts as unacknowledged what is published and not synced, whichever way it was published', async () => {
  await using hermes = await open(folder())
  const publisher = await hermes.topic('t', codec).publisher({ durability: 'synced' })
  const payload = new Uint8Array(8)
  expect(publisher.unacknowledged).toBe(0)
  const first = publisher.publishAsync(payload)
  expect(publisher.unacknowledged).toBe(1)
  // Nothing can be acknowledged in between: the event loop has no turn.
  const second = publisher.publishAsync(payload)
  expect(publisher.unacknowledged).toBe(2)
  await Promise.all([first, second])
  expect(publisher.unacknowledged).toBe(0)
  publisher.publishBatch(Array.from({ length: 300 }, () => payload))
  expect(publisher.unacknowledged).toBe(300)
  await publisher.flush()
  expect(publisher.unacknowledged).toBe(0)
})

/* ---- watermarks ---- */

test('watermarks tell what is claimed, written and synced', async () => {
  const place = folder()
  await using hermes = await open(place)
  const topic = hermes.topic('t', codec)
  const publisher = await topic.publisher()
  expect(await marksOf(topic)).toEqual({ claimed: 1, written: 1, synced: 1 })
  publisher.publishBatch(Array.from({ length: 5 }, () => new Uint8Array(8)))
  expect(await marksOf(topic)).toEqual({ claimed: 6, written: 6, synced: 1 })
  await publisher.flush('synced')
  publisher.publish(new Uint8Array(8))
  expect(await marksOf(topic)).toEqual({ claimed: 7, written: 7, synced: 6 })
  // A publisher that took room for 3 messages of 40 bytes each, and has not put them there yet: the only open one, in slot 0.
  const claim = Buffer.alloc(8)
  claim.writeBigUInt64LE(0xc1n | (0n << 8n) | (3n << 18n) | (15n << 34n))
  overwrite(segmentFiles(place, 't')[0] as string, 256 + 6 * 40, claim)
  expect(await marksOf(topic)).toEqual({ claimed: 10, written: 7, synced: 6 })
  const second = await topic.publisher()
  second.publish(new Uint8Array(8))
  expect(second.lastSequence).toBe(10)
  expect(await marksOf(topic)).toEqual({ claimed: 11, written: 7, synced: 6 })
})

test('watermarks are told over TCP and of a ring', async () => {
  const name = `watermarks-${process.pid}`
  onTestFinished(() => rmSync(`/dev/shm/hermes.rings-${name}`, { recursive: true, force: true }))
  await using broker = await serve({ dir: folder(), port: 0 })
  for (const [place, synced] of [
    [broker.url, 3],
    [`ring:${name}`, 1],
  ] as const) {
    await using hermes = await open(place)
    const topic = hermes.topic('t', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 4096 })
    const publisher = await topic.publisher()
    publisher.publishBatch([new Uint8Array(8), new Uint8Array(8)])
    if (synced === 3) await publisher.flush('synced')
    publisher.publish(new Uint8Array(8))
    await publisher.flush()
    expect(await marksOf(topic)).toEqual({ claimed: 4, written: 4, synced })
  }
})

test('hermes info prints the watermarks', async () => {
  const place = folder()
  const hermes = await open(place)
  const publisher = await hermes.topic('t', codec).publisher()
  publisher.publish(new Uint8Array(8))
  await publisher.flush('synced')
  publisher.publish(new Uint8Array(8))
  await hermes.close()
  const run = (...more: string[]) =>
    spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), 'info', 't', '--dir', place, ...more], {
      encoding: 'utf8',
    }).stdout
  expect(JSON.parse(run('--json'))).toMatchObject({ watermarks: { claimed: 3, written: 3, synced: 2 } })
  expect(run()).toMatch(/claimed before +3\n.*written before +3\n.*synced before +2\n/)
})

/* ---- interval syncing ---- */

test('syncs what was written, though nobody asks', async () => {
  await using hermes = await open(folder())
  const publisher = await hermes.topic('t', codec).publisher({ syncIntervalMs: 10 })
  for (let n = 0; n < 500; n++) publisher.publish(new Uint8Array(300))
  await synced(hermes, 501)
  publisher.publish(new Uint8Array(300))
  await synced(hermes, 502)
})

test('syncs also while the event loop has no turn', async () => {
  const place = folder()
  await using hermes = await open(place)
  const publisher = await hermes.topic('t', codec).publisher({ syncIntervalMs: 10 })
  publisher.publish(new Uint8Array(300))
  const control = join(topicFolder(place, 't'), 'control')
  const deadline = Date.now() + 30_000
  while (readFileSync(control).readBigUInt64LE(640 + 16) !== 2n) if (Date.now() > deadline) throw new Error('no sync')
  publisher.publish(new Uint8Array(300))
})

test('an interval that has not passed yet ends with the publisher', async () => {
  await using hermes = await open(folder())
  const topic = hermes.topic('t', codec)
  const publisher = await topic.publisher({ syncIntervalMs: 3_600_000 })
  publisher.publish(new Uint8Array(300))
  expect(await marksOf(topic)).toMatchObject({ written: 2, synced: 1 })
  await publisher.close()
  expect(await marksOf(topic)).toMatchObject({ written: 2, synced: 2 })
})

test('what keeps the interval from being kept ends the publisher, loudly', async () => {
  const place = folder()
  const hermes = await open(place)
  const topic = hermes.topic('t', codec)
  const publisher = await topic.publisher({ syncIntervalMs: 20 })
  for (let n = 0; n < 1000; n++) publisher.publish(new Uint8Array(300))
  for (const file of segmentFiles(place, 't').slice(0, -2)) rmSync(file)
  await until(() => {
    // What was synced before the files were gone, and what is known to be committed, is forgotten: it has to look at them.
    overwrite(join(topicFolder(place, 't'), 'control'), 512, Buffer.alloc(160))
    try {
      publisher.publish(new Uint8Array(300))
      return false
    } catch {
      return true
    }
  })
  const before = publisher.lastSequence
  for (const attempt of [
    () => publisher.publish(new Uint8Array(1)),
    () => publisher.publishBatch([new Uint8Array(1)]),
    () => publisher.publishAsync(new Uint8Array(1)),
    () => publisher.flush(),
  ])
    await failure('CORRUPT', attempt)
  expect(publisher.lastSequence).toBe(before)
  await failure('CORRUPT', () => publisher.close())
  await hermes.close()
})

test('what an interval has synced survives the loss of power', async () => {
  const place = join(folder(), 'source')
  const hermes = await open(place)
  let publisher = await hermes.topic('t', codec).publisher({ syncIntervalMs: 5 })
  const simulator = new PowerLossSimulator(place)
  const oracle = new Oracle()
  let number = 0
  const publish = (count: number) => {
    oracle.attempt(0, number + count)
    for (const end = number + count; number < end; number++) publisher.publish(makePayload({ writer: 0, number }, 200))
  }
  for (let round = 0; round < 5; round++) {
    publish(150)
    simulator.observe()
    await synced(hermes, number + 1)
    simulator.synced()
    for (let one = 0; one < number; one++) oracle.acknowledge({ writer: 0, number: one }, 'synced')
  }
  // No sync may happen that the simulator is not told of, so the last ones are published without.
  await publisher.close()
  publisher = await hermes.topic('t', codec).publisher()
  publish(150)
  simulator.observe()
  await hermes.close()
  for (let seed = 0; seed < 10; seed++) {
    const copy = `${place}-${seed}`
    simulator.image(copy, seed)
    const image = await open(copy)
    await (await image.topic('t', codec).publisher()).close()
    expect(oracle.check({ ...(await readEverything(image, 't')), level: 'synced' })).toEqual([])
    await image.close()
  }
})

test('refuses intervals that are none, and where there is nothing to sync', async () => {
  await using hermes = await open(folder())
  for (const syncIntervalMs of [0, -1, 1.5, Number.NaN, 3_600_001, '5'])
    await failure('INVALID_ARGUMENT', () => hermes.topic('t').publisher({ syncIntervalMs: syncIntervalMs as number }))
  const name = `durability-${process.pid}`
  onTestFinished(() => rmSync(`/dev/shm/hermes.rings-${name}`, { recursive: true, force: true }))
  await using ring = await open(`ring:${name}`)
  await failure('UNSUPPORTED', () => ring.topic('t').publisher({ syncIntervalMs: 5 }))
  await using broker = await serve({ dir: folder(), port: 0 })
  await using remote = await open(broker.url)
  await failure('UNSUPPORTED', () => remote.topic('t').publisher({ syncIntervalMs: 5 }))
})

/* ---- closing ---- */

test('the last publisher to close leaves little that a reboot would have to check', { timeout: 120_000 }, async () => {
  const place = folder()
  const onDisk = statfsSync(place).type !== 0x01021994
  await using hermes = await open(place)
  const topic = hermes.topic('t', { codec: raw, segmentBytes: 16 << 20, maxPayloadBytes: 1 << 20 })
  const payload = new Uint8Array(1 << 20)
  const publish = async (count: number) => {
    const publisher = await topic.publisher()
    for (let n = 0; n < count; n++) if (!publisher.publish(payload)) await publisher.ready()
    await publisher.close()
    return marksOf(topic)
  }
  expect(await publish(40)).toEqual({ claimed: 41, written: 41, synced: 1 })
  expect(await publish(40)).toEqual({ claimed: 81, written: 81, synced: onDisk ? 81 : 1 })
  expect(await publish(1)).toEqual({ claimed: 82, written: 82, synced: onDisk ? 81 : 1 })
})

/* ---- a lost `locks` file ---- */

test('a lost locks file is made again only when no process has the topic open', async () => {
  const place = folder()
  const locks = join(topicFolder(place, 't'), 'locks')
  const program = `
    const { open, raw } = await import(${JSON.stringify(join(root, 'dist/index.js'))})
    const hermes = await open(${JSON.stringify(place)})
    const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 65536 }).publisher()
    publisher.publish(new Uint8Array(8))
    process.stdout.write('open')
    process.stdin.once('data', async () => {
      publisher.publish(new Uint8Array(8))
      await publisher.flush('synced')
      await hermes.close()
      process.exit()
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  rmSync(locks)
  const hermes = await open(place)
  const topic = hermes.topic('t', { codec: raw })
  const refused = await failure('BUSY', () => topic.publisher())
  expect(refused.message).toContain('hermes repair')
  await failure('BUSY', () => topic.subscriber())
  await failure('BUSY', () => hermes.repair('t'))
  const { findings } = await hermes.doctor()
  const finding = findings.find(({ check }) => check === 'locks')
  expect(finding).toMatchObject({ severity: 'problem', topic: 't' })
  expect(finding?.message).toContain(`pid ${child.pid}`)
  expect(existsSync(locks)).toBe(false)
  child.stdin.write('\n')
  expect(await ended).toEqual([0, null])
  expect((await hermes.doctor()).findings.find(({ check }) => check === 'locks')).toMatchObject({ severity: 'warning' })
  expect(await hermes.repair('t')).toMatchObject({ damage: [] })
  expect(statSync(locks).mode & 0o777).toBe(0o600)
  const publisher = await topic.publisher()
  publisher.publish(new Uint8Array(8))
  expect(publisher.lastSequence).toBe(3)
  expect((await hermes.doctor()).findings.filter(({ check }) => check === 'locks')).toEqual([])
  await hermes.close()
})
