import type { ErrorCode } from '../base/errors.js'
import { HermesError } from '../base/errors.js'
import { nodeModule } from '../base/node.js'
import { checkTopicName } from '../base/topic-name.js'
import { callNative } from '../native/error.js'
import { loadAddon } from '../native/load.js'
import type { NativeRingFile, NativeRingShape } from '../native/types.js'

const sharedMemory = '/dev/shm'

/** What to do about a failure of a ring's file. */
const hints: Partial<Record<ErrorCode, string>> = {
  ACCESS_DENIED: 'Run as the user who made the ring.',
  CONFIG_MISMATCH: 'Use the settings that it was made with, or remove it with removeRing() when no process uses it.',
  CORRUPT: 'Remove it with removeRing() when no process uses it.',
  DISK_FULL: 'Choose a smaller capacity, or enlarge /dev/shm (in Docker: --shm-size).',
  EXCLUSIVE_HELD: 'Close the other one first. A killed one gives way at once.',
  NOT_HERMES: 'Choose another name.',
}

/** The file of a named ring. @throws HermesError `INVALID_NAME`, `UNSUPPORTED` */
function ringPath(name: string): string {
  checkTopicName(name, 'ring')
  if (process.platform !== 'linux') {
    throw new HermesError('UNSUPPORTED', `Named rings need Linux; this is ${process.platform}.`)
  }
  return `${sharedMemory}/hermes.ring-${name}`
}

export function callRing<T>(call: () => T, name: string): T {
  try {
    return callNative(call, { ring: name }, hints)
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND') throw error
    const text = `There is no ring '${name}'. Make it first, with create({ name: '${name}', … }).`
    throw new HermesError('NOT_FOUND', text, { cause: error, details: error.details })
  }
}

/** Opens a named ring; makes it first if `shape` is given and there is none. */
export function openNamedRing(name: string, shape: NativeRingShape | null): NativeRingFile {
  const path = ringPath(name)
  const addon = loadAddon('A named ring')
  return callRing(() => new addon.RingFile(path, shape), name)
}

/**
 * Removes a named ring from shared memory. Those who are attached go on with it among themselves; who creates the name anew gets another
 * ring. Returns whether there was one.
 *
 * @throws HermesError `INVALID_NAME`, `ACCESS_DENIED`, `UNSUPPORTED`
 */
export function removeRing(name: string): boolean {
  try {
    nodeModule('node:fs')?.rmSync(ringPath(name))
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return false
    if (error instanceof HermesError) throw error
    throw new HermesError('ACCESS_DENIED', `The ring '${name}' can't be removed: ${(error as Error).message}.`, {
      cause: error,
      details: { ring: name },
    })
  }
}
