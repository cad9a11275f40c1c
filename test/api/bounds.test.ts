import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { type Hermes, open, raw, type SubscriberOptions, text } from '../../lib/index.js'
import { PowerLossSimulator } from '../../lib/testkit/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { drain, same } from '../helpers/receive.js'

/* Subscribers that end somewhere, and those that see only what is synced. */

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 65_536, maxPayloadBytes: 4096 }

interface Place extends AsyncDisposable {
  readonly dir: string
  readonly hermes: Hermes
}

async function local(): Promise<Place> {
  const dir = folder()
  const hermes = await open(dir)
  return { dir, hermes, [Symbol.asyncDispose]: () => hermes.close() }
}

async function remote(): Promise<Place> {
  const dir = folder()
  const broker = await serve({ dir, port: 0, log: () => {} })
  const hermes = await open(broker.url)
  const close = async () => {
    await hermes.close()
    await broker.close()
  }
  return { dir, hermes, [Symbol.asyncDispose]: close }
}

/** All that an iteration yields until it ends by itself. */
async function all(hermes: Hermes, options: SubscriberOptions): Promise<string[]> {
  await using subscriber = await hermes.topic('t', small).subscriber({ from: 'earliest', ...options })
  const values: string[] = []
  for await (const { value } of subscriber) values.push(value)
  return values
}

async function publish(hermes: Hermes, values: readonly string[]): Promise<void> {
  await using publisher = await hermes.topic('t', small).publisher()
  for (const value of values) await publisher.publishAsync(value)
}

const names = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `m${from + index}`)

describe.each([
  ['in a directory', local],
  ['through a broker', remote],
])('%s', (_, place) => {
  it('a replay ends at what was there, behind a sequence, or in front of a time', async () => {
    await using there = await place()
    const { hermes } = there
    expect(await all(hermes, { until: 'latest' })).toEqual([])
    await publish(hermes, names(1, 300))
    const noon = new Date(Date.now() + 20)
    while (Date.now() <= noon.getTime()) await new Promise((resolve) => setTimeout(resolve, 5))
    await publish(hermes, names(301, 600))
    expect(await all(hermes, { until: 'latest' })).toEqual(names(1, 600))
    expect(await all(hermes, { until: 257 })).toEqual(names(1, 257))
    expect(await all(hermes, { until: 1 })).toEqual(['m1'])
    expect(await all(hermes, { until: noon })).toEqual(names(1, 300))
    expect(await all(hermes, { until: new Date() })).toEqual(names(1, 600))
    expect(await all(hermes, { from: 400, until: 402 })).toEqual(names(400, 402))
    expect(await all(hermes, { from: 400, until: 300 })).toEqual([])
    for (const until of ['earliest', 'now', 0, 1.5, new Date(Number.NaN)] as never[])
      await failure('INVALID_ARGUMENT', () => all(hermes, { until }))
  })

  it('a sequence to come is waited for; poll and ready end there, seek goes back in front of it', async () => {
    await using there = await place()
    const { hermes } = there
    await publish(hermes, ['m1', 'm2'])
    const waiting = all(hermes, { until: 4 })
    await using subscriber = await hermes.topic('t', small).subscriber({ from: 'earliest', until: 3 })
    await publish(hermes, ['m3', 'm4', 'm5'])
    expect(await waiting).toEqual(names(1, 4))
    const seen: string[] = []
    while (seen.length < 3) {
      await subscriber.ready()
      seen.push(...drain(subscriber, same).map(({ value }) => value))
    }
    expect(seen).toEqual(names(1, 3))
    await failure('OUT_OF_RANGE', () => subscriber.ready())
    expect(subscriber.poll(() => {})).toBe(0)
    subscriber.seek(2)
    const again: string[] = []
    for await (const { value } of subscriber) again.push(value)
    expect(again).toEqual(['m2', 'm3'])
  })

  it('a durable subscription that ends goes on from there', async () => {
    await using there = await local()
    await publish(there.hermes, names(1, 10))
    const first = await all(there.hermes, { name: 'n', commit: 'auto', until: 5 })
    const second = await all(there.hermes, { name: 'n', commit: 'auto', until: 'latest' })
    expect([first, second]).toEqual([names(1, 5), names(6, 10)])
  })

  it('what is not synced is not handed out, and comes once it is', async () => {
    await using there = await place()
    await using host = await open(there.dir)
    await using publisher = await host.topic('t', small).publisher()
    publisher.publish('m1')
    await publisher.flush('synced')
    for (const name of names(2, 400)) publisher.publish(name)
    await using subscriber = await there.hermes.topic('t', small).subscriber({ from: 'earliest', upTo: 'synced' })
    await subscriber.ready()
    expect(drain(subscriber, same).map(({ value }) => value)).toEqual(['m1'])
    await failure('TIMED_OUT', () => subscriber.ready({ timeoutMs: 150 }))
    const rest = (async () => {
      const values: string[] = []
      for await (const { value } of subscriber) {
        values.push(value)
        if (values.length === 399) break
      }
      return values
    })()
    await publisher.flush('synced')
    expect(await rest).toEqual(names(2, 400))
    publisher.publish('m401')
    await failure('TIMED_OUT', () => subscriber.ready({ timeoutMs: 150 }))
    const { watermarks } = await host.info('t')
    expect([watermarks.synced, subscriber.position]).toEqual([401, 401])
  })

  it('onBehind and onAbort hold here, too', async () => {
    await using there = await place()
    await using host = await open(there.dir)
    await publish(
      host,
      Array.from({ length: 100 }, () => 'x'.repeat(4000)),
    )
    await host.admin.alterTopic('t', { retention: { bytes: 2 * 65_536 } })
    const { firstSequence } = await host.info('t')
    expect(firstSequence).toBeGreaterThan(10)
    const topic = there.hermes.topic('t', small)
    await failure('BEHIND_RETENTION', async () => {
      await using strict = await topic.subscriber({ from: 1 })
      await strict.ready()
    })
    await using lenient = await topic.subscriber({ from: 1, onBehind: 'earliest', until: 'latest' })
    const sequences: number[] = []
    for await (const { sequence } of lenient) sequences.push(sequence)
    expect([sequences[0], sequences.at(-1)]).toEqual([firstSequence, 100])
    const stop = new AbortController()
    await using ending = await topic.subscriber({ signal: stop.signal, onAbort: 'end' })
    await using throwing = await topic.subscriber({ signal: stop.signal })
    const ended = (async () => {
      for await (const _ of ending);
      return 'ended'
    })()
    const thrown = failure('ABORTED', async () => {
      for await (const _ of throwing);
    })
    stop.abort()
    expect(await ended).toBe('ended')
    await thrown
  })
})

