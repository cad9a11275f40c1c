import { HermesError } from '../../base/errors.js'
import { webTransport } from '../../transport/web.js'
import type { Opened } from '../port.js'
import { checkTcpOptions, type TcpOptions } from './options.js'
import { RemotePlacement } from './placement.js'

/**
 * The same in a browser, over its own WebSocket.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `UNSUPPORTED` (certificates and compression are the browser's affair); what connecting throws
 */
export async function openWeb(place: string, options: TcpOptions): Promise<Opened> {
  const settings = checkTcpOptions(place, options)
  for (const name of ['tls', 'compression'] as const) {
    if (options[name] === undefined || options[name] === 'none') continue
    throw new HermesError('UNSUPPORTED', `A browser takes no '${name}' from a page. Leave it out.`, {
      details: { name },
    })
  }
  return { name: settings.url, placement: await RemotePlacement.connect(settings, webTransport(settings)) }
}
