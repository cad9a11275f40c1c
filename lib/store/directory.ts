import { chmod, link, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type ErrorCode, HermesError } from '../base/errors.js'
import { systemAdvice } from '../base/system-advice.js'
import { inheritOwnership, makeFolder, makeFolderWithin, syncFolder } from './folder.js'
import { isNotAFile, readRegular } from './regular-file.js'

const version = 1
const marker = 'hermes.json'

/** The folder that holds topics, and how new files in it are made. */
export interface Directory {
  readonly path: string
  /** Mode of new files; folders get the right to enter besides. */
  readonly fileMode: number
}

const ownerOnly = 0o600

const codes: Record<string, ErrorCode> = {
  EACCES: 'ACCESS_DENIED',
  EPERM: 'ACCESS_DENIED',
  EROFS: 'ACCESS_DENIED',
  ERR_ACCESS_DENIED: 'ACCESS_DENIED',
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_A_DIRECTORY',
  EEXIST: 'NOT_A_DIRECTORY',
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  ELOOP: 'NOT_A_DIRECTORY',
  ENAMETOOLONG: 'INVALID_ARGUMENT',
}

const advice: Record<string, string> = {
  EROFS: 'The file system is read-only: mount it for writing, or choose another place.',
  ELOOP: 'Its symbolic links lead in a circle.',
  ERR_ACCESS_DENIED:
    'Node runs with --permission: give it --allow-fs-read and --allow-fs-write for the place. docs/platforms.md says which lines of Node can then.',
  ENAMETOOLONG: 'Choose a shorter path.',
}

/** Makes a HermesError of what node:fs threw. */
export function fromFs(error: unknown, doing: string): unknown {
  if (error instanceof HermesError || !(error instanceof Error) || !('code' in error)) return error
  const system = String(error.code)
  const hint = systemAdvice(error) ?? advice[system]
  const message = `Can't ${doing}: ${error.message}.${hint === undefined ? '' : ` ${hint}`}`
  return new HermesError(codes[system] ?? 'IO_FAILED', message, { cause: error, details: { system } })
}

/**
 * Writes a small file as a whole or not at all: under another name, filled, synced, then linked to its own. Returns false if
 * the name was taken meanwhile.
 */
export async function createWhole(path: string, text: string, mode: number): Promise<boolean> {
  const temporary = `${path}.tmp-${process.pid}-${Math.random().toString(36).slice(2)}`
  const file = await open(temporary, 'wx', mode)
  try {
    // By its path: Node has no fchmod under --permission.
    await chmod(temporary, mode)
    await file.writeFile(text)
    await file.datasync()
  } finally {
    await file.close()
  }
  try {
    await inheritOwnership(temporary)
    await link(temporary, path)
    await syncFolder(dirname(path))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(temporary, { force: true })
  }
}

/** What a directory of ours holds without its `hermes.json`, half made or lost: by the names, and those they have while they are written. */
function isOurs(name: string): boolean {
  return ['topics', 'broker.lock', marker, 'quotas.json', 'metrics'].some(
    (own) => name === own || ((own.endsWith('.json') || own === 'metrics') && name.startsWith(`${own}.tmp`)),
  )
}

/** Reads a small JSON file of ours and checks what it says it is. `undefined` if there is no such file. */
export async function readMarked(
  path: string,
  format: string,
  remedy = '',
): Promise<Record<string, unknown> | undefined> {
  let text: string
  try {
    text = (await readRegular(path)).toString('utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if (!isNotAFile(error)) throw fromFs(error, `read ${path}`)
    const advice =
      basename(path) === marker
        ? ' Move it away: it is made again when the place is opened to publish (`hermes pub`, `hermes serve`).'
        : remedy
    throw new HermesError('NOT_HERMES', `${error.message}${advice}`, { cause: error, details: error.details })
  }
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    throw new HermesError(
      'CORRUPT',
      `${path} is damaged: it holds no JSON.${basename(path) === marker ? ' Remove the file: it is made again when the place is opened to publish (`hermes pub`, `hermes serve`).' : remedy}`,
      { cause },
    )
  }
  if (typeof content !== 'object' || content === null || (content as { format?: unknown }).format !== format) {
    throw new HermesError('NOT_HERMES', `${path} was not written by Hermes.${remedy}`)
  }
  const record = content as Record<string, unknown>
  if (typeof record.version !== 'number' || !Number.isInteger(record.version) || record.version < 1) {
    throw new HermesError('CORRUPT', `${path} is damaged: it has no version.${remedy}`)
  }
  if (record.version > version) {
    throw new HermesError(
      'VERSION_MISMATCH',
      `${path} has format version ${record.version}; this version of hermes-mq reads version ${version}. Use a newer one.`,
      { details: { found: record.version, supported: version } },
    )
  }
  return record
}

