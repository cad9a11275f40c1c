import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { HermesError } from '../base/errors.js'
import { scratchDifference } from './scratch.js'
import type { NativeAddon } from './types.js'

/**
 * This file runs as dist/native/addon.js and, under vitest, as lib/native/addon.ts: the package is two levels up from both. Undefined
 * where a bundler made it part of a CommonJS file.
 */
const packageRoot = import.meta.dirname === undefined ? undefined : join(import.meta.dirname, '../..')

/** Whether this file was taken out of its package by a bundler: the addon is not beside it then. */
function isBundled(): boolean {
  if (packageRoot === undefined) return true
  try {
    const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { readonly name?: unknown }
    return manifest.name !== 'hermes-mq'
  } catch {
    return true
  }
}

/** Whether this Node runs on musl. Answered without the network interfaces, which can take seconds to list. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined
}

/** `linux-x64`, `linux-arm64-musl`, `darwin-arm64`: the name of this machine's folder in prebuilds/. */
function platformName(): string {
  return `${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`
}

/**
 * The files to try, in order. An addon built on this machine was asked for explicitly, so it comes first.
 * HERMES_NATIVE narrows the choice: `build`, `prebuild`, or the path of an addon.
 */
function candidates(platform: string): string[] {
  const choice = process.env.HERMES_NATIVE ?? ''
  if (choice !== '' && choice !== 'build' && choice !== 'prebuild') return [resolve(choice)]
  if (packageRoot === undefined) return []
  const build = join(packageRoot, 'build', 'Release', 'hermes.node')
  const prebuild = join(packageRoot, 'prebuilds', platform, 'hermes.node')
  if (choice === '') return [build, prebuild]
  return [choice === 'build' ? build : prebuild]
}

const bundlerAdvice =
  'It looks as if a bundler had made hermes-mq part of this file. Leave it in node_modules, where its addon is:\n' +
  '  esbuild --external:hermes-mq --external:hermes-mq/*\n' +
  "  webpack { externals: [/^hermes-mq(\\/|$)/], target: 'node20', externalsType: 'import' }\n"

/** An addon of other sources than these files would read arguments, and write results, in the wrong places. */
function checked(addon: NativeAddon): NativeAddon {
  const difference = scratchDifference(addon.constants?.scratch)
  if (difference !== undefined) throw new Error(`it is of another version of hermes-mq: ${difference}`)
  return addon
}

function load(): NativeAddon {
  const platform = platformName()
  const tried = candidates(platform)
  const file = tried.find((path) => existsSync(path))
  let cause: unknown
  try {
    // (Of an absolute path: where this file is doesn't matter.)
    if (file !== undefined) return checked(createRequire(file)(file) as NativeAddon)
  } catch (error) {
    // No second choice here: an addon that is present and does not load is a fault to see, not to pass over.
    cause = error
  }
  const failure =
    tried.length === 0
      ? 'it lies beside the files of hermes-mq, which are not known here.\n'
      : file === undefined
        ? `none of these files exists:\n${tried.map((path) => `  ${path}\n`).join('')}`
        : `${file} does not load: ${cause instanceof Error ? cause.message : String(cause)}\n`
  throw new HermesError(
    'NATIVE_UNAVAILABLE',
    `No native addon for ${platform}, Node ${process.versions.node}: ${failure}` +
      (isBundled() ? bundlerAdvice : '') +
      'To build it from source, with a C++20 compiler, make and Python 3, run this in a clone of hermes-mq:\n' +
      '  npm ci --ignore-scripts && npm run build:native\n' +
      'Outside of that clone, set HERMES_NATIVE to the path of its build/Release/hermes.node.',
    { cause, details: { platform, node: process.versions.node, tried } },
  )
}

/** The addon. Importing this module throws `NATIVE_UNAVAILABLE` where none can be loaded. */
export const native: NativeAddon = load()
