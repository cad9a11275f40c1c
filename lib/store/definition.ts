import { existsSync, readFileSync, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../base/errors.js'
import type { TopicSettings } from '../model/topic.js'
import { native } from '../native/addon.js'
import { fromNative } from '../native/error.js'
import type { NativeLog } from '../native/types.js'
import { type Directory, fromFs, topicFolder } from './directory.js'
import { inheritOwnership } from './folder.js'
import { checkCodec, openTopicFile, readTopicFile, type TopicFile, topicFileText } from './topic-file.js'

/*
 * What a topic is, its codec and its sizes, is said by its first publisher. While no message is there and no publisher is open, another publisher may
 * give it another codec: nothing was written with the first one. docs/log-format.md, "topic.json".
 */

/**
 * As `openTopicFile`, for a publisher: an empty topic without publishers takes the codec of the one that comes.
 *
 * @param isBroker whether it is the broker of the directory that asks. It has the topic not open: so there are no remote subscribers
 */
export async function defineTopic(
  directory: Directory,
  name: string,
  wanted: TopicSettings,
  isBroker = false,
): Promise<TopicFile> {
  try {
    return await openTopicFile(directory, name, wanted)
  } catch (error) {
    const isOther = error instanceof HermesError && error.code === 'CODEC_MISMATCH'
    if (!isOther || !wanted.create) throw error
    // A broker may have remote subscribers of the topic, who were told the codec that it has.
    if (!isBroker && existsSync(join(directory.path, 'broker.lock'))) throw error
    if (!(await redefine(directory, name, wanted))) throw error
    return openTopicFile(directory, name, wanted)
  }
}

/** Gives an empty topic another codec. False if it has messages, publishers or other sizes than are asked for. */
async function redefine(directory: Directory, name: string, wanted: TopicSettings): Promise<boolean> {
  const found = await readTopicFile(directory, name)
  if (found === undefined) return false
  const { segmentBytes, maxPayloadBytes } = found
  if ((wanted.segmentBytes ?? segmentBytes) !== segmentBytes) return false
  if ((wanted.maxPayloadBytes ?? maxPayloadBytes) !== maxPayloadBytes) return false
  const folder = topicFolder(directory, name)
  const create = { segmentBytes, maxPayloadBytes, fileMode: directory.fileMode }
  let log: NativeLog | undefined
  try {
    log = new native.openLog(folder, create, {})
    // Looked at first without disturbing anyone.
    if (log.info().nextSequence !== 1) return false
    // Alone among the publishers of all processes: nobody writes with the old codec from here on, and nobody else comes to redefine it.
    const appender = await log.openAppender(true, 0)
    try {
      const { nextSequence } = log.info()
      const now = await readTopicFile(directory, name)
      if (nextSequence !== 1 || now === undefined || now.codec.fingerprint !== found.codec.fingerprint) return false
      await replaceWhole(
        join(folder, 'topic.json'),
        topicFileText({ ...found, codec: wanted.codec }),
        directory.fileMode,
      )
      return true
    } finally {
      await appender.settle()
      appender.close()
    }
  } catch (error) {
    // Another publisher is there: so the codec is as that one has it.
    if ((error as { code?: string }).code === 'EXCLUSIVE_HELD') return false
    throw fromNative(fromFs(error, `define the topic '${name}' anew in ${directory.path}`), { topic: name })
  } finally {
    log?.close()
  }
}

async function replaceWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}-${Math.random().toString(36).slice(2)}`
  const file = await open(temporary, 'wx', mode)
  try {
    await file.chmod(mode)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await inheritOwnership(temporary)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Changes whenever the topic's description is replaced; '' while there is none. */
export function topicRevision(directory: Directory, name: string): string {
  const found = statSync(join(topicFolder(directory, name), 'topic.json'), { throwIfNoEntry: false, bigint: true })
  return found === undefined ? '' : `${found.ino}/${found.mtimeNs}`
}

/** Whether the topic's codec is the wanted one by now. Synchronous: between this look and the next step nothing of this process happens. */
export function checkDefinition(directory: Directory, name: string, wanted: TopicSettings): void {
  let content: unknown
  try {
    content = JSON.parse(readFileSync(join(topicFolder(directory, name), 'topic.json'), 'utf8'))
  } catch (error) {
    throw fromFs(error, `read the description of topic '${name}'`)
  }
  const { codec } = content as Pick<TopicFile, 'codec'>
  checkCodec(name, codec, wanted)
}
