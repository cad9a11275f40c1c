import { HermesError } from '../base/errors.js'
import { loadAddon } from '../native/load.js'
import type { NatsOptions } from '../placement/nats/options.js'
import type { LocalOptions, Opened } from '../placement/port.js'
import type { Scheme, Schemes } from '../placement/registry.js'
import type { TcpOptions } from '../placement/remote/options.js'

/**
 * `create` and `mode` are for directories, shared memory and rings; `replicas` and `credentials` for `nats:` places; the others for `tcp:`, `tls:`, `ws:` and `wss:` places,
 * and those that a connection to a cluster has as well for `nats:`.
 */
export interface OpenOptions extends LocalOptions, TcpOptions, NatsOptions {}

const remote = (form: string): Scheme<OpenOptions> => ({
  form,
  open: async (place, options) => (await import('../placement/remote/open.js')).openRemote(place, options),
})

const directory: Scheme<OpenOptions> = {
  form: 'a directory',
  open: (place, options) => openLocal('A directory', place, options),
}

/** Options by which a program that means a broker or a cluster shows that it does. */
const remoteOptions: readonly (keyof OpenOptions)[] = ['token', 'tls', 'reconnect', 'credentials', 'replicas']

/**
 * The placements. The code of each is loaded when it is opened: a program on one host needs no sockets, and a client of a broker needs no addon.
 * A new one is one more line.
 */
export const schemes: Schemes<OpenOptions> = {
  file: directory,
  shm: {
    form: "'shm:name'",
    open: (place, options) => openLocal('Shared memory', place, options),
  },
  ring: {
    form: "'ring:name'",
    open: async (place, options) =>
      (await onThisHost('A ring', () => import('../placement/ring/open.js'))).openRingPlace(place, options),
  },
  tcp: remote("'tcp://host:port'"),
  tls: remote("'tls://host:port'"),
  ws: remote("'ws://host:port'"),
  wss: remote("'wss://host:port'"),
  nats: {
    form: "'nats://host,host,host'",
    open: async (place, options) => (await import('../placement/nats/open.js')).openNats(place, options),
  },
}

async function openLocal(what: string, place: string, options: OpenOptions): Promise<Opened> {
  const { openLocalPlace } = await onThisHost(what, () => import('../placement/local/open.js'))
  try {
    return await openLocalPlace(place, options)
  } catch (error) {
    const option = error instanceof HermesError && error.code === 'UNKNOWN_OPTION' ? error.details['option'] : undefined
    if (!remoteOptions.some((one) => one === option)) throw error
    throw new HermesError(
      'UNKNOWN_OPTION',
      `'${place}' is a directory of this host, and '${option}' an option for brokers and clusters. Their addresses are written tcp://host:port, tls://host:port and nats://host,host,host.`,
      { cause: error, details: { option } },
    )
  }
}

/** @throws HermesError `UNSUPPORTED`, `NATIVE_UNAVAILABLE` */
async function onThisHost<T>(what: string, load: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') {
    throw new HermesError(
      'UNSUPPORTED',
      `Logs and shared memory need Linux; this is ${process.platform}. Connect to a broker: tcp://host:port or tls://host:port.`,
    )
  }
  loadAddon(what)
  return load()
}
