import { native } from '../native/addon.js'
import { callNative } from '../native/error.js'

/** A kernel lock on the first byte of a file. It ends with the process at the latest. */
export interface FileLock {
  release(): void
}

/** Takes the lock exclusively. `undefined` if another process, or another holder in this one, has it. */
export function lockFile(path: string): FileLock | undefined {
  return callNative(() => native.holdLock(path)) ?? undefined
}
