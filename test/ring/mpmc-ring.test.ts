import { describe, expect, test } from 'vitest'
import { f64, u32 } from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { MpmcRing, type MpmcRingOptions } from '../../lib/ring/index.js'
import { dataOffset, turnOf, word } from '../../lib/ring/layout.js'
import { codeOf, dump, golden, load, u32Of, u32s, wordsOf } from './helpers.js'

function make(options: Partial<MpmcRingOptions<Uint8Array, Uint8Array, Uint8Array>> = {}) {
  return MpmcRing.create({ capacity: 4, itemBytes: 4, ...options })
}

/** Turns a full slot at the head into one that `participant` is reading, with the index passed or not. */
function claimRead(ring: MpmcRing<Uint8Array>, participant: number, pass: boolean): void {
  const words = wordsOf(ring.handle)
  const position = words[word.consumerIndex] as number
  const stride = 8 + 8 * Math.ceil(ring.itemBytes / 8)
  const slot = (dataOffset + (position & (ring.capacity - 1)) * stride) >> 2
  words[slot] = ((turnOf(position, Math.log2(ring.capacity)) + 1) << 8) | (participant + 1)
  if (pass) words[word.consumerIndex] = position + 1
}

describe('a ring of many', () => {
  test('holds its whole capacity and then refuses', () => {
    const ring = make()
    expect(ring.tryPop()).toBeUndefined()
    for (let i = 0; i < 4; i++) expect(ring.tryPush(u32s(i))).toBe(true)
    expect(ring.tryPush(u32s(4))).toBe(false)
    expect(ring.size).toBe(4)
    for (let i = 0; i < 4; i++) expect(u32Of(ring.tryPop())).toBe(i)
    expect(ring.tryPop()).toBeUndefined()
    expect(ring.size).toBe(0)
  })

  test('crosses the edges of 31 and 32 bits and of the turns', () => {
    for (const capacity of [2, 4, 512, 1024]) {
      for (const edge of [2 ** 24, 2 ** 25, 2 ** 31, 2 ** 32]) {
        const ring = make({ capacity, startIndex: edge - capacity - 1 })
        let next = 0
        let expected = 0
        for (let round = 0; round < 4; round++) {
          while (ring.tryPush(u32s(next))) next++
          for (let item = ring.tryPop(); item !== undefined; item = ring.tryPop()) {
            if (u32Of(item) !== expected++) throw new Error('out of order')
          }
        }
        expect(expected).toBe(4 * capacity)
      }
    }
  })

  test('carries struct values, as values, views, batches and bytes', () => {
    const Pair = struct({ a: f64, b: u32 })
    const ring = MpmcRing.create({ capacity: 8, codec: Pair })
    const other = MpmcRing.attach(ring.handle, { codec: Pair })
    const pairs = Array.from({ length: 10 }, (_, i) => ({ a: i / 2, b: i }))
    expect(ring.pushBatch(pairs)).toBe(8)
    expect(other.tryPop()).toEqual(pairs[0])
    expect(other.popBatch(2)).toEqual(pairs.slice(1, 3))
    const seen: number[] = []
    expect(other.poll((view) => seen.push(view.b), 2)).toBe(2)
    expect(seen).toEqual([3, 4])
    const bytes = new Uint8Array(20)
    expect(other.popInto(bytes, 4)).toBe(true)
    expect(new DataView(bytes.buffer).getUint32(12, true)).toBe(5)
    expect(codeOf(() => other.popInto(new Uint8Array(4)))).toBe('INVALID_ARGUMENT')
    expect(ring.size).toBe(2)
  })

  test('leaves nothing in the way when a value can not be encoded or a claim is aborted', () => {
    const ring = make()
    expect(codeOf(() => ring.tryPush('x' as unknown as Uint8Array))).toBe('ENCODE_FAILED')
    expect(codeOf(() => ring.tryPush(new Uint8Array(3)))).toBe('ENCODE_FAILED')
    expect(ring.claim()).toBe(true)
    expect(codeOf(() => ring.claim())).toBe('INVALID_ARGUMENT')
    ring.abort()
    expect(codeOf(() => ring.commit())).toBe('INVALID_ARGUMENT')
    expect(ring.claim()).toBe(true)
    ring.region.data.setUint32(ring.claimOffset, 42, true)
    ring.commit()
    expect(u32Of(ring.tryPop())).toBe(42)
    expect(ring.tryPop()).toBeUndefined()
  })

  test('runs out of participants and refuses use after close', () => {
    const ring = make({ participants: 2 })
    const second = MpmcRing.attach(ring.handle)
    expect(codeOf(() => MpmcRing.attach(ring.handle))).toBe('TOO_MANY_PUBLISHERS')
    second.close()
    second.close()
    expect(codeOf(() => second.tryPush(u32s(1)))).toBe('CLOSED')
    expect(codeOf(() => second.tryPop())).toBe('CLOSED')
    expect(codeOf(() => second.end())).toBe('CLOSED')
    expect(MpmcRing.attach(ring.handle).participant).toBe(1)
  })

  test('ends for everybody after the last item', () => {
    const ring = make({ capacity: 2 })
    const other = MpmcRing.attach(ring.handle)
    ring.pushBatch([u32s(1), u32s(2)])
    expect(ring.end()).toBe(false)
    expect(u32Of(other.tryPop())).toBe(1)
    expect(ring.end()).toBe(true)
    expect(ring.end()).toBe(true)
    expect(codeOf(() => other.tryPush(u32s(3)))).toBe('CLOSED')
    expect(u32Of(other.tryPop())).toBe(2)
    expect(other.ended).toBe(false)
    expect(other.tryPop()).toBeUndefined()
    expect(other.ended).toBe(true)
    expect(other.waitForItems(10)).toBe(true)
  })
})