/** The permission bits of a file or of a folder's files, with all that the owner needs. */
export async function modeOf(path: string): Promise<number> {
  return (((await stat(path)).mode & 0o666) | ownerOnly) >>> 0
}

/** Opens the directory at `path`; makes it if `create`. Refuses a folder that holds something else, which `format` tells. */
export async function openDirectory(
  path: string,
  create: boolean,
  fileMode: number | undefined,
  format = 'hermes',
): Promise<Directory> {
  const directory = { path, fileMode: fileMode ?? ownerOnly }
  try {
    if (create) await makeFolder(path, directory.fileMode)
    if (!(await stat(path)).isDirectory()) throw new HermesError('NOT_A_DIRECTORY', `${path} is not a directory.`)
  } catch (error) {
    if (!create && (error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new HermesError(
        'NOT_FOUND',
        `There is no directory ${path}. Look at the path, or leave 'create: false' out to have it made.`,
        { cause: error, details: { path } },
      )
    }
    throw fromFs(error, `open the directory ${path}`)
  }
  const marked = join(path, marker)
  if ((await readMarked(marked, format)) !== undefined) {
    // Who made the place has chosen for all who come: a topic that only its maker can read is of no use in a shared one.
    return { path, fileMode: fileMode ?? (await modeOf(marked)) }
  }
  try {
    const entries = await readdir(path)
    if (!entries.every(isOurs)) {
      throw new HermesError(
        'NOT_HERMES',
        `${path} is not empty and not a Hermes directory. Choose a new or an empty one.`,
      )
    }
    if (!create) {
      const lost = entries.includes('topics')
        ? ` Its file ${marker} is lost: it is made again when the place is opened to publish (\`hermes pub\`, \`hermes serve\`).`
        : ''
      throw new HermesError('NOT_HERMES', `${path} is not a Hermes directory.${lost}`)
    }
    await makeFolderWithin(join(path, 'topics'), directory.fileMode)
    await createWhole(marked, `${JSON.stringify({ format, version, createdMs: Date.now() })}\n`, directory.fileMode)
  } catch (error) {
    throw fromFs(error, `make the directory ${path}`)
  }
  return directory
}

export function topicFolder(directory: Directory, topic: string): string {
  return join(directory.path, 'topics', topic)
}

/** Total bytes of the file system that holds `path`. */
export async function diskBytes(path: string): Promise<number> {
  const { blocks, bsize } = await statfs(path)
  return blocks * bsize
}

/** Publishers keep so much free, unless their `lowWaterBytes` says otherwise: as the core has it. */
const mostLowWaterBytes = 64 * 1024 * 1024

export interface DiskRoom {
  readonly freeBytes: number
  readonly totalBytes: number
  /** Publishers without a `lowWaterBytes` of their own are refused when less would stay free. */
  readonly lowWaterBytes: number
}

/** How much room there is now. */
export async function diskRoom(path: string): Promise<DiskRoom> {
  const { bavail, blocks, bsize } = await statfs(path)
  const totalBytes = blocks * bsize
  return {
    freeBytes: bavail * bsize,
    totalBytes,
    lowWaterBytes: Math.min(mostLowWaterBytes, Math.floor(totalBytes / 20)),
  }
}

/**
 * Whether publishers are refused now. What a topic has noted is as old as the last attempt: room may have gone or come back since. Once
 * it was short, twice the mark has to be free.
 */
export function isShort({ freeBytes, lowWaterBytes }: DiskRoom, noted: boolean): boolean {
  return freeBytes < (noted ? 2 : 1) * lowWaterBytes
}
