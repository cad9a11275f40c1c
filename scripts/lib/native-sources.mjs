// What an addon was built from, as one hash: the same sources, flags and node-addon-api give the same value.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as recipe from './prebuild-recipe.mjs'
import { root } from './run.mjs'

export function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

function filesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(h|cc|inc)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
}

function lockedVersion(name) {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return lock.packages[`node_modules/${name}`].version
}

export function nativeSourceFiles() {
  return [
    ...filesBelow('native/core'),
    ...filesBelow('native/binding'),
    'native/sources.txt',
    'native/flags.txt',
    'native/exports.map',
  ].sort()
}

/** Of any build of the addon: sources, flags and the headers that come from npm. */
export function nativeSourcesHash() {
  const hash = createHash('sha256')
  for (const file of nativeSourceFiles()) {
    const bytes = readFileSync(join(root, file))
    hash.update(`${file}\0${bytes.length}\0`).update(bytes)
  }
  for (const name of ['node-addon-api', 'node-api-headers']) hash.update(`${name} ${lockedVersion(name)}\0`)
  return hash.digest('hex')
}

/** Of a prebuild: also the compiler and the recipe. */
export function prebuildFingerprint() {
  const compiler = readFileSync(join(root, 'scripts', 'toolchain', 'package-lock.json'))
  // In the order of a module's own names: within vitest, which makes modules anew, they come in another one.
  const text = JSON.stringify(Object.fromEntries(Object.entries(recipe).sort(([a], [b]) => (a < b ? -1 : 1))))
  return sha256(`${nativeSourcesHash()} ${sha256(compiler)} ${text}`)
}
