import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkOptions, invalid, show } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import { isWellFormed } from '../codec/strings.js'
import { LocalPlacement } from '../placement/local/placement.js'
import { checkTcpOptions, type TcpOptions } from '../placement/remote/options.js'
import { RingPlacement } from '../placement/ring/placement.js'
import { openDirectory } from '../store/directory.js'
import { Hermes } from './hermes.js'

/** `create` and `mode` are for directories, shared memory and rings, the others for `tcp:` and `tls:` places. */
export interface OpenOptions extends TcpOptions {
  /** False: a directory that does not exist is an error (`NOT_FOUND`). Default true: it's made. */
  readonly create?: boolean
  /** Permission bits of new files. Default: as those of the place that is there, 0o600 for one that is made; 0o660 admits a group. Folders get the right to enter besides. */
  readonly mode?: number
}

/** Where `shm:` places live: memory that the machine's processes share, lost at a reboot. */
const sharedMemory = '/dev/shm'

/**
 * Opens a place with topics.
 *
 * @param place `./data` (or any path, or a file: URL): a directory on this host, durable; other processes may open it too.
 *   `shm:market`: the same, volatile, in shared memory.
 *   `ring:market`: rings in shared memory. Each topic goes from one publisher to one subscriber, volatile; a full one refuses.
 *   `tcp://host:port`, `tls://host:port`: a broker (`hermes serve`). Resolves once connected; a connection that is lost later is made again.
 * @throws HermesError `INVALID_ARGUMENT`, `INVALID_NAME`, `NOT_FOUND`, `NOT_A_DIRECTORY`, `NOT_HERMES`, `VERSION_MISMATCH`, `ACCESS_DENIED`, `UNSUPPORTED`,
 *   `CONNECTION_FAILED`, `UNAUTHORIZED`, `PROTOCOL`
 */
export async function open(place: string | URL, options: OpenOptions = {}): Promise<Hermes> {
  const url = brokerOf(place)
  if (url !== undefined) {
    const settings = checkTcpOptions(url, options)
    // Loaded when needed: whoever stays on one host needs no sockets.
    const { RemotePlacement } = await import('../placement/remote/placement.js')
    return new Hermes(settings.url, await RemotePlacement.connect(settings))
  }
  checkOptions('open()', options, ['create', 'mode'])
  const { create = true, mode } = options
  checkBoolean('create', create)
  if (mode !== undefined && (!Number.isInteger(mode) || mode < 0o600 || mode > 0o777)) {
    const given = typeof mode === 'number' ? `0o${mode.toString(8)}` : show(mode)
    throw invalid(`'mode' must be permission bits from 0o600 to 0o777, not ${given}.`)
  }
  if (process.platform !== 'linux') {
    throw new HermesError('UNSUPPORTED', `Logs and shared memory need Linux; this is ${process.platform}.`)
  }
  const path = pathOf(place)
  if (isRing(place))
    return new Hermes(place, new RingPlacement(await openDirectory(path, create, mode, 'hermes-rings')))
  return new Hermes(String(place), new LocalPlacement(await openDirectory(path, create, mode)))
}

/** The URL, if the place is a broker. */
function brokerOf(place: unknown): string | undefined {
  const text = isUrl(place) ? place.href : place
  return typeof text === 'string' && /^(tcp|tls):\/\//i.test(text) ? text : undefined
}

function isUrl(place: unknown): place is URL {
  try {
    return place instanceof URL
  } catch {
    return false // a revoked Proxy
  }
}

function isRing(place: unknown): place is string {
  return typeof place === 'string' && /^ring:/i.test(place)
}

function pathOf(place: unknown): string {
  if (isUrl(place)) {
    if (place.protocol !== 'file:') throw unknownPlace(place.protocol)
    return pathOfUrl(place)
  }
  if (typeof place !== 'string' || place === '' || place.includes('\0') || !isWellFormed(place)) {
    throw invalid(
      `open() takes a place: a directory, 'shm:name', 'ring:name' or 'tcp://host:port'; not ${show(place)}.`,
    )
  }
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(place)?.[1]?.toLowerCase()
  if (scheme === undefined) return resolve(place)
  if (scheme === 'file') return pathOfUrl(place)
  if (scheme === 'ring') {
    const name = place.slice('ring:'.length)
    checkTopicName(name, 'ring')
    return join(sharedMemory, `hermes.rings-${name}`)
  }
  if (scheme !== 'shm') throw unknownPlace(`${scheme}:`)
  const name = place.slice('shm:'.length)
  checkTopicName(name, 'shared-memory')
  return join(sharedMemory, `hermes-${name}`)
}

function pathOfUrl(url: string | URL): string {
  let path: string
  try {
    path = fileURLToPath(url)
  } catch (cause) {
    throw new HermesError('INVALID_ARGUMENT', `${url} leads to no path on this host. Use file:///path.`, { cause })
  }
  if (path.includes('\0')) throw invalid('A path holds no null characters.')
  return path
}

function unknownPlace(scheme: string): HermesError {
  return new HermesError(
    'UNSUPPORTED',
    `There is no placement '${scheme}'. Use a directory, 'shm:name', 'ring:name', 'tcp://host:port' or 'tls://host:port'.`,
    { details: { scheme } },
  )
}
