import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { open, type Subscriber, text } from '../../dist/index.js'
import { foldersPerTest, makeFolder, removeFolder } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const libraries = makeFolder()
const library = join(libraries, 'fail-call.so')
/** As test/helpers/fail-call.c numbers it. */
const ringing = 23

beforeAll(() => {
  const source = join(import.meta.dirname, '../helpers/fail-call.c')
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread'])
  expect({ status, stderr: String(stderr) }).toEqual({ status: 0, stderr: '' })
})
afterAll(() => removeFolder(libraries))

/** How often the threads that sleep for this process's waits have gone to sleep. */
function sleepsOfThreads(): number {
  let sleeps = 0
  for (const task of readdirSync('/proc/self/task')) {
    try {
      if (readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim() !== 'hermes-wait') continue
      const status = readFileSync(`/proc/self/task/${task}/status`, 'utf8')
      sleeps += Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1])
    } catch {
      // It has just ended.
    }
  }
  return sleeps
}

/** Fields of the topic's control file, as docs/log-format.md has them. */
function bellsOf(place: string) {
  const control = readFileSync(join(place, 'topics', 't', 'control'))
  const taken = Array.from({ length: 16 }, (_, seat) => control.readBigUInt64LE(1344 + 16 * seat)).filter(
    (name) => name !== 0n,
  )
  return { armed: control.readBigUInt64LE(1280), taken: taken.length }
}

/** A publisher in another process. `order`: which of its rings fail, and how. */
async function publisher(place: string, order?: { first: number; times: number; error: number }) {
  const orders = join(place, '..', 'orders')
  const bytes = Buffer.alloc(4096)
  const { error, first, times } = order ?? { error: 0, first: 0, times: 0 }
  for (const [at, value] of [ringing, error, first, times].entries()) bytes.writeInt32LE(value, at * 4)
  writeFileSync(orders, bytes)
  const program = Program.start(
    'bell.mjs',
    { place, topic: 't' },
    { env: { ...process.env, LD_PRELOAD: library, HERMES_TEST_CALL: orders } },
  )
  await program.report('ready')
  const read = (at: number) => readFileSync(orders).readInt32LE(at)
  return {
    program,
    get rung() {
      return read(16)
    },
    get failed() {
      return read(20)
    },
  }
}

/** Sleeps for each message, and has the next one published only then. */
async function receive(subscriber: Subscriber<string, string>, program: Program, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const waiting = subscriber.ready()
    // (so that it sleeps by now)
    await new Promise((resolve) => setImmediate(resolve))
    program.tell(`message ${i}`)
    await waiting
    const values: string[] = []
    subscriber.poll((value) => void values.push(value))
    expect(values).toEqual([`message ${i}`])
  }
}

async function subscribed() {
  const place = join(folder(), 'place')
  const hermes = await open(place)
  const topic = hermes.topic('t', { codec: text })
  await (await topic.publisher()).close()
  return { place, hermes, topic, subscriber: await topic.subscriber({ wait: 'park' }) }
}

describe('a subscriber that sleeps in its event loop', () => {
  test('is woken by the publisher, without a thread in between', async () => {
    const { place, hermes, subscriber } = await subscribed()
    const publishing = await publisher(place)
    const { program } = publishing
    await receive(subscriber, program, 20)
    const before = sleepsOfThreads()
    await receive(subscriber, program, 500)
    // Two for each message otherwise. (A look-up that comes between a message and its ring makes one go by a thread.)
    expect(sleepsOfThreads() - before).toBeLessThan(250)
    expect(publishing.failed).toBe(0)
    await subscriber.close()
    expect(bellsOf(place)).toEqual({ armed: 0n, taken: 0 })
    program.tell('end')
    await program.finish()
    await hermes.close()
  }, 60_000)

  test('is woken by a thread where the publisher can’t reach it', async () => {
    const { place, hermes, subscriber } = await subscribed()
    const publishing = await publisher(place, { first: 1, times: 1_000_000, error: constants.errno.ECONNREFUSED })
    const { program } = publishing
    const before = sleepsOfThreads()
    await receive(subscriber, program, 100)
    expect(sleepsOfThreads() - before).toBeGreaterThanOrEqual(100)
    expect(bellsOf(place)).toEqual({ armed: 0n, taken: 0 })
    expect(publishing.failed).toBeLessThanOrEqual(1)
    program.tell('end')
    await program.finish()
    await hermes.close()
  }, 60_000)

  test.each([
    ['for a while', 5],
    ['from some time on', 1_000_000],
  ])(
    'loses nothing if the publisher can’t ring %s',
    async (_, times) => {
      const { place, hermes, subscriber } = await subscribed()
      const publishing = await publisher(place, { first: 30, times, error: constants.errno.ENOBUFS })
      const before = sleepsOfThreads()
      await receive(subscriber, publishing.program, 200)
      expect(publishing.failed).toBeGreaterThanOrEqual(1)
      // One message is found by a look-up; from then on threads wake it, until it is rung again.
      if (times > 5) expect(sleepsOfThreads() - before).toBeGreaterThanOrEqual(150)
      publishing.program.tell('end')
      await publishing.program.finish()
      await hermes.close()
    },
    60_000,
  )

  test('ends its wait when its time is over, its signal fires, it is closed, or its topic is deleted', async () => {
    const { place, hermes, topic, subscriber } = await subscribed()
    const { program } = await publisher(place)
    await receive(subscriber, program, 5)
    await expect(subscriber.ready({ timeoutMs: 30 })).rejects.toMatchObject({ code: 'TIMED_OUT' })
    const controller = new AbortController()
    const aborted = subscriber.ready({ signal: controller.signal })
    setTimeout(() => controller.abort(), 20)
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    await receive(subscriber, program, 5)
    const other = await topic.subscriber({ wait: 'park' })
    const closed = other.ready()
    setTimeout(() => void other.close(), 20)
    await expect(closed).rejects.toMatchObject({ code: 'CLOSED' })
    const deleted = expect(subscriber.ready()).rejects.toMatchObject({ code: 'TOPIC_DELETED' })
    await hermes.admin.deleteTopic('t', { force: true })
    await deleted
    program.kill()
    await hermes.close()
  }, 60_000)

  test('may be closed and have its signal fired at once, in both orders', async () => {
    const { place, hermes } = await subscribed()
    // In a process of its own: it used to end there and then.
    const program = Program.start('close-abort.mjs', { place, topic: 't', rounds: 100 })
    const { closed, aborted } = await program.report('done')
    expect((closed as number) + (aborted as number)).toBe(200)
    await program.finish()
    await hermes.close()
  }, 60_000)

  test('leaves its seat when its worker is terminated', async () => {
    const { place, hermes, subscriber } = await subscribed()
    const { program } = await publisher(place)
    const worker = new Worker(
      `import { parentPort, workerData } from 'node:worker_threads'
       const { open, text } = await import(workerData.dist)
       const hermes = await open(workerData.place)
       const subscriber = await hermes.topic('t', { codec: text }).subscriber({ wait: 'park' })
       parentPort.postMessage('ready')
       for (;;) { await subscriber.ready(); subscriber.poll(() => {}) }`,
      { eval: true, workerData: { dist: new URL('../../dist/index.js', import.meta.url).href, place } } as object,
    )
    await new Promise((resolve) => worker.once('message', resolve))
    await receive(subscriber, program, 50)
    expect(bellsOf(place).taken).toBe(2)
    await worker.terminate()
    expect(bellsOf(place).taken).toBe(1)
    await receive(subscriber, program, 50)
    program.tell('end')
    await program.finish()
    await hermes.close()
  }, 60_000)
})
