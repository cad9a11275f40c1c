import { crc32 as zlibCrc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { crc32 } from '../../lib/index.js'

test('crc32 is zlib’s, whichever of the two implementations a length goes to', () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31) & 255)
  for (const length of [0, 1, 88, 255, 256, 257, 4096, 100_000]) {
    const part = bytes.subarray(3, 3 + length)
    expect(crc32(part)).toBe(zlibCrc32(part))
    // Continued over a split, so that one half is long and the other short.
    const split = Math.min(length, 100)
    expect(crc32(part.subarray(split), crc32(part.subarray(0, split)))).toBe(crc32(part))
  }
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
})
