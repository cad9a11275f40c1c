import { describe, expect, test } from 'vitest'
import { ascii, f64, u32 } from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { SpscRing, type SpscRingOptions } from '../../lib/ring/index.js'
import { word } from '../../lib/ring/layout.js'
import { codeOf, codeOfAsync, dump, golden, load, u32Of, u32s, wordsOf } from './helpers.js'

const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })

function pair(options: Partial<SpscRingOptions<Uint8Array, Uint8Array, Uint8Array>> = {}) {
  const producer = SpscRing.create({ capacity: 4, itemBytes: 4, ...options, role: 'producer' })
  return { producer, consumer: SpscRing.attach(producer.handle, { role: 'consumer' }) }
}

describe('a ring of fixed items', () => {
  test('holds its whole capacity and then refuses', () => {
    const { producer, consumer } = pair()
    expect(consumer.tryPop()).toBeUndefined()
    for (let i = 0; i < 4; i++) expect(producer.tryPush(u32s(i))).toBe(true)
    expect(producer.tryPush(u32s(4))).toBe(false)
    expect(producer.size).toBe(4)
    expect(u32Of(consumer.tryPop())).toBe(0)
    expect(producer.tryPush(u32s(4))).toBe(true)
    for (let i = 1; i <= 4; i++) expect(u32Of(consumer.tryPop())).toBe(i)
    expect(consumer.tryPop()).toBeUndefined()
    expect(consumer.ended).toBe(false)
  })

  test('crosses the edges of 31 and 32 bits in every phase', () => {
    for (const edge of [2 ** 31, 2 ** 32]) {
      for (let before = 1; before < 12; before++) {
        const { producer, consumer } = pair({ startIndex: edge - before })
        let next = 0
        let expected = 0
        for (let round = 0; round < 10; round++) {
          while (producer.tryPush(u32s(next))) next++
          expect(producer.size).toBe(4)
          for (let item = consumer.tryPop(); item !== undefined; item = consumer.tryPop()) {
            expect(u32Of(item)).toBe(expected++)
          }
        }
        expect(expected).toBe(40)
      }
    }
  })

  test('carries struct values, as values, views, batches and bytes', () => {
    const producer = SpscRing.create({ capacity: 8, codec: Trade, role: 'producer', startIndex: 2 ** 32 - 3 })
    const consumer = SpscRing.attach(producer.handle, { codec: Trade, role: 'consumer' })
    const trades = Array.from({ length: 12 }, (_, i) => ({ symbol: `S${i}`, price: i * 1.5, size: i }))
    expect(producer.pushBatch(trades)).toBe(8)
    expect(consumer.tryPop()).toEqual(trades[0])
    expect(consumer.popBatch(3)).toEqual(trades.slice(1, 4))
    expect(producer.pushBatch(trades.slice(8))).toBe(4)
    const seen: number[] = []
    expect(consumer.poll((view) => seen.push(view.price), 3)).toBe(3)
    expect(consumer.poll((view) => seen.push(view.price))).toBe(5)
    expect(seen).toEqual(trades.slice(4).map((trade) => trade.price))
    producer.tryPush(trades[1] as (typeof trades)[0])
    const bytes = new Uint8Array(30)
    expect(consumer.popInto(bytes, 5)).toBe(true)
    expect(new DataView(bytes.buffer).getFloat64(5 + 8, true)).toBe(1.5)
    expect(consumer.popInto(bytes)).toBe(false)
  })

  test('shows claimed items only once they are committed', () => {
    const { producer, consumer } = pair({ capacity: 8, startIndex: 6 })
    expect(producer.claim(5)).toBe(2) // side by side: two before the end
    producer.region.data.setUint32(producer.claimOffset, 70, true)
    producer.region.data.setUint32(producer.claimOffset + 4, 71, true)
    expect(consumer.peek()).toBe(0)
    expect(codeOf(() => producer.commit(9))).toBe('INVALID_ARGUMENT')
    producer.commit(2)
    expect(producer.claim(8)).toBe(6)
    producer.commit(0)
    expect(consumer.peek()).toBe(2)
    expect(consumer.region.data.getUint32(consumer.peekOffset + 4, true)).toBe(71)
    expect(codeOf(() => consumer.consume(3))).toBe('INVALID_ARGUMENT')
    consumer.consume(2)
    expect(producer.size).toBe(0)
    expect(codeOf(() => producer.claim(0))).toBe('INVALID_ARGUMENT')
  })

  test('counts an item as taken whose handler threw, and leaves the later ones', () => {
    const { producer, consumer } = pair()
    for (let i = 0; i < 4; i++) producer.tryPush(u32s(i))
    const fault = new Error('no')
    expect(() =>
      consumer.poll((item) => {
        if (u32Of(item) === 1) throw fault
      }),
    ).toThrow(fault)
    expect(producer.size).toBe(2)
    expect(u32Of(consumer.tryPop())).toBe(2)
  })

  test('lets a handler close the ring, and gives back what it took', () => {
    const { producer, consumer } = pair()
    for (let i = 0; i < 4; i++) producer.tryPush(u32s(i))
    expect(consumer.poll(() => consumer.close())).toBe(1)
    expect(producer.size).toBe(3)
    expect(codeOf(() => consumer.poll(() => undefined))).toBe('CLOSED')
    expect(SpscRing.attach(producer.handle, { role: 'consumer' }).popBatch().length).toBe(3)
  })

  test('refuses a poll inside a poll', () => {
    const { producer, consumer } = pair()
    producer.tryPush(u32s(1))
    expect(codeOf(() => consumer.poll(() => consumer.poll(() => undefined)))).toBe('BUSY')
  })
})

