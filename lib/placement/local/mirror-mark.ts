import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { fromFs } from '../../store/directory.js'
import { syncFolder } from '../../store/folder.js'
import type { MirrorOrigin } from '../mirror-port.js'

const format = 'hermes-mirror'
const version = 1

/** What a local mirror is of, and where it is: message `target` and those behind it are those from `source` on at the origin. */
export interface MirrorMark {
  readonly origin: MirrorOrigin
  readonly source: number
  readonly target: number
}

const pathIn = (folder: string): string => join(folder, 'mirror.json')

/** `undefined` if the topic in this folder is no mirror. @throws HermesError `CORRUPT` */
export async function readMirrorMark(folder: string): Promise<MirrorMark | undefined> {
  const path = pathIn(folder)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fromFs(error, `read ${path}`)
  }
  try {
    const { origin, source, target, ...mark } = JSON.parse(text)
    const isSequence = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1
    const isKnown = mark.format === format && mark.version === version
    const isOrigin = typeof origin?.topic === 'string' && Number.isSafeInteger(origin.createdMs)
    if (isKnown && isOrigin && isSequence(source) && isSequence(target))
      return { origin: { topic: origin.topic, createdMs: origin.createdMs }, source, target }
  } catch {
    // told below
  }
  throw new HermesError(
    'CORRUPT',
    `${path} does not say how far the mirror is. Delete the topic, and mirror again, or take another name.`,
    { details: { path } },
  )
}

/** As a whole or not at all, and on the disk when it returns. */
export async function writeMirrorMark(folder: string, mark: MirrorMark, mode: number): Promise<void> {
  const path = pathIn(folder)
  const temporary = `${path}.tmp-${process.pid}`
  try {
    const file = await open(temporary, 'w', mode)
    try {
      await file.writeFile(`${JSON.stringify({ format, version, ...mark })}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(folder)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw fromFs(error, `note in ${path} how far the mirror is`)
  }
}
