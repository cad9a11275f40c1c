import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HermesError } from './errors.js'
import { Hermes } from './hermes.js'
import { checkBoolean, checkInteger, checkOptions, invalid, show } from './options.js'
import { checkTopicName } from './topic-name.js'
import { openDirectory } from './transport/log/directory.js'
import { LogTransport } from './transport/log/log-transport.js'

export interface OpenOptions {
  /** False: a directory that does not exist is an error (`NOT_FOUND`). Default true: it's made. */
  readonly create?: boolean
  /** Permission bits of new files: 0o600 by default; 0o660 admits a group. Folders get the right to enter besides. */
  readonly mode?: number
}

/** Where `shm:` places live: memory that the machine's processes share, lost at a reboot. */
const sharedMemory = '/dev/shm'

/**
 * Opens a place with topics.
 *
 * @param place `./data` (or any path, or a file: URL): a directory on this host, durable; other processes may open it too.
 *   `shm:market`: the same, volatile, in shared memory.
 * @throws HermesError `INVALID_ARGUMENT`, `INVALID_NAME`, `NOT_FOUND`, `NOT_A_DIRECTORY`, `NOT_HERMES`, `VERSION_MISMATCH`, `ACCESS_DENIED`, `UNSUPPORTED`
 */
export async function open(place: string | URL, options: OpenOptions = {}): Promise<Hermes> {
  checkOptions('open()', options, ['create', 'mode'])
  const { create = true, mode = 0o600 } = options
  checkBoolean('create', create)
  checkInteger('mode', mode, 0o600, 0o777)
  if (process.platform !== 'linux') {
    throw new HermesError('UNSUPPORTED', `Logs and shared memory need Linux; this is ${process.platform}.`)
  }
  const path = pathOf(place)
  return new Hermes(String(place), new LogTransport(await openDirectory(path, create, mode)))
}

function pathOf(place: unknown): string {
  if (place instanceof URL) {
    if (place.protocol !== 'file:') throw unknownPlace(place.protocol)
    return fileURLToPath(place)
  }
  if (typeof place !== 'string' || place === '' || place.includes('\0')) {
    throw invalid(`open() takes a place: a directory, or 'shm:name'; not ${show(place)}.`)
  }
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(place)?.[1]?.toLowerCase()
  if (scheme === undefined) return resolve(place)
  if (scheme === 'file') return fileURLToPath(place)
  if (scheme !== 'shm') throw unknownPlace(`${scheme}:`)
  const name = place.slice('shm:'.length)
  checkTopicName(name, 'shared-memory')
  return join(sharedMemory, `hermes-${name}`)
}

function unknownPlace(scheme: string): HermesError {
  return new HermesError('UNSUPPORTED', `There is no placement '${scheme}'. Use a directory, or 'shm:name'.`, { details: { scheme } })
}
