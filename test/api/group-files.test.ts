import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Hermes, type Job, json, open } from '../../lib/index.js'
import { flipBit } from '../../lib/testkit/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { publishMany } from '../helpers/receive.js'

/* Files of groups, as backup, verify, doctor and repair see them; and retention that waits for them. */

const folder = foldersPerTest()
const count = json<number>()
const small = { codec: count, segmentBytes: 65_536, maxPayloadBytes: 4096 }

async function handle(hermes: Hermes, group: string, many: number): Promise<number[]> {
  await using member = await hermes.topic('t', small).group(group)
  const values: number[] = []
  while (values.length < many && member.poll((value) => values.push(value), Math.min(256, many - values.length)) > 0);
  return values
}

async function withGroups(dir: string): Promise<Hermes> {
  const hermes = await open(dir)
  await using publisher = await hermes.topic('t', small).publisher()
  await publishMany(publisher, 0, 500)
  expect(await handle(hermes, 'one', 100)).toHaveLength(100)
  await using durable = await hermes.topic('t', small).subscriber({ name: 'engine', from: 'earliest' })
  durable.poll(() => {}, 40)
  await durable.commit()
  return hermes
}

it('a backup has groups and positions, never ahead of its messages', async () => {
  const dir = folder()
  await using hermes = await withGroups(dir)
  // In the middle of work: what it holds comes again in the copy.
  await using member = await hermes.topic('t', small).group('one')
  const jobs = member.batches(10)
  const held: Job<number>[] = (await jobs.next()).value ?? []
  expect(held.map(({ value }) => value)).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109])
  const to = join(folder(), 'copy')
  const report = await hermes.backup(to)
  expect(report.topics).toMatchObject([{ topic: 't', groups: 2, nextSequence: 501 }])
  await using copy = await open(to)
  expect((await copy.admin.groups('t')).map(({ name, lag }) => [name, lag.messages])).toEqual([
    ['engine', 460],
    ['one', 400],
  ])
  expect(await handle(copy, 'one', 500)).toEqual(Array.from({ length: 400 }, (_, n) => 100 + n))
  await using engine = await copy.topic('t', small).subscriber({ name: 'engine' })
  expect(engine.position).toBe(41)
  expect((await copy.verify('t')).damage).toEqual([])
  // The original has not changed by it.
  await member.ack(held)
  expect((await hermes.admin.describeGroup('t', 'one')).lag.messages).toBe(390)
})

it('verify and doctor name a damaged file, and repair sets it aside: the group can be made anew', async () => {
  const dir = folder()
  await using hermes = await withGroups(dir)
  const files = join(dir, 'topics/t/groups')
  expect((await hermes.verify('t')).damage).toEqual([])
  flipBit(join(files, 'one.grp'), 12, 3)
  truncateSync(join(files, 'engine.grp'), 4096)
  for (const name of ['one', 'engine']) {
    const { message } = await failure('CORRUPT', () => hermes.topic('t', small).group(name))
    expect(message).toMatch(/`hermes repair t`, which sets the file aside/)
    expect(message).toContain('`hermes groups reset t <group> <sequence>`')
  }
  const { damage } = await hermes.verify('t')
  expect(damage.map(({ reason, segment }) => [reason, segment])).toEqual([
    ["the file of group 'engine' has 4096 bytes, not 36864", 0],
    ["the file of group 'one' has a damaged header", 0],
  ])
  const { findings } = await hermes.doctor()
  const told = findings.filter(({ check }) => check === 'groups')
  expect(told.map(({ severity, details }) => [severity, details['group']])).toEqual([
    ['problem', 'engine'],
    ['problem', 'one'],
  ])
  expect((await hermes.repair('t', { dryRun: true })).damage).toHaveLength(2)
  expect(readdirSync(files).sort()).toEqual(['engine.grp', 'one.grp'])
  const repaired = await hermes.repair('t')
  expect(
    repaired.damage.map(({ file }) =>
      readdirSync(join(dir, 'topics/t/quarantine')).includes(file.split('/').at(-1) ?? ''),
    ),
  ).toEqual([true, true])
  expect(readdirSync(files)).toEqual([])
  expect((await hermes.verify('t')).damage).toEqual([])
  // As the message says: it is made anew by who joins it, and goes on where it is told to.
  await (await hermes.topic('t', small).group('one')).close()
  expect(await hermes.admin.resetGroup('t', 'one', 3)).toBe(3)
  expect(await handle(hermes, 'one', 3)).toEqual([2, 3, 4])
})

it('retention keeps what a group has not settled, up to its bound', async () => {
  const dir = folder()
  await using hermes = await open(dir)
  const topic = hermes.topic('t', { ...small, retention: { bytes: 2 * 65_536, waitForGroups: 6 * 65_536 } })
  await using publisher = await topic.publisher()
  await publishMany(publisher, 0, 10)
  expect(await handle(hermes, 'slow', 5)).toHaveLength(5)
  const fill = async (segments: number) => {
    // Some 1,000 messages to a segment.
    const before = (await hermes.info('t')).segments
    for (let n = 0; ; n++) {
      await publishMany(publisher, n * 200, 200)
      const { segments: now, firstSequence } = await hermes.info('t')
      if (now >= before + segments || firstSequence > 1) return
    }
  }
  await fill(3)
  // More than two segments, as the group is in the first one.
  expect(await hermes.info('t')).toMatchObject({ firstSequence: 1, segments: 4 })
  expect((await hermes.admin.describeGroup('t', 'slow')).totals.lost).toBe(0)
  // It settles, and they go.
  await hermes.admin.resetGroup('t', 'slow', 'latest')
  await hermes.admin.alterTopic('t', { retention: { bytes: 2 * 65_536, waitForGroups: 6 * 65_536 } })
  expect((await hermes.info('t')).segments).toBe(2)
  // Behind its bound it is not waited for.
  await hermes.admin.resetGroup('t', 'slow', 'earliest')
  const { firstSequence } = await hermes.info('t')
  for (let n = 0; (await hermes.info('t')).firstSequence === firstSequence && n < 200; n++)
    await publishMany(publisher, n * 200, 200)
  const after = await hermes.info('t')
  expect(after.firstSequence).toBeGreaterThan(firstSequence)
  expect(after.segments).toBeGreaterThan(4)
  expect(after.bytes).toBeLessThanOrEqual(7 * 65_536)
}, 60_000)
