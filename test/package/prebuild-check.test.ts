import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

/** A clone of what the check reads, with a made-up prebuild that passes. */
let clone: string

/** Runs an expression over the exports of scripts/lib/native-sources.mjs of the clone. */
function ask(expression: string): string {
  const program = `import(${JSON.stringify(join(clone, 'scripts/lib/native-sources.mjs'))})
    .then((sources) => console.log(String(${expression})))`
  return spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' }).stdout.trim()
}

const fault = () => ask("sources.prebuildFault('linux-x64')")

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'hermes-check-'))
  const lists = ['native/sources.txt', 'native/flags.txt', 'native/exports.map']
  for (const name of ['scripts/lib', 'native/core', 'native/binding', ...lists]) {
    cpSync(join(root, name), join(clone, name), { recursive: true })
  }
  cpSync(join(root, 'package-lock.json'), join(clone, 'package-lock.json'))
  mkdirSync(join(clone, 'prebuilds/linux-x64'), { recursive: true })
  writeFileSync(join(clone, 'prebuilds/linux-x64/hermes.node'), 'an addon')
  const manifest = { sourcesSha256: ask('sources.nativeSourcesHash()'), addonSha256: ask("sources.sha256('an addon')") }
  writeFileSync(join(clone, 'prebuilds/linux-x64/hermes.json'), JSON.stringify(manifest))
})

afterEach(() => rmSync(clone, { recursive: true, force: true }))

test('accepts a prebuild of the present sources', () => {
  expect(fault()).toBe('undefined')
})

test('notices one more byte in a header', () => {
  appendFileSync(join(clone, 'native/binding/addon.h'), ' ')
  expect(fault()).toContain('other native sources')
})

test('notices a new source file', () => {
  writeFileSync(join(clone, 'native/core/new_file.cc'), '')
  expect(fault()).toContain('other native sources')
})

test('notices a compile flag', () => {
  appendFileSync(join(clone, 'native/flags.txt'), '-march=native\n')
  expect(fault()).toContain('other native sources')
})

test('notices an addon that is not the one described', () => {
  appendFileSync(join(clone, 'prebuilds/linux-x64/hermes.node'), '!')
  expect(fault()).toContain('not the file that hermes.json describes')
})

test('notices a prebuild without an addon', () => {
  rmSync(join(clone, 'prebuilds/linux-x64/hermes.node'))
  expect(fault()).toContain('does not exist')
})
