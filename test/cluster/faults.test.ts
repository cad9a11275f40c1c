import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Hermes, open, type Publisher, text } from '../../lib/index.js'
import { streamOf } from '../../lib/placement/nats/definition.js'
import { seeded } from '../broker/harness.js'
import { type NatsCluster, type NatsServer, natsMissing, startNats } from '../helpers/nats-server.js'
import { pause } from '../helpers/receive.js'
import { faultsOf } from './oracle.js'
import { streamsOf } from './streams.js'

/** Of each kind of fault. `npm run campaign` has more. */
const rounds = Number(process.env['HERMES_CLUSTER_ROUNDS'] ?? 1)
const seed = Number(process.env['HERMES_CLUSTER_SEED'] ?? Date.now() % 100_000)

/** Publishes without end, and notes what was acknowledged, and as what. */
class Writer {
  sent = 0
  readonly acknowledged = new Map<string, number>()
  readonly failures: unknown[] = []
  readonly #name: string
  readonly #publisher: Publisher<string>
  #stop = false
  readonly #running: Promise<void>

  constructor(name: string, publisher: Publisher<string>) {
    this.#name = name
    this.#publisher = publisher
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    while (!this.#stop) {
      for (let n = 0; n < 7; n++) {
        const value = `${this.#name}:${this.sent++}`
        this.#publisher.publishAsync(value).then(
          ({ sequence }) => this.acknowledged.set(value, sequence),
          (error: unknown) => this.failures.push(error),
        )
      }
      await this.#publisher.ready()
      await pause(10)
    }
    await this.#publisher.close({ timeoutMs: 60_000 })
  }

  async stop(): Promise<void> {
    this.#stop = true
    await this.#running
  }
}

async function readAll(hermes: Hermes, count: number): Promise<Map<number, string>> {
  await using subscriber = await hermes.topic('orders', { codec: text }).subscriber({ from: 'earliest' })
  const stored = new Map<number, string>()
  if (count === 0) return stored
  for await (const { sequence, value } of subscriber) {
    stored.set(sequence, value)
    if (stored.size === count) break
  }
  return stored
}

describe.skipIf(natsMissing !== undefined)(`a cluster of three (seed ${seed})`, () => {
  let cluster: NatsCluster
  beforeAll(async () => {
    cluster = await startNats(3)
  }, 60_000)
  afterAll(() => cluster.close())

  async function leader(): Promise<NatsServer> {
    for (const until = performance.now() + 60_000; ; await pause(100)) {
      // (who asks during an election may not be answered at all)
      const name = await streamsOf(
        cluster.url,
        async (manager) => (await manager.streams.info(streamOf('orders'))).cluster?.leader,
        { timeout: 2000 },
      ).catch(() => undefined)
      if (name) return cluster.servers[Number(name.slice(1))] as NatsServer
      if (performance.now() > until) throw new Error('there is no leader')
    }
  }

  it(
    'loses and doubles nothing, whatever becomes of its leader',
    async () => {
      const random = seeded(seed)
      await using first = await open(cluster.url, { replicas: 3 })
      await using second = await open(cluster.url)
      const writers: Writer[] = []
      for (const [index, hermes] of [first, first, second].entries())
        writers.push(new Writer(`w${index}`, await hermes.topic('orders', { codec: text }).publisher()))
      const subscriber = await second.topic('orders', { codec: text }).subscriber({ from: 'earliest' })
      const seen = new Map<number, string>()
      const reading = (async () => {
        for await (const { sequence, value } of subscriber) seen.set(sequence, value)
      })()
      for (let round = 0; round < rounds; round++) {
        await pause(300 + random() * 500)
        const killed = await leader()
        await killed.kill()
        await pause(random() * 3000)
        await killed.start()
        await pause(300 + random() * 500)
        const stopped = await leader()
        stopped.send('SIGSTOP')
        await pause(6000 + random() * 5000)
        stopped.send('SIGCONT')
      }
      await pause(500)
      await Promise.all(writers.map((writer) => writer.stop()))
      const all = writers.reduce((sum, writer) => sum + writer.sent, 0)
      // As long as it moves: an election and a new consumer take some seconds.
      for (
        let last = -1, moved = performance.now();
        seen.size < all && performance.now() - moved < 45_000;
        await pause(100)
      ) {
        if (seen.size === last) continue
        last = seen.size
        moved = performance.now()
      }
      await subscriber.close()
      await reading
      const stored = await readAll(first, all)
      expect(faultsOf(stored, seen, writers)).toEqual([])
      expect(all).toBeGreaterThan(200)
    },
    60_000 + rounds * 90_000,
  )

  it('waits while there is no quorum, and goes on when there is one again', async () => {
    await using hermes = await open(cluster.url, { replicas: 3 })
    const publisher = await hermes.topic('orders', { codec: text }).publisher()
    const { sequence } = await publisher.publishAsync('before')
    const lost = cluster.servers.slice(1)
    await Promise.all(lost.map((server) => server.kill()))
    await expect(publisher.publishAsync('during', { timeoutMs: 1000 })).rejects.toMatchObject({ code: 'TIMED_OUT' })
    expect(publisher.unacknowledged).toBe(1)
    await Promise.all(lost.map((server) => server.start()))
    expect(await publisher.publishAsync('after')).toMatchObject({ sequence: sequence + 2 })
  }, 120_000)
})

it('has an oracle that can fail', () => {
  const writer = () => ({
    acknowledged: new Map([
      ['w0:0', 1],
      ['w0:1', 2],
    ]),
    failures: [] as unknown[],
    sent: 2,
  })
  const log = () =>
    new Map([
      [1, 'w0:0'],
      [2, 'w0:1'],
    ])
  expect(faultsOf(log(), log(), [writer()])).toEqual([])
  expect(faultsOf(new Map([...log(), [3, 'w0:1']]), log(), [writer()])).toContain('something is stored twice')
  expect(faultsOf(new Map([[1, 'w0:0']]), new Map([[1, 'w0:0']]), [writer()]).join()).toContain(
    'w0:1 was acknowledged as 2',
  )
  expect(
    faultsOf(
      new Map([
        [1, 'w0:1'],
        [2, 'w0:0'],
      ]),
      log(),
      [writer()],
    ).join(),
  ).toContain('order of w0')
  expect(faultsOf(log(), new Map(), [writer()])).toContain(
    'the subscriber saw 0 of 2, and as number 0 undefined in place of 1,w0:0',
  )
  expect(faultsOf(log(), log(), [{ ...writer(), sent: 3 }]).join()).toContain('2 of 3')
  expect(faultsOf(log(), log(), [{ ...writer(), failures: ['x'] }]).join()).toContain('failed')
})
