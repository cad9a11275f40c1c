// What takes long to get and the clone itself does not need: packages of npm by the lock file of a folder, fetched on demand and kept.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { timed } from './log.mjs'
import { sha256 } from './native-sources.mjs'
import { must } from './run.mjs'

/** Where they are kept: `$HERMES_CACHE`, by default `~/.cache/hermes`. */
export const cacheFolder =
  process.env.HERMES_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'hermes')

/**
 * Makes sure of what package.json and package-lock.json in `pins` name, by versions and checksums. Resolves with its node_modules, in a folder per
 * lock file: another pin never finds an older one's files. No install script runs.
 */
export async function ensureLocked(pins, { name, title }) {
  const lock = readFileSync(join(pins, 'package-lock.json'))
  const folder = join(cacheFolder, `${name}-${sha256(lock).slice(0, 12)}`)
  if (!existsSync(folder)) {
    const unfinished = `${folder}.${process.pid}`
    mkdirSync(unfinished, { recursive: true })
    try {
      for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(pins, file), join(unfinished, file))
      const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
      await timed(`installing ${title} into ${folder}`, () => must('npm', args, { cwd: unfinished }))
      renameSync(unfinished, folder)
    } catch (error) {
      // Another process may have been faster.
      if (!existsSync(folder)) throw error
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
  }
  return join(folder, 'node_modules')
}
