import { describe, expect, test } from 'vitest'
import { json } from '../../lib/codec/json.js'
import { text } from '../../lib/codec/text.js'
import { SpscByteRing } from '../../lib/ring/index.js'
import { dataOffset, word } from '../../lib/ring/layout.js'
import { codeOf, dump, golden, load, wordsOf } from './helpers.js'

function pair(capacity = 64, startIndex = 0) {
  const producer = SpscByteRing.create({ capacity, startIndex, role: 'producer' })
  return { producer, consumer: SpscByteRing.attach(producer.handle, { role: 'consumer' }) }
}

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

describe('a ring of frames', () => {
  test('carries frames of every length with their labels', () => {
    const { producer, consumer } = pair(1024)
    for (let length = 0; length <= producer.maxPayload; length++) {
      expect(producer.tryPush(filled(length, length & 255), length * 3)).toBe(true)
      expect(consumer.tryPop()).toEqual(filled(length, length & 255))
      expect(consumer.label).toBe(length * 3)
    }
    expect(consumer.tryPop()).toBeUndefined()
    expect(producer.size).toBe(0)
  })

  test('refuses a frame over the limit', () => {
    const { producer } = pair()
    expect(producer.maxPayload).toBe(24)
    expect(producer.tryPush(filled(24, 1))).toBe(true)
    expect(codeOf(() => producer.tryPush(filled(25, 1)))).toBe('PAYLOAD_TOO_LARGE')
    expect(codeOf(() => producer.claim(25))).toBe('PAYLOAD_TOO_LARGE')
    expect(codeOf(() => producer.tryPush(5 as unknown as Uint8Array))).toBe('ENCODE_FAILED')
    const words = SpscByteRing.create({ capacity: 64, codec: text, role: 'producer' })
    expect(codeOf(() => words.tryPush('x'.repeat(25)))).toBe('PAYLOAD_TOO_LARGE')
    expect(words.size).toBe(0)
  })

  test('crosses the wrap at every edge, also that of 32 bits', () => {
    for (let start = 0; start < 64; start += 8) {
      for (let a = 0; a <= 24; a++) {
        for (let b = 0; b <= 24; b++) {
          const { producer, consumer } = pair(64, (2 ** 32 - start) % 2 ** 32)
          expect(producer.tryPush(filled(a, 1))).toBe(true)
          const fits = producer.tryPush(filled(b, 2))
          expect(consumer.tryPop()).toEqual(filled(a, 1))
          if (!fits) expect(producer.tryPush(filled(b, 2))).toBe(true)
          expect(consumer.tryPop()).toEqual(filled(b, 2))
          expect(consumer.tryPop()).toBeUndefined()
        }
      }
    }
  })

  test('shows a claim only once it is committed, possibly shorter, and never when aborted', () => {
    const { producer, consumer } = pair(128)
    expect(producer.claim(40)).toBe(true)
    expect(codeOf(() => producer.claim(1))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => producer.tryPush(filled(1, 1)))).toBe('INVALID_ARGUMENT')
    expect(producer.claimOffset % 8).toBe(0)
    producer.region.bytes.set([1, 2, 3], producer.claimOffset)
    expect(consumer.tryPop()).toBeUndefined()
    expect(codeOf(() => producer.commit(41))).toBe('INVALID_ARGUMENT')
    producer.commit(3, 9)
    expect(consumer.tryPop()).toEqual(new Uint8Array([1, 2, 3]))
    expect(consumer.label).toBe(9)
    producer.claim(40)
    producer.abort()
    expect(codeOf(() => producer.commit(1))).toBe('INVALID_ARGUMENT')
    expect(producer.size).toBe(0)
    producer.claim(4)
    producer.close()
    expect(codeOf(() => producer.commit(4))).toBe('CLOSED')
    expect(consumer.tryPop()).toBeUndefined()
    expect(consumer.ended).toBe(true)
  })

  test('carries values of changing size, up to the last byte of room', () => {
    const producer = SpscByteRing.create({ capacity: 256, codec: json, role: 'producer' })
    const consumer = SpscByteRing.attach(producer.handle, { codec: json, role: 'consumer' })
    const values = Array.from({ length: 40 }, (_, i) => ({ i, text: 'x'.repeat(i) }))
    const got: unknown[] = []
    let sent = 0
    while (got.length < values.length) {
      sent += producer.pushBatch(values.slice(sent))
      got.push(...consumer.popBatch(3))
    }
    expect(got).toEqual(values)
    let small = 0
    while (producer.tryPush(1)) small++
    // 16 bytes a frame, also in the half of the ring where the largest value would have no room.
    expect(small).toBeGreaterThanOrEqual(15)
  })

  test('polls in batches and gives back what it handed out', () => {
    const { producer, consumer } = pair(256)
    for (let i = 0; i < 10; i++) producer.tryPush(filled(3, i), i)
    const labels: number[] = []
    expect(consumer.poll((_, label) => labels.push(label), 4)).toBe(4)
    expect(producer.size).toBe(6 * 16)
    expect(() =>
      consumer.poll((_, label) => {
        labels.push(label)
        if (label === 5) throw new Error('no')
      }),
    ).toThrow('no')
    expect(consumer.poll((_, label) => labels.push(label))).toBe(4)
    expect(labels).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(producer.size).toBe(0)
  })

  test('polls across padding', () => {
    const { producer, consumer } = pair(128)
    let sent = 0
    const got: number[] = []
    for (let round = 0; round < 50; round++) {
      while (producer.tryPush(filled(sent % 50, sent & 255), sent)) sent++
      consumer.poll((view, label) => {
        expect(view.length).toBe(label % 50)
        got.push(label)
      }, 3)
    }
    expect(got).toEqual(got.map((_, i) => i))
    expect(got.length).toBeGreaterThan(50)
  })

  test('ends a wait for room only when the refused frame fits', () => {
    const { producer, consumer } = pair(64, 40)
    expect(producer.tryPush(filled(8, 1))).toBe(true)
    expect(producer.tryPush(filled(24, 1))).toBe(true) // behind padding
    expect(producer.tryPush(filled(16, 1))).toBe(false)
    expect(producer.waitForRoom(0)).toBe(false)
    consumer.tryPop()
    expect(producer.waitForRoom(0)).toBe(true)
    expect(producer.tryPush(filled(16, 1))).toBe(true)
  })
})