describe('a dead participant', () => {
  test('holds its place while it is only slow, and is skipped once dead', () => {
    const ring = make()
    const victim = MpmcRing.attach(ring.handle)
    victim.claim()
    ring.tryPush(u32s(7))
    expect(ring.tryPop()).toBeUndefined()
    expect(ring.waitForItems(0)).toBe(false)
    expect(ring.evict(victim.participant)).toBe(true)
    expect(ring.waitForItems(0)).toBe(true)
    expect(u32Of(ring.tryPop())).toBe(7)
    expect(ring.voided).toBe(1)
    for (let i = 0; i < 9; i++) {
      expect(ring.tryPush(u32s(i))).toBe(true)
      expect(u32Of(ring.tryPop())).toBe(i)
    }
  })

  test('takes the item with it that it was reading, and its place becomes free', () => {
    for (const pass of [false, true]) {
      const ring = make({ capacity: 2 })
      const victim = MpmcRing.attach(ring.handle)
      ring.pushBatch([u32s(1), u32s(2)])
      claimRead(ring, victim.participant, pass)
      expect(ring.tryPush(u32s(3))).toBe(false)
      ring.evict(victim.participant)
      expect(ring.tryPush(u32s(3))).toBe(true)
      expect(ring.popBatch().map((item) => u32Of(item))).toEqual([2, 3])
    }
  })

  test('leaves claims that its successor resolves', () => {
    const ring = make({ capacity: 8 })
    const victim = MpmcRing.attach(ring.handle)
    ring.tryPush(u32s(1))
    claimRead(ring, victim.participant, true)
    victim.claim()
    ring.tryPush(u32s(2))
    ring.evict(victim.participant)
    expect(MpmcRing.attach(ring.handle).participant).toBe(victim.participant)
    expect(ring.voided).toBe(2)
    expect(ring.popBatch().map((item) => u32Of(item))).toEqual([2])
  })
})

test('reports damaged slots instead of hanging', () => {
  for (const capacity of [2, 8, 1024]) {
    const ring = make({ capacity })
    wordsOf(ring.handle)[dataOffset >> 2] = 0x2000_0000
    expect(codeOf(() => ring.tryPush(u32s(1)))).toBe('CORRUPT')
    expect(codeOf(() => ring.tryPop())).toBe('CORRUPT')
  }
})

describe('the layout', () => {
  test('is made byte for byte as by the native ring', () => {
    const ring = MpmcRing.create({
      capacity: 4,
      itemBytes: 12,
      startIndex: 0xffff_fffe,
      participants: 3,
      parking: false,
    })
    for (let i = 0; i < 4; i++) ring.tryPush(u32s(i, 10 * i, 100 * i))
    ring.popBatch(2)
    ring.tryPush(u32s(4, 40, 400))
    ring.end()
    expect(dump(ring.handle)).toBe(golden('mpmc'))
  })

  test('is read as the native ring wrote it', () => {
    const ring = MpmcRing.attach(load('mpmc', 2176))
    expect(ring.participant).toBe(1)
    expect(codeOf(() => ring.tryPush(new Uint8Array(12)))).toBe('CLOSED')
    expect(ring.popBatch().map((item) => [u32Of(item), u32Of(item, 2)])).toEqual([
      [2, 200],
      [3, 300],
      [4, 400],
    ])
    expect(ring.ended).toBe(true)
  })
})
