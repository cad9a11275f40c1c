import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { text } from '../../lib/index.js'
import { describeRing, openRing } from '../../lib/placement/ring/topic.js'
import { openDirectory } from '../../lib/store/directory.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

test('a ring needs room for itself, not for two segments', async ({ skip }) => {
  const disk = makeFolder()
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', disk]).status !== 0) {
    removeFolder(disk)
    return skip('this user may not mount a small tmpfs')
  }
  try {
    const directory = await openDirectory(join(disk, 'rings'), true, undefined)
    const { name, fingerprint, schema } = text
    const wanted = {
      codec: { name, fingerprint, schema: schema ?? null },
      create: true,
      maxPayloadBytes: undefined,
      retention: undefined,
      lowWaterBytes: undefined,
    }
    const { message } = await failure('DISK_FULL', () =>
      describeRing(directory, 'large', { ...wanted, segmentBytes: 1 << 24 }),
    )
    expect(message).toContain('too few for a ring of 16777216')
    const ring = openRing(directory, await describeRing(directory, 't', { ...wanted, segmentBytes: 1 << 23 }))
    expect(statSync(join(disk, 'rings/topics/t/ring')).size).toBeGreaterThan(1 << 23)
    ring.close()
  } finally {
    spawnSync('umount', ['-l', disk])
    removeFolder(disk)
  }
})
