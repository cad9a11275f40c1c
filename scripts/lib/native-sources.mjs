// What an addon was built from, as one hash: the same sources, flags and node-addon-api give the same value.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './run.mjs'

/** Flags of a prebuild's link: the C++ library inside, so that only glibc is asked of the machine that loads it. */
export const prebuildLinkFlags = ['-static-libstdc++', '-static-libgcc', '-s']

/** The newest glibc symbol version that a prebuild may ask for: that of Debian 11. */
export const maxGlibc = '2.31'

export function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

function filesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(h|cc|inc)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
}

export function nodeAddonApiVersion() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return lock.packages['node_modules/node-addon-api'].version
}

export function nativeSourceFiles() {
  return [
    ...filesBelow('native/core'),
    ...filesBelow('native/binding'),
    'native/sources.txt',
    'native/flags.txt',
  ].sort()
}

export function nativeSourcesHash() {
  const hash = createHash('sha256')
  for (const file of nativeSourceFiles()) {
    const bytes = readFileSync(join(root, file))
    hash.update(`${file}\0${bytes.length}\0`).update(bytes)
  }
  hash.update(`node-addon-api ${nodeAddonApiVersion()}\0${prebuildLinkFlags.join(' ')}`)
  return hash.digest('hex')
}

/** The prebuilds that are committed, by platform name. */
export function prebuildPlatforms() {
  const folder = join(root, 'prebuilds')
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
}

/** Why the prebuild of `platform` is not one of the present sources, or undefined when it is. */
export function prebuildFault(platform) {
  const folder = join(root, 'prebuilds', platform)
  const addon = join(folder, 'hermes.node')
  const manifestFile = join(folder, 'hermes.json')
  if (!existsSync(addon)) return `prebuilds/${platform}/hermes.node does not exist`
  if (!existsSync(manifestFile)) return `prebuilds/${platform}/hermes.json does not exist`
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'))
  if (manifest.addonSha256 !== sha256(readFileSync(addon))) {
    return `prebuilds/${platform}/hermes.node is not the file that hermes.json describes`
  }
  if (manifest.sourcesSha256 !== nativeSourcesHash()) {
    return `prebuilds/${platform} was built from other native sources than those here`
  }
  return undefined
}
