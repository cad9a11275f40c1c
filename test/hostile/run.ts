import { Random } from '../../lib/testkit/random.js'
import type { Counts } from './attack-codec.js'

// By itself a bounded run with a fixed seed. HERMES_HOSTILE=1000 makes it a thousand times as long; HERMES_FUZZ_SEED takes another seed.
const times = Number(process.env['HERMES_HOSTILE'] ?? 1)
const seed = Number(process.env['HERMES_FUZZ_SEED'] ?? 9)

export const timeout = 60_000 + times * 60_000

/** Attacks again and again; a failure names the seed and the round. */
export async function run(
  name: string,
  rounds: number,
  attack: (random: Random, counts: Counts) => void | Promise<void>,
): Promise<Counts> {
  const counts: Counts = { accepted: 0, refused: 0, nested: 0 }
  const all = new Random(seed)
  for (let round = 0; round < rounds * times; round++) {
    // The runner wants to be heard of now and then.
    if (round % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    const one = all.fork()
    try {
      await attack(one, counts)
    } catch (cause) {
      const what = String((cause as Error).message)
      throw new Error(`${name}: HERMES_FUZZ_SEED=${seed}, round ${round} (seed ${one.seed}): ${what}`, { cause })
    }
  }
  console.log(`${name}: seed ${seed}, ${rounds * times} rounds, ${JSON.stringify(counts)}`)
  return counts
}
