import { openPlace, type Scheme, type Schemes } from '../placement/registry.js'
import { openWeb } from '../placement/remote/open-web.js'
import { Hermes } from './hermes.js'
import { checkedPlace } from './place.js'
import type { OpenOptions } from './schemes.js'

const door = (form: string): Scheme<OpenOptions> => ({ form, open: openWeb })

/** What a browser can reach. */
const schemes: Schemes<OpenOptions> = { ws: door("'ws://host:port'"), wss: door("'wss://host:port'") }

/**
 * Opens a broker's topics in a browser.
 *
 * @param place `wss://host:port`, or `ws://host:port`: a broker's door for WebSockets (`hermes serve --ws`)
 * @throws HermesError `INVALID_ARGUMENT`, `UNSUPPORTED`, `CONNECTION_FAILED`, `UNAUTHORIZED`, `PROTOCOL`
 */
export async function open(place: string | URL, options: OpenOptions = {}): Promise<Hermes> {
  const { name, placement } = await openPlace(schemes, checkedPlace(schemes, place), options)
  return new Hermes(name, placement)
}
