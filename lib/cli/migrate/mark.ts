import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { systemAdvice } from '../../base/system-advice.js'
import { fromFile } from '../file.js'

const format = 'hermes-migration'

/** How far a migration has come, kept with the topic that it fills: everything before `source` is in it, as what lies before `target`. */
export interface Mark {
  /** Place and topic that are copied. */
  readonly from: { readonly place: string; readonly topic: string; readonly createdMs: number }
  readonly plan: string
  /** The next sequence to read. */
  readonly source: number
  /** The next sequence of the new topic by then. */
  readonly target: number
  /** It came to its end, or was stopped in order: nothing of it lies behind `target`. */
  readonly isWhole: boolean
}

/** The file, in the folder of the new topic. */
export async function markFile(place: string, topic: string): Promise<string> {
  const [, name] = /^shm:(.*)$/i.exec(place) ?? []
  const folder =
    name === undefined ? place : (await import('../../store/open-place.js')).sharedMemoryPath(name, 'shared-memory')
  return join(folder, 'topics', topic, 'migration.json')
}

/** `undefined` if there is none. @throws HermesError `CORRUPT` */
export async function readMark(path: string): Promise<Mark | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    return fromFile(error, path)
  }
  try {
    const mark = JSON.parse(text)
    const { format: found, version, from, plan, source, target, isWhole } = mark
    const isSequence = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1
    if (found === format && version === 1 && isSequence(source) && isSequence(target)) {
      if (typeof plan === 'string' && typeof isWhole === 'boolean' && typeof from?.topic === 'string') return mark
    }
  } catch {
    // told below
  }
  throw new HermesError(
    'CORRUPT',
    `${path} does not say how far the migration came. Remove the new topic, or take another name, and begin again.`,
    { details: { path } },
  )
}

/** As a whole or not at all, and on the disk when it returns. */
export async function writeMark(path: string, mark: Mark): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}`
  try {
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(`${JSON.stringify({ format, version: 1, ...mark })}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    const { code, message } = error as NodeJS.ErrnoException
    const hint = systemAdvice(error as Error)
    throw new HermesError(
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'DISK_FULL'
        : code === 'EACCES' || code === 'EPERM'
          ? 'ACCESS_DENIED'
          : 'IO_FAILED',
      `Can't note how far the migration is in ${path}: ${message}.${hint === undefined ? '' : ` ${hint}`}`,
      { cause: error, details: { path } },
    )
  }
}
