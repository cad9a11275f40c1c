import { openPlaceDirectory, sharedMemoryPath } from '../../store/open-place.js'
import type { LocalOptions, Opened } from '../port.js'
import { RingPlacement } from './placement.js'

/** Opens `ring:name`. */
export async function openRingPlace(place: string, options: LocalOptions): Promise<Opened> {
  const path = () => sharedMemoryPath(place.slice('ring:'.length), 'ring')
  return { name: place, placement: new RingPlacement(await openPlaceDirectory(path, options, 'hermes-rings')) }
}
