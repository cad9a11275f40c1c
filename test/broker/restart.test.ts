import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { HermesError, json, open, type Publisher, type Subscriber } from '../../lib/index.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { pause, seeded } from './harness.js'

const rounds = Number(process.env['HERMES_FAULT_ROUNDS'] ?? 50)
const clients = 20
const topics = ['a', 'b', 'c']
const codec = json<number>()

describe('an orderly restart of the broker', () => {
  let folder = ''
  let broker: Broker
  beforeEach(async () => {
    folder = makeFolder()
    broker = await serve({ dir: join(folder, 'data'), port: 0, limits: { maxHandshakesPerSecond: 100_000 } })
  })
  afterEach(async () => {
    await broker.close()
    removeFolder(folder)
  })

  it(`ends nobody who opens, publishes, subscribes or closes meanwhile: ${rounds} times`, async () => {
    const port = Number(new URL(broker.url).port)
    const options = { reconnect: { minMs: 2, maxMs: 20 } }
    const failures: unknown[] = []
    let stopping = false
    let published = 0
    let received = 0
    const places = await Promise.all(Array.from({ length: 4 }, () => open(broker.url, options)))

    const client = async (seed: number) => {
      const random = seeded(seed)
      const hermes = places[seed % places.length] as (typeof places)[number]
      while (!stopping) {
        const topic = hermes.topic(topics[Math.floor(random() * topics.length)] as string, { codec })
        if (random() < 0.5) {
          const publisher: Publisher<number> = await topic.publisher()
          for (let n = 0; n < 5 && !stopping; n++) {
            const receipt = await publisher.publishAsync(n)
            expect(receipt.timestampNs).toBeGreaterThan(0n)
            published++
            await pause(random() * 4)
          }
          await publisher.close()
        } else {
          const subscriber: Subscriber<number, number> = await topic.subscriber({ from: 'earliest' })
          for (let n = 0; n < 10 && !stopping; n++) {
            received += subscriber.poll(() => {})
            await pause(random() * 4)
          }
          await subscriber.close()
        }
      }
    }
    const running = Array.from({ length: clients }, (_, seed) =>
      client(seed + 1).catch((error: unknown) => failures.push(error)),
    )
    for (let round = 0; round < rounds && failures.length === 0; round++) {
      // Whoever was put off goes on: each broker gets something to store before it goes.
      const before = published
      const until = performance.now() + 60_000
      while (published === before && failures.length === 0) {
        if (performance.now() > until) throw new Error(`nothing was published after restart ${round}`)
        await pause(5)
      }
      await pause(20)
      await broker.drain(500)
      broker = await serve({ dir: join(folder, 'data'), port, limits: { maxHandshakesPerSecond: 100_000 } })
    }
    stopping = true
    await Promise.all(running)
    await Promise.all(places.map((place) => place.close()))
    expect(failures.map((error) => (error instanceof HermesError ? `${error.code}: ${error.message}` : error))).toEqual(
      [],
    )
    expect(published).toBeGreaterThanOrEqual(rounds)
    expect(received).toBeGreaterThan(0)
  }, 300_000)
})
