import { chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import type { BackupOptions, BackupReport, TopicBackup } from '../../model/reports.js'
import { fromNative } from '../../native/error.js'
import { readControl } from '../../store/control-file.js'
import { type Directory, fromFs, topicFolder } from '../../store/directory.js'
import { makeMissing, syncFolder } from '../../store/folder.js'
import { openLog } from '../../store/native-log.js'
import { readRegular } from '../../store/regular-file.js'
import { readTopicFile } from '../../store/topic-file.js'
import { copyFile, modeOf, writeFile } from './copied-files.js'
import { copyGroups } from './group-files.js'
import { HeldSegments } from './held-segments.js'
import { pathOf } from './path.js'
import { type CopyWork, TopicCopy } from './topic-copy.js'

/** How often a topic is begun anew whose segments retention removed all before they could be opened. */
const maxBeginnings = 20

/** Copies topics of a directory while they are in use. See docs/operations.md. */
export async function backUp(
  directory: Directory,
  topics: readonly string[],
  to: string,
  options: BackupOptions,
): Promise<BackupReport> {
  const begun = performance.now()
  const target = pathOf(to)
  await checkTarget(directory, target)
  const temporary = `${target}.tmp-${process.pid}-${Math.random().toString(36).slice(2)}`
  try {
    const { mode, uid, gid } = await stat(directory.path)
    await makeMissing(dirname(target), 0o777)
    await mkdir(temporary, { mode: mode & 0o777 })
    await mkdir(join(temporary, 'topics'), { mode: mode & 0o777 })
    const done: TopicBackup[] = []
    for (const topic of topics) {
      let copiedBytes = 0
      const count = (bytes: number, totalBytes: number) => {
        copiedBytes += bytes
        options.onProgress?.({ topic, topics: done.length, totalTopics: topics.length, copiedBytes, totalBytes })
      }
      const folder = join(temporary, 'topics', topic)
      await mkdir(folder, { mode: mode & 0o777 })
      done.push(await copyTopic(directory, topic, folder, { signal: options.signal, count }))
    }
    await copyFile(join(directory.path, 'hermes.json'), join(temporary, 'hermes.json'))
    if (process.getuid?.() === 0) await giveTo(temporary, uid, gid)
    await syncBelow(temporary)
    // An empty directory of that name is replaced; one that was filled meanwhile is not.
    await rename(temporary, target)
    await syncFolder(dirname(target))
    return { to: target, topics: done, seconds: (performance.now() - begun) / 1000 }
  } catch (error) {
    // (What is left of it, if this fails too, is not the cause.)
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
    throw fromFs(error, `make the backup ${target}`)
  }
}

async function checkTarget(directory: Directory, target: string): Promise<void> {
  const place = resolve(directory.path)
  if (target === place || target.startsWith(`${place}${sep}`))
    throw invalid(`A backup of ${place} can't lie in it: choose another directory.`)
  let entries: string[]
  try {
    entries = await readdir(target)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromFs(error, `make the backup ${target}`)
  }
  if (entries.length === 0) return
  throw invalid(`${target} is not empty: choose a directory that does not exist yet. Backups are never written over.`)
}

async function copyTopic(directory: Directory, topic: string, to: string, work: CopyWork): Promise<TopicBackup> {
  const file = await readTopicFile(directory, topic)
  if (file === undefined)
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${directory.path}.`, { details: { topic } })
  const from = topicFolder(directory, topic)
  await copyFile(join(from, 'topic.json'), join(to, 'topic.json'))
  const groups = await copyGroups(from, to)
  for (let beginning = 1; ; beginning++) {
    // Before the messages: a number that it names and the copy lacks would be taken for one that is there.
    const producers = await readRegular(join(from, 'producers.json')).catch(() => undefined)
    const source = await openLog(from, topic, null)
    const held = new HeldSegments(from)
    try {
      const control = await readControl(from)
      const { active, first } = control
      if (active !== 0 && !held.take(active, Math.max(first, 1))) {
        if (beginning < maxBeginnings) continue
        if ((await readControl(from)).active === active)
          throw new HermesError(
            'CORRUPT',
            `The newest segment of topic '${topic}' is missing. \`hermes repair ${topic}\` goes on with those that are there.`,
            { details: { topic, segment: active } },
          )
        throw new HermesError(
          'BUSY',
          `Retention removes the segments of topic '${topic}' faster than they can be opened. Make its retention longer, then try again.`,
          { details: { topic } },
        )
      }
      const report = await new TopicCopy(control, from, to, file, held, work).run()
      const after = await readRegular(join(from, 'producers.json')).catch(() => undefined)
      if (producers !== undefined && after !== undefined && owners(producers) === owners(after))
        await writeFile(join(to, 'producers.json'), producers, await modeOf(join(from, 'producers.json')))
      return { ...report, groups }
    } catch (error) {
      throw fromNative(error, { topic })
    } finally {
      held.close()
      source.close()
    }
  }
}

/** Whose the slots are: what else the file says only grows. */
function owners(bytes: Buffer): string {
  try {
    const { producers } = JSON.parse(bytes.toString('utf8')) as {
      producers: { id: string; slot: number; since: number }[]
    }
    return JSON.stringify(producers.map(({ id, slot, since }) => [slot, id, since]).sort())
  } catch {
    return bytes.toString('latin1')
  }
}

/** Everything below on stable storage, names included. */
async function syncBelow(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      await syncBelow(path)
      continue
    }
    const file = await open(path, 'r')
    try {
      await file.datasync()
    } finally {
      await file.close()
    }
  }
  await syncFolder(folder)
}

/** A backup made by root belongs to the owner of what was copied, who so can open it. */
async function giveTo(folder: string, uid: number, gid: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await giveTo(path, uid, gid)
    else await chown(path, uid, gid)
  }
  await chown(folder, uid, gid)
}
