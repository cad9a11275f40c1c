// What setup brings up to date: node_modules, dist/ and the addon. Each step does nothing when there is nothing to do.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { need } from './apt.mjs'
import { say, timed } from './log.mjs'
import { nativeSourcesHash, sha256 } from './native-sources.mjs'
import { prebuildFault } from './prebuilds.mjs'
import { must, root, run } from './run.mjs'

const at = (...parts) => join(root, ...parts)
const bin = (name) => at('node_modules', '.bin', name)

/** Runs `work` while no other process runs one in this clone. The lock of a process that is gone counts as free. */
async function locked(work) {
  const lock = at('build', 'setup.lock')
  for (;;) {
    mkdirSync(at('build'), { recursive: true })
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      const owner = Number(readStamp(lock))
      if (owner > 0 && !alive(owner)) rmSync(lock, { force: true })
      else await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  try {
    return await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function readStamp(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

/** Installs the locked dependencies if node_modules is not what package-lock.json says. Runs no install script. */
export async function ensureDependencies() {
  const stamp = at('node_modules', '.hermes-lock')
  const wanted = sha256(readFileSync(at('package-lock.json')))
  if (readStamp(stamp) === wanted) return
  if (existsSync(at('node_modules'))) {
    const listed = await run('npm', ['ls', '--all'])
    if (listed.code === 0) {
      writeFileSync(stamp, wanted)
      return
    }
  }
  await timed('installing dependencies (npm ci --ignore-scripts)', () =>
    must('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']),
  )
  writeFileSync(stamp, wanted)
}

function sourcesBelow(folder, pattern) {
  if (!existsSync(at(folder))) return []
  return readdirSync(at(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/** A hash over the names and contents of what a build reads. Times are no use: a checkout sets them as it likes. */
function hashOf(files) {
  return sha256(files.map((file) => `${file.slice(root.length)} ${sha256(readFileSync(file))}`).join('\n'))
}

/**
 * Compiles a project if its output is not of the present sources. The new output replaces the old one in a single
 * step, so that a program which is running from it meanwhile finds all files.
 */
async function ensureTypeScript(project, folders, outDir, more = { sources: [], make: async () => {} }) {
  const stamp = at('build', `${project}.stamp`)
  const configs = ['package.json', 'tsconfig.base.json', project].map((file) => at(file))
  const wanted = hashOf([...configs, ...folders.flatMap((folder) => sourcesBelow(folder, /\.ts$/)), ...more.sources])
  if (existsSync(at(outDir)) && readStamp(stamp) === wanted) return
  await timed(`compiling ${folders.join(' and ')} to ${outDir}`, async () => {
    const fresh = at('build', `${project}.${process.pid}`)
    const stale = `${fresh}.old`
    mkdirSync(at('build'), { recursive: true })
    const compiled = await run(bin('tsc'), ['-p', project, '--outDir', fresh])
    await more.make(fresh)
    if (existsSync(at(outDir))) renameSync(at(outDir), stale)
    if (existsSync(fresh)) renameSync(fresh, at(outDir))
    rmSync(stale, { recursive: true, force: true })
    if (compiled.code !== 0) {
      rmSync(stamp, { force: true })
      throw new Error(`tsc -p ${project} failed\n${compiled.output}`)
    }
  })
  writeFileSync(stamp, wanted)
}

/** Compiles lib/ to dist/, and the dashboard in page/ to dist/page. */
export function ensureDist() {
  const page = {
    sources: sourcesBelow('page', /./),
    // (esbuild is loaded when it is there: dependencies are installed by this file.)
    make: async (folder) => (await import('./page.mjs')).buildPage(join(folder, 'page')),
  }
  return locked(() => ensureTypeScript('tsconfig.build.json', ['lib'], 'dist', page))
}

/** Compiles examples/ and bench/ to build/js/, from where they import the package by its own name. */
export async function ensureExamples() {
  const folders = ['examples', 'bench']
  if (folders.every((folder) => sourcesBelow(folder, /\.ts$/).length === 0)) return
  await locked(() => ensureTypeScript('tsconfig.examples.json', folders, 'build/js'))
}

/** `linux-x64-glibc` and so on: as lib/native/addon.ts names this machine. */
export function platformName() {
  if (process.platform !== 'linux') return `${process.platform}-${process.arch}`
  process.report.excludeNetwork = true
  const musl = process.report.getReport().header.glibcVersionRuntime === undefined
  return `linux-${process.arch}-${musl ? 'musl' : 'glibc'}`
}

const addonFile = at('build', 'Release', 'hermes.node')
const addonStamp = at('build', 'Release', 'hermes.sources')

/** Builds build/Release/hermes.node with node-gyp and leaves word of which sources it is of. */
export async function buildAddon({ show = false } = {}) {
  const missing = await need('g++', 'make', 'python3')
  if (missing !== undefined) throw new Error(`the native addon can't be built here. ${missing}`)
  const sources = nativeSourcesHash()
  // Headers that a Debian package put beside Node are of this very Node; without them node-gyp downloads its own.
  const env = existsSync('/usr/include/node/node_api.h') ? { npm_config_nodedir: '/usr' } : {}
  await must(bin('node-gyp'), ['configure', 'build', '--jobs', '2'], { env, show })
  writeFileSync(addonStamp, sources)
}

export const crashAddonFile = at('build', 'crash-points', 'hermes.node')
const crashAddonStamp = at('build', 'crash-points', 'hermes.sources')

/** Builds an addon with the core's crash points in it, which docs/testkit.md tells how to use. */
export function ensureCrashAddon({ show = false } = {}) {
  return locked(async () => {
    const wanted = sha256(`${nativeSourcesHash()} ${sha256(readFileSync(at('CMakeLists.txt')))}`)
    if (existsSync(crashAddonFile) && readStamp(crashAddonStamp) === wanted) return
    const missing = await need('g++', 'make', 'cmake')
    if (missing !== undefined) throw new Error(`the addon with crash points can't be built here. ${missing}`)
    const options = ['-DHERMES_CRASH_POINTS=ON', '-DHERMES_BUILD_ADDON=ON', '-DHERMES_BUILD_TESTS=OFF']
    await timed('building the addon with crash points', async () => {
      await must('cmake', ['-S', root, '-B', at('build', 'crash-points'), ...options], { show })
      await must('cmake', ['--build', at('build', 'crash-points'), '--target', 'hermes_addon', '-j2'], { show })
    })
    writeFileSync(crashAddonStamp, wanted)
  })
}

/**
 * Makes sure that lib/native/addon.ts finds an addon of the present sources: the committed prebuild where it is one, else
 * build/Release, built now if need be. Returns `prebuild` or `build`.
 */
export function ensureAddon() {
  return locked(ensureAddonAlone)
}

async function ensureAddonAlone() {
  const sources = nativeSourcesHash()
  if (existsSync(addonFile) && statSync(addonFile).size > 0 && readStamp(addonStamp) === sources) return 'build'
  const fault = prebuildFault(platformName())
  if (fault === undefined) {
    if (existsSync(addonFile)) {
      // The loader prefers build/Release, and this one is of older sources.
      rmSync(addonFile)
      say('removed build/Release/hermes.node, which is of other sources; the committed prebuild serves')
    }
    return 'prebuild'
  }
  await timed(`building the native addon (${fault})`, () => buildAddon())
  return 'build'
}

/** Everything that a clone needs to run examples and tests. */
export async function setup() {
  await ensureDependencies()
  await ensureDist()
  await ensureExamples()
  return ensureAddon()
}
