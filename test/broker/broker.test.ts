import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import { type Hermes, open, raw, text } from '../../lib/index.js'

let dir: string
let broker: Broker
let hermes: Hermes

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-broker-'))
  broker = await serve({ dir, port: 0 })
  hermes = await open(broker.url)
})

afterEach(async () => {
  await hermes.close()
  await broker.close()
  await rm(dir, { recursive: true, force: true })
})

const small = { segmentBytes: 1024 * 1024 }

describe('a topic over TCP', () => {
  it('delivers what was published, in order and with dense sequences', async () => {
    const topic = hermes.topic('a', { codec: text, ...small })
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const publisher = await topic.publisher()
    for (let n = 1; n <= 1000; n++) publisher.publish(`message ${n}`)
    await publisher.flush()
    expect(publisher.lastSequence).toBe(1000)
    const got: string[] = []
    for await (const message of subscriber) {
      expect(message.sequence).toBe(got.length + 1)
      got.push(message.value)
      if (got.length === 1000) break
    }
    expect(got[0]).toBe('message 1')
    expect(got[999]).toBe('message 1000')
  })

  it('gives a receipt with the sequence that a local subscriber sees', async () => {
    const topic = hermes.topic('a', { codec: text, ...small })
    const publisher = await topic.publisher()
    const receipts = await Promise.all(['x', 'y', 'z'].map((value) => publisher.publishAsync(value)))
    expect(receipts.map(({ sequence }) => sequence)).toEqual([1, 2, 3])
    await using local = await open(dir)
    const subscriber = await local.topic('a', { codec: text }).subscriber({ from: 'earliest' })
    const seen: [string, number, bigint][] = []
    for await (const { value, sequence, timestampNs } of subscriber) {
      seen.push([value, sequence, timestampNs])
      if (seen.length === 3) break
    }
    expect(seen).toEqual(['x', 'y', 'z'].map((value, n) => [value, n + 1, receipts[n]?.timestampNs]))
  })

  it('carries batches, large and empty payloads over several segments', async () => {
    const topic = hermes.topic('a', { codec: raw, ...small })
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const publisher = await topic.publisher()
    const sizes = Array.from({ length: 600 }, (_, n) => (n % 50 === 0 ? 65_536 : (n * 37) % 3000))
    const values = sizes.map((size, n) => Buffer.alloc(size, n))
    for (let at = 0; at < values.length; at += 100) {
      if (!publisher.publishBatch(values.slice(at, at + 100))) await publisher.ready()
    }
    await publisher.flush()
    let n = 0
    for await (const { value } of subscriber) {
      expect(Buffer.compare(value, values[n] as Buffer)).toBe(0)
      if (++n === values.length) break
    }
    const info = await hermes.info('a')
    expect(info.nextSequence).toBe(601)
    expect(info.segments).toBeGreaterThan(1)
  })

  it('carries what a local publisher writes to remote subscribers', async () => {
    await using local = await open(dir)
    const topic = hermes.topic('a', { codec: text, ...small })
    const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
    const publisher = await local.topic('a', { codec: text, ...small }).publisher()
    const got: string[] = []
    const reading = (async () => {
      for await (const { value } of subscriber) if (got.push(value) === 20) break
    })()
    for (let n = 0; n < 20; n++) {
      publisher.publish(`m${n}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await reading
    expect(got).toEqual(Array.from({ length: 20 }, (_, n) => `m${n}`))
  })

  it('reaches synced durability', async () => {
    const topic = hermes.topic('a', { codec: text, ...small })
    const publisher = await topic.publisher({ durability: 'synced' })
    const { sequence } = await publisher.publishAsync('x')
    expect((await hermes.info('a')).syncedSequence).toBeGreaterThan(sequence)
    const other = await topic.publisher()
    other.publish('y')
    await other.flush('synced')
    expect((await hermes.info('a')).syncedSequence).toBe(3)
  })
})
