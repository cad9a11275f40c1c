import { describe, expect, test } from 'vitest'
import { ascii, f64, u32 } from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { text } from '../../lib/codec/text.js'
import { MpmcRing, type RingHandle, SpscByteRing, SpscRing } from '../../lib/ring/index.js'
import { header, word } from '../../lib/ring/layout.js'
import { bytesOf, codeOf, seal, wordsOf } from './helpers.js'

const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
const Other = struct({ symbol: ascii(8), price: f64, size: f64 })

function fresh(): RingHandle {
  return SpscRing.create({ capacity: 64, itemBytes: 8 }).handle
}

function refusal(change: (handle: RingHandle) => void): string {
  const handle = fresh()
  change(handle)
  return codeOf(() => SpscRing.attach(handle, {}))
}

function field(handle: RingHandle, offset: number, value: number): void {
  new DataView(handle.buffer).setUint32(offset, value, true)
}

describe('creating', () => {
  test('refuses a capacity that is no power of two', () => {
    for (const capacity of [0, 1, 3, 100, -8, 2.5, 2 ** 31, Number.NaN]) {
      expect(
        codeOf(() => SpscRing.create({ capacity, itemBytes: 8 })),
        String(capacity),
      ).toBe('INVALID_ARGUMENT')
      expect(
        codeOf(() => MpmcRing.create({ capacity, itemBytes: 8 })),
        String(capacity),
      ).toBe('INVALID_ARGUMENT')
      expect(
        codeOf(() => SpscByteRing.create({ capacity })),
        String(capacity),
      ).toBe('INVALID_ARGUMENT')
    }
    expect(codeOf(() => SpscByteRing.create({ capacity: 32 }))).toBe('INVALID_ARGUMENT')
  })

  test('refuses a ring that memory cannot hold', () => {
    expect(codeOf(() => SpscRing.create({ capacity: 2 ** 30, itemBytes: 2 ** 20 }))).toBe('INVALID_ARGUMENT')
  })

  test('refuses unknown options, and says which one was meant', () => {
    const options = { capacity: 8, itemByte: 4 } as unknown as { capacity: number; itemBytes: number }
    expect(() => SpscRing.create(options)).toThrow(/itemBytes/)
    expect(codeOf(() => SpscRing.create(options))).toBe('UNKNOWN_OPTION')
  })

  test('refuses a codec without a fixed size, unless told the size', () => {
    expect(codeOf(() => SpscRing.create({ capacity: 8, codec: text }))).toBe('INVALID_ARGUMENT')
    const ring = SpscRing.create({ capacity: 8, codec: text, itemBytes: 5, role: 'producer' })
    expect(ring.tryPush('12345')).toBe(true)
    expect(codeOf(() => ring.tryPush('123'))).toBe('ENCODE_FAILED')
    expect(codeOf(() => ring.tryPush('123456'))).toBe('PAYLOAD_TOO_LARGE')
    expect(ring.size).toBe(1)
  })

  test('refuses participants out of range', () => {
    for (const participants of [0, 1, 255, 2.5]) {
      expect(codeOf(() => MpmcRing.create({ capacity: 8, itemBytes: 8, participants }))).toBe('INVALID_ARGUMENT')
    }
  })

  test('refuses a start between the places of a byte ring', () => {
    expect(codeOf(() => SpscByteRing.create({ capacity: 64, startIndex: 4 }))).toBe('INVALID_ARGUMENT')
  })
})

