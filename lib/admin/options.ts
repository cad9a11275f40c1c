import { checkBoolean, checkInteger, checkOptions, invalid } from '../base/options.js'
import { Access, type AccessEntry } from '../broker/access.js'
import { type BrokerTls, checkGuarded } from '../broker/options.js'

export interface AdminOptions {
  /** The directory that is looked at. It has to be there. */
  readonly dir: string
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 9464; 0 = any that is free. */
  readonly port?: number
  /** As the broker's. Without it authentication is not configured. */
  readonly access?: readonly AccessEntry[]
  readonly tls?: BrokerTls
  /** Serve a public address without authentication. */
  readonly insecure?: boolean
  /** The door of the broker for WebSockets, by which the dashboard reads messages. The broker has to admit it: see `Broker.admitDashboard`. */
  readonly webSocketUrl?: string
  /** Ready only while a broker serves the directory. */
  readonly expectsBroker?: boolean
}

export interface AdminSettings {
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly access: Access
  readonly tls: BrokerTls | undefined
  readonly insecure: boolean
  readonly expectsBroker: boolean
  readonly webSocketUrl: string | undefined
}

export const defaultAdminPort = 9464

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `UNAUTHORIZED` for a public address without authentication */
export function checkAdminOptions(options: AdminOptions): AdminSettings {
  checkOptions('the admin server', options, [
    'dir',
    'host',
    'port',
    'access',
    'tls',
    'insecure',
    'expectsBroker',
    'webSocketUrl',
  ])
  const { dir, host = '127.0.0.1', port = defaultAdminPort, access = [], tls, insecure = false } = options
  const { expectsBroker = false, webSocketUrl } = options
  if (typeof dir !== 'string' || dir === '') throw invalid("The admin server needs the 'dir' that it is to look at.")
  checkInteger('port', port, 0, 65_535)
  checkBoolean('insecure', insecure)
  const known = new Access(access)
  checkGuarded(host, known, tls, insecure)
  return { dir, host, port, access: known, tls, insecure, expectsBroker, webSocketUrl }
}
