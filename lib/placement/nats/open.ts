import type { Opened } from '../port.js'
import { checkNatsOptions, type NatsOptions } from './options.js'
import { NatsPlacement } from './placement.js'

/** Connects to the cluster at `nats://host,host,host`. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; what connecting throws */
export async function openNats(place: string, options: NatsOptions): Promise<Opened> {
  const settings = checkNatsOptions(place, options)
  return { name: settings.name, placement: await NatsPlacement.connect(settings) }
}
