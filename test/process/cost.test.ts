import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()

test('publish and poll allocate nothing per message on the JavaScript heap', async () => {
  const count = 4_000_000
  // A young generation that holds 16 bytes, the smallest object, for each message, so that garbage is seen as growth and not collected in between.
  const nodeOptions = ['--expose-gc', '--max-semi-space-size=64', '--min-semi-space-size=64']
  const program = Program.start('allocation.mjs', { place: folder(), count }, { nodeOptions })
  const result = (await program.report('result')) as unknown as { bytes: number; collections: number; position: number }
  await program.finish()
  expect(result.position).toBe(count + 1_000_001)
  expect(result.collections).toBe(0)
  // What each poll and the compiler take comes to less than a byte per message; one object in four messages would be too much.
  expect(result.bytes / count).toBeLessThan(4)
}, 60_000)

const strace = spawnSync('strace', ['-c', '-f', '-o', '/dev/null', 'true']).status === 0
if (!strace) console.warn('strace is missing or may not trace: system calls are not counted')

/** What `strace -c` counted, all in all. */
function totalCalls(file: string): number {
  const line = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? ''
  expect(line).toContain('total')
  return Number(/^\s*\S+\s+\S+\s+(?:\S+\s+)?(\d+)/.exec(line.replace(/(\d+)\s+total/, '$1'))?.[1])
}

test.skipIf(!strace)(
  'publish and poll make less than a system call per thousand messages',
  async () => {
    const place = folder()
    const counted: number[] = []
    // So many that the thousand or so which Node's own threads make more or less from run to run don't decide.
    const messages = 4_000_000
    for (const count of [0, messages]) {
      const file = join(place, `calls-${count}`)
      const program = Program.start(
        'system-calls.mjs',
        { place: join(place, String(count)), count },
        { under: ['strace', '-c', '-f', '-o', file] },
      )
      expect(await program.report('result')).toMatchObject({ seen: count })
      await program.finish()
      counted.push(totalCalls(file))
    }
    const [without, withMessages] = counted as [number, number]
    // (It starts with some thousands, those of Node itself.)
    expect(without).toBeGreaterThan(100)
    expect(withMessages - without).toBeLessThan(messages / 1000)
  },
  120_000,
)
