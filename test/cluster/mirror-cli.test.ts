import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, text } from '../../lib/index.js'
import { seeded } from '../broker/harness.js'
import { type Running, usePlace } from '../cli/helpers.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'
import { numbers, pause, take } from '../helpers/receive.js'

const it = natsMissing === undefined ? test : test.skip
const rounds = Number(process.env['HERMES_CLUSTER_ROUNDS'] ?? 5)
const seed = Number(process.env['HERMES_CLUSTER_SEED'] ?? Date.now() % 100_000)
const place = usePlace()

let cluster: NatsCluster | undefined
beforeAll(async () => {
  if (natsMissing === undefined) cluster = await startNats(1)
}, 60_000)
afterAll(() => cluster?.close())
const url = () => (cluster as NatsCluster).url

it('publishes to a cluster, lists, describes, waits and reads, as in any other place', async () => {
  const at = ['--url', url()]
  expect(await place.hermes(['pub', 'greetings', 'hello', ...at])).toMatchObject({ code: 0 })
  const awaiting = place.start(['sub', 'later', '--await', '--count', '1', ...at])
  expect((await place.hermes(['topics', ...at])).lines).toEqual(['greetings'])
  expect((await place.hermes(['pub', 'later', 'now', ...at])).code).toBe(0)
  expect((await awaiting.ended).lines).toEqual(['now'])
  expect((await place.hermes(['sub', 'greetings', '--from', 'earliest', '--end', ...at])).lines).toEqual(['hello'])
  const info = JSON.parse((await place.hermes(['info', 'greetings', '--json', ...at])).stdout)
  expect(info.watermarks).toMatchObject({ written: 2, replicated: 2 })
  expect(await place.hermes(['sub', 'nothing', ...at])).toMatchObject({ code: 3 })
})

it('tells what is no topic in a place, and what can not be mirrored', async () => {
  for (const from of ['orders', 'nats://', '/orders', './data/', 'nats://a.example'])
    expect(await place.hermes(['mirror', from, './to/orders'])).toMatchObject({ code: 2 })
  expect(await place.hermes(['mirror', './data/orders', './to/orders'])).toMatchObject({ code: 3 })
})

it(
  `has each message once, in order, wherever the bridge is killed (seed ${seed})`,
  async () => {
    const random = seeded(seed)
    const data = join(place.folder, 'data')
    mkdirSync(data)
    await using local = await open(data)
    const publisher = await local.topic('orders', { codec: text }).publisher()
    let sent = 0
    const publishMore = (count: number) => {
      publisher.publishBatch(numbers(sent, count).map((n) => `value ${n} ${'x'.repeat(n % 300)}`))
      sent += count
    }
    publishMore(1000)
    const copied = (bridge: Running) =>
      Math.max(0, ...[...bridge.printed().matchAll(/"messages":(\d+)/g)].map(([, n]) => Number(n)))
    /** Publishes until a bridge has done something, so that it is killed in the midst of it. */
    const publishUntil = async (isEnough: () => boolean) => {
      for (; !isEnough(); await pause(random() * 10)) publishMore(1 + Math.floor(random() * 200))
    }
    for (const _ of numbers(0, rounds)) {
      const out = place.start(['mirror', './data/orders', `${url()}/orders`, '--json', '--interval', '10ms'])
      await publishUntil(() => copied(out) > 0)
      const back = place.start(['mirror', `${url()}/orders`, './back/orders', '--json', '--interval', '10ms'])
      await publishUntil(() => copied(back) > 0)
      const until = performance.now() + random() * 200
      await publishUntil(() => performance.now() > until)
      for (const bridge of random() < 0.5 ? [out, back] : [back, out]) {
        bridge.child.kill('SIGKILL')
        await pause(random() * 20)
      }
      await Promise.all([out.ended, back.ended])
    }
    for (const [from, to] of [
      ['./data/orders', `${url()}/orders`],
      [`${url()}/orders`, './back/orders'],
    ] as const) {
      const ended = await place.hermes(['mirror', from, to, '--once', '--json'])
      expect(ended).toMatchObject({ code: 0 })
      expect(JSON.parse(ended.lines.at(-1) as string)).toMatchObject({ sequence: sent + 1, lag: 0 })
    }
    await using there = await open(url())
    await using back = await open(join(place.folder, 'back'))
    const original = await take(await local.topic('orders', { codec: text }).subscriber({ from: 'earliest' }), sent)
    for (const hermes of [there, back]) {
      expect((await hermes.info('orders')).nextSequence).toBe(sent + 1)
      const mirrored = await take(await hermes.topic('orders', { codec: text }).subscriber({ from: 'earliest' }), sent)
      const wrong = mirrored.findIndex((one, n) => one.value !== original[n]?.value || one.sequence !== n + 1)
      expect([wrong, mirrored[wrong]]).toEqual([-1, undefined])
    }
  },
  60_000 + rounds * 10_000,
)
