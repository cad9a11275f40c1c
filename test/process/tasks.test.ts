import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'
import { Program, type Report } from '../helpers/program.js'

const folder = foldersPerTest()
const nobody = 65_534
const isRoot = process.getuid?.() === 0

/** Where thousands of topics are made: in memory, if there is room. */
function quickFolder(): string {
  if (!existsSync('/dev/shm')) return folder()
  const { bavail, bsize } = statfsSync('/dev/shm')
  if (bavail * bsize < 2 ** 31) return folder()
  const path = mkdtempSync('/dev/shm/hermes-test-')
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('500 parked subscribers of one process sleep on eight threads at most, and all wake', async () => {
  const program = Program.start('tasks.mjs', { place: folder(), mode: 'parked', subscribers: 500 })
  await program.finish()
  const rounds = program.reports as (Report & { waiting: number; seen: number })[]
  expect(rounds).toHaveLength(3)
  for (const { waiting, seen } of rounds) {
    expect(waiting).toBeGreaterThan(0)
    expect(waiting).toBeLessThanOrEqual(8)
    expect(seen).toBe(500)
  }
}, 120_000)

const prlimit = spawnSync('prlimit', ['--version']).status === 0
if (!prlimit) console.warn('prlimit is missing: nothing is tested at a limit of tasks')

test.skipIf(!prlimit)(
  'a process that gets no further thread publishes, syncs, waits, and says LIMIT where it can not',
  async () => {
    const place = folder()
    // The limit does not bind root.
    if (isRoot) chownSync(place, nobody, nobody)
    const user = isRoot ? { uid: nobody, gid: nobody } : {}
    const program = Program.start('tasks.mjs', { place, mode: 'limited', publishers: 20, subscribers: 5 }, user)
    expect(await program.report('limited')).toMatchObject({ status: 0 })
    const result = await program.report('result')
    await program.finish()
    expect(result).toMatchObject({ seen: 20 * 5 * 1000, own: 0, refused: 'LIMIT', warnings: ['HERMES_TASK_LIMIT'] })
  },
  120_000,
)

// HERMES_TOPICS=10000 for the whole number: some 16,000 open files.
const topics = Number(process.env.HERMES_TOPICS ?? 500)

test(`${topics} topics open in one process, a fifth of them published to, take 32 threads at most`, async () => {
  const program = Program.start('tasks.mjs', { place: quickFolder(), mode: 'many', topics, publishing: topics / 5 })
  const files = topics * 2 + 1000
  if (prlimit && files > 4096)
    spawnSync('prlimit', ['--pid', String(program.child.pid), `--nofile=${files}:${Math.max(files, 1_048_576)}`])
  const result = (await program.report('result')) as Report & { all: number; own: number; descriptors: number }
  await program.finish()
  expect(result).toMatchObject({ written: 10 * 1000 })
  expect(result.all).toBeLessThanOrEqual(32)
  expect(result.own).toBeLessThanOrEqual(18)
  // Four for a publisher, one for a subscriber, and one for the metrics of the place: what docs/operations.md says.
  expect(result.descriptors).toBeLessThanOrEqual((topics / 5) * 4 + (topics - topics / 5) + 1)
}, 600_000)

test('the first message of a topic may be larger than what was prepared for it, here and through a broker', async () => {
  const sizes = [1_048_000, 1_048_576, 1_950_000, 4_194_304, 8_388_608]
  const program = Program.start('tasks.mjs', { place: quickFolder(), mode: 'large', sizes })
  await program.finish()
  const messages = program.reports as (Report & { size: number; got: number })[]
  expect(messages).toHaveLength(2 * sizes.length)
  for (const { size, got } of messages) expect(got).toBe(size)
}, 120_000)
