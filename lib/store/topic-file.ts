import { access, readdir, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../base/errors.js'
import type { CodecIdentity } from '../codec/evolution.js'
import { checkCodec } from '../model/codec-check.js'
import type { TopicSettings } from '../model/topic.js'
import { native } from '../native/addon.js'
import { createWhole, type Directory, diskBytes, fromFs, readMarked, topicFolder } from './directory.js'
import { makeFolderWithin } from './folder.js'

/** What `topic.json` says: the topic's fixed settings and its codec. */
export interface TopicFile {
  readonly name: string
  readonly createdMs: number
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  /** That of the newest publisher, if the layout has grown. */
  readonly codec: CodecIdentity
  /** The codecs that the topic had before, from the oldest on. Absent until its layout grows. */
  readonly history?: readonly CodecIdentity[]
}

const format = 'hermes-topic'

/** What to do when the description is gone and the messages are there: nothing else says which codec they have. */
export function codecRemedy(topic: string): string {
  return `Restore the file, or say what it was: \`hermes repair ${topic} --codec json\` (or text, raw, msgpack, struct with --schema), with the codec that the messages were published with.`
}

/** The names of all topics, sorted. */
export async function listTopics(directory: Directory): Promise<string[]> {
  const folder = join(directory.path, 'topics')
  try {
    const { names, lost } = await topicFolders(folder)
    // A folder without a description is one whose making was cut short, unless it holds segments: then the description is lost, and
    // who looks at all topics must come upon it. What a description says is not looked at: one that is damaged must not hide the others.
    const described = await Promise.all(
      names.map(async (name) => (await isDescribed(directory, name)) || (await hasSegments(directory, name))),
    )
    return [...names.filter((_, index) => described[index]), ...lost].sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      await checkLink(folder)
      return []
    }
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') {
      throw new HermesError(
        'NOT_A_DIRECTORY',
        `${folder} is not a folder. Move it away, and restore the topics from a backup.`,
        { cause: error },
      )
    }
    throw fromFs(error, `list the topics in ${directory.path}`)
  }
}

/**
 * What in the folder of all topics may be one: folders, and links to folders, which may lie on another disk. `lost` are links that lead
 * nowhere now, as to a disk that is not mounted: their topics must not be passed over in silence.
 */
export async function topicFolders(folder: string): Promise<{ names: string[]; lost: string[] }> {
  const names: string[] = []
  const lost: string[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    // What a deletion has left behind has no topic's name.
    if (entry.name.startsWith('.')) continue
    if (entry.isDirectory()) names.push(entry.name)
    if (!entry.isSymbolicLink()) continue
    const target = await stat(join(folder, entry.name)).catch(() => undefined)
    if (target === undefined) lost.push(entry.name)
    else if (target.isDirectory()) names.push(entry.name)
  }
  return { names, lost }
}

/** @throws HermesError `NOT_A_DIRECTORY` if `path` is a link that leads nowhere */
async function checkLink(path: string): Promise<void> {
  const target = await readlink(path).catch(() => undefined)
  if (target === undefined) return
  throw new HermesError(
    'NOT_A_DIRECTORY',
    `${path} is a symbolic link to ${target}, which does not exist. Mount or make that folder, or remove the link.`,
    { details: { path, target } },
  )
}

