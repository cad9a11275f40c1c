import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isHostAndPort } from '../../base/address.js'
import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import { sharedMemoryPath } from '../../store/open-place.js'
import { schemeMissing } from '../registry.js'

/**
 * The directory that a place lies in.
 *
 * @param place a path, a `file:` URL or `shm:name`; other schemes have none
 * @throws HermesError `INVALID_ARGUMENT`, `INVALID_NAME`
 */
export function pathOfPlace(place: string): string {
  if (/^shm:/i.test(place)) return sharedMemoryPath(place.slice('shm:'.length), 'shared-memory')
  return /^file:/i.test(place) ? pathOfUrl(place) : pathOf(place)
}

/** The path of a directory. @throws HermesError `INVALID_ARGUMENT` for what is likely meant to be something else */
export function pathOf(place: string): string {
  // Only a shell replaces it, and not in --dir=~/data: a folder of this name is never meant.
  if (/^~(\/|$)/.test(place)) {
    throw invalid(
      `'${place}' begins with '~', which only a shell replaces: give the path itself, as join(homedir(), …).`,
    )
  }
  const path = resolve(place)
  if (isHostAndPort(place) && !existsSync(path)) throw schemeMissing(place)
  return path
}

/** What stands behind the path would be dropped without a word. */
function checkParts(url: string): void {
  const [, sign, rest = ''] = /([?#])(.*)$/s.exec(url) ?? []
  if (sign === undefined) return
  const names = [...new URLSearchParams(rest.replace(/#.*$/s, '')).keys()].map((name) => `'${name}'`)
  const what = sign === '#' ? `the fragment '#${rest}'` : `query parameters (${names.join(', ') || 'none'})`
  throw invalid(
    `${url} has ${what}, and a file: URL of a place only a path: options are given to open(). In a path, ? is written %3F, and # is written %23.`,
  )
}

function pathOfUrl(url: string): string {
  checkParts(url)
  let path: string
  try {
    path = fileURLToPath(url)
  } catch (cause) {
    throw new HermesError('INVALID_ARGUMENT', `${url} leads to no path on this host. Use file:///path.`, { cause })
  }
  if (path.includes('\0')) throw invalid('A path holds no null characters.')
  return path
}