describe('roles', () => {
  test('refuses a second producer and a second consumer', () => {
    const { producer } = pair()
    expect(codeOf(() => SpscRing.attach(producer.handle, { role: 'producer' }))).toBe('EXCLUSIVE_HELD')
    expect(codeOf(() => SpscRing.attach(producer.handle, { role: 'consumer' }))).toBe('EXCLUSIVE_HELD')
    producer.close()
    expect(codeOf(() => SpscRing.attach(producer.handle, { role: 'producer' }))).toBe('none')
  })

  test('refuses the operations of the other role, and of none', () => {
    const { producer, consumer } = pair()
    const observer = SpscRing.attach(producer.handle, {})
    for (const ring of [consumer, observer]) {
      expect(codeOf(() => ring.tryPush(u32s(1)))).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.pushBatch([u32s(1)]))).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.claim())).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.commit(1))).toBe('INVALID_ARGUMENT')
    }
    for (const ring of [producer, observer]) {
      expect(codeOf(() => ring.tryPop())).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.poll(() => undefined))).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.popInto(new Uint8Array(8)))).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => ring.consume(1))).toBe('INVALID_ARGUMENT')
    }
    expect(producer.size).toBe(0)
  })

  test('gives the consumer the rest and then the end', () => {
    const { producer, consumer } = pair()
    producer.tryPush(u32s(7))
    producer.close()
    producer.close()
    expect(consumer.ended).toBe(false)
    expect(u32Of(consumer.tryPop())).toBe(7)
    expect(consumer.tryPop()).toBeUndefined()
    expect(consumer.ended).toBe(true)
    const successor = SpscRing.attach(consumer.handle, { role: 'producer' })
    successor.tryPush(u32s(8))
    expect(u32Of(consumer.tryPop())).toBe(8)
    expect(consumer.ended).toBe(false)
  })

  test('refuses every use after close', () => {
    const { producer, consumer } = pair()
    producer.tryPush(u32s(1))
    producer.tryPush(u32s(2))
    consumer.tryPop()
    producer.close()
    consumer.close()
    expect(codeOf(() => producer.tryPush(u32s(3)))).toBe('CLOSED')
    expect(codeOf(() => producer.pushBatch([u32s(3)]))).toBe('CLOSED')
    expect(codeOf(() => producer.claim())).toBe('CLOSED')
    expect(codeOf(() => producer.waitForRoom(0))).toBe('CLOSED')
    expect(codeOf(() => consumer.tryPop())).toBe('CLOSED')
    expect(codeOf(() => consumer.popBatch())).toBe('CLOSED')
    expect(codeOf(() => consumer.peek())).toBe('CLOSED')
    expect(codeOf(() => consumer.waitForItems(0))).toBe('CLOSED')
  })

  test('tells a producer at a full ring that the consumer closed or died', () => {
    const { producer, consumer } = pair()
    consumer.close()
    for (let i = 0; i < 4; i++) expect(producer.tryPush(u32s(i))).toBe(true)
    expect(codeOf(() => producer.tryPush(u32s(4)))).toBe('CLOSED')
    SpscRing.attach(producer.handle, { role: 'consumer' })
    expect(producer.tryPush(u32s(4))).toBe(false)
    expect(producer.evict('consumer')).toBe(true)
    expect(producer.evict('consumer')).toBe(false)
    expect(codeOf(() => producer.tryPush(u32s(4)))).toBe('PEER_DEAD')
    const successor = SpscRing.attach(producer.handle, { role: 'consumer' })
    expect(u32Of(successor.tryPop())).toBe(0)
  })

  test('tells a consumer that the producer died, after everything was read', () => {
    const { producer, consumer } = pair()
    producer.tryPush(u32s(1))
    producer.claim()
    consumer.evict('producer')
    expect(u32Of(consumer.tryPop())).toBe(1)
    expect(codeOf(() => consumer.tryPop())).toBe('PEER_DEAD')
    expect(codeOf(() => SpscRing.attach(consumer.handle, { role: 'producer', takeOver: true }))).toBe('none')
    expect(consumer.tryPop()).toBeUndefined()
  })

  test('takes a role over only when told to', () => {
    const { consumer } = pair()
    const successor = SpscRing.attach(consumer.handle, { role: 'producer', takeOver: true })
    expect(successor.tryPush(u32s(9))).toBe(true)
    expect(u32Of(consumer.tryPop())).toBe(9)
  })
})

