import { rmSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { serve } from '../../lib/broker/index.js'
import { type Hermes, open } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { attackPlace } from './attack-place.js'
import { targets } from './codecs.js'
import { run, timeout } from './run.js'

const folder = foldersPerTest()
const ring = `ring:hostile-${process.pid}`
afterAll(() => rmSync(`/dev/shm/hermes.rings-hostile-${process.pid}`, { recursive: true, force: true }))

describe.each(['directory', 'ring', 'broker'] as const)('publishers and subscribers, %s', (kind) => {
  test.each(targets)('$name', { timeout }, async (target) => {
    const dir = folder()
    const broker = kind === 'broker' ? await serve({ dir, port: 0 }) : undefined
    const hermes: Hermes = await open(broker?.url ?? (kind === 'ring' ? ring : dir))
    try {
      const counts = await run(`${kind} ${target.name}`, 4, (random, counts) =>
        attackPlace(hermes, target, random, counts),
      )
      expect(counts.accepted).toBeGreaterThan(5)
    } finally {
      await hermes.close()
      await broker?.close()
    }
  })
})
