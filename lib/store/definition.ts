import { existsSync, readFileSync, statSync } from 'node:fs'
import { chmod, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { HermesError } from '../base/errors.js'
import { checkCodec } from '../model/codec-check.js'
import type { TopicSettings } from '../model/topic.js'
import { native } from '../native/addon.js'
import { fromNative } from '../native/error.js'
import type { NativeLog } from '../native/types.js'
import { type Directory, fromFs, topicFolder } from './directory.js'
import { inheritOwnership, syncFolder } from './folder.js'
import { closeAppender, openAppender, openLog } from './native-log.js'
import { checkSame, openTopicFile, readTopicFile, type TopicFile, topicFileText } from './topic-file.js'

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
    return await grownTopic(directory, name, wanted)
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
    log = await openLog(folder, name, create)
    // Looked at first without disturbing anyone.
    if (log.info().nextSequence !== 1) return false
    // Alone among the publishers of all processes: no publisher writes with the old codec from here on, and no other one redefines it.
    const appender = await openAppender(log, true)
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
      await closeAppender(appender)
    }
  } catch (error) {
    // Another publisher is there: so the codec is as that one has it.
    if ((error as { code?: string }).code === 'EXCLUSIVE_HELD') return false
    throw fromNative(fromFs(error, `define the topic '${name}' anew in ${directory.path}`), { topic: name })
  } finally {
    log?.close()
  }
}

/**
 * As `openTopicFile`; and a topic whose layout the wanted one has grown from grows, if the settings allow it.
 *
 * @param known what the description says now, if that is known
 * @throws HermesError `ACCESS_DENIED` if they deny it
 */
export async function grownTopic(
  directory: Directory,
  name: string,
  wanted: TopicSettings,
  known?: TopicFile,
): Promise<TopicFile> {
  if (known !== undefined) checkSame(known, wanted, true)
  const file = known ?? (await openTopicFile(directory, name, wanted))
  if (wanted.growth === undefined || checkCodec(name, file, wanted) !== 'newer') return file
  if (wanted.growth === 'allowed') return growTopic(directory, name, wanted)
  throw new HermesError(
    'ACCESS_DENIED',
    `This layout has grown from that of topic '${name}', and only administrators may let a topic grow. Have one open a publisher with this layout first.`,
    { details: { topic: name, found: file.codec, wanted: wanted.codec } },
  )
}

/** How long another process may take to grow the topic. */
const mostGrowMs = 5_000

/**
 * Makes the wanted codec, which has grown from the topic's, the topic's. One process at a time does so, and looks again first: of two that come with
 * different additions, the second is refused.
 *
 * @throws HermesError `CODEC_MISMATCH`, `TIMED_OUT`
 */
async function growTopic(directory: Directory, name: string, wanted: TopicSettings): Promise<TopicFile> {
  const folder = topicFolder(directory, name)
  const path = join(folder, 'topic.lock')
  try {
    const lock = await heldLock(path, directory.fileMode, name)
    try {
      const found = await openTopicFile(directory, name, { ...wanted, create: false })
      // Another process may have been faster.
      if (checkCodec(name, found, wanted) !== 'newer') return found
      const grown: TopicFile = { ...found, codec: wanted.codec, history: [...(found.history ?? []), found.codec] }
      await replaceWhole(join(folder, 'topic.json'), topicFileText(grown), directory.fileMode)
      return grown
    } finally {
      lock.release()
    }
  } catch (error) {
    throw fromNative(fromFs(error, `let topic '${name}' grow in ${directory.path}`), { topic: name })
  }
}

async function heldLock(path: string, mode: number, topic: string): Promise<{ release(): void }> {
  const file = await open(path, 'a', mode)
  await file.close()
  for (const until = performance.now() + mostGrowMs; ; ) {
    const lock = native.holdLock(path)
    if (lock !== null) return lock
    if (performance.now() > until) {
      throw new HermesError(
        'TIMED_OUT',
        `Another process holds ${path} for more than ${mostGrowMs} ms. If it is stopped, end it or let it go on.`,
        {
          details: { topic },
        },
      )
    }
    await sleep(5)
  }
}

async function replaceWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}-${Math.random().toString(36).slice(2)}`
  const file = await open(temporary, 'wx', mode)
  try {
    await chmod(temporary, mode)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await inheritOwnership(temporary)
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Changes whenever the topic's description is replaced; '' while there is none. */
export function topicRevision(directory: Directory, name: string): string {
  const found = statSync(join(topicFolder(directory, name), 'topic.json'), { throwIfNoEntry: false, bigint: true })
  return found === undefined ? '' : `${found.ino}/${found.mtimeNs}`
}

/**
 * The topic's description, which must be there, and must be as wanted. Synchronous: between this look and the next step nothing of this process happens.
 *
 * @param grows as openTopicFile takes it
 * @throws HermesError `CODEC_MISMATCH`, `CONFIG_MISMATCH`
 */
export function definitionNow(directory: Directory, name: string, wanted: TopicSettings, grows = true): TopicFile {
  let content: TopicFile
  try {
    content = JSON.parse(readFileSync(join(topicFolder(directory, name), 'topic.json'), 'utf8'))
  } catch (error) {
    throw fromFs(error, `read the description of topic '${name}'`)
  }
  const file = { ...content, name }
  checkSame(file, wanted, grows)
  return file
}
