import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-bundle-'))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/hermes-mq'))
  writeFileSync(
    join(folder, 'program.js'),
    `import { json, open } from 'hermes-mq'
     import { serve } from 'hermes-mq/broker'
     async function main() {
       const hermes = await open('./place')
       const publisher = await hermes.topic('t', { codec: json }).publisher()
       publisher.publish({ n: 1 })
       console.log(publisher.lastSequence, typeof serve)
       await hermes.close()
     }
     main()`,
  )
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function bundled(format: 'esm' | 'cjs', external: string[]) {
  const outfile = join(folder, 'out', `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`)
  const entry = join(folder, 'program.js')
  await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format, external, logLevel: 'silent' })
  return spawnSync(process.execPath, [outfile], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HERMES_NATIVE: '' },
  })
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const canRequire = major > 20 || (major === 20 && minor >= 19)

test.each(['esm', 'cjs'] as const)('a bundle (%s) works with what docs/api.md marks as external', async (format) => {
  if (format === 'cjs' && !canRequire) return
  const { status, stdout } = await bundled(format, ['hermes-mq', 'hermes-mq/*'])
  expect([status, stdout]).toEqual([0, '1 function\n'])
})

test.each(['esm', 'cjs'] as const)('a bundle (%s) that has it inside says what to mark as external', async (format) => {
  const { status, stderr } = await bundled(format, [])
  expect(status).not.toBe(0)
  expect(stderr).toContain('NATIVE_UNAVAILABLE')
  expect(stderr).toContain('esbuild --external:hermes-mq --external:hermes-mq/*')
  expect(stderr).toContain('externals: [/^hermes-mq(\\/|$)/]')
})
