import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { open, type Publisher, type Subscriber, text } from '../../lib/index.js'
import { BrokerProcess, type Fault, FaultyNetwork, pause, seeded } from './harness.js'

const rounds = Number(process.env.HERMES_FAULT_ROUNDS ?? 4)
const seed = Number(process.env.HERMES_FAULT_SEED ?? Date.now() % 100_000)
const settings = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }
const reconnect = { minMs: 5, maxMs: 40 }
/** Whoever gets nothing for so long, with everybody else done, never will. */
const stallMs = 20_000

let dir: string
let broker: BrokerProcess

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-faults-'))
  broker = await BrokerProcess.start(dir)
})

afterEach(async () => {
  await broker.kill()
  await rm(dir, { recursive: true, force: true })
})

/** Publishes without end, and notes what was acknowledged, and as what. */
class Writer {
  sent = 0
  readonly acknowledged = new Map<string, number>()
  readonly failures: unknown[] = []
  #stop = false
  #running: Promise<void> | undefined

  start(name: string, publisher: Publisher<string>): void {
    this.#running = (async () => {
      while (!this.#stop) {
        for (let n = 0; n < 20; n++) {
          const value = `${name}:${this.sent++}`
          publisher.publishAsync(value).then(
            ({ sequence }) => this.acknowledged.set(value, sequence),
            (error: unknown) => this.failures.push(error),
          )
        }
        await publisher.ready()
        await pause(1)
      }
      await publisher.flush()
      await publisher.close()
    })()
  }

  async stop(): Promise<void> {
    this.#stop = true
    await this.#running
  }
}

/** All that the log holds, each value at its sequence. */
async function readAll(): Promise<string[]> {
  await using local = await open(dir)
  const { nextSequence } = await local.info('t')
  const subscriber = await local.topic('t', settings).subscriber({ from: 'earliest' })
  const values: string[] = []
  const until = performance.now() + stallMs
  while (subscriber.position < nextSequence) {
    const read = subscriber.poll((value, { sequence }) => {
      values[sequence - 1] = value
    })
    if (read === 0 && performance.now() > until)
      throw new Error(`The log says that it goes on to ${nextSequence}; reading it ends at ${subscriber.position}.`)
  }
  return values
}

/** Waits for as long as more comes. Fails with what has come, and what stands in the log, if nothing does. */
async function seesAll(all: number, seen: readonly string[], subscriber: Subscriber<string, string>): Promise<void> {
  const count = () => seen.reduce((sum) => sum + 1, 0)
  let progress = { count: count(), at: performance.now() }
  while (progress.count < all) {
    await pause(10)
    if (count() > progress.count) progress = { count: count(), at: performance.now() }
    if (performance.now() - progress.at < stallMs) continue
    const stored = (await readAll()).reduce((sum) => sum + 1, 0)
    throw new Error(
      `The subscriber stands still: of ${all} messages ${stored} are in the log, and it has seen ${progress.count}; ` +
        `it is at ${subscriber.position}, ${subscriber.lag} behind. The broker says:\n${broker.log}`,
    )
  }
}

/** Acknowledged ⊆ stored at its sequence, nothing twice, each writer's order kept, and the subscriber saw the very log. */
async function judge(writers: readonly Writer[], seen: readonly string[]): Promise<void> {
  const stored = await readAll()
  expect(new Set(stored.filter((value) => value !== undefined)).size, 'stored, each once').toBe(
    stored.filter((value) => value !== undefined).length,
  )
  for (const [index, writer] of writers.entries()) {
    expect(writer.failures).toEqual([])
    expect(writer.acknowledged.size).toBe(writer.sent)
    for (const [value, sequence] of writer.acknowledged) {
      if (sequence !== 0)
        expect(stored[sequence - 1], `what the log holds at ${sequence} of ${stored.length}`).toBe(value)
    }
    const mine = stored.filter((value) => value?.startsWith(`w${index}:`))
    expect(mine).toEqual(Array.from({ length: writer.sent }, (_, n) => `w${index}:${n}`))
  }
  expect(seen).toEqual(stored)
}

