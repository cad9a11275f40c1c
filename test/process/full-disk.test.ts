import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const mounted: string[] = []
afterEach(() => {
  for (const path of mounted.splice(0)) execFileSync('umount', ['-l', path])
})

const megabytes = 12

function mountTmpfs(path: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path]).status === 0
}

/** A real file system in a file: blocks run out otherwise than on tmpfs. */
function mountExt4(path: string): boolean {
  const image = `${path}.image`
  writeFileSync(image, '')
  return (
    spawnSync('truncate', ['-s', `${megabytes + 8}M`, image]).status === 0 &&
    spawnSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]).status === 0 &&
    spawnSync('mount', ['-o', 'loop', image, path]).status === 0
  )
}

function mount(kind: string): string | undefined {
  const path = join(folder(), 'disk')
  mkdirSync(path)
  if (!(kind === 'tmpfs' ? mountTmpfs : mountExt4)(path)) return undefined
  mounted.push(path)
  return path
}

for (const kind of ['tmpfs', 'ext4']) {
  for (const lowWaterBytes of [0, undefined]) {
    const mark = lowWaterBytes === undefined ? 'the default low-water mark' : 'no low-water mark'
    for (const payload of [100, 60_000]) {
      test(`a full disk (${kind}, ${mark}, ${payload} bytes) refuses messages, loses none, and works again when there is room`, async ({
        skip,
      }) => {
        const disk = mount(kind)
        if (disk === undefined) return skip(`this user may not mount a small ${kind}`)
        const filler = join(disk, 'filler')
        writeFileSync(filler, Buffer.alloc(4 << 20))
        const program = Program.start('full-disk.mjs', {
          place: join(disk, 'data'),
          topic: 'bytes',
          payload,
          lowWaterBytes,
        })
        const full = (await program.report('full')) as unknown as { accepted: number }
        expect(full).toMatchObject({
          code: 'DISK_FULL',
          again: ['DISK_FULL', 'DISK_FULL', 'DISK_FULL'],
          synced: 'none',
          diskAlarm: true,
          nextSequence: full.accepted + 1,
          read: full.accepted,
          wrong: 0,
        })
        // It used the room: at least half of what there was.
        expect(full.accepted * payload).toBeGreaterThan((megabytes / 4) << 20)
        rmSync(filler)
        program.tell('go on')
        const resumed = await program.report('resumed')
        const accepted = full.accepted + 30
        expect(resumed).toMatchObject({
          code: 'none',
          accepted,
          nextSequence: accepted + 1,
          diskAlarm: false,
          read: 30,
          wrong: 0,
        })
        await program.finish()
      }, 20_000)
    }
  }
}
