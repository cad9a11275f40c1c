import { afterEach, describe, expect, it } from 'vitest'
import { crc32, crc32Portable, crc32Range, useCrc32 } from '../../lib/frame/crc32.js'
import { failure, randomOf } from './helpers.js'

/** Bit by bit, from the definition. */
function slowly(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return ~crc >>> 0
}

describe('crc32', () => {
  afterEach(() => useCrc32())

  it('has the values of zlib', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926)
    expect(crc32(new Uint8Array(0))).toBe(0)
    expect(crc32(Buffer.from('The quick brown fox jumps over the lazy dog'))).toBe(0x414fa339)
    expect(crc32(new Uint8Array(32))).toBe(0x190a55ad)
  })

  it('equals the definition for every length and start around the eight-byte step', () => {
    const random = randomOf(5)
    const bytes = Uint8Array.from({ length: 100 }, () => random() * 256)
    for (let start = 0; start < 9; start++) {
      for (let end = start; end < 60; end++) {
        expect(crc32Portable(bytes, start, end, 0)).toBe(slowly(bytes.subarray(start, end)))
      }
    }
  })

  it('continues from a seed', () => {
    const bytes = Buffer.from('hermes carries messages')
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(crc32(bytes))
    }
  })

  it('can be given another implementation, and the portable one back', () => {
    useCrc32((_bytes, start, end, seed) => start * 100 + end * 10 + seed)
    expect(crc32(new Uint8Array(7), 1)).toBe(71)
    expect(crc32Range(new Uint8Array(7), 2, 3, 4)).toBe(234)
    useCrc32()
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926)
  })

  it('refuses what is no Uint8Array and what is no seed', () => {
    failure('INVALID_ARGUMENT', () => crc32('abc' as never))
    for (const seed of [-1, 2 ** 32, 1.5, Number.NaN, 1n]) {
      failure('INVALID_ARGUMENT', () => crc32(new Uint8Array(1), seed as never))
    }
  })
})
