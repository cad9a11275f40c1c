import { close as rawClose, read as rawRead } from 'node:fs'
import { chmod, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { aborted } from '../../base/options.js'
import type { Damage } from '../../model/recovery.js'
import type { TopicBackup } from '../../model/reports.js'
import { native } from '../../native/addon.js'
import type { NativeLog } from '../../native/types.js'
import { type ControlSummary, readControl } from '../../store/control-file.js'
import { openLog, repairLog } from '../../store/native-log.js'
import { endsInClaim, segmentPath } from '../../store/segment-file.js'
import type { TopicFile } from '../../store/topic-file.js'
import { modeOf } from './copied-files.js'
import type { HeldSegments } from './held-segments.js'

const read = promisify(rawRead)
const close = promisify(rawClose)

const copyBytes = 4 << 20
const zeros = Buffer.alloc(copyBytes)
/** A publisher that lives commits what it has claimed within moments. */
const claimLooks = 20
const claimPauseMs = 50
/** How often a segment is copied whose copy is damaged: it may have been read while a publisher set damage aside. */
const maxCopies = 3
const tailHintOffset = 128

/** How a copy is told to end, and tells how far it is. */
export interface CopyWork {
  readonly signal: AbortSignal | undefined
  /** Counts bytes that were copied, or passed over because they are zero. */
  readonly count: (bytes: number, totalBytes: number) => void
}

/** One topic's segments, from the newest to the oldest: what retention takes meanwhile is so always what comes last. */
export class TopicCopy {
  readonly #control: ControlSummary
  readonly #from: string
  readonly #to: string
  readonly #file: TopicFile
  readonly #held: HeldSegments
  readonly #work: CopyWork
  #fileMode = 0o600
  #log: NativeLog | undefined

  constructor(control: ControlSummary, from: string, to: string, file: TopicFile, held: HeldSegments, work: CopyWork) {
    this.#control = control
    this.#from = from
    this.#to = to
    this.#file = file
    this.#held = held
    this.#work = work
  }

  async run(): Promise<Omit<TopicBackup, 'groups'>> {
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
      const { bytes, ageMs, waitForGroups } = this.#control.retention
      if (bytes > 0 || ageMs > 0) await log.setRetention(bytes, ageMs, waitForGroups)
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
      await chmod(path, this.#fileMode)
      await to.truncate(size)
      const buffer = Buffer.allocUnsafe(copyBytes)
      for (let at = 0; at < end; ) {
        if (this.#work.signal?.aborted) throw aborted(this.#work.signal)
        const { bytesRead } = await read(from, buffer, 0, Math.min(copyBytes, end - at), at)
        if (bytesRead === 0) break
        const chunk = buffer.subarray(0, bytesRead)
        // The hint may name an offset behind the end.
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
 * Where the chain of frames ends now: in front of the first word that is zero. Claims are stepped over: all that was published before has its offset
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
