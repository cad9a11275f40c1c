import { chmod, lstat, open, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { crc32, crc32Range } from '../../frame/crc32.js'
import type { Damage } from '../../model/recovery.js'
import { native } from '../../native/addon.js'
import { callNative } from '../../native/error.js'
import { readControl, type StoredPosition } from '../../store/control-file.js'
import { inheritOwnership, makeFolderWithin, syncFolder } from '../../store/folder.js'
import { readRegular } from '../../store/regular-file.js'
import { segmentPath } from '../../store/segment-file.js'
import { checkFiles, type FileCheck, type FileFault, segmentHeader } from './file-check.js'

/** How damage is noted in a void frame: see docs/log-format.md. */
const voidByDamage = 2
const mostVoids = 0xffff_ffff

/**
 * Makes a topic's files such that they can be mapped: what is damaged is moved to `quarantine/`, what is lost gets a segment without messages. Their frames are
 * for the recovery to look at, which has to follow. Returns what was done; nothing is changed if all files are as they have to be.
 *
 * @throws HermesError `BUSY` if a process has the topic open and there is something to do
 */
export async function mendFiles(
  folder: string,
  topic: string,
  segmentBytes: number,
  fileMode: number,
): Promise<Damage[]> {
  const check = await checkFiles(folder, segmentBytes)
  const todo = check.faults.filter(({ kind, segment }) => !(segment === 0 && kind === 'lost'))
  if (todo.length === 0) return []
  const release = lockOut(folder, topic)
  try {
    const mender = new Mender(folder, segmentBytes, fileMode, check)
    const damage: Damage[] = []
    for (const segment of new Set(todo.map((fault) => fault.segment)))
      damage.push(
        ...(await mender.mend(
          segment,
          todo.filter((fault) => fault.segment === segment),
        )),
      )
    await syncFolder(folder)
    return damage
  } finally {
    release()
  }
}

/** Every process that has the topic open holds byte 0 of `control`: a process that holds it exclusively may change files. */
function lockOut(folder: string, topic: string): () => void {
  try {
    const lock = callNative(() => native.holdLock(join(folder, 'control')), { topic })
    if (lock !== null) return () => lock.release()
  } catch (error) {
    // Without that file, or with something else in its place, no process can open the topic, and `locks` shows whether a publisher is there: the recovery looks.
    if (error instanceof HermesError && (error.code === 'NOT_FOUND' || error.code === 'CORRUPT')) return () => {}
    throw error
  }
  throw new HermesError(
    'BUSY',
    `Topic '${topic}' is in use; its files can be mended only while no process has it open. Close its publishers and subscribers (\`hermes doctor\` names them), then repair again.`,
    { details: { topic } },
  )
}

class Mender {
  readonly #folder: string
  readonly #segmentBytes: number
  readonly #fileMode: number
  readonly #check: FileCheck

  constructor(folder: string, segmentBytes: number, fileMode: number, check: FileCheck) {
    this.#folder = folder
    this.#segmentBytes = segmentBytes
    this.#fileMode = fileMode
    this.#check = check
  }

  async mend(segment: number, faults: readonly FileFault[]): Promise<Damage[]> {
    const { file } = faults[0] as FileFault
    const path = join(this.#folder, file)
    const size = await lstat(path).then(
      ({ size }) => size,
      () => 0,
    )
    const lost = faults.some(({ kind }) => kind === 'lost')
    const reason = faults.map(({ message }) => message.replace(/\.$/, '')).join('; ')
    const kept = lost ? '' : await this.#setAside(file, reason)
    const damage = { segment, offset: 0, bytes: size, firstSequence: 0, count: 0, reason, file: kept }
    // The control file is made again from the segments, `locks` by the next process that opens the topic.
    if (segment <= 0) return [damage]
    const { topicId, segments } = this.#check
    const before = segments.filter((number) => number < segment).at(-1)
    // The oldest one, lost or without anything in it that could be believed: the topic begins with the next one.
    if (topicId === undefined) return [damage]
    const isFile = !faults.some(({ kind }) => kind === 'type')
    const bytes = kept === '' || !isFile ? Buffer.alloc(0) : await readFile(kept)
    const ownHeader = isFile && !lost && !faults.some(({ kind }) => kind === 'header')
    const base = ownHeader ? Number(bytes.readBigUInt64LE(64)) : firstFrame(bytes)
    // Prepared, and not in use.
    if (ownHeader && base === 0 && segment > this.#check.active) return [damage]
    if (base === 0 && before === undefined) return [damage]
    const start = base === 0 ? await this.#nextAfter(before as number) : base
    const end = await this.#baseOf(segment + 1)
    if (base === 0 && segment > this.#check.active && end === 0) return [damage]
    const content = Buffer.alloc(this.#segmentBytes)
    // Of what lost its first frames the others are kept: the recovery that follows finds them, and makes voids of what is missing before.
    const isKept = base !== 0 || !wholeFrames(bytes).next().done
    if (isKept) bytes.copy(content, 0, 0, Math.min(bytes.length, content.length))
    segmentHeader(segment, topicId, this.#segmentBytes, start).copy(content)
    if (isKept) {
      const lost = end === 0 ? await this.#voidUpToMark(segment, content.subarray(0, bytes.length), content) : undefined
      await this.#write(path, content)
      return [{ ...damage, ...lost }]
    }
    // What is known to have been there: up to the next segment, or up to what was promised.
    const promised = end !== 0 ? end : Math.max(start, await this.#promised())
    const count = promised - start
    if (count > 0 && count <= mostVoids) voidFrame(content.subarray(native.constants.segmentHeaderBytes), start, count)
    await this.#write(path, content)
    return [{ ...damage, firstSequence: start, count }]
  }

  async #setAside(file: string, reason: string): Promise<string> {
    const quarantine = join(this.#folder, 'quarantine')
    await makeFolderWithin(quarantine, this.#fileMode)
    const kept = join(quarantine, `${file}-${Date.now()}.bin`)
    await rename(join(this.#folder, file), kept)
    await writeFile(
      kept.replace(/bin$/, 'json'),
      `${JSON.stringify({ file, reason, setAside: new Date().toISOString() })}\n`,
    )
    await syncFolder(quarantine)
    return kept
  }

  async #write(path: string, content: Buffer): Promise<void> {
    const temporary = `${path}.tmp-${process.pid}`
    await writeFile(temporary, content, { mode: this.#fileMode })
    const file = await open(temporary, 'r+')
    try {
      await inheritOwnership(temporary)
      await chmod(temporary, this.#fileMode)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  }

  /** The sequence behind the last whole frame of a segment that is there: also behind damage, and behind what looks like a claim. */
  async #nextAfter(number: number): Promise<number> {
    return endOf(await readRegular(segmentPath(this.#folder, number))).sequence
  }

  /**
   * The newest segment was made shorter: what the control file knows to have been behind the rest becomes void, so that its
   * sequences are not given out again.
   */
  async #voidUpToMark(
    segment: number,
    rest: Buffer,
    content: Buffer,
  ): Promise<{ firstSequence: number; count: number } | undefined> {
    const control = await readControl(this.#folder).catch(() => undefined)
    // (A frame that was cut in two is part of what is lost.)
    const at = endOf(rest)
    let mark: StoredPosition = { segment, ...at }
    for (const one of [control?.checkpoint, control?.synced]) {
      if (one !== undefined && one.segment === segment && one.sequence > mark.sequence) mark = one
    }
    const count = mark.sequence - at.sequence
    const span = mark.offset - at.offset
    // Each of them had a header at least: a mark that doesn't fit is of another segment.
    if (count <= 0 || count > mostVoids || mark.offset > content.length) return undefined
    if (span < count * native.constants.frameHeaderBytes || span < native.constants.frameHeaderBytes + 8)
      return undefined
    content.fill(0, at.offset)
    voidFrame(content.subarray(at.offset, mark.offset), at.sequence, count)
    return { firstSequence: at.sequence, count }
  }

  /** 0: it is not there, or not in use. */
  async #baseOf(number: number): Promise<number> {
    if (this.#check.faults.some(({ segment, kind }) => segment === number && kind !== 'size')) return 0
    const bytes = await readRegular(segmentPath(this.#folder, number)).catch(() => undefined)
    return bytes === undefined || bytes.length < 72 ? 0 : Number(bytes.readBigUInt64LE(64))
  }

  async #promised(): Promise<number> {
    const control = await readControl(this.#folder).catch(() => undefined)
    return Math.max(0, control?.checkpoint?.sequence ?? 0, control?.synced?.sequence ?? 0)
  }
}

/** The sequence of the frame at the beginning of a segment whose header can't be believed; 0 if none stands there. */
function firstFrame(bytes: Buffer): number {
  const { frameMagic, frameHeaderBytes, segmentHeaderBytes } = native.constants
  if (bytes.length < segmentHeaderBytes + frameHeaderBytes || bytes.readUInt32LE(segmentHeaderBytes) !== frameMagic)
    return 0
  return Number(bytes.readBigUInt64LE(segmentHeaderBytes + 8))
}

/** Where the last whole frame of a segment ends, and the sequence behind it: also behind damage, and behind what looks like a claim. */
function endOf(bytes: Buffer): { offset: number; sequence: number } {
  let end = { offset: native.constants.segmentHeaderBytes, sequence: Number(bytes.readBigUInt64LE(64)) }
  for (const { offset, sequence, count } of wholeFrames(bytes)) end = { offset, sequence: sequence + count }
  return end
}

/** Every whole frame that uses up sequences, in order, wherever it stands: each is found by its own check. */
function* wholeFrames(
  bytes: Buffer,
): Generator<{ readonly offset: number; readonly sequence: number; readonly count: number }> {
  const { frameMagic, frameHeaderBytes, frameTypeData, frameTypeVoid, segmentHeaderBytes } = native.constants
  for (let at = segmentHeaderBytes; at + frameHeaderBytes <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 24)
    const span = Math.ceil((frameHeaderBytes + length) / 8) * 8
    if (bytes.readUInt32LE(at) !== frameMagic || span > bytes.length - at || !isWhole(bytes, at, length)) {
      at += 8
      continue
    }
    const type = bytes.readUInt8(at + 5)
    const count = type === frameTypeData ? 1 : length >= 8 ? bytes.readUInt32LE(at + frameHeaderBytes) : 1
    if (type === frameTypeData || type === frameTypeVoid)
      yield { offset: at + span, sequence: Number(bytes.readBigUInt64LE(at + 8)), count }
    at += span
  }
}

/** Whether the frame's own check agrees with it. See docs/log-format.md for what it covers. */
function isWhole(bytes: Buffer, at: number, length: number): boolean {
  const { frameHeaderBytes, frameTypeData, frameTypeVoid } = native.constants
  const type = bytes.readUInt8(at + 5)
  const checked = type === frameTypeData ? length : type === frameTypeVoid ? Math.min(length, 8) : 0
  const payload = at + frameHeaderBytes
  const header = crc32Range(bytes, at + 4, at + 28, 0)
  return crc32Range(bytes, payload, payload + checked, header) === bytes.readUInt32LE(at + 28)
}

/** One frame without a message over all of `frame`, which uses up `count` sequences. */
function voidFrame(frame: Buffer, sequence: number, count: number): void {
  const { frameMagic, frameVersion, frameHeaderBytes, frameTypeVoid } = native.constants
  frame.writeUInt32LE(frameMagic, 0)
  frame.writeUInt8(frameVersion, 4)
  frame.writeUInt8(frameTypeVoid, 5)
  frame.writeBigUInt64LE(BigInt(sequence), 8)
  frame.writeBigUInt64LE(BigInt(Date.now()) * 1_000_000n, 16)
  frame.writeUInt32LE(frame.length - frameHeaderBytes, 24)
  frame.writeUInt32LE(count, frameHeaderBytes)
  frame.writeUInt32LE(voidByDamage, frameHeaderBytes + 4)
  const checked = Buffer.concat([frame.subarray(4, 28), frame.subarray(frameHeaderBytes, frameHeaderBytes + 8)])
  frame.writeUInt32LE(crc32(checked), 28)
}