it('a ring has nothing that is synced', async () => {
  await using hermes = await open(`ring:bounds-${process.pid}`)
  await failure('UNSUPPORTED', () => hermes.topic('t', small).subscriber({ upTo: 'synced' }))
})

it('nothing that was handed out is lost in a power cut: 60 images of what a disk may hold', async () => {
  const dir = folder()
  const simulator = new PowerLossSimulator(dir)
  const delivered: string[] = []
  {
    await using hermes = await open(dir)
    const topic = hermes.topic('power', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 4096 })
    await using publisher = await topic.publisher()
    await using subscriber = await topic.subscriber({ from: 'earliest', upTo: 'synced' })
    publisher.publish(Buffer.from('0'))
    await publisher.flush('synced')
    simulator.synced()
    for (let n = 1; n <= 120; n++) {
      publisher.publish(Buffer.from(`${n} ${'x'.repeat((n * 37) % 2000)}`))
      simulator.observe()
      if (n % 13 === 0) {
        await publisher.flush('synced')
        simulator.synced()
      }
      subscriber.poll((bytes) => delivered.push(Buffer.from(bytes).toString()))
    }
    expect(delivered.length).toBeGreaterThan(100)
    // Some are there and were not handed out: else the test could not fail.
    expect(delivered.length).toBeLessThan(121)
  }
  for (let seed = 1; seed <= 60; seed++) {
    const image = join(folder(), `image-${seed}`)
    simulator.image(image, seed)
    await using hermes = await open(image)
    const topic = hermes.topic('power', { codec: raw })
    await (await topic.publisher()).close()
    await using subscriber = await topic.subscriber({ from: 'earliest' })
    const there = new Set(drain(subscriber, (bytes) => Buffer.from(bytes).toString()).map(({ value }) => value))
    expect(delivered.filter((one) => !there.has(one))).toEqual([])
  }
}, 120_000)
