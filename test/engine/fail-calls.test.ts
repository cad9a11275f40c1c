import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Hermes, open, text } from '../../lib/index.js'
import { foldersPerTest, makeFolder, removeFolder } from '../helpers/folder.js'
import { until } from './host.js'

const { EAGAIN, ECONNABORTED, ECONNRESET, EMFILE, ENOBUFS, ENOMEM, EPIPE } = constants.errno

/** As test/helpers/fail-call.c numbers them. */
const call = { accept: 19, receive: 20, send: 21, watch: 22 }
const libraries = makeFolder()
const library = join(libraries, 'fail-call.so')
const source = join(import.meta.dirname, '../helpers/fail-call.c')
const hasCompiler = spawnSync('cc', ['--version']).error === undefined
if (!hasCompiler) console.warn('there is no C compiler: no system call of the engine is made to fail')

const folder = foldersPerTest()
let broker: ChildProcess | undefined

beforeAll(() => {
  if (!hasCompiler) return
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread'])
  expect({ status, stderr: String(stderr) }).toEqual({ status: 0, stderr: '' })
})
afterAll(() => removeFolder(libraries))
afterEach(async () => {
  if (broker === undefined) return
  const gone = once(broker, 'exit')
  broker.kill('SIGKILL')
  await gone
  broker = undefined
})

/** A broker whose calls fail as it is ordered. */
class Orders {
  readonly #file: number

  constructor(path: string) {
    writeFileSync(path, Buffer.alloc(4096))
    this.#file = openSync(path, 'r+')
  }

  /** From the one with the number `first` on, counted from now, so many of these calls fail. */
  give(number: number, error: number, first: number, times: number): void {
    const bytes = Buffer.alloc(28)
    for (const [at, value] of [0, error, first, times].entries()) bytes.writeInt32LE(value, at * 4)
    writeSync(this.#file, bytes, 0, bytes.length, 0)
    bytes.writeInt32LE(number)
    writeSync(this.#file, bytes, 0, 4, 0)
  }

  get failed(): number {
    const bytes = Buffer.alloc(28)
    readSync(this.#file, bytes, 0, bytes.length, 0)
    return bytes.readInt32LE(20)
  }

  close(): void {
    closeSync(this.#file)
  }
}

const lines: string[] = []

async function started(): Promise<{ readonly url: string; readonly orders: Orders }> {
  const dir = folder()
  const path = join(dir, 'orders')
  const orders = new Orders(path)
  lines.length = 0
  broker = spawn(
    process.execPath,
    [join(import.meta.dirname, '../broker/broker-process.mjs'), join(dir, 'data'), '0'],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LD_PRELOAD: library, HERMES_TEST_CALL: path, HERMES_TEST_ENGINE: 'epoll' },
    },
  )
  broker.stderr?.on('data', (data) => lines.push(...String(data).trim().split('\n')))
  const [url] = await once(broker.stdout as NodeJS.ReadableStream, 'data')
  return { url: String(url).trim(), orders }
}

/** A connection that is lost is made anew by itself, but for the first one. */
async function opened(url: string): Promise<Hermes> {
  return open(url).catch(() => open(url))
}

const cases: [string, number, number, number, number][] = [
  ['a connection has gone before it was accepted', call.accept, ECONNABORTED, 1, 3],
  ['there is no memory for a connection', call.accept, ENOBUFS, 1, 3],
  ['there is no descriptor for a connection', call.accept, EMFILE, 1, 4],
  ['there is nothing to read', call.receive, EAGAIN, 2, 200],
  ['a connection is reset as it is read', call.receive, ECONNRESET, 12, 1],
  ['there is no room to write', call.send, EAGAIN, 2, 200],
  ['there is no memory to write', call.send, ENOBUFS, 2, 200],
  ['there is no memory to write at all', call.send, ENOMEM, 5, 50],
  ['a connection is gone as it is written to', call.send, EPIPE, 12, 1],
  ['there is no memory to watch a socket', call.watch, ENOMEM, 2, 1],
]

describe.skipIf(!hasCompiler)('nothing is lost, doubled or left hanging when', () => {
  test.each(cases)(
    '%s',
    async (_, number, error, first, times) => {
      const { url, orders } = await started()
      const count = 500
      orders.give(number, error, first, times)
      await using there = await opened(url)
      await using here = await opened(url)
      const topic = { codec: text, segmentBytes: 1024 * 1024 }
      const publisher = await there.topic('t', topic).publisher()
      const subscriber = await here.topic('t', topic).subscriber({ from: 'earliest' })
      const values: string[] = []
      const reading = (async () => {
        for await (const { value } of subscriber) if (values.push(value) === count) break
      })()
      for (let n = 0; n < count; n++) {
        // (now and then alone, so that there are many calls)
        if (n % 20 === 0) await publisher.flush()
        if (!publisher.publish(`${n} ${'x'.repeat(n % 100 === 0 ? 20_000 : 40)}`)) await publisher.ready()
        if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await publisher.flush()
      await reading
      expect(values.map((value) => Number.parseInt(value, 10))).toEqual(Array.from({ length: count }, (_, n) => n))
      expect(orders.failed).toBeGreaterThanOrEqual(1)
      expect(broker?.exitCode).toBe(null)
      orders.close()
    },
    120_000,
  )

  test('the system has nothing for connections for a while: it says so, in few words, and listens again', async () => {
    const { url, orders } = await started()
    orders.give(call.accept, ENOMEM, 1, 1_000_000)
    const opening = open(url)
    await until('a few tries', () => orders.failed > 4)
    const told = lines.filter((line) => line.includes('listen-failed'))
    expect(told[0]).toContain('ENOMEM')
    // (it is tried ten times in a second, not without end; and a line in a second tells of it)
    expect(told.length).toBeLessThan(orders.failed)
    const before = orders.failed
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(orders.failed - before).toBeLessThan(50)
    orders.give(0, 0, 0, 0)
    await (await opening).close()
    orders.close()
  }, 60_000)
})
