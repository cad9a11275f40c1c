// npm run build:prebuild: builds prebuilds/linux-<arch>/hermes.node in a Debian 11 of its own, so that it asks for no
// newer glibc than 2.31, and with libstdc++ inside. Needs Debian or Ubuntu, and root for debootstrap and chroot.
//
// The Debian 11 is kept in $HERMES_CACHE (default ~/.cache/hermes) and comes from this machine's own mirror, or from
// $HERMES_DEBIAN_MIRROR. The compiler, the paths and the flags are fixed, so the same sources give the same bytes.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { need } from './lib/apt.mjs'
import { ensureDependencies, platformName } from './lib/build.mjs'
import { inspect, newerThan } from './lib/elf.mjs'
import { fail, say, seconds, timed } from './lib/log.mjs'
import { maxGlibc, nativeSourcesHash, nodeAddonApiVersion, prebuildLinkFlags, sha256 } from './lib/native-sources.mjs'
import { must, root, run } from './lib/run.mjs'

const suite = 'bullseye'
const cache = process.env.HERMES_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'hermes')

/** The Debian mirrors that apt uses on this machine, in both forms of its lists. */
function configuredMirrors() {
  const files = ['/etc/apt/sources.list']
  const folder = '/etc/apt/sources.list.d'
  if (existsSync(folder)) files.push(...readdirSync(folder).map((name) => join(folder, name)))
  const mirrors = []
  for (const file of files.filter(existsSync)) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const uris = file.endsWith('.sources')
        ? (/^URIs:\s*(.+)$/.exec(line)?.[1] ?? '').split(/\s+/)
        : [/^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/.exec(line)?.[1] ?? '']
      mirrors.push(...uris.map((uri) => uri.replace(/\/$/, '')).filter((uri) => uri.endsWith('/debian')))
    }
  }
  return [...new Set(mirrors)]
}

async function serves(mirror) {
  try {
    const answer = await fetch(`${mirror}/dists/${suite}/Release`, {
      method: 'HEAD',
      signal: AbortSignal.timeout(20_000),
    })
    return answer.ok
  } catch {
    return false
  }
}

async function findMirror() {
  const mirrors = process.env.HERMES_DEBIAN_MIRROR ? [process.env.HERMES_DEBIAN_MIRROR] : configuredMirrors()
  for (const mirror of mirrors) if (await serves(mirror)) return mirror
  throw new Error(
    `no mirror serves Debian ${suite} (tried: ${mirrors.join(', ') || 'none configured'}). ` +
      'Set HERMES_DEBIAN_MIRROR to one that does, for instance that of archive.debian.org.',
  )
}

async function ensureChroot() {
  const folder = join(cache, `${suite}-${process.arch}`)
  if (existsSync(folder)) return folder
  const mirror = await findMirror()
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(cache, { recursive: true })
  await timed(`making a Debian ${suite} in ${folder} from ${mirror}`, () =>
    must('debootstrap', ['--variant=minbase', '--include=g++,cmake,make', suite, unfinished, mirror]),
  )
  renameSync(unfinished, folder)
  return folder
}

async function build() {
  if (process.platform !== 'linux') throw new Error('prebuilds are built on Linux only')
  if (process.getuid() !== 0) throw new Error('debootstrap and chroot need root: run this as root')
  const missing = await need('debootstrap')
  if (missing !== undefined) throw new Error(missing)
  await ensureDependencies()
  const chroot = await ensureChroot()

  // Copied in, at a path that is the same for everyone: no mounts to undo, and no path of this machine in the result.
  const inside = '/hermes'
  const work = join(chroot, inside)
  rmSync(work, { recursive: true, force: true })
  const sources = nativeSourcesHash()
  const wanted = ['package.json', 'CMakeLists.txt', 'cmake', 'native/core', 'native/binding']
  wanted.push(
    'native/sources.txt',
    'native/flags.txt',
    'native/exports.map',
    'node_modules/node-addon-api',
    'node_modules/node-api-headers',
  )
  for (const name of wanted) cpSync(join(root, name), join(work, name), { recursive: true })

  const inChroot = (...command) =>
    must('chroot', [chroot, '/usr/bin/env', '-i', 'PATH=/usr/bin:/bin', 'LC_ALL=C', ...command])
  await timed('compiling', async () => {
    const options = ['-DHERMES_BUILD_ADDON=ON', '-DHERMES_BUILD_TESTS=OFF', '-DHERMES_WARNINGS_AS_ERRORS=OFF']
    options.push(`-DCMAKE_MODULE_LINKER_FLAGS=${prebuildLinkFlags.join(' ')}`)
    await inChroot('cmake', '-S', inside, '-B', `${inside}/build`, '-DCMAKE_BUILD_TYPE=Release', ...options)
    await inChroot('cmake', '--build', `${inside}/build`, '--target', 'hermes_addon', '-j2')
  })
  const compiler = (await inChroot('g++', '--version')).output.split('\n')[0]

  const built = join(work, 'build', 'hermes.node')
  const { glibc, glibcxx, needed } = inspect(built)
  if (newerThan(glibc, maxGlibc) || glibcxx)
    throw new Error(`the result asks for glibc ${glibc} and ${needed.join(', ')}`)
  const loaded = await run(process.execPath, ['-e', 'require(process.argv[1])', built])
  if (loaded.code !== 0) throw new Error(`the result does not load:\n${loaded.output}`)

  const folder = join(root, 'prebuilds', platformName())
  mkdirSync(folder, { recursive: true })
  const addon = join(folder, 'hermes.node')
  const bytes = readFileSync(built)
  const same = existsSync(addon) && readFileSync(addon).equals(bytes)
  const manifestFile = join(folder, 'hermes.json')
  const before = existsSync(manifestFile) ? JSON.parse(readFileSync(manifestFile, 'utf8')) : {}
  const manifest = {
    sourcesSha256: sources,
    addonSha256: sha256(bytes),
    nodeAddonApi: nodeAddonApiVersion(),
    napiVersion: 9,
    linkFlags: prebuildLinkFlags,
    toolchain: `Debian ${suite}, ${compiler}`,
    glibc,
    needed,
    // The day on which these bytes were first built.
    builtOn: same && before.builtOn !== undefined ? before.builtOn : new Date().toISOString().slice(0, 10),
  }
  // A new file in place of the old one: writing into a file that a running process has mapped would crash it.
  writeFileSync(`${addon}.new`, bytes)
  renameSync(`${addon}.new`, addon)
  writeFileSync(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`)
  say(`prebuilds/${platformName()}/hermes.node: ${bytes.length} bytes, needs glibc ${glibc}, ${needed.join(' ')}`)
  if (same) say('the same bytes as before: the build is reproducible')
}

const start = Date.now()
try {
  await build()
  say(`done in ${seconds(start)}`)
} catch (error) {
  fail(error.message)
}
