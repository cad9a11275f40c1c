import { checkBoolean, checkOptions, invalid, show } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import { type Directory, openDirectory } from './directory.js'

/** Where named places live: memory that the machine's processes share, lost at a reboot. */
const sharedMemory = '/dev/shm'

/**
 * Opens the directory of a place as `open()` is told to.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, and what opening it throws
 */
export async function openPlaceDirectory(
  path: () => string,
  options: { readonly create?: boolean; readonly mode?: number },
  format?: 'hermes-rings',
): Promise<Directory> {
  checkOptions('open()', options, ['create', 'mode'])
  const { create = true, mode } = options
  checkBoolean('create', create)
  if (mode !== undefined && (!Number.isInteger(mode) || mode < 0o600 || mode > 0o777)) {
    const given = typeof mode === 'number' ? `0o${mode.toString(8)}` : show(mode)
    throw invalid(`'mode' must be permission bits from 0o600 to 0o777, not ${given}.`)
  }
  return openDirectory(path(), create, mode, format)
}

/** The directory of a named place. @throws HermesError `INVALID_NAME` */
export function sharedMemoryPath(name: string, what: 'ring' | 'shared-memory'): string {
  checkTopicName(name, what)
  return `${sharedMemory}/${what === 'ring' ? 'hermes.rings' : 'hermes'}-${name}`
}
