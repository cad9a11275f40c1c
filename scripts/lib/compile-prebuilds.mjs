// Compiles the prebuilt addons: every source for every target, as many at once as there are processors, and links each.
//
// The same sources give the same bytes, wherever and by however many jobs: paths are relative to the clone, the environment is empty but for
// what stands below, the order at the link is that of native/sources.txt, and each object depends on its source alone.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { readList } from './list-lines.mjs'
import { prebuildFingerprint, sha256 } from './native-sources.mjs'
import {
  compileFlags,
  includeFlags,
  linkFlags,
  runtimeFlags,
  runtimeIncludes,
  runtimeSources,
  targets,
} from './prebuild-recipe.mjs'
import { must, root } from './run.mjs'
import { ensureToolchain } from './toolchain.mjs'

/** Objects, and what was linked last, per target. */
const work = join('build', 'prebuild')

/** Runs tasks, `jobs` at a time, in their order. The first failure stops the rest. */
async function runTasks(tasks, jobs) {
  const queue = [...tasks]
  const worker = async () => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) await task()
  }
  await Promise.all(Array.from({ length: jobs }, worker)).catch((error) => {
    queue.length = 0
    throw error
  })
}

/** The environment of the compiler: nothing that could change what comes out. */
function environment(extra) {
  const kept = ['PATH', 'HOME', 'TMPDIR']
  const dropped = Object.keys(process.env).filter((name) => !kept.includes(name))
  return { ...Object.fromEntries(dropped.map((name) => [name, undefined])), LC_ALL: 'C', ...extra }
}

/**
 * The headers that take longest to read, compiled once per target and not once per source: less than half the time, and the same objects.
 * Those of the core don't include them by this: any other build says what is missing.
 */
const commonHeaders = [
  'algorithm',
  'atomic',
  'chrono',
  'condition_variable',
  'functional',
  'map',
  'memory',
  'mutex',
  'napi.h',
  'string',
  'thread',
  'vector',
]

/** The steps for one target: `prepare`, then `compile` in any order, then `link`. */
function stepsOf(target, { zig, env, log }) {
  const folder = join(work, target.name)
  mkdirSync(join(root, folder), { recursive: true })
  const options = { env: environment({ ...env, ZIG_LOCAL_CACHE_DIR: join(root, work, 'zig-cache') }), log }
  const call = (...args) => must(zig, ['c++', '-target', target.zig, `-mcpu=${target.cpu}`, ...args], options)
  const flags = [...readList(join(root, 'native', 'flags.txt')), ...compileFlags, ...includeFlags]
  const header = join(folder, 'common.h')
  const compiledHeader = join(folder, 'common.pch')
  const objectOf = (source) => join(folder, `${source.replaceAll('/', '-')}.o`)
  const sources = readList(join(root, 'native', 'sources.txt'))
  // Outside of the clone, so by a path of this machine: it is mapped away where it could get into the result.
  const inPackage = (path) => join(env.ZIG_LIB_DIR, path)
  const flagsOfRuntime = [
    ...runtimeFlags,
    `-ffile-prefix-map=${env.ZIG_LIB_DIR}=zig`,
    ...runtimeIncludes.map((path) => `-I${inPackage(path)}`),
  ]
  const built = join(folder, 'hermes.node')
  return {
    prepare: async () => {
      writeFileSync(join(root, header), commonHeaders.map((name) => `#include <${name}>\n`).join(''))
      // Its own times are no use: the compiler's cache goes by contents.
      await call(...flags, '-Xclang', '-fno-pch-timestamp', '-x', 'c++-header', header, '-o', compiledHeader)
    },
    compile: [
      ...runtimeSources.map((source) => () => call(...flagsOfRuntime, '-c', inPackage(source), '-o', objectOf(source))),
      ...sources.map(
        (source) => () =>
          call(...flags, '-include-pch', compiledHeader, '-c', join('native', source), '-o', objectOf(source)),
      ),
    ],
    link: () => call(...linkFlags, '-o', built, ...[...sources, ...runtimeSources].map(objectOf)),
  }
}

/**
 * Compiles the addons of the present sources. Resolves with a map from a target's name to the file, below build/. Does nothing for a target whose
 * file there is of the same sources, recipe and compiler, unless `afresh`.
 */
export async function compilePrebuilds({ jobs = availableParallelism(), afresh = false, log } = {}) {
  const fingerprint = prebuildFingerprint()
  const stampOf = (target) => join(root, work, target.name, 'stamp')
  const fileOf = (target) => join(root, work, target.name, 'hermes.node')
  const stampText = (target) => `${fingerprint} ${sha256(readFileSync(fileOf(target)))}`
  const isBuilt = (target) =>
    [stampOf(target), fileOf(target)].every(existsSync) && readFileSync(stampOf(target), 'utf8') === stampText(target)
  if (afresh) rmSync(join(root, work), { recursive: true, force: true })
  const wanted = targets.filter((target) => !isBuilt(target))
  if (wanted.length > 0) {
    const toolchain = await ensureToolchain()
    const plans = wanted.map((target) => stepsOf(target, { ...toolchain, log }))
    for (const step of ['prepare', 'compile', 'link'])
      await runTasks(
        plans.flatMap((plan) => plan[step]),
        jobs,
      )
    for (const target of wanted) writeFileSync(stampOf(target), stampText(target))
  }
  return new Map(targets.map((target) => [target.name, fileOf(target)]))
}
