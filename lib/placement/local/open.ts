import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import { openPlaceDirectory, sharedMemoryPath } from '../../store/open-place.js'
import type { LocalOptions, Opened } from '../port.js'
import { LocalPlacement } from './placement.js'

/** Opens a path, or a `file:` URL. */
export async function openDirectoryPlace(place: string, options: LocalOptions): Promise<Opened> {
  const path = () => (/^file:/i.test(place) ? pathOfUrl(place) : pathOf(place))
  return { name: place, placement: new LocalPlacement(await openPlaceDirectory(path, options)) }
}

/** Opens `shm:name`. */
export async function openSharedMemory(place: string, options: LocalOptions): Promise<Opened> {
  const path = () => sharedMemoryPath(place.slice('shm:'.length), 'shared-memory')
  return { name: place, placement: new LocalPlacement(await openPlaceDirectory(path, options)) }
}

function pathOf(place: string): string {
  // Only a shell replaces it, and not in --dir=~/data: a folder of this name is never meant.
  if (/^~(\/|$)/.test(place)) {
    throw invalid(
      `'${place}' begins with '~', which only a shell replaces: give the path itself, as join(homedir(), …).`,
    )
  }
  return resolve(place)
}

function pathOfUrl(url: string): string {
  let path: string
  try {
    path = fileURLToPath(url)
  } catch (cause) {
    throw new HermesError('INVALID_ARGUMENT', `${url} leads to no path on this host. Use file:///path.`, { cause })
  }
  if (path.includes('\0')) throw invalid('A path holds no null characters.')
  return path
}
