import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { HermesError } from './errors.js'
import type { NativeAddon } from './native-addon.js'

/** This file runs as dist/native.js and, under vitest, as lib/native.ts: the package is one level up from both. */
const packageRoot = join(import.meta.dirname, '..')

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
  const build = join(packageRoot, 'build', 'Release', 'hermes.node')
  const prebuild = join(packageRoot, 'prebuilds', platform, 'hermes.node')
  if (choice === '') return [build, prebuild]
  if (choice === 'build') return [build]
  if (choice === 'prebuild') return [prebuild]
  return [resolve(choice)]
}

function load(): NativeAddon {
  const platform = platformName()
  const tried = candidates(platform)
  const file = tried.find((path) => existsSync(path))
  let cause: unknown
  try {
    if (file !== undefined) return createRequire(import.meta.url)(file) as NativeAddon
  } catch (error) {
    // No second choice here: an addon that is present and does not load is a fault to see, not to pass over.
    cause = error
  }
  const failure =
    file === undefined
      ? `none of these files exists:\n${tried.map((path) => `  ${path}\n`).join('')}`
      : `${file} does not load: ${cause instanceof Error ? cause.message : String(cause)}\n`
  throw new HermesError(
    'NATIVE_UNAVAILABLE',
    `No native addon for ${platform}, Node ${process.versions.node}: ${failure}` +
      'To build it from source, with a C++20 compiler, make and Python 3, run this in a clone of hermes-mq:\n' +
      '  npm ci --ignore-scripts && npm run build:native\n' +
      'Outside of that clone, set HERMES_NATIVE to the path of its build/Release/hermes.node.',
    { cause, details: { platform, node: process.versions.node, tried } },
  )
}

/** The addon. Importing this module throws `NATIVE_UNAVAILABLE` where none can be loaded. */
export const native: NativeAddon = load()
