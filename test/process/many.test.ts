import { expect, test } from 'vitest'
import { ascii, open, struct, u8, u32, type Wait } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { overwrite, storedFrames } from '../helpers/log-files.js'
import { Program } from '../helpers/program.js'
import { drain, pause } from '../helpers/receive.js'

const folder = foldersPerTest()

test('two publisher and two subscriber processes: a million messages, each seen once, dense, in the order of its producer', async () => {
  const place = folder()
  const consumers = (['park', 'adaptive'] as const).map((wait) =>
    Program.start('consume.mjs', { place, topic: 'ticks', total: 1_000_000, wait }),
  )
  await Promise.all(consumers.map((one) => one.report('open')))
  const producers = [1, 2].map((producer) =>
    Program.start('produce.mjs', { place, topic: 'ticks', producer, count: 500_000, batch: producer === 1 ? 1 : 100 }),
  )
  for (const one of producers) await one.finish()
  for (const one of consumers) {
    const result = await one.report('result')
    expect(result).toMatchObject({
      messages: 1_000_000,
      skipped: 0,
      wrong: 0,
      position: 1_000_001,
      next: { 1: 500_000, 2: 500_000 },
    })
    await one.finish()
  }
}, 120_000)

test('a killed publisher stops nobody for more than a second, and nothing it acknowledged is lost', async () => {
  const place = folder()
  const consumer = Program.start('consume.mjs', { place, topic: 'ticks', wait: 'adaptive' })
  await consumer.report('open')
  const steady = Program.start('produce.mjs', { place, topic: 'ticks', producer: 1, count: 1e9, paced: true })
  await steady.report('open')

  const acknowledged = new Map<number, number>()
  for (let round = 0; round < 16; round++) {
    const producer = 100 + round
    const batch = round % 4 === 0 ? 1 : 256
    const victim = Program.start('produce.mjs', {
      place,
      topic: 'ticks',
      producer,
      count: 1e9,
      batch,
      acknowledge: 4096,
    })
    await victim.report('acknowledged')
    // Any moment will do: within its own hot loop, where about one in five lies between claim and commit.
    await pause(Math.random() * 15)
    victim.kill()
    expect(await victim.ended).toMatchObject({ signal: 'SIGKILL' })
    acknowledged.set(producer, (await victim.report('acknowledged')).n as number)
  }

  steady.tell('stop')
  const { n: steadyCount } = await steady.report('done')
  await steady.finish()
  await using hermes = await open(place)
  const info = await hermes.info('ticks')
  consumer.tell(String(info.nextSequence))
  const result = (await consumer.report('result')) as unknown as {
    messages: number
    skipped: number
    wrong: number
    longestGapMs: number
    next: Record<string, number>
  }
  await consumer.finish()
  expect(result.wrong).toBe(0)
  expect(result.next[1]).toBe(steadyCount)
  for (const [producer, n] of acknowledged) expect(result.next[producer] ?? 0).toBeGreaterThanOrEqual(n)
  expect(result.longestGapMs).toBeLessThan(1000)
  // What subscribers did not see is what the log says holds no message.
  const voids = storedFrames(place, 'ticks').reduce((sum, one) => sum + (one.type === 'void' ? one.count : 0), 0)
  expect(result.skipped).toBe(voids)
  expect(result.messages + voids).toBe(info.nextSequence - 1)
}, 60_000)

test('a stopped publisher holds up those behind it, and only until it goes on', async () => {
  const place = folder()
  const one = Program.start('produce.mjs', { place, topic: 'ticks', producer: 1, count: 1e9, acknowledge: 1024 })
  await one.report('acknowledged')
  one.kill('SIGSTOP')
  // Another one publishes as ever: nobody waits for the one that stands still.
  const other = Program.start('produce.mjs', { place, topic: 'ticks', producer: 2, count: 10_000 })
  await other.finish()
  one.kill('SIGCONT')
  one.tell('stop')
  await one.finish()
  const { n } = await one.report('done')
  const consumer = Program.start('consume.mjs', { place, topic: 'ticks', total: 10_000 + (n as number) })
  expect(await consumer.report('result')).toMatchObject({ skipped: 0, wrong: 0, next: { 1: n, 2: 10_000 } })
  await consumer.finish()
}, 60_000)

/** The word that stands before a frame whose publisher has not committed it: see docs/log-format.md. */
function claimWord(slot: number, count: number, span: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(0xc1n | (BigInt(slot) << 8n) | (BigInt(count) << 18n) | (BigInt(span / 8) << 34n))
  return bytes
}

const ways: readonly (Wait | 'synced')[] = ['spin', 'yield', 'park', 'adaptive', 'synced']
for (const how of ways) {
  test(`what a publisher had claimed when it was killed holds up nobody for more than a second: ${how}`, async () => {
    const place = folder()
    await using hermes = await open(place)
    const Numbered = struct({ producer: u32, n: u32, filler: ascii(55), last: u8 })
    const topic = hermes.topic('ticks', { codec: Numbered, segmentBytes: 65_536 })
    // The first one takes slot 0, so the one that is killed has slot 1.
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest', wait: how === 'synced' ? 'park' : how })
    const killed = Program.start('produce.mjs', {
      place,
      topic: 'ticks',
      producer: 1,
      count: 10,
      segmentBytes: 65_536,
      abandon: true,
    })
    expect(await killed.ended).toMatchObject({ signal: 'SIGKILL' })
    expect(drain(subscriber, (view) => view.n)).toHaveLength(10)
    const last = storedFrames(place, 'ticks').at(-1)!
    overwrite(last.file, last.offset + last.span, claimWord(1, 3, 512))

    const begun = performance.now()
    publisher.publish({ producer: 2, n: 0, filler: '', last: 0 })
    expect(publisher.lastSequence).toBe(14)
    if (how === 'synced') await publisher.flush('synced')
    await subscriber.ready()
    expect(performance.now() - begun).toBeLessThan(1000)
    expect(drain(subscriber, (view) => view.producer)).toEqual([{ value: 2, sequence: 14 }])
    expect(storedFrames(place, 'ticks').filter((one) => one.type === 'void')).toMatchObject([
      { sequence: 11, count: 3, span: 512 },
    ])
    if (how === 'synced') expect((await topic.info()).syncedSequence).toBe(15)
  })
}
