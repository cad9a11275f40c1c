import { spawnSync } from 'node:child_process'
import { accessSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { foldersPerTest, removeFolder } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const { EACCES, EAGAIN, EDQUOT, EFAULT, EIO, EMFILE, ENFILE, ENOLCK, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, EROFS } =
  constants.errno

/** Numbers as test/helpers/fail-call.c has them, and how each call fails in life. */
const calls = {
  open: [1, EMFILE, EACCES, EIO, ENFILE, EROFS],
  fallocate: [2, ENOSPC, EIO, EOPNOTSUPP, EDQUOT],
  ftruncate: [3, ENOSPC, EIO],
  mmap: [4, ENOMEM],
  madvise: [5, EFAULT, ENOMEM],
  fdatasync: [6, EIO, ENOSPC, EDQUOT, EROFS],
  fsync: [7, EIO, ENOSPC],
  link: [8, EIO, ENOSPC, EPERM],
  rename: [9, EIO, ENOSPC],
  remove: [10, EIO, EACCES],
  lock: [11, ENOLCK, EIO],
  thread: [12, EAGAIN],
  read: [13, EIO],
  write: [14, ENOSPC, EIO],
  stat: [15, EIO],
  room: [16, EIO],
  folder: [17, EMFILE, EACCES],
  msync: [18, EIO],
}
const all = process.env.HERMES_FAIL_CALLS === 'all'
const once = 1
const forEver = 1_000_000

const made: string[] = []
afterEach(() => {
  for (const path of made.splice(0)) removeFolder(path)
})

/** In memory, where that can be: thousands of topics are made and synced. */
function quickFolder(): string {
  try {
    accessSync('/dev/shm')
    made.push(mkdtempSync('/dev/shm/hermes-fail-'))
    return made.at(-1) as string
  } catch {
    return folder()
  }
}

/** `undefined` without a C compiler. */
async function run(options: object): Promise<Record<string, unknown> | undefined> {
  const place = quickFolder()
  const library = join(place, 'fail-call.so')
  const source = join(import.meta.dirname, '../helpers/fail-call.c')
  const compiled = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread'])
  if (compiled.error !== undefined) return undefined
  expect(String(compiled.stderr)).toBe('')
  const orders = join(place, 'orders')
  writeFileSync(orders, Buffer.alloc(4096))
  mkdirSync(join(place, 'topics'))
  const program = Program.start(
    'fail-calls.mjs',
    { place: join(place, 'topics'), orders, calls, ...options },
    { env: { ...process.env, LD_PRELOAD: library, HERMES_TEST_CALL: orders } },
  )
  const result = await program.report('result')
  await program.finish()
  return result
}

/** By default a part of the calls in each way to fail; HERMES_FAIL_CALLS=all for each one. */
describe('each system call of the log that fails is told, loses nothing, damages nothing and leaks nothing', () => {
  test.each([
    ['once, in a new topic', { begins: ['empty'], times: once, most: all ? 300 : 40, step: all ? 1 : 11 }],
    [
      'from some time on, in a new topic',
      { begins: ['empty'], times: forEver, most: all ? 300 : 20, step: all ? 5 : 9 },
    ],
    [
      'once, in a topic that is to be recovered',
      {
        begins: ['copied', 'lost-control', 'failed-sync', 'damaged'],
        times: once,
        most: all ? 300 : 20,
        step: all ? 1 : 13,
      },
    ],
  ])(
    '%s',
    async (_, options) => {
      const result = await run(options)
      expect(result, 'there is no C compiler').toBeDefined()
      if (result === undefined) return
      expect(result.faults).toEqual([])
      expect(result.reached).toBeGreaterThan(50)
    },
    all ? 3_600_000 : 240_000,
  )
})

test('a folder that can’t be listed when a lost control file is made again is an error, and not an empty topic', async () => {
  const result = await run({
    calls: { folder: calls.folder },
    begins: ['lost-control'],
    times: once,
    most: 10,
    step: 1,
  })
  expect(result, 'there is no C compiler').toBeDefined()
  if (result === undefined) return
  expect(result.faults).toEqual([])
  expect(result.reached).toBeGreaterThan(4)
}, 120_000)