describe('damage', () => {
  test('reports hostile lengths and never reads outside', () => {
    for (const length of [
      25, 56, 57, 1000, 0x7fff_ffff, 0x7fff_fff8, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0x8000_0039,
    ]) {
      const { producer, consumer } = pair()
      producer.tryPush(filled(8, 1))
      wordsOf(producer.handle)[dataOffset >> 2] = length
      expect(
        codeOf(() => consumer.tryPop()),
        String(length),
      ).toBe('CORRUPT')
      expect(
        codeOf(() => consumer.poll(() => undefined)),
        String(length),
      ).toBe('CORRUPT')
    }
  })

  test('reports a frame over the limit even if its bytes are there', () => {
    const { producer, consumer } = pair()
    producer.pushBatch([filled(24, 1), filled(24, 2)])
    wordsOf(producer.handle)[dataOffset >> 2] = 48
    expect(codeOf(() => consumer.tryPop())).toBe('CORRUPT')
  })

  test('reports damaged indices', () => {
    for (const damage of [4, 72, -(2 ** 31), -8]) {
      const { producer, consumer } = pair()
      wordsOf(producer.handle)[word.producerIndex] = damage
      expect(
        codeOf(() => consumer.tryPop()),
        String(damage),
      ).toBe('CORRUPT')
    }
  })
})

describe('the layout', () => {
  test('is made byte for byte as by the native ring', () => {
    const ring = SpscByteRing.create({ capacity: 256, startIndex: 0xffff_ffc0, parking: false, role: 'producer' })
    const payload = (length: number, label: number) => Uint8Array.from({ length }, (_, i) => label * 16 + i)
    for (const [label, length] of [5, 0, 24, 40].entries()) {
      expect(ring.tryPush(payload(length, label + 1), label + 1)).toBe(true)
    }
    // The first frame was taken, by a consumer that the image does not show as attached.
    wordsOf(ring.handle)[word.consumerIndex] = 0xffff_ffd0 | 0
    expect(dump(ring.handle)).toBe(golden('bytes'))
  })

  test('is read as the native ring wrote it', () => {
    const ring = SpscByteRing.attach(load('bytes', 2304), { role: 'consumer' })
    const got: [number, number][] = []
    ring.poll((view, label) => {
      got.push([label, view.length])
      expect([...view]).toEqual(Array.from({ length: view.length }, (_, i) => (label * 16 + i) & 255))
    })
    expect(got).toEqual([
      [2, 0],
      [3, 24],
      [4, 40],
    ])
  })
})
