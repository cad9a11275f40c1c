import { randomBytes } from 'node:crypto'
import { lstat, readdir, realpath, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../base/errors.js'
import { native } from '../native/addon.js'
import { fromNative } from '../native/error.js'
import { type Directory, fromFs, topicFolder } from './directory.js'
import { syncFolder } from './folder.js'
import { retried } from './native-log.js'

/*
 * Deleting a topic. Its folder gets another name in one step, which no topic can have: from then on the topic is gone. What lies there is removed
 * afterwards, by the process that deleted the topic or, if that was killed, by the next one that makes or deletes a topic, or serves the directory.
 */

const prefix = '.deleted-'
/** Who makes, recovers or removes files of a topic is through in moments, unless he was stopped. */
const timeoutsMs = { TIMED_OUT: 10_000 }

/**
 * Deletes a topic with its messages and groups. Those who have it open are told (`TOPIC_DELETED`) as soon as they use it.
 *
 * @throws HermesError `NOT_FOUND`; `BUSY` while a process has it open, unless `force`; `TIMED_OUT` if a process that works on its files does not end: it was stopped
 */
export async function removeTopic(directory: Directory, topic: string, force: boolean): Promise<void> {
  await sweepRemoved(directory)
  const folder = topicFolder(directory, topic)
  if (!(await isFolder(folder))) {
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${directory.path}.`, { details: { topic } })
  }
  const aside = join(directory.path, 'topics', `${prefix}${topic}-${randomBytes(6).toString('hex')}`)
  try {
    await retried(timeoutsMs, () => native.removeTopic(folder, aside, force))
  } catch (error) {
    const known = fromNative(error, { topic })
    if (!(known instanceof HermesError) || known.code !== 'BUSY') throw known
    throw new HermesError(
      'BUSY',
      `Topic '${topic}' is in use. Close its publishers, subscribers and groups in all processes, or delete it by force: they get TOPIC_DELETED then. (A broker that has it open counts, too: delete it through the broker.)`,
      { cause: error, details: { topic } },
    )
  }
  await removeFiles(directory, aside)
}

/** Removes what deletions have left behind that were cut short. Those who still have such a topic open are told. */
export async function sweepRemoved(directory: Directory): Promise<void> {
  for (const name of await leftovers(directory)) {
    const aside = join(directory.path, 'topics', name)
    try {
      await native.finishRemoval(aside)
    } catch (error) {
      // Another process has removed it already, or this one lacks permission.
      if ((error as { code?: string }).code !== 'NOT_FOUND') continue
    }
    await removeFiles(directory, aside)
  }
}

/** The folders that deletions have left behind. */
export async function leftovers(directory: Directory): Promise<string[]> {
  try {
    const names = await readdir(join(directory.path, 'topics'))
    return names.filter((name) => name.startsWith(prefix))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fromFs(error, `list the topics in ${directory.path}`)
  }
}

async function removeFiles(directory: Directory, aside: string): Promise<void> {
  try {
    // A topic may lie on another disk, with a link in its place.
    const entry = await lstat(aside).catch(() => undefined)
    if (entry?.isSymbolicLink() === true) {
      const target = await realpath(aside).catch(() => undefined)
      if (target !== undefined) await rm(target, { recursive: true, force: true })
    }
    await rm(aside, { recursive: true, force: true })
    await syncFolder(join(directory.path, 'topics'))
  } catch (error) {
    throw fromFs(error, `remove the files of a deleted topic in ${directory.path}`)
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw fromFs(error, `look at ${path}`)
  }
}
