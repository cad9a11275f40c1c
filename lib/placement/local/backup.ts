import { closeSync, close as rawClose, read as rawRead } from 'node:fs'
import { chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { HermesError } from '../../base/errors.js'
import { aborted, invalid } from '../../base/options.js'
import type { Damage } from '../../model/recovery.js'
import type { BackupOptions, BackupReport, TopicBackup } from '../../model/reports.js'
import { native } from '../../native/addon.js'
import { fromNative } from '../../native/error.js'
import type { NativeLog } from '../../native/types.js'
import { type ControlSummary, readControl } from '../../store/control-file.js'
import { type Directory, fromFs, topicFolder } from '../../store/directory.js'
import { makeMissing, syncFolder } from '../../store/folder.js'
import { openLog, repairLog } from '../../store/native-log.js'
import { isNotAFile, openRegularSync, readRegular } from '../../store/regular-file.js'
import { endsInClaim, segmentPath } from '../../store/segment-file.js'
import { readTopicFile, type TopicFile } from '../../store/topic-file.js'

const read = promisify(rawRead)
const close = promisify(rawClose)

const copyBytes = 4 << 20
const zeros = Buffer.alloc(copyBytes)
/** Files of a topic that are held open from the beginning, so that retention can't take them: more than retention removes while the others are copied. */
const heldFiles = 512
/** How often a topic is begun anew whose segments retention removed all before they could be opened. */
const maxBeginnings = 20
/** A publisher that lives commits what it has claimed within moments. */
const claimLooks = 20
const claimPauseMs = 50
/** How often a segment is copied whose copy is damaged: it may have been read while a publisher set damage aside. */
const maxCopies = 3
const tailHintOffset = 128

interface Work {
  readonly signal: AbortSignal | undefined
  /** Counts bytes that were copied, or passed over because they are zero. */
  readonly count: (bytes: number, totalBytes: number) => void
}

/** Copies topics of a directory while they are in use. See docs/operations.md. */
export async function backUp(
  directory: Directory,
  topics: readonly string[],
  to: string,
  options: BackupOptions,
): Promise<BackupReport> {
  const begun = performance.now()
  const target = resolve(to)
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
    // An empty directory of that name is replaced; one that somebody has filled meanwhile is not.
    await rename(temporary, target)
    await syncFolder(dirname(target))
    return { to: target, topics: done, seconds: (performance.now() - begun) / 1000 }
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
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

async function copyTopic(directory: Directory, topic: string, to: string, work: Work): Promise<TopicBackup> {
  const file = await readTopicFile(directory, topic)
  if (file === undefined)
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${directory.path}.`, { details: { topic } })
  const from = topicFolder(directory, topic)
  await copyFile(join(from, 'topic.json'), join(to, 'topic.json'))
  for (let beginning = 1; ; beginning++) {
    // Before the messages: a number that it names and the copy lacks would be taken for one that is there.
    const producers = await readRegular(join(from, 'producers.json')).catch(() => undefined)
    const source = await openLog(from, topic, null)
    const held = new Held(from)
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
      return report
    } catch (error) {
      throw fromNative(error, { topic })
    } finally {
      held.close()
      source.close()
    }
  }
}

/** Segment files that are open, so that their bytes stay though retention takes their names. */
class Held {
  readonly #folder: string
  readonly #files = new Map<number, number>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Opens the newest ones, at once: between two of them retention goes on. False if `active` is gone already. */
  take(active: number, first: number): boolean {
    for (let number = active; number >= first && this.#files.size < heldFiles; number--) {
      const file = this.#open(number)
      if (file === undefined) break
      this.#files.set(number, file)
    }
    return this.#files.has(active)
  }

  /** The caller closes it. `undefined`: there is no such file. */
  give(number: number): number | undefined {
    const file = this.#files.get(number)
    this.#files.delete(number)
    return file ?? this.#open(number)
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file)
    this.#files.clear()
  }

  #open(number: number): number | undefined {
    try {
      return openRegularSync(segmentPath(this.#folder, number))
    } catch (error) {
      if (isNotAFile(error)) throw noSegment(error, this.#folder)
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || (code === 'EMFILE' && this.#files.size > 0)) return undefined
      throw fromFs(error, `read ${segmentPath(this.#folder, number)}`)
    }
  }
}

/** One topic's segments, from the newest to the oldest: what retention takes meanwhile is so always what comes last. */
class TopicCopy {
  readonly #control: ControlSummary
  readonly #from: string
  readonly #to: string
  readonly #file: TopicFile
  readonly #held: Held
  readonly #work: Work
  #fileMode = 0o600
  #log: NativeLog | undefined

  constructor(control: ControlSummary, from: string, to: string, file: TopicFile, held: Held, work: Work) {
    this.#control = control
    this.#from = from
    this.#to = to
    this.#file = file
    this.#held = held
    this.#work = work
  }

  async run(): Promise<TopicBackup> {
    const { name, segmentBytes } = this.#file
    const { active } = this.#control
    this.#fileMode = await modeOf(join(this.#from, 'topic.json'))
    const damage: Damage[] = []
    let unfinished = 0
    const total = (active - Math.min(Math.max(this.#control.first, 1), active) + 1) * segmentBytes
    try {
      for (let number = active; number >= 1; number--) {
        if (this.#work.signal?.aborted) throw aborted(this.#work.signal)
        const file = this.#held.give(number)
        if (file === undefined) {
          const { first } = await readControl(this.#from)
          if (number < first) break
          // Not removed by retention: lost.
          damage.unshift({
            segment: number,
            offset: 0,
            bytes: 0,
            firstSequence: 0,
            count: 0,
            reason: 'the segment file is missing',
            file: '',
          })
          continue
        }
        try {
          const found = await this.#segment(number, file, number === active, total)
          damage.unshift(...found.damage)
          if (found.unfinished) unfinished++
        } finally {
          await close(file)
        }
      }
      const log = await this.#openCopy()
      // Makes what the control file says of the copy, and checks every message once more. Claims of the dead become void.
      if (active !== 0) await repairLog(log)
      const { bytes, ageMs } = this.#control.retention
      if (bytes > 0 || ageMs > 0) await log.setRetention(bytes, ageMs)
      const info = log.info()
      const segments = info.activeSegment === 0 ? 0 : info.activeSegment - info.firstSegment + 1
      return {
        topic: name,
        firstSequence: info.firstSequence,
        nextSequence: info.nextSequence,
        segments,
        unfinished,
        damage,
      }
    } finally {
      this.#log?.close()
    }
  }

  /** Copies a segment until its copy is whole, or it is clear that the segment itself is not. */
  async #segment(
    number: number,
    file: number,
    isActive: boolean,
    total: number,
  ): Promise<{ damage: readonly Damage[]; unfinished: boolean }> {
    const path = segmentPath(this.#to, number)
    const { size } = await stat(`/proc/self/fd/${file}`)
    // Fixed once: what is published from now on does not belong to this backup.
    const end = isActive ? await endOfFrames(file, size) : size
    let copies = 0
    for (let look = 1; ; look++) {
      await this.#copy(file, path, end, size, isActive, total)
      const report = await (await this.#openCopy()).verifySegment(number)
      if (report.damage.length > 0 && ++copies < maxCopies) continue
      const unfinished = !report.sealed && report.firstSequence !== 0 && (await endsInClaim(this.#to, report))
      if (!unfinished || look >= claimLooks) return { damage: report.damage, unfinished }
      await sleep(claimPauseMs)
    }
  }

  async #copy(from: number, path: string, end: number, size: number, isActive: boolean, total: number): Promise<void> {
    const to = await open(path, 'w', this.#fileMode)
    try {
      await to.chmod(this.#fileMode)
      await to.truncate(size)
      const buffer = Buffer.allocUnsafe(copyBytes)
      for (let at = 0; at < end; ) {
        if (this.#work.signal?.aborted) throw aborted(this.#work.signal)
        const { bytesRead } = await read(from, buffer, 0, Math.min(copyBytes, end - at), at)
        if (bytesRead === 0) break
        const chunk = buffer.subarray(0, bytesRead)
        // The hint may name a place behind the end.
        if (at === 0 && isActive) chunk.fill(0, tailHintOffset, tailHintOffset + 8)
        // What was never written stays a hole.
        if (!chunk.equals(zeros.subarray(0, bytesRead))) await writeAll(to, chunk, at)
        at += bytesRead
        this.#work.count(bytesRead, total)
      }
    } finally {
      await to.close()
    }
  }

  /** With its control file, which is made of the newest segment: that has to be there. */
  async #openCopy(): Promise<NativeLog> {
    const { segmentBytes, maxPayloadBytes, name } = this.#file
    const settings = {
      segmentBytes,
      maxPayloadBytes: Math.max(maxPayloadBytes, this.#control.maxPayloadBytes),
      fileMode: this.#fileMode,
    }
    const log = this.#log ?? (await openLog(this.#to, name, settings))
    this.#log = log
    return log
  }
}

/**
 * Where the chain of frames ends now: in front of the first word that is zero. Claims are stepped over: all that was published before has its place
 * in front of the end. Behind damage nothing can be said, so everything belongs to it.
 */
async function endOfFrames(file: number, size: number): Promise<number> {
  const { frameMagic, frameHeaderBytes, frameTypePadding, segmentHeaderBytes } = native.constants
  const { claimTag, claimSpanBit, claimSpanBits } = native.constants
  const buffer = Buffer.allocUnsafe(copyBytes)
  let at = segmentHeaderBytes
  for (;;) {
    const { bytesRead } = await read(file, buffer, 0, copyBytes, at)
    if (bytesRead < frameHeaderBytes) return size
    const base = at
    while (at + frameHeaderBytes <= base + bytesRead) {
      const offset = at - base
      const low = buffer.readUInt32LE(offset)
      const high = buffer.readUInt32LE(offset + 4)
      if (low === 0 && high === 0) return at
      let span = 0
      if (low === frameMagic) {
        span = Math.ceil((frameHeaderBytes + buffer.readUInt32LE(offset + 24)) / 8) * 8
        if (((high >>> 8) & 0xff) === frameTypePadding) return size
      } else if ((low & 0xff) === claimTag) {
        span = ((high >>> (claimSpanBit - 32)) & (2 ** claimSpanBits - 1)) * 8
      }
      if (span < 8 || span > size - at) return size
      at += span
      if (size - at < frameHeaderBytes) return size
    }
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
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

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

async function copyFile(from: string, to: string): Promise<void> {
  await writeFile(to, await readRegular(from), await modeOf(from))
}

function noSegment(cause: HermesError, folder: string): HermesError {
  const topic = basename(folder)
  return new HermesError(
    'CORRUPT',
    `${cause.message} Close the publishers and subscribers of the topic, then run \`hermes repair ${topic}\`, and back up then.`,
    { cause, details: { topic } },
  )
}

async function writeFile(path: string, content: Uint8Array, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode)
  try {
    await file.chmod(mode)
    await file.writeFile(content)
  } finally {
    await file.close()
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