describe('attaching', () => {
  test('refuses what is no handle', () => {
    for (const handle of [undefined, null, {}, 5, { buffer: 5 }, { buffer: new ArrayBuffer(8), byteOffset: 0 }]) {
      expect(codeOf(() => SpscRing.attach(handle as unknown as RingHandle, {}))).toBe('INVALID_ARGUMENT')
    }
    const { buffer } = fresh()
    expect(codeOf(() => SpscRing.attach({ buffer, byteOffset: 64, byteLength: 2400 }, {}))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => SpscRing.attach({ buffer, byteOffset: 0, byteLength: 1e9 }, {}))).toBe('INVALID_ARGUMENT')
  })

  test('refuses memory that holds no ring', () => {
    const buffer = new SharedArrayBuffer(8192)
    expect(codeOf(() => SpscRing.attach({ buffer, byteOffset: 0, byteLength: 8192 }, {}))).toBe('NOT_HERMES')
    expect(codeOf(() => SpscRing.attach({ buffer, byteOffset: 0, byteLength: 100 }, {}))).toBe('NOT_HERMES')
  })

  test('refuses another version, kind, item layout and size', () => {
    expect(
      refusal((handle) => {
        field(handle, header.version, 2)
        seal(handle)
      }),
    ).toBe('VERSION_MISMATCH')
    expect(codeOf(() => MpmcRing.attach(fresh()))).toBe('CONFIG_MISMATCH')
    expect(codeOf(() => SpscByteRing.attach(fresh(), {}))).toBe('CONFIG_MISMATCH')
    const ring = SpscRing.create({ capacity: 8, codec: Trade })
    expect(codeOf(() => SpscRing.attach(ring.handle, { codec: Other }))).toBe('CODEC_MISMATCH')
    expect(codeOf(() => SpscRing.attach(ring.handle, { codec: Trade }))).toBe('none')
    // Made by a program that leaves no mark: the size still has to be right.
    const unmarked = SpscRing.create({ capacity: 8, itemBytes: 7 })
    expect(codeOf(() => SpscRing.attach(unmarked.handle, { codec: Trade }))).toBe('CONFIG_MISMATCH')
    expect(codeOf(() => SpscRing.attach(unmarked.handle, { itemBytes: 8 }))).toBe('CONFIG_MISMATCH')
    expect(codeOf(() => SpscRing.attach(unmarked.handle, { itemBytes: 7 }))).toBe('none')
  })

  test('refuses an item size that is not that of the codec', () => {
    const bytes = Trade.maxBytes as number
    const wrong = /^'itemBytes' is \d+, and each value of the struct codec takes \d+ bytes/
    for (const itemBytes of [1, bytes - 1, bytes + 1, 4096]) {
      expect(() => SpscRing.create({ capacity: 8, codec: Trade, itemBytes })).toThrow(wrong)
      expect(() => MpmcRing.create({ capacity: 8, codec: Trade, itemBytes })).toThrow(wrong)
    }
    expect(SpscRing.create({ capacity: 8, codec: Trade, itemBytes: bytes }).itemBytes).toBe(bytes)
    const raw = SpscRing.create({ capacity: 8, itemBytes: 8 })
    expect(() => SpscRing.attach(raw.handle, { codec: Trade, itemBytes: 8 })).toThrow(wrong)
    const many = MpmcRing.create({ capacity: 8, itemBytes: 8 })
    expect(() => MpmcRing.attach(many.handle, { codec: Trade, itemBytes: 8 })).toThrow(wrong)
  })

  test('refuses every flipped bit of the header', () => {
    const handle = fresh()
    const bytes = bytesOf(handle)
    for (let bit = 0; bit < 64 * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(
        codeOf(() => SpscRing.attach(handle, {})),
        `bit ${bit}`,
      ).not.toBe('none')
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
    }
    expect(codeOf(() => SpscRing.attach(handle, {}))).toBe('none')
  })

  test('refuses a hostile header with a right checksum', () => {
    const changes: [number, number][] = [
      [header.capacity, 0],
      [header.capacity, 2 ** 30],
      [header.capacity, 63],
      [header.itemSize, 0],
      [header.itemSize, 0xffff_ffff],
      [header.slotSize, 16],
      [header.dataOffset, 0],
      [header.totalBytes, 0],
      [header.totalBytes + 4, 1],
      [header.participants, 0],
      [header.flags, 2],
    ]
    for (const [offset, value] of changes) {
      const found = refusal((handle) => {
        field(handle, offset, value)
        seal(handle)
      })
      expect(found, `${offset} = ${value}`).toBe('CORRUPT')
    }
  })

  test('refuses a ring that is cut off, or whose indices contradict each other', () => {
    const handle = fresh()
    expect(codeOf(() => SpscRing.attach({ ...handle, byteLength: handle.byteLength - 128 }, {}))).toBe('CORRUPT')
    wordsOf(handle)[word.producerIndex] = 64
    expect(codeOf(() => SpscRing.attach(handle, {}))).toBe('none')
    wordsOf(handle)[word.producerIndex] = 65
    expect(codeOf(() => SpscRing.attach(handle, {}))).toBe('CORRUPT')
    wordsOf(handle)[word.producerIndex] = -1
    expect(codeOf(() => SpscRing.attach(handle, {}))).toBe('CORRUPT')
  })
})
