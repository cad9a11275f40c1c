import { openPlaceDirectory } from '../../store/open-place.js'
import type { LocalOptions, Opened } from '../port.js'
import { pathOfPlace } from './path.js'
import { LocalPlacement } from './placement.js'

/** Opens a path, a `file:` URL or `shm:name`. */
export async function openLocalPlace(place: string, options: LocalOptions): Promise<Opened> {
  const path = pathOfPlace(place)
  return { name: place, placement: new LocalPlacement(await openPlaceDirectory(() => path, options)) }
}
