import { expect } from 'vitest'
import { capabilitiesOf } from '../../lib/client/hermes.js'
import { f64, json, raw, struct, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, numbers, publishMany, same } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const Tick = struct({ n: u32, price: f64 })
const count = json<number>()

export function publishCase({ it }: Suite): void {
  it('numbers messages densely from 1', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    expect(publisher.lastSequence).toBe(0)
    await publishMany(publisher, 0, 1000)
    await publisher.flush()
    expect(publisher.lastSequence).toBe(1000)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const received = drain(subscriber, same)
    expect(received.map((one) => one.sequence)).toEqual(numbers(1, 1000))
    expect(received.map((one) => one.value)).toEqual(numbers(0, 1000))
  })

  it('stamps messages with the time of their publication', ['sharing', 'batchTimestamps'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    const before = BigInt(Date.now()) * 1_000_000n
    publisher.publish(1)
    publisher.publishBatch([2, 3])
    const { timestampNs } = await publisher.publishAsync(4)
    const after = BigInt(Date.now() + 1) * 1_000_000n
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const stamps: bigint[] = []
    subscriber.poll((_, message) => stamps.push(message.timestampNs))
    expect(stamps).toHaveLength(4)
    // The log's clock is read cheaply: it may be off by some microseconds.
    const slack = 1_000_000n
    for (const stamp of stamps) expect(stamp >= before - slack && stamp <= after + slack).toBe(true)
    expect(stamps[1]).toBe(stamps[2])
    expect(stamps[3]).toBe(timestampNs)
    const iterated = await topic.subscriber({ from: 'earliest' })
    for await (const batch of iterated.batches()) {
      expect(batch.map((message) => message.timestampNs)).toEqual(stamps)
      break
    }
  })

  for (const size of [0, 1, 2, 255, 256, 257, 511, 512, 1000]) {
    it(`publishes a batch of ${size}`, async ({ hermes }) => {
      const topic = hermes.topic('ticks', { codec: Tick })
      const publisher = await topic.publisher()
      const subscriber = await topic.subscriber({ from: 'earliest' })
      expect(publisher.publishBatch(numbers(0, size).map((n) => ({ n, price: n / 2 })))).toBe(true)
      await publisher.flush()
      expect(publisher.lastSequence).toBe(size)
      const received = await collect(subscriber, size, (view) => view.toObject())
      expect(received).toEqual(numbers(0, size).map((n) => ({ value: { n, price: n / 2 }, sequence: n + 1 })))
    })
  }

  it('is refused as replicated where there are no replicas, and says what to do', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const { replication } = capabilitiesOf(hermes)
    // (the cluster of these tests is of one server: test/cluster has three)
    const code = replication === true ? 'CONFIG_MISMATCH' : 'UNSUPPORTED'
    const error = await failure(code, () => topic.publisher({ durability: 'replicated' }))
    expect(error.message).toContain('nats://')
    if (replication === true) return
    const publisher = await topic.publisher()
    await failure('UNSUPPORTED', () => publisher.publishAsync(1, { durability: 'replicated' }))
    await failure('UNSUPPORTED', () => publisher.flush('replicated'))
    expect(publisher.lastSequence).toBe(0)
  })

  it('has one message reach the durability that is asked for', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publisher.publishAsync(1, { durability: 'written' })
    await failure('INVALID_ARGUMENT', () => publisher.publishAsync(2, { durability: 'sync' as never }))
    if (capabilitiesOf(hermes).syncing !== true) {
      await failure('UNSUPPORTED', () => publisher.publishAsync(2, { durability: 'synced' }))
      expect(publisher.lastSequence).toBe(1)
      return
    }
    const { sequence } = await publisher.publishAsync(2, { durability: 'synced' })
    expect(sequence).toBe(2)
    expect((await topic.info()).syncedSequence).toBe(3)
    const many = await Promise.all(numbers(0, 20).map((n) => publisher.publishAsync(n, { durability: 'synced' })))
    expect(many.map((one) => one.sequence)).toEqual(numbers(3, 20))
    expect((await topic.info()).syncedSequence).toBe(23)
  })

  it('takes a batch from a generator', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    function* values() {
      for (let n = 0; n < 700; n++) yield n
    }
    publisher.publishBatch(values())
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(0, 700))
  })

  it('keeps the values of a batch whole when its iterable uses the publisher', async ({ hermes }) => {
    const topic = hermes.topic('texts', { codec: json<string>() })
    const publisher = await topic.publisher()
    const codes: string[] = []
    function* values() {
      yield 'first of the batch'
      for (const use of [() => publisher.publish('between'), () => publisher.publishBatch(['between'])]) {
        try {
          use()
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      yield 'second of the batch'
    }
    publisher.publishBatch(values())
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const whole = await collect(subscriber, 2, same)
    expect(whole.map((one) => one.value)).toEqual(['first of the batch', 'second of the batch'])
    expect(codes).toEqual(['BUSY', 'BUSY'])
    // Nothing of that stays.
    publisher.publish('afterwards')
    expect(await collect(subscriber, 1, same)).toEqual([{ value: 'afterwards', sequence: 3 }])
  })

  it('keeps a value whole when its encoding uses the publisher', async ({ hermes }) => {
    const topic = hermes.topic('ticks', { codec: Tick })
    const publisher = await topic.publisher()
    const codes: string[] = []
    // Read in the middle of the encoding: what is published then would be written over its beginning.
    const meddling = (use: () => unknown) => ({
      n: 7,
      get price() {
        try {
          use()
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
        return 0.5
      },
    })
    const other = { n: 1, price: 1 }
    publisher.publish(meddling(() => publisher.publish(other)))
    publisher.publish(meddling(() => publisher.publishBatch([other])))
    publisher.publishBatch([meddling(() => publisher.publish(other))])
    await publisher.publishAsync(
      meddling(() => void publisher.publishAsync(other).catch(({ code }) => codes.push(code))),
    )
    expect(codes).toEqual(['BUSY', 'BUSY', 'BUSY', 'BUSY'])
    // An encoding that lets the failure out has failed, and nothing of that stays.
    const throwing = {
      n: 7,
      get price(): number {
        publisher.publish(other)
        return 0.5
      },
    }
    await failure('BUSY', () => publisher.publish(throwing))
    await failure('BUSY', () => publisher.publishAsync(throwing))
    publisher.publish(other)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const whole = { n: 7, price: 0.5 }
    const received = await collect(subscriber, 5, (view) => view.toObject())
    expect(received.map((one) => one.value)).toEqual([whole, whole, whole, whole, other])
  })

  it('goes on after a batch whose iterable threw', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    function* values() {
      yield 1
      throw new RangeError('no more')
    }
    expect(() => publisher.publishBatch(values())).toThrow(RangeError)
    publisher.publish(2)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect(drain(subscriber, same)).toEqual([{ value: 2, sequence: 1 }])
  })

  it('publishes batches of messages that are large for the segment', ['growth'], async ({ hermes }) => {
    // 256 of these take 59 KB, nearly the whole of a segment.
    const topic = hermes.topic('large', { codec: raw, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const values = numbers(0, 600).map((n) => new Uint8Array(200).fill(n))
    publisher.publishBatch(values)
    const received = await collect(subscriber, 600, (view) => view.slice())
    expect(received.map((one) => one.sequence)).toEqual(numbers(1, 600))
    expect(received.map((one) => one.value)).toEqual(values)
  })

  for (const durability of ['written', 'synced'] as const) {
    it(
      `gives a receipt for each of many publishes under way: ${durability}`,
      durability === 'synced' ? ['syncing'] : [],
      async ({ hermes }) => {
        const topic = hermes.topic('counts', { codec: count })
        const publisher = await topic.publisher({ durability })
        expect(publisher.durability).toBe(durability)
        const receipts = await Promise.all(numbers(0, 500).map((n) => publisher.publishAsync(n)))
        expect(receipts.map((receipt) => receipt.sequence)).toEqual(numbers(1, 500))
        const { nextSequence, syncedSequence } = await topic.info()
        expect(nextSequence).toBe(501)
        if (durability === 'synced') expect(syncedSequence).toBe(501)
        const subscriber = await topic.subscriber({ from: 'earliest' })
        expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(0, 500))
      },
    )
  }

  it('syncs when flush asks for it', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    await publisher.flush('synced')
    await publishMany(publisher, 0, 100)
    expect((await topic.info()).syncedSequence).toBe(1)
    await publisher.flush()
    expect((await topic.info()).syncedSequence).toBe(1)
    await publisher.flush('synced')
    expect((await topic.info()).syncedSequence).toBe(101)
  })

  it('has synced everything when a synced publisher was closed', ['syncing'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher({ durability: 'synced' })
    await publishMany(publisher, 0, 1000)
    publisher.publishBatch(numbers(0, 1000))
    await publisher.close()
    expect((await topic.info()).syncedSequence).toBe(2001)
  })

  it('resolves ready() where there is room', ['syncing'], async ({ hermes }) => {
    for (const durability of ['written', 'synced'] as const) {
      const publisher = await hermes.topic('counts', { codec: count }).publisher({ durability })
      publisher.publish(1)
      await publisher.ready()
      await publisher.close()
    }
  })

  it('interleaves publishers without loss, each in its own order', ['sharing'], async ({ hermes }) => {
    const topic = hermes.topic('ticks', { codec: Tick })
    const publishers = await Promise.all([0, 1, 2].map(() => topic.publisher()))
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (let n = 0; n < 300; n++) {
      for (const [index, publisher] of publishers.entries()) {
        if (n % 7 === index) publisher.publishBatch([{ n, price: index }])
        else publisher.publish({ n, price: index })
      }
    }
    const received = await collect(subscriber, 900, (view) => view.toObject())
    expect(received.map((one) => one.sequence)).toEqual(numbers(1, 900))
    for (const index of publishers.keys()) {
      expect(received.filter((one) => one.value.price === index).map((one) => one.value.n)).toEqual(numbers(0, 300))
    }
  })

  it('keeps topics apart', async ({ hermes }) => {
    const one = hermes.topic('one', { codec: count })
    const two = hermes.topic('two', { codec: count })
    const [first, second] = await Promise.all([one.publisher(), two.publisher()])
    await publishMany(first, 0, 10)
    await publishMany(second, 100, 5)
    expect(drain(await one.subscriber({ from: 'earliest' }), same).map((m) => m.value)).toEqual(numbers(0, 10))
    expect(drain(await two.subscriber({ from: 'earliest' }), same).map((m) => m.value)).toEqual(numbers(100, 5))
    expect(await hermes.topics()).toEqual(['one', 'two'])
  })

  it('lets one publisher have the topic to itself', ['exclusivity'], async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const only = await topic.publisher({ exclusive: true })
    await failure('EXCLUSIVE_HELD', () => topic.publisher())
    await failure('EXCLUSIVE_HELD', () => topic.publisher({ exclusive: true }))
    await publishMany(only, 0, 500)
    only.publishBatch(numbers(500, 500))
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(0, 1000))
    await only.close()
    const shared = await topic.publisher()
    await failure('EXCLUSIVE_HELD', () => topic.publisher({ exclusive: true }))
    await shared.close()
    await (await topic.publisher({ exclusive: true })).close()
  })
}
