import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

/** A clone of what the check reads, with a made-up prebuild that passes. */
let clone: string

/** Runs an expression over the exports of scripts/lib/native-sources.mjs and prebuilds.mjs of the clone. */
function ask(expression: string): string {
  const scripts = ['native-sources.mjs', 'prebuilds.mjs'].map((name) =>
    JSON.stringify(join(clone, 'scripts/lib', name)),
  )
  const program = `Promise.all([${scripts.map((file) => `import(${file})`).join(', ')}])
    .then(([sources, prebuilds]) => console.log(String(${expression})))`
  return spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' }).stdout.trim()
}

const addon = () => join(clone, 'prebuilds/hermes-linux-x64-glibc.node')
const fault = () => ask("prebuilds.prebuildFault('linux-x64-glibc')")

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'hermes-check-'))
  const lists = ['native/sources.txt', 'native/flags.txt', 'native/exports.map']
  for (const name of ['scripts/lib', 'scripts/toolchain', 'native/core', 'native/binding', ...lists]) {
    cpSync(join(root, name), join(clone, name), { recursive: true })
  }
  cpSync(join(root, 'package-lock.json'), join(clone, 'package-lock.json'))
  mkdirSync(join(clone, 'prebuilds'))
  writeFileSync(addon(), 'an addon')
  const addons = { 'hermes-linux-x64-glibc.node': { sha256: ask("sources.sha256('an addon')") } }
  writeFileSync(
    join(clone, 'prebuilds/manifest.json'),
    JSON.stringify({ fingerprint: ask('sources.prebuildFingerprint()'), addons }),
  )
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

test('notices another compiler', () => {
  appendFileSync(join(clone, 'scripts/toolchain/package-lock.json'), ' ')
  expect(fault()).toContain('other native sources')
})

test('notices another recipe', () => {
  const recipe = join(clone, 'scripts/lib/prebuild-recipe.mjs')
  writeFileSync(recipe, readFileSync(recipe, 'utf8').replace("'-fPIC',", "'-fPIC', '-O2',"))
  expect(fault()).toContain('other native sources')
})

test('notices an addon that is not the one described', () => {
  appendFileSync(addon(), '!')
  expect(fault()).toContain('not the file that manifest.json describes')
})

test('notices a prebuild without an addon', () => {
  rmSync(addon())
  expect(fault()).toContain('does not exist')
})