describe('damage and waiting', () => {
  test('reports damaged indices and never leaves the ring', () => {
    for (const damage of [5, 1000, 2 ** 31 - 1, -5, -(2 ** 31)]) {
      const { producer, consumer } = pair()
      wordsOf(producer.handle)[word.producerIndex] = damage
      expect(
        codeOf(() => consumer.tryPop()),
        String(damage),
      ).toBe('CORRUPT')
      expect(codeOf(() => consumer.poll(() => undefined))).toBe('CORRUPT')
      wordsOf(producer.handle)[word.consumerIndex] = damage
      expect(
        codeOf(() => producer.tryPush(u32s(1))),
        String(damage),
      ).toBe('CORRUPT')
    }
  })

  test('ends a wait at its time limit, and refuses to sleep where nobody rings', () => {
    const { producer, consumer } = pair()
    expect(consumer.waitForItems(5)).toBe(false)
    expect(producer.waitForRoom(5)).toBe(true)
    while (producer.tryPush(u32s(1)));
    expect(producer.waitForRoom(5)).toBe(false)
    const silent = pair({ parking: false })
    expect(codeOf(() => silent.consumer.waitForItems(5))).toBe('UNSUPPORTED')
    expect(codeOf(() => consumer.waitForItems(-1))).toBe('INVALID_ARGUMENT')
  })

  test('ends an awaited wait by an item, by its signal and by an eviction', async () => {
    const { producer, consumer } = pair()
    const waiting = consumer.items()
    setTimeout(() => producer.tryPush(u32s(1)), 5)
    await waiting
    expect(u32Of(consumer.tryPop())).toBe(1)
    expect(await codeOfAsync(consumer.items({ signal: AbortSignal.timeout(5) }))).toBe('ABORTED')
    const doomed = codeOfAsync(consumer.items())
    consumer.evict('producer')
    expect(await doomed).toBe('PEER_DEAD')
  })
})

describe('the layout', () => {
  test('is made byte for byte as by the native ring', () => {
    const Order = struct({ id: f64, size: u32, check: u32 })
    expect(Order.maxBytes).toBe(16)
    const ring = SpscRing.create({ capacity: 8, itemBytes: 16, startIndex: 0xffff_fffc, role: 'producer' })
    // The native test marks the ring with a number of its own.
    new DataView(ring.handle.buffer).setBigUint64(40, 0x0123_4567_89ab_cdefn, true)
    const { buffer } = ring.handle
    const seal = async () => (await import('./helpers.js')).seal({ buffer, byteOffset: 0, byteLength: 64 })
    for (let i = 0; i < 6; i++) expect(ring.tryPush(u32s(1000 + i, 0, i, ~i >>> 0))).toBe(true)
    const consumer = SpscRing.create({ capacity: 2, itemBytes: 1 })
    consumer.close()
    // Two items were taken, by a consumer that the image does not show as attached.
    wordsOf(ring.handle)[word.consumerIndex] = 0xffff_fffe | 0
    return seal().then(() => expect(dump(ring.handle)).toBe(golden('spsc')))
  })

  test('is read as the native ring wrote it', () => {
    const handle = load('spsc', 2048 + 128)
    expect(codeOf(() => SpscRing.attach(handle, { role: 'producer' }))).toBe('EXCLUSIVE_HELD')
    const ring = SpscRing.attach(handle, { role: 'consumer' })
    expect(ring.size).toBe(4)
    for (let i = 2; i < 6; i++) {
      const item = ring.tryPop()
      expect([u32Of(item), u32Of(item, 2), u32Of(item, 3)]).toEqual([1000 + i, i, ~i >>> 0])
    }
    expect(ring.tryPop()).toBeUndefined()
  })
})
