import { chmod, chown, type FileHandle, mkdir, open, readlink, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HermesError } from '../base/errors.js'

const setGroup = 0o2000

function folderMode(fileMode: number): number {
  return fileMode | ((fileMode & 0o444) >> 2)
}

/** Makes a folder, and those above it. It gets the mode that was asked for, whatever the umask; one that is there is left alone. */
export async function makeFolder(path: string, fileMode: number): Promise<void> {
  const mode = folderMode(fileMode)
  const made = await makeMissing(path, mode)
  if (made.length === 0) return
  // That new files get the folder's group is inherited from above, and is not to be taken away.
  await chmod(path, mode | ((await stat(path)).mode & setGroup))
  // What is synced in a folder is lost with the folder's name.
  for (const one of made) await syncFolder(dirname(one))
}

/** As `makeFolder`, for a folder within a place: it gets the group of the folder above, too. */
export async function makeFolderWithin(path: string, fileMode: number): Promise<void> {
  await makeFolder(path, fileMode)
  await inheritOwnership(path)
}

/**
 * Gives what was just made the group of the folder that it is in, as far as this process may, and its owner too if it is root's process: who
 * shares the folder must be able to use it, whichever process made it.
 */
export async function inheritOwnership(path: string): Promise<void> {
  const [made, above] = await Promise.all([stat(path), stat(dirname(path))])
  const uid = process.geteuid?.() === 0 ? above.uid : made.uid
  if (made.uid === uid && made.gid === above.gid) return
  try {
    await chown(path, uid, above.gid)
    await chmod(path, made.mode & 0o7777)
  } catch (error) {
    // Refused if this process is not in that group: then its creator and those that the mode admits may use it.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
}

/**
 * Makes what is missing of a path; returns what it made, the innermost first. Not by `recursive: true` of node:fs: that asks for ever
 * where a folder is there and nothing can be made in it, as in /proc.
 */
export async function makeMissing(path: string, mode: number): Promise<string[]> {
  if (await makeOne(path, mode)) return [path]
  const parent = dirname(path)
  if (await isFolder(path)) return []
  const above = await makeMissing(parent, mode)
  if (await makeOne(path, mode)) return [path, ...above]
  if (await isFolder(path)) return above
  throw new HermesError(
    'ACCESS_DENIED',
    `Nothing can be made in ${parent}: its file system allows no new folders. Choose another place.`,
  )
}

/** Returns false if the name is taken, or a folder above is missing. */
async function makeOne(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, { mode })
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' || code === 'ENOENT') return false
    // Of a folder that is there some file systems say so first, and that they are read-only.
    // (Node's permission model does, too.)
    const refusals = ['EROFS', 'EACCES', 'EPERM', 'ERR_ACCESS_DENIED']
    if (refusals.includes(code ?? '') && (await isFolder(path))) return false
    throw error
  }
}

/** @throws HermesError `NOT_A_DIRECTORY`, and `NOT_FOUND` for a link that leads nowhere */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const target = await readlink(path).catch(() => undefined)
    if (target === undefined) return false
    throw new HermesError(
      'NOT_FOUND',
      `${path} is a symbolic link to ${target}, which does not exist. Make that folder, or remove the link.`,
      { cause: error },
    )
  }
  throw new HermesError('NOT_A_DIRECTORY', `${path} is not a directory.`)
}

/** Puts the names in a folder on stable storage. */
export async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle
  try {
    folder = await open(path, 'r')
  } catch (error) {
    // One that may be written to and not read: its owner has to care.
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return
    throw error
  }
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
