import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { json, open } from '../../lib/index.js'
import { fromFs } from '../../lib/store/directory.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const onLinux = process.platform === 'linux'

test.skipIf(!onLinux)('a place where nothing can be made is refused at once', async () => {
  for (const place of ['/proc/x', '/proc/1/hermes/deeper', '/proc/self/x']) {
    const error = await failure('ACCESS_DENIED', () => open(place))
    expect(error.message).toMatch(/Choose another place/)
  }
  await failure('ACCESS_DENIED', () => open('/sys/x'))
  expect(existsSync('/proc/1/hermes')).toBe(false)
})

test('a directory that is not there is told in plain words, and what only a shell replaces is refused', async () => {
  const place = join(folder(), 'nowhere')
  const { message, details } = await failure('NOT_FOUND', () => open(place, { create: false }))
  expect(message).toContain(`There is no directory ${place}.`)
  expect(message).not.toContain('ENOENT')
  expect(details).toEqual({ path: place })
  for (const home of ['~', '~/data']) await failure('INVALID_ARGUMENT', () => open(home))
  expect(existsSync('~')).toBe(false)
})

test.each(['127.0.0.1:9000', 'localhost:9000', 'broker.example:9000', '[::1]:9000'])(
  'an address without a scheme, %s, is no directory that is made in passing',
  async (address) => {
    const { serve } = await import('../../lib/broker/index.js')
    await using here = await open(folder())
    for (const work of [
      () => open(address),
      () => open(address, { token: 'secret' }),
      () => serve({ dir: address, port: 0 }),
      () => here.backup(address),
    ]) {
      const { message } = await failure('INVALID_ARGUMENT', work)
      expect(message).toContain(`tcp://${address}`)
      expect(message).toContain(`./${address}`)
    }
    expect(existsSync(address)).toBe(false)
  },
)

test('a directory that has the name of an address is opened, if it is there', async () => {
  const address = join(folder(), '127.0.0.1:9000')
  await (await open(address)).close()
  const before = process.cwd()
  const hermes = await inFolder(address, () => open('127.0.0.1:9000'))
  expect(process.cwd()).toBe(before)
  await hermes.close()
})

/** Runs `work` where a relative path begins in the folder of `path`. (A thread has no working directory of its own.) */
async function inFolder<T>(path: string, work: () => Promise<T>): Promise<T> {
  const cwd = vi.spyOn(process, 'cwd').mockReturnValue(dirname(path))
  try {
    return await work()
  } finally {
    cwd.mockRestore()
  }
}

test('options of a broker say that a directory has none', async () => {
  for (const option of [{ token: 'secret' }, { tls: {} }, { reconnect: false }, { replicas: 3 }] as const) {
    const { message, details } = await failure('UNKNOWN_OPTION', () => open(join(folder(), 'data'), option))
    expect(details).toMatchObject({ option: Object.keys(option)[0] })
    expect(message).toContain('tcp://host:port')
  }
})

test('a place below a file, a device or a pipe, or that is one', async () => {
  const base = folder()
  const file = join(base, 'file')
  const pipe = join(base, 'pipe')
  writeFileSync(file, '')
  execFileSync('mkfifo', [pipe])
  for (const one of [file, pipe, '/dev/null'])
    for (const place of [one, join(one, 'x'), join(one, 'x', 'y')]) {
      await failure('NOT_A_DIRECTORY', () => open(place))
      // (one that may not be made and is not there is not there)
      await failure('NOT_A_DIRECTORY', () => open(place, { create: false }))
    }
})

test('links that lead nowhere or in a circle, and names that are too long, say so', async () => {
  const base = folder()
  const gone = join(base, 'gone')
  const dangling = join(base, 'dangling')
  const circle = join(base, 'circle')
  symlinkSync(gone, dangling)
  symlinkSync(circle, circle)
  for (const place of [dangling, join(dangling, 'x')]) {
    const error = await failure('NOT_FOUND', () => open(place))
    expect(error.message).toContain(`${dangling} is a symbolic link to ${gone}, which does not exist`)
  }
  expect(existsSync(gone)).toBe(false)
  expect((await failure('NOT_A_DIRECTORY', () => open(circle))).message).toMatch(/in a circle/)
  const long = [join(base, 'a'.repeat(300)), join(base, ...Array.from({ length: 500 }, () => 'abcdefghi'))]
  for (const place of long) expect((await failure('INVALID_ARGUMENT', () => open(place))).message).toMatch(/shorter/)
  expect(existsSync(join(base, 'abcdefghi'))).toBe(false)
})

test('a pipe in place of a description is no description', async () => {
  const place = join(folder(), 'data')
  await (await open(place)).close()
  rmSync(join(place, 'hermes.json'))
  execFileSync('mkfifo', [join(place, 'hermes.json')])
  expect((await failure('NOT_HERMES', () => open(place))).message).toMatch(/hermes.json is not a file/)
})

test('folders above a place get the usual mode, those that are there stay as they are', async () => {
  const base = join(folder(), 'base')
  mkdirSync(base, { mode: 0o755 })
  const { mode, ino } = statSync(base)
  const place = join(base, 'a', 'b', 'c')
  await Promise.all(Array.from({ length: 8 }, async () => (await open(place)).close()))
  expect(statSync(place).mode & 0o777).toBe(0o700)
  expect(statSync(base)).toMatchObject({ mode, ino })
})

test('too many open files: what node:fs reports says what to do', () => {
  for (const [code, errno, remedy] of [
    ['EMFILE', -24, /ulimit -n/],
    ['ENFILE', -23, /fs\.file-max/],
  ] as const) {
    const error = fromFs(Object.assign(new Error(`${code}: too many open files`), { code, errno }), 'read x')
    expect(error).toMatchObject({
      code: 'IO_FAILED',
      message: expect.stringMatching(remedy),
      details: { system: code },
    })
    expect((error as Error).message).not.toMatch(/device may be failing/)
  }
})

test.skipIf(!onLinux)('a process without a free file says what to do, whatever it opens', async () => {
  const dir = join(folder(), 'data')
  const program = Program.start('few-files.mjs', { dir }, { under: ['prlimit', '--nofile=64', '--'] })
  const { messages } = (await program.report('refused')) as unknown as { messages: { code: string; message: string }[] }
  await program.finish()
  expect(messages.length).toBe(4)
  for (const { code, message } of messages) {
    expect(['IO_FAILED', 'LIMIT'], message).toContain(code)
    expect(message).toMatch(/ulimit -n/)
    expect(message).not.toMatch(/device may be failing/)
  }
})

test('EXCLUSIVE_HELD names the topic and the processes that hold it', async () => {
  const place = join(folder(), 'data')
  await using hermes = await open(place)
  const topic = hermes.topic('orders', { codec: json<number>() })
  {
    await using _one = await topic.publisher({ exclusive: true })
    const error = await failure('EXCLUSIVE_HELD', () => topic.publisher())
    expect(error.message).toContain(`Topic 'orders' (held by pid ${process.pid})`)
    expect(error.message).toMatch(/Close the other publisher/)
    expect(error.details).toEqual({ topic: 'orders', pids: [process.pid] })
    expect((await failure('EXCLUSIVE_HELD', () => hermes.repair('orders'))).details).toMatchObject({
      topic: 'orders',
      pids: [process.pid],
    })
  }
  await using _two = await topic.publisher()
  const error = await failure('EXCLUSIVE_HELD', () => topic.publisher({ exclusive: true }))
  expect(error.details).toEqual({ topic: 'orders', pids: [process.pid] })
})
