import { HermesError } from '../base/errors.js'
import { nodeModule } from '../base/node.js'
import { platformName, prebuildName, prebuiltPlatforms } from './platform.js'
import { scratchDifference } from './scratch.js'
import type { NativeAddon } from './types.js'

/** What finding an addon takes of Node. */
interface Tools {
  readonly fs: typeof import('node:fs')
  readonly path: typeof import('node:path')
  readonly module: typeof import('node:module')
}

function toolsOfNode(): Tools | undefined {
  const fs = nodeModule('node:fs')
  const path = nodeModule('node:path')
  const module = nodeModule('node:module')
  return fs && path && module && { fs, path, module }
}

/**
 * This file runs as dist/native/load.js and, under vitest, as lib/native/load.ts: the package is two levels up from both. Undefined
 * where a bundler made it part of a CommonJS file.
 */
function packageRoot({ path }: Tools): string | undefined {
  return import.meta.dirname === undefined ? undefined : path.join(import.meta.dirname, '../..')
}

/** Whether this file was taken out of its package by a bundler: the addon is not beside it then. */
function isBundled({ fs, path }: Tools, root: string | undefined): boolean {
  if (root === undefined) return true
  try {
    const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { readonly name?: unknown }
    return manifest.name !== 'hermes-mq'
  } catch {
    return true
  }
}

/** To do without the addon, as where there is none. */
const noAddon = 'none'

/**
 * The files to try, in order. An addon built on this machine was asked for explicitly, so it comes first.
 * HERMES_NATIVE narrows the choice: `build`, `prebuild`, the path of an addon, or `none`.
 */
function candidates({ path }: Tools, root: string | undefined, platform: string): string[] {
  const choice = process.env.HERMES_NATIVE ?? ''
  if (choice === noAddon) return []
  if (choice !== '' && choice !== 'build' && choice !== 'prebuild') return [path.resolve(choice)]
  if (root === undefined) return []
  const build = path.join(root, 'build', 'Release', 'hermes.node')
  const prebuild = path.join(root, 'prebuilds', prebuildName(platform))
  if (choice === '') return [build, prebuild]
  return [choice === 'build' ? build : prebuild]
}

/** Which machines the package has an addon for, where it has none for this one. */
function prebuiltAdvice({ fs, path }: Tools, root: string | undefined, platform: string): string {
  if (root === undefined) return ''
  const folder = path.join(root, 'prebuilds')
  const platforms = prebuiltPlatforms(fs.existsSync(folder) ? fs.readdirSync(folder) : [])
  if (platforms.length === 0) return 'Prebuilt addons are missing altogether: install the package anew.\n'
  return platforms.includes(platform) ? '' : `Prebuilt addons are there for ${platforms.join(', ')}.\n`
}

const bundlerAdvice =
  'It looks as if a bundler had made hermes-mq part of this file. Leave it in node_modules, where its addon is:\n' +
  '  esbuild --external:hermes-mq --external:hermes-mq/*\n' +
  "  webpack { externals: [/^hermes-mq(\\/|$)/], target: 'node20', externalsType: 'import' }\n"

const permissionAdvice = 'Node was told so: give it --allow-addons with --permission, and leave out --no-addons.'

const sourceAdvice =
  'To build it from source, with a C++20 compiler, make and Python 3, run this in a clone of hermes-mq:\n' +
  '  npm ci --ignore-scripts && npm run build:native\n' +
  'Outside of that clone, set HERMES_NATIVE to the path of its build/Release/hermes.node.'

/** An addon, or why there is none. */
type Outcome =
  | { readonly addon: NativeAddon }
  /** @param isDefect one that is present, or was named, and can't be used: to be told, not to be passed over */
  | { readonly addon: undefined; readonly error: HermesError; readonly isDefect: boolean }

/** An addon of other sources than these files would read arguments, and write results, at the wrong offsets. */
function checked(addon: NativeAddon): NativeAddon {
  const difference = scratchDifference(addon.constants?.scratch)
  if (difference !== undefined) throw new Error(`it is of another version of hermes-mq: ${difference}`)
  return addon
}

function attempt(): Outcome {
  const tools = toolsOfNode()
  if (tools === undefined) {
    const error = new HermesError('NATIVE_UNAVAILABLE', 'The native addon needs Node 20.17 or later.')
    return { addon: undefined, error, isDefect: false }
  }
  const { fs, module } = tools
  const root = packageRoot(tools)
  const platform = platformName()
  const tried = candidates(tools, root, platform)
  const file = tried.find((path) => fs.existsSync(path))
  let cause: unknown
  try {
    // (Of an absolute path: where this file is doesn't matter.)
    if (file !== undefined) return { addon: checked(module.createRequire(file)(file) as NativeAddon) }
  } catch (error) {
    cause = error
  }
  const choice = process.env.HERMES_NATIVE ?? ''
  const failure =
    choice === noAddon
      ? `HERMES_NATIVE=${noAddon} says to do without it.\n`
      : tried.length === 0
        ? 'it lies beside the files of hermes-mq, which are not known here.\n'
        : file === undefined
          ? `none of these files exists:\n${tried.map((path) => `  ${path}\n`).join('')}`
          : `${file} does not load: ${cause instanceof Error ? cause.message : String(cause)}\n`
  const isForbidden = (cause as NodeJS.ErrnoException | undefined)?.code === 'ERR_DLOPEN_DISABLED'
  const error = new HermesError(
    'NATIVE_UNAVAILABLE',
    `No native addon for ${platform}, Node ${process.versions.node}: ${failure}` +
      (isForbidden
        ? permissionAdvice
        : (isBundled(tools, root) ? bundlerAdvice : file === undefined ? prebuiltAdvice(tools, root, platform) : '') +
          sourceAdvice),
    { cause, details: { platform, node: process.versions.node, tried } },
  )
  return { addon: undefined, error, isDefect: file !== undefined || (choice !== '' && choice !== noAddon) }
}

let outcome: Outcome | undefined

/**
 * The addon; loaded by the first call.
 *
 * @param what needs it, for the message: `Named rings`
 * @throws HermesError `NATIVE_UNAVAILABLE` where none can be loaded
 */
export function loadAddon(what?: string): NativeAddon {
  outcome ??= attempt()
  if (outcome.addon !== undefined) return outcome.addon
  throw what === undefined ? outcome.error : neededBy(what, outcome.error)
}

/**
 * The addon if there is one, for what can be done without it, only slower. One that is present and does not load is a defect of the
 * installation: it is told as a warning, once.
 */
export function addonIfPresent(): NativeAddon | undefined {
  if (outcome === undefined) {
    outcome = attempt()
    if (outcome.addon === undefined && outcome.isDefect) {
      process.emitWarning(`hermes-mq works without its addon, so more slowly. ${outcome.error.message}`, {
        code: outcome.error.code,
      })
    }
  }
  return outcome.addon
}

/** The error of a missing addon, with what it is missing for. */
export function neededBy(what: string, error: HermesError): HermesError {
  return new HermesError(error.code, `${what} can't be used without the native addon. ${error.message}`, {
    cause: error,
    details: error.details,
  })
}
