import { expect, test } from 'vitest'
import { Random } from '../../lib/testkit/random.js'
import { type FuzzCounts, fuzzStruct } from './struct-fuzz.js'

// By itself a bounded run with a fixed seed. `npm run fuzz -- 3600 struct` sets these two.
const seconds = Number(process.env['HERMES_FUZZ_SECONDS'] ?? 0)
const seed = Number(process.env['HERMES_FUZZ_SEED'] ?? 20)
const least = 600

test('random structs, values and damaged payloads', { timeout: 60_000 + seconds * 2000 }, async () => {
  console.log(`struct fuzz: seed ${seed}`)
  const counts: FuzzCounts = { structs: 0, values: 0, accepted: 0, refused: 0 }
  const all = new Random(seed)
  const end = performance.now() + seconds * 1000
  while (counts.structs < least || performance.now() < end) {
    // The runner wants to be heard of now and then.
    if (counts.structs % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    const one = all.fork()
    try {
      fuzzStruct(one, counts)
    } catch (cause) {
      throw new Error(`HERMES_FUZZ_SEED=${seed}, struct ${counts.structs} (seed ${one.seed})`, { cause })
    }
  }
  console.log(`struct fuzz: ${JSON.stringify(counts)}`)
  expect(Math.min(counts.accepted, counts.refused)).toBeGreaterThan(counts.structs)
})
