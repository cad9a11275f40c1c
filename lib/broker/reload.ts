import { HermesError } from '../base/errors.js'
import { checkOptions, invalid } from '../base/options.js'
import { Access, type AccessEntry } from './access.js'
import { type BrokerSettings, type BrokerTls, checkGuarded, checkTls } from './options.js'

/** What a broker, or an admin server, can change while it runs. */
export interface ReloadOptions {
  readonly access?: readonly AccessEntry[]
  readonly tls?: BrokerTls
}

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `UNAUTHORIZED`, `UNSUPPORTED` */
export function checkReloadOptions(
  options: ReloadOptions,
  {
    host,
    insecure,
    tls: before,
    access: known,
    webSocket,
  }: Pick<BrokerSettings, 'host' | 'insecure' | 'tls' | 'access'> & Partial<Pick<BrokerSettings, 'webSocket'>>,
): { access: Access | undefined; tls: BrokerTls | undefined } {
  checkOptions('reload()', options, ['access', 'tls'])
  const { access, tls } = options
  if (access !== undefined && !Array.isArray(access)) throw invalid("'access' must be a list of entries.")
  const next = access === undefined ? undefined : new Access(access)
  if (tls !== undefined) {
    checkTls(tls)
    if (before === undefined) throw needsRestart('TLS can only be begun')
    if ((tls.ca === undefined) !== (before.ca === undefined))
      throw needsRestart('Asking clients for certificates can only be begun or ended')
  }
  for (const address of [host, ...(webSocket === undefined ? [] : [webSocket.host])])
    checkGuarded(address, next ?? known, tls ?? before, insecure)
  return { access: next, tls }
}

function needsRestart(what: string): HermesError {
  return new HermesError('UNSUPPORTED', `${what} by a restart of the broker.`)
}