async function run(
  disturb: (proxy: FaultyNetwork, random: () => number) => Promise<void>,
  fault: Fault = 'none',
): Promise<void> {
  const random = seeded(seed)
  const proxy = await FaultyNetwork.start(broker.port, random)
  proxy.fault = fault
  // A plain client, one with several connections that compresses, and one that is sent compressed what it reads.
  const hermes = await Promise.all(
    ([{}, { connections: 3, compression: 'deflate' }, { compression: 'deflate' }] as const).map((options) =>
      open(proxy.url, { reconnect, connectTimeoutMs: 2000, ...options }),
    ),
  )
  const writers = [new Writer(), new Writer()]
  for (const [index, writer] of writers.entries()) {
    writer.start(`w${index}`, await (hermes[index] as (typeof hermes)[0]).topic('t', settings).publisher())
  }
  const subscriber = await (hermes[2] as (typeof hermes)[0])
    .topic('t', settings)
    .subscriber({ from: 'earliest', wait: 'park' })
  const seen: string[] = []
  const faults: string[] = []
  const reading = (async () => {
    for await (const { value, sequence } of subscriber) {
      // A claim that a killed broker has left is a void: nobody was told of it.
      if (sequence <= seen.length) faults.push(`${sequence} came again after ${seen.length}`)
      seen[sequence - 1] = value
    }
  })()
  await disturb(proxy, random)
  proxy.fault = 'none'
  await Promise.all(writers.map((writer) => writer.stop()))
  const all = writers.reduce((sum, writer) => sum + writer.sent, 0)
  await seesAll(all, seen, subscriber)
  await subscriber.close()
  await reading
  expect(faults).toEqual([])
  expect(all).toBeGreaterThan(100)
  await judge(writers, seen)
  await Promise.all(hermes.map((one) => one.close()))
  await proxy.close()
}

describe(`under faults (seed ${seed})`, () => {
  it(
    `stores what it acknowledged exactly once when the broker is killed ${rounds} times`,
    async () => {
      await run(async (proxy, random) => {
        for (let round = 0; round < rounds; round++) {
          await pause(20 + random() * 300)
          const { port } = broker
          // In every other round the broker stores what it does not get around to acknowledging: that will be sent again.
          if (round % 2 === 0) {
            proxy.fault = 'mute'
            await pause(30)
          }
          await broker.kill()
          proxy.cut()
          proxy.fault = 'none'
          broker = await BrokerProcess.start(dir, port)
        }
        await pause(200)
      })
    },
    120_000 + rounds * 5000,
  )

  it('loses and doubles nothing when connections are cut in the middle', async () => {
    await run(async (proxy, random) => {
      for (let round = 0; round < rounds * 5; round++) {
        await pause(random() * 80)
        proxy.cut()
      }
      expect(proxy.cuts).toBeGreaterThan(rounds)
    }, 'cut')
  }, 60_000)

  it('goes on after a connection of which neither end knows that it is dead', async () => {
    await run(async (proxy) => {
      await pause(200)
      proxy.fault = 'half-open'
      await pause(2500)
      proxy.fault = 'none'
      await pause(300)
      expect(broker.log).toContain('silent')
    })
  }, 60_000)

  it('goes away in order when it is asked to, and its successor is found', async () => {
    await run(async () => {
      for (let round = 0; round < 2; round++) {
        await pause(150)
        const { port } = broker
        expect(await broker.kill('SIGTERM')).toBe(0)
        expect(broker.log).toContain('draining')
        broker = await BrokerProcess.start(dir, port)
      }
      await pause(150)
    })
  }, 60_000)

  it('keeps what killed clients had acknowledged, each message once and in order', async () => {
    const random = seeded(seed)
    await using hermes = await open(broker.url)
    await hermes.topic('t', settings).publisher()
    const acknowledged: number[] = []
    for (let n = 0; n < rounds; n++) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'publisher-process.mjs'), broker.url, `c${n}`])
      acknowledged[n] = 0
      child.stdout.on('data', (chunk) => {
        acknowledged[n] = Number(String(chunk).trim().split('\n').at(-1))
      })
      await once(child.stdout, 'data')
      await pause(random() * 150)
      child.kill('SIGKILL')
      await once(child, 'close')
    }
    // Whatever was on its way has arrived by now, and the broker has noticed.
    await pause(100)
    const stored = await readAll()
    for (const [n, count] of acknowledged.entries()) {
      const mine = stored.filter((value) => value.startsWith(`c${n}:`))
      expect(mine.length).toBeGreaterThanOrEqual(count)
      expect(mine).toEqual(Array.from({ length: mine.length }, (_, index) => `c${n}:${index}`))
    }
  }, 60_000)

  it('takes bytes one by one, and late', async () => {
    await run(async (proxy) => {
      await pause(400)
      proxy.fault = 'delay'
      await pause(400)
    }, 'trickle')
  }, 60_000)
})
