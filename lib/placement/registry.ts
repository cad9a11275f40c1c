import { isHostAndPort } from '../base/address.js'
import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import type { Opened } from './port.js'

/** One way to have topics. */
export interface Scheme<Options> {
  /** How such a place is written, for messages: `'shm:name'`. */
  readonly form: string
  /** Opens one. */
  open(place: string, options: Options): Promise<Opened>
}

/** By the scheme of the place, in lower case. `file` is also for what has none: a path. */
export type Schemes<Options> = Readonly<Record<string, Scheme<Options>>>

/** How places are written: `a directory, 'shm:name' or 'ring:name'`. */
export function placeForms(schemes: Schemes<never>): string {
  const forms = Object.values(schemes).map(({ form }) => form)
  return `${forms.slice(0, -1).join(', ')} or ${forms.at(-1)}`
}

/** For an address in the place of a directory. */
export function schemeMissing(address: string): HermesError {
  return invalid(
    `'${address}' looks like the address of a broker: write tcp://${address}, or tls://${address} if it speaks TLS. A directory of this name is ./${address}.`,
    { place: address },
  )
}

/**
 * Opens a place.
 *
 * @throws HermesError `INVALID_ARGUMENT` for an address without a scheme; `UNSUPPORTED` for a scheme that there is not; what opening it throws
 */
export function openPlace<Options>(schemes: Schemes<Options>, place: string, options: Options): Promise<Opened> {
  // (One letter would be a drive.)
  const name = /^([a-z][a-z0-9+.-]+):/i.exec(place)?.[1]?.toLowerCase() ?? 'file'
  const scheme = Object.hasOwn(schemes, name) ? schemes[name] : undefined
  if (scheme !== undefined) return scheme.open(place, options)
  if (isHostAndPort(place)) throw schemeMissing(place)
  throw new HermesError('UNSUPPORTED', `There is no placement '${name}:'. Use ${placeForms(schemes)}.`, {
    details: { scheme: `${name}:` },
  })
}
