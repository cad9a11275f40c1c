import { isIP } from 'node:net'
import { invalid } from '../../base/options.js'

/** Any page may. */
const anyOrigin = '*'

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkOrigins(origins: unknown): readonly string[] {
  if (!Array.isArray(origins)) throw invalid("'webSocket.origins' must be a list.")
  return origins.map((origin: unknown) => {
    if (origin === anyOrigin) return origin
    try {
      // (Browsers send it in this form: in lower case, without a default port.)
      const { protocol, origin: normal } = new URL(String(origin))
      if (
        typeof origin === 'string' &&
        /^https?:$/.test(protocol) &&
        normal === origin.toLowerCase().replace(/\/$/, '')
      )
        return normal
    } catch {
      // told below
    }
    throw invalid(`'${String(origin)}' is no origin of a page: write https://host or https://host:port, or *.`)
  })
}

/**
 * Why a browser's page may not connect; `undefined` if it may.
 *
 * @param host     of the request: what the browser takes this server for
 * @param own      the name that is listened on
 * @param isOpen   authentication is not configured. Then only the names that are known to be ours will do: a page of another site could have a
 *   browser connect under a name of that site that leads to this address, and its origin would be the same as the host
 * @param dashboardPort of this broker's admin server, whose page may
 */
export function originRefusal(
  { origin, host }: { readonly origin: string | undefined; readonly host: string | undefined },
  origins: readonly string[],
  own: string,
  isOpen: boolean,
  dashboardPort?: number,
): string | undefined {
  if (isOpen && !origins.includes(anyOrigin) && !isOurs(host, own)) return `${host ?? 'no name'} is not served here`
  // Who is no browser sends none, and whoever writes one by hand may write any.
  if (origin === undefined || origins.includes(anyOrigin) || origins.includes(origin)) return undefined
  const page = origin.replace(/^https?:\/\//, '')
  if (host === undefined || page === origin) return `pages of ${origin} may not connect`
  if (page === host.toLowerCase()) return undefined
  // The dashboard of this broker: the same machine by the same name, at another port.
  const machine = host.toLowerCase().replace(/:\d+$/, '')
  if (dashboardPort !== undefined && page === `${machine}:${dashboardPort}`) return undefined
  return `pages of ${origin} may not connect`
}

/** Whether a Host header is a name of this server. */
export function isOurs(host: string | undefined, own: string): boolean {
  const name = (host ?? '')
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  return name === 'localhost' || name === own.toLowerCase() || isIP(name) !== 0
}
