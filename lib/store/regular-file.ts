import { closeSync, constants, fstatSync, openSync, readlinkSync } from 'node:fs'
import { type FileHandle, open, readlink } from 'node:fs/promises'
import { HermesError } from '../base/errors.js'

/** Of what opening says for a socket, for a device that is not there, for links in a circle, and for a folder. */
const none: readonly unknown[] = ['ENXIO', 'ENODEV', 'ELOOP', 'EISDIR']

/**
 * Opens a file to read it. Never waits: a pipe would have the opening wait for its other end, and reading a device may never end.
 *
 * @throws HermesError `NOT_HERMES` for a folder, a pipe, a device, or a link that leads nowhere: what is there is not what was written.
 *   The system's error otherwise, `ENOENT` if nothing has that name
 */
export async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (none.includes(code)) throw notAFile(path, error)
    if (code !== 'ENOENT') throw error
    const target = await readlink(path).catch(() => undefined)
    if (target === undefined) throw error
    throw notAFile(path, error, `it is a symbolic link to ${target}, which does not exist`)
  }
  try {
    if ((await file.stat()).isFile()) return file
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  throw notAFile(path)
}

/** As `openRegular`, at once; returns the descriptor. */
export function openRegularSync(path: string): number {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (none.includes(code)) throw notAFile(path, error)
    if (code === 'ENOENT' && isLink(path)) throw notAFile(path, error, 'it is a symbolic link that leads nowhere')
    throw error
  }
  if (fstatSync(file).isFile()) return file
  closeSync(file)
  throw notAFile(path)
}

function isLink(path: string): boolean {
  try {
    readlinkSync(path)
    return true
  } catch {
    return false
  }
}

/** The content of a file. Throws as `openRegular`. */
export async function readRegular(path: string): Promise<Buffer> {
  const file = await openRegular(path)
  try {
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Whether `openRegular` found something that is no file. */
export function isNotAFile(error: unknown): error is HermesError {
  return error instanceof HermesError && error.details['notAFile'] === true
}

function notAFile(path: string, cause?: unknown, why?: string): HermesError {
  return new HermesError('NOT_HERMES', `${path} is not a file${why === undefined ? '' : `: ${why}`}.`, {
    cause,
    details: { path, notAFile: true },
  })
}
