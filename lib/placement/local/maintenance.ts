import { lstat, readdir, rename, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { HermesError } from '../../base/errors.js'
import { aborted } from '../../base/options.js'
import type { Damage, SegmentReport } from '../../model/recovery.js'
import type {
  BackupOptions,
  BackupReport,
  Finding,
  Maintenance,
  RepairOptions,
  RepairReport,
  VerifyOptions,
  VerifyReport,
} from '../../model/reports.js'
import { fromNative } from '../../native/error.js'
import type { NativeLog } from '../../native/types.js'
import { type ControlSummary, readControl } from '../../store/control-file.js'
import { type Directory, fromFs, topicFolder } from '../../store/directory.js'
import { makeFolderWithin } from '../../store/folder.js'
import { fromHeld } from '../../store/holders.js'
import { openLog, repairLog } from '../../store/native-log.js'
import { endOf, endsInClaim, segmentPath } from '../../store/segment-file.js'
import { codecRemedy, makeTopicFile, readTopicFile, type TopicFile } from '../../store/topic-file.js'
import { backUp } from './backup.js'
import { examine } from './doctor.js'
import { checkFiles } from './file-check.js'
import { mendFiles } from './file-mend.js'
import { groupDamage, setGroupsAside } from './group-files.js'

/** A publisher that lives commits what it has claimed within moments. */
const claimLooks = 20
const claimPauseMs = 50

type Looked =
  | { readonly number: number; readonly report: SegmentReport }
  | { readonly number: number; readonly damage: Damage }

/** Looks after the topics of a directory: checking, repairing, and what stands in their way. */
export class LogMaintenance implements Maintenance {
  readonly #directory: Directory

  constructor(directory: Directory) {
    this.#directory = directory
  }

  async verify(topic: string, options: VerifyOptions): Promise<VerifyReport> {
    const begun = performance.now()
    const { concurrency = Math.min(4, availableParallelism()), signal, onProgress } = options
    await this.#describe(topic)
    const folder = topicFolder(this.#directory, topic)
    let control: ControlSummary
    let log: NativeLog
    try {
      // Without settings: nothing is made.
      log = await openLog(folder, topic, null)
      control = await readControl(folder)
    } catch (error) {
      return unreadable(topic, error, begun)
    }
    try {
      const numbers = await this.#segmentsOf(folder, control)
      const looked: Looked[] = []
      const sum = { messages: 0, bytes: 0 }
      const queue = [...numbers]
      const work = async () => {
        for (let number = queue.shift(); number !== undefined; number = queue.shift()) {
          if (signal?.aborted) throw aborted(signal)
          const found = await this.#look(log, folder, number)
          if (found === undefined) continue
          looked.push(found)
          if ('report' in found) {
            sum.messages += found.report.messages
            sum.bytes += found.report.bytes
          }
          onProgress?.({ segments: looked.length, totalSegments: numbers.length, ...sum })
        }
      }
      // All of them end before the log is closed, also after a failure.
      const outcomes = await Promise.allSettled(Array.from({ length: Math.min(concurrency, numbers.length) }, work))
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed !== undefined) throw fromNative(failed.reason, { topic })
      looked.sort((a, b) => a.number - b.number)
      const { damage, unfinished } = await this.#joinUp(folder, looked, control)
      const used = looked.filter((one) => 'report' in one && one.report.firstSequence !== 0) as {
        report: SegmentReport
      }[]
      return {
        topic,
        segments: looked.filter((one) => 'damage' in one || one.report.firstSequence !== 0).length,
        messages: sum.messages,
        voids: used.reduce((total, { report }) => total + report.voids, 0),
        bytes: sum.bytes,
        firstSequence: used[0]?.report.firstSequence ?? 1,
        nextSequence: used.at(-1)?.report.nextSequence ?? 1,
        unfinished,
        damage: [...damage, ...(await groupDamage(folder))],
        seconds: (performance.now() - begun) / 1000,
      }
    } finally {
      log.close()
    }
  }

  async repair(topic: string, options: RepairOptions): Promise<RepairReport> {
    const { dryRun = false, signal } = options
    if (dryRun) {
      const { damage } = await this.verify(topic, signal === undefined ? {} : { signal })
      return { topic, dryRun, damage }
    }
    const folder = topicFolder(this.#directory, topic)
    const remade = await this.#remakeDescription(topic, options.codec)
    const { segmentBytes, maxPayloadBytes } = await this.#describe(topic)
    const mended = await mendFiles(folder, topic, segmentBytes, this.#directory.fileMode)
    mended.push(...(await setGroupsAside(folder, this.#directory.fileMode)))
    const create = { segmentBytes, maxPayloadBytes, fileMode: this.#directory.fileMode }
    const log = await openLog(folder, topic, create)
    try {
      const recovery = await repairLog(log)
      return { topic, dryRun, damage: [...remade, ...mended, ...recovery.damage], recovery }
    } catch (error) {
      throw fromHeld(error, topic, log)
    } finally {
      log.close()
    }
  }

  async doctor(topics: readonly string[]): Promise<readonly Finding[]> {
    return examine(this.#directory, topics)
  }

  backup(topics: readonly string[], to: string, options: BackupOptions): Promise<BackupReport> {
    return backUp(this.#directory, topics, to, options)
  }

  /** Makes `topic.json` anew, if it is lost or damaged and its segments are there. */
  async #remakeDescription(topic: string, codec: RepairOptions['codec']): Promise<Damage[]> {
    const folder = topicFolder(this.#directory, topic)
    const path = join(folder, 'topic.json')
    let reason = 'topic.json is lost'
    try {
      if ((await readTopicFile(this.#directory, topic)) !== undefined) return []
    } catch (error) {
      if (!(error instanceof HermesError) || !['CORRUPT', 'NOT_HERMES'].includes(error.code)) throw error
      const there = await lstat(path).catch(() => undefined)
      if (there !== undefined) reason = 'topic.json is damaged'
    }
    const size = await segmentSize(folder)
    if (size === undefined && reason === 'topic.json is lost') return []
    if (codec === undefined) {
      throw new HermesError(
        'CORRUPT',
        `${reason} in ${folder}, and with it the codec of its messages. ${codecRemedy(topic)}`,
        { details: { topic } },
      )
    }
    if (size === undefined) {
      throw new HermesError(
        'CORRUPT',
        `${reason} in ${folder}, and there is no whole segment. Restore a backup, or remove the folder.`,
        { details: { topic } },
      )
    }
    const damaged = reason === 'topic.json is damaged'
    const kept = join(folder, 'quarantine', `topic.json-${Date.now()}.bin`)
    if (damaged) {
      await makeFolderWithin(join(folder, 'quarantine'), this.#directory.fileMode)
      await rename(path, kept)
    }
    const largest = await readControl(folder)
      .then(({ maxPayloadBytes }) => maxPayloadBytes)
      .catch(() => 0)
    const { name, fingerprint, schema } = codec
    await makeTopicFile(this.#directory, topic, {
      create: true,
      codec: { name, fingerprint, schema },
      segmentBytes: size,
      // Without a control file, the longest message tells when that is made again.
      maxPayloadBytes: largest > 0 && largest <= size / 4 ? largest : undefined,
      retention: undefined,
      lowWaterBytes: undefined,
    })
    return [gap(0, 0, 0, 0, 0, `${reason}: made anew for codec '${name}'`)].map((one) => ({
      ...one,
      file: damaged ? kept : '',
    }))
  }

  async #describe(topic: string): Promise<TopicFile> {
    const file = await readTopicFile(this.#directory, topic)
    if (file !== undefined) return file
    throw new HermesError('NOT_FOUND', `There is no topic '${topic}' in ${this.#directory.path}.`, {
      details: { topic },
    })
  }

  /** Of the files that are there, and of those that should be. */
  async #segmentsOf(folder: string, { first, active }: ControlSummary): Promise<number[]> {
    let names: string[]
    try {
      names = await readdir(folder)
    } catch (error) {
      throw fromFs(error, `list the segments in ${folder}`)
    }
    const there = names.filter((name) => /^\d{10}\.seg$/.test(name)).map((name) => Number.parseInt(name, 10))
    const numbers = new Set(there)
    // A damaged control file must not make us look for billions of segments.
    if (active - first <= there.length * 2 + 16)
      for (let number = Math.max(first, 1); number <= active; number++) numbers.add(number)
    return [...numbers].sort((a, b) => a - b)
  }

  /** `undefined`: retention has removed it meanwhile. */
  async #look(log: NativeLog, folder: string, number: number): Promise<Looked | undefined> {
    for (let look = 1; ; look++) {
      try {
        const report = await log.verifySegment(number)
        // In front of others, a claim of a live publisher is about to be committed.
        if (report.sealed || report.firstSequence === 0 || look === claimLooks || !(await endsInClaim(folder, report)))
          return { number, report }
        await sleep(claimPauseMs)
      } catch (error) {
        if (await this.#isRetired(folder, number)) return undefined
        const { code, message } = error as Error & { code?: string }
        if (code === undefined) throw error
        const bytes = await stat(segmentPath(folder, number)).then(
          ({ size }) => size,
          () => 0,
        )
        const reason = code === 'NOT_FOUND' ? 'the segment file is missing' : message
        return { number, damage: { segment: number, offset: 0, bytes, firstSequence: 0, count: 0, reason, file: '' } }
      }
    }
  }

  async #isRetired(folder: string, number: number): Promise<boolean> {
    const { first } = await readControl(folder)
    return number < first
  }

  /** What each segment found, and what only two of them together show. */
  async #joinUp(
    folder: string,
    looked: readonly Looked[],
    control: ControlSummary,
  ): Promise<{ damage: Damage[]; unfinished: number }> {
    const damage: Damage[] = []
    let unfinished = 0
    for (const [index, one] of looked.entries()) {
      if ('damage' in one) {
        damage.push(one.damage)
        continue
      }
      const { number, report } = one
      if (report.firstSequence === 0) {
        if (number < control.active) damage.push(gap(number, 0, 0, 0, 0, 'the segment has lost its base sequence'))
        continue
      }
      const own = [...report.damage]
      const next = looked[index + 1]
      const after = next !== undefined && 'report' in next && next.number === number + 1 ? next.report.firstSequence : 0
      const claim = !report.sealed && (await endsInClaim(folder, report))
      if (claim) unfinished++
      const last = own.at(-1)
      const open = !report.sealed && !claim
      const missing = after - report.nextSequence
      if (after !== 0 && open) {
        // The chain ends in the middle, and yet there are newer segments: what is between was lost.
        const end = endOf(report)
        if (last !== undefined && last.offset + last.bytes === end)
          own[own.length - 1] = { ...last, count: last.count + Math.max(0, missing) }
        else
          own.push(
            gap(number, end, 0, report.nextSequence, Math.max(0, missing), 'the frames end before the segment does'),
          )
      } else if (after !== 0 && !claim && missing !== 0) {
        const reason = `segment ${number + 1} begins with sequence ${after}, not ${report.nextSequence}`
        own.push(gap(number, endOf(report), 0, report.nextSequence, Math.max(0, missing), reason))
      }
      // What was on stable storage, or known to be whole, when the look began, has to be there.
      const promised = Math.max(
        ...[control.synced, control.checkpoint].map((at) => (at?.segment === number ? at.sequence : 0)),
      )
      if (after === 0 && !claim && report.nextSequence < promised && own.length === report.damage.length) {
        const lost = promised - report.nextSequence
        own.push(
          gap(
            number,
            endOf(report),
            0,
            report.nextSequence,
            lost,
            'the log ends before messages that were known to be there',
          ),
        )
      }
      damage.push(...own)
    }
    return { damage, unfinished }
  }
}

/** Of the first segment whose header says it; `undefined` if there is none. */
async function segmentSize(folder: string): Promise<number | undefined> {
  const names = await readdir(folder).catch(() => [] as string[])
  for (const name of names.filter((name) => /^\d{10}\.seg$/.test(name)).sort()) {
    const { size } = await stat(join(folder, name))
    if ((await checkFiles(folder, size)).faults.every(({ file }) => file !== name)) return size
  }
  return undefined
}

function gap(
  segment: number,
  offset: number,
  bytes: number,
  firstSequence: number,
  count: number,
  reason: string,
): Damage {
  return { segment, offset, bytes, firstSequence, count, reason, file: '' }
}

/** A topic whose control file can't be used: that is damage, not a reason to say nothing. */
function unreadable(topic: string, error: unknown, begun: number): VerifyReport {
  const known = error instanceof HermesError ? error.code : undefined
  // A file that may not be read, or of a newer version, is no damage.
  if (known !== undefined && !['CORRUPT', 'NOT_FOUND', 'NOT_HERMES'].includes(known)) throw error
  if (known === undefined && !(error instanceof RangeError)) throw fromFs(error, 'read the control file')
  const reason = known === 'NOT_FOUND' ? 'the control file is missing' : (error as Error).message
  return {
    topic,
    segments: 0,
    messages: 0,
    voids: 0,
    bytes: 0,
    firstSequence: 1,
    nextSequence: 1,
    unfinished: 0,
    damage: [gap(0, 0, 0, 0, 0, reason)],
    seconds: (performance.now() - begun) / 1000,
  }
}