/** Whether the topic has a description, good or bad. */
export async function isDescribed(directory: Directory, name: string): Promise<boolean> {
  try {
    await access(join(topicFolder(directory, name), 'topic.json'))
    return true
  } catch (error) {
    // One that may not be looked at is there all the same.
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

/** Whether the topic's folder holds segments. */
async function hasSegments(directory: Directory, name: string): Promise<boolean> {
  try {
    return (await readdir(topicFolder(directory, name))).some((file) => /^\d{10}\.seg$/.test(file))
  } catch {
    return false
  }
}

/** Of topics that are deleted and made again all the time. */
const mostLooks = 10

/** '' while there is none. */
async function folderIdentity(directory: Directory, name: string): Promise<string> {
  try {
    const { ino, birthtimeNs } = await stat(topicFolder(directory, name), { bigint: true })
    return `${ino}/${birthtimeNs}`
  } catch {
    return ''
  }
}

/**
 * `undefined` if the directory has no such topic.
 *
 * @throws HermesError `CORRUPT` also if the description is lost and messages are there: what codec they are of can't be guessed
 */
export async function readTopicFile(directory: Directory, name: string): Promise<TopicFile | undefined> {
  const path = join(topicFolder(directory, name), 'topic.json')
  const remedy = ` ${codecRemedy(name)}`
  let content: Record<string, unknown> | undefined
  for (let looks = 0; looks < mostLooks; looks++) {
    const before = await folderIdentity(directory, name)
    content = await readMarked(path, format, remedy)
    if (content !== undefined || !(await hasSegments(directory, name))) break
    // Another process may have made the topic between the two looks: the description comes before the first segment. Or deleted it, and made another one.
    content = await readMarked(path, format, remedy)
    if (content !== undefined) break
    if ((await folderIdentity(directory, name)) !== before) continue
    throw new HermesError(
      'CORRUPT',
      `topic.json is lost in ${topicFolder(directory, name)}, and with it the codec of its messages. ${codecRemedy(name)}`,
      { details: { topic: name } },
    )
  }
  if (content === undefined) {
    await checkLink(topicFolder(directory, name))
    return undefined
  }
  const codec = content.codec as Partial<TopicFile['codec']> | undefined
  if (
    typeof content.segmentBytes !== 'number' ||
    typeof content.maxPayloadBytes !== 'number' ||
    typeof content.createdMs !== 'number' ||
    typeof codec?.name !== 'string' ||
    typeof codec.fingerprint !== 'string'
  ) {
    throw new HermesError('CORRUPT', `${path} is damaged: settings are missing.${remedy}`)
  }
  const history = readHistory(content.history)
  if (history === undefined)
    throw new HermesError('CORRUPT', `${path} is damaged: its history is no list of codecs.${remedy}`)
  return {
    name,
    createdMs: content.createdMs,
    segmentBytes: content.segmentBytes,
    maxPayloadBytes: content.maxPayloadBytes,
    codec: { name: codec.name, fingerprint: codec.fingerprint, schema: codec.schema ?? null },
    ...(history.length === 0 ? {} : { history }),
  }
}

/** `undefined` if it is no list of codecs. */
function readHistory(given: unknown): CodecIdentity[] | undefined {
  if (given === undefined) return []
  if (!Array.isArray(given)) return undefined
  const isCodec = (one: Partial<CodecIdentity> | null) =>
    typeof one?.name === 'string' && typeof one.fingerprint === 'string'
  if (!given.every(isCodec)) return undefined
  return given.map(({ name, fingerprint, schema }: CodecIdentity) => ({ name, fingerprint, schema: schema ?? null }))
}

/**
 * Opens the topic's description, or makes it; refuses one that was made with other settings.
 *
 * @param grows false: the codec must be the very one of the topic. True: it may also be one that the topic's has grown from, or that has grown from it

 * @param files as makeTopicFile takes it
 */
export async function openTopicFile(
  directory: Directory,
  name: string,
  wanted: TopicSettings,
  grows = true,
  files: 1 | 2 = 2,
): Promise<TopicFile> {
  let found = await readTopicFile(directory, name)
  if (found === undefined) {
    if (!wanted.create) {
      throw new HermesError('NOT_FOUND', `There is no topic '${name}' in ${directory.path}.`, {
        details: { topic: name },
      })
    }
    const made = await makeTopicFile(directory, name, wanted, files)
    // Another process may have been faster: the file that is there now counts.
    found = (await readTopicFile(directory, name)) ?? made
  }
  checkSame(found, wanted, grows)
  return found
}

export function topicFileText(file: TopicFile): string {
  return `${JSON.stringify({ format, version: 1, ...file }, undefined, 2)}\n`
}

/** @param files  how many files of `segmentBytes` it has from the beginning: two segments, or one ring */
export async function makeTopicFile(
  directory: Directory,
  name: string,
  wanted: TopicSettings,
  files: 1 | 2 = 2,
): Promise<TopicFile> {
  const { defaultSegmentBytes, defaultMaxPayload } = native.constants
  const segmentBytes = wanted.segmentBytes ?? defaultSegmentBytes
  const file: TopicFile = {
    name,
    createdMs: Date.now(),
    segmentBytes,
    maxPayloadBytes: wanted.maxPayloadBytes ?? Math.min(defaultMaxPayload, segmentBytes / 4),
    codec: wanted.codec,
  }
  const folder = topicFolder(directory, name)
  try {
    const total = await diskBytes(directory.path)
    if (segmentBytes * files > total) {
      throw new HermesError(
        'DISK_FULL',
        `The file system of ${directory.path} has ${total} bytes in all, too few for ${files === 1 ? 'a ring' : 'two segments'} of ${segmentBytes}. ` +
          'Set a smaller segmentBytes, or enlarge it (in Docker, /dev/shm has 64 MiB unless --shm-size says more).',
        { details: { total, segmentBytes } },
      )
    }
    await makeFolderWithin(folder, directory.fileMode)
    await createWhole(join(folder, 'topic.json'), topicFileText(file), directory.fileMode)
  } catch (error) {
    throw fromFs(error, `make the topic '${name}' in ${directory.path}`)
  }
  return file
}

/** @throws HermesError `CODEC_MISMATCH`, `CONFIG_MISMATCH` */
export function checkSame(found: TopicFile, wanted: TopicSettings, grows: boolean): void {
  const { name } = found
  checkCodec(name, found, wanted, grows)
  for (const setting of ['segmentBytes', 'maxPayloadBytes'] as const) {
    const value = wanted[setting]
    if (value === undefined || value === found[setting]) continue
    throw new HermesError(
      'CONFIG_MISMATCH',
      `Topic '${name}' was made with ${setting} ${found[setting]}, which is fixed, not ${value}. Leave the option out.`,
      { details: { topic: name, setting, found: found[setting], wanted: value } },
    )
  }
}
