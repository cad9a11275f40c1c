import type { Opened } from '../port.js'
import { checkTcpOptions, type TcpOptions } from './options.js'
import { RemotePlacement } from './placement.js'
import { transportOf } from './transports.js'

/** Connects to the broker at `tcp://`, `tls://`, `ws://` or `wss://host:port`. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; what connecting throws */
export async function openRemote(place: string, options: TcpOptions): Promise<Opened> {
  const settings = checkTcpOptions(place, options)
  return { name: settings.url, placement: await RemotePlacement.connect(settings, await transportOf(settings)) }
}
