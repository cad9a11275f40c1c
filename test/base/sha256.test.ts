import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { sha256 } from '../../lib/base/sha256.js'
import { randomOf } from '../codec/helpers.js'

test('SHA-256 is that of Node, around each edge of a block', () => {
  const random = randomOf(1)
  for (const length of [...Array(200).keys(), 1000, 4096, 65_537]) {
    const bytes = Uint8Array.from({ length }, () => random() * 256)
    expect(sha256(bytes)).toBe(createHash('sha256').update(bytes).digest('hex'))
  }
})
