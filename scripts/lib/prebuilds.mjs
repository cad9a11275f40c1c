// The committed prebuilds: prebuilds/hermes-<target>.node for each target, and prebuilds/manifest.json, which says of what they were built.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect, newerThan } from './elf.mjs'
import { prebuildFingerprint, sha256 } from './native-sources.mjs'
import { maxAddonBytes, maxGlibc, targets } from './prebuild-recipe.mjs'
import { root } from './run.mjs'

export const prebuildCommand = 'npm run build:prebuild'

const folder = join(root, 'prebuilds')
const manifestFile = join(folder, 'manifest.json')
const manifestName = 'manifest.json'

export const prebuildFileName = (target) => `hermes-${target}.node`
export const prebuildFile = (target) => join(folder, prebuildFileName(target))

/** The files of prebuilds/ as they should be. */
export const prebuildNames = () => [...targets.map(({ name }) => prebuildFileName(name)), manifestName]

function readManifest() {
  return existsSync(manifestFile) ? JSON.parse(readFileSync(manifestFile, 'utf8')) : undefined
}

/** Why the committed prebuild of a target is not one of the present sources, as far as the manifest tells, or undefined. Quick. */
export function prebuildFault(target) {
  const name = `prebuilds/${prebuildFileName(target)}`
  if (!existsSync(prebuildFile(target))) return `${name} does not exist`
  const manifest = readManifest()
  if (manifest === undefined) return 'prebuilds/manifest.json does not exist'
  if (manifest.addons[prebuildFileName(target)]?.sha256 !== sha256(readFileSync(prebuildFile(target)))) {
    return `${name} is not the file that manifest.json describes`
  }
  if (manifest.fingerprint !== prebuildFingerprint())
    return `${name} was built from other native sources than those here`
  return undefined
}

/** What is wrong with an addon as a file, whatever it was built of: a list of sentences, empty when nothing is. */
export function addonFaults(file, target) {
  const { exports, glibc, glibcxx, hasSymbolTable, imports, machine, needed } = inspect(file)
  const faults = []
  const bytes = readFileSync(file).length
  const strange = needed.filter((name) => !target.libraries.includes(name))
  const strays = exports.filter((name) => !/^(napi_register_module|node_api_module_get_api_version)_v1$/.test(name))
  if (machine !== target.machine) faults.push(`it is for ${machine}`)
  if (newerThan(glibc, maxGlibc)) faults.push(`it asks for glibc ${glibc}, newer than ${maxGlibc}`)
  if (glibcxx || strange.length > 0) faults.push(`it needs ${needed.join(', ')}`)
  if (strays.length > 0)
    faults.push(`it shows more than the entry points of Node-API: ${strays.slice(0, 5).join(', ')}`)
  if (exports.length - strays.length !== 2) faults.push('it lacks an entry point of Node-API')
  // The C library has none of these names. A loader that binds late would only notice when one is called.
  const lacking = imports.filter((name) =>
    /^(_Z|__cxa_(?!atexit|finalize|thread_atexit_impl)|_Unwind|__gxx)/.test(name),
  )
  if (lacking.length > 0)
    faults.push(`it lacks ${lacking.join(', ')} of the C++ library (scripts/lib/prebuild-recipe.mjs)`)
  if (hasSymbolTable) faults.push('it is not stripped')
  if (bytes > maxAddonBytes) faults.push(`it has ${bytes} bytes, more than ${maxAddonBytes}`)
  return faults
}

/** What lies in prebuilds/ and is none of them. */
export function strayPrebuilds() {
  return existsSync(folder) ? readdirSync(folder).filter((name) => !prebuildNames().includes(name)) : []
}

/** Puts built addons, a map from target to file, in the place of the committed ones. Returns the names of those that changed. */
export function installPrebuilds(built, { toolchain }) {
  mkdirSync(folder, { recursive: true })
  const addons = {}
  const changed = []
  for (const target of targets) {
    const bytes = readFileSync(built.get(target.name))
    const file = prebuildFile(target.name)
    const { glibc, needed } = inspect(built.get(target.name))
    const asksFor = target.name.endsWith('-glibc') ? { glibc } : {}
    addons[prebuildFileName(target.name)] = { sha256: sha256(bytes), bytes: bytes.length, ...asksFor, needed }
    if (existsSync(file) && readFileSync(file).equals(bytes)) continue
    changed.push(prebuildFileName(target.name))
    // A new file in place of the old one: writing into a file that a running process has mapped would crash it.
    writeFileSync(`${file}.new`, bytes)
    renameSync(`${file}.new`, file)
  }
  for (const name of strayPrebuilds()) rmSync(join(folder, name), { recursive: true })
  const manifest = { fingerprint: prebuildFingerprint(), toolchain, napiVersion: 9, addons }
  writeFileSync(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`)
  return changed
}
