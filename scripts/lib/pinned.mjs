// Packages of npm that a script needs and the clone does not: fetched on demand, by version and checksum, into the cache folder.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from './cache.mjs'
import { timed } from './log.mjs'
import { must } from './run.mjs'

/** Makes sure of a package. Resolves with its folder. `isForeign` if its programs are for another processor than this machine's. */
export async function ensurePackage({ name, version, integrity, isForeign = false }) {
  const folder = join(cacheFolder, `${name}-${version}`)
  const inside = join(folder, 'node_modules', name)
  if (existsSync(folder)) return inside
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  try {
    writeFileSync(join(unfinished, 'package.json'), '{ "private": true }\n')
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', `${name}@${version}`]
    if (isForeign) args.push('--force')
    await timed(`fetching ${name} ${version}`, () => must('npm', args, { cwd: unfinished }))
    const installed = JSON.parse(readFileSync(join(unfinished, 'node_modules', '.package-lock.json'), 'utf8'))
    // npm compared the package with this checksum; that it is the one that was looked at once, only this comparison tells.
    const got = installed.packages[`node_modules/${name}`].integrity
    if (got !== integrity) throw new Error(`${name} ${version} has the checksum ${got}, not ${integrity}`)
    renameSync(unfinished, folder)
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(folder)) throw error
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
  return inside
}
