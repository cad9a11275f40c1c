import { join } from 'node:path'
import { expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()

/** Each kind of worker makes the calls of one part of the addon; 'load' is terminated while it loads it. */
const kinds = [
  'load',
  'map',
  'rings',
  'shared',
  'park',
  'topics',
  'publish',
  'subscribe',
  'group',
  'maintain',
  'frames',
]
const each = 16

test.each([1, 2, 3])(
  'a worker may be terminated in any native call: seed %i',
  async (seed) => {
    const program = Program.start('terminate.mjs', { place: join(folder(), 'terminate'), kinds, each, seed })
    // An abort leaves no report, and says why on its standard error.
    const result = await program.report('result')
    expect(result).toMatchObject({ terminated: kinds.length * each, unexpected: '' })
    await program.finish()
  },
  180_000,
)
