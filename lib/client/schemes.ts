import { HermesError } from '../base/errors.js'
import { neededBy } from '../native/load.js'
import type { NatsOptions } from '../placement/nats/options.js'
import type { LocalOptions } from '../placement/port.js'
import type { Scheme, Schemes } from '../placement/registry.js'
import type { TcpOptions } from '../placement/remote/options.js'

/**
 * `create` and `mode` are for directories, shared memory and rings; `replicas` and `credentials` for `nats:` places; the others for `tcp:` and `tls:` places,
 * and those that a connection to a cluster has as well for `nats:`.
 */
export interface OpenOptions extends LocalOptions, TcpOptions, NatsOptions {}

const remote = (form: string): Scheme<OpenOptions> => ({
  form,
  open: async (place, options) => (await import('../placement/remote/open.js')).openRemote(place, options),
})

const directory: Scheme<OpenOptions> = {
  form: 'a directory',
  open: async (place, options) => (await local('A directory')).openLocalPlace(place, options),
}

/**
 * The placements. The code of each is loaded when it is opened: a program on one host needs no sockets, and a client of a broker needs no addon.
 * A new one is one more line.
 */
export const schemes: Schemes<OpenOptions> = {
  file: directory,
  shm: {
    form: "'shm:name'",
    open: async (place, options) => (await local('Shared memory')).openLocalPlace(place, options),
  },
  ring: {
    form: "'ring:name'",
    open: async (place, options) =>
      (await onThisHost('A ring', () => import('../placement/ring/open.js'))).openRingPlace(place, options),
  },
  tcp: remote("'tcp://host:port'"),
  tls: remote("'tls://host:port'"),
  nats: {
    form: "'nats://host,host,host'",
    open: async (place, options) => (await import('../placement/nats/open.js')).openNats(place, options),
  },
}

function local(what: string) {
  return onThisHost(what, () => import('../placement/local/open.js'))
}

/** @throws HermesError `UNSUPPORTED`, `NATIVE_UNAVAILABLE` */
async function onThisHost<T>(what: string, load: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') {
    throw new HermesError(
      'UNSUPPORTED',
      `Logs and shared memory need Linux; this is ${process.platform}. Connect to a broker: tcp://host:port or tls://host:port.`,
    )
  }
  try {
    return await load()
  } catch (error) {
    throw error instanceof HermesError && error.code === 'NATIVE_UNAVAILABLE' ? neededBy(what, error) : error
  }
}
