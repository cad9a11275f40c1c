import { type FileHandle, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from '../../frame/crc32.js'
import { native } from '../../native/addon.js'
import { fromFs } from '../../store/directory.js'
import { isNotAFile, openRegular, readRegular } from '../../store/regular-file.js'
import { segmentPath } from '../../store/segment-file.js'

const segmentMagic = 0x314745534d524548n
const controlMagic = 0x314c54434d524548n
const controlBytes = 40_960
/** Of both headers: what their CRC covers, which follows it. */
const checkedBytes = 60

/** `type`: something that is not a file is in its place. */
export type FileFaultKind = 'lost' | 'size' | 'header' | 'type'

/** A file of a topic that is not as it has to be, by a look at its name, size and header. */
export interface FileFault {
  /** `control`, `locks`, or the name of a segment file. */
  readonly file: string
  /** 0: the control file; -1: `locks`. */
  readonly segment: number
  readonly kind: FileFaultKind
  /** A sentence. */
  readonly message: string
}

/** What a topic's files look like from outside: nothing is mapped, and no frame is read. */
export interface FileCheck {
  readonly faults: readonly FileFault[]
  /** Of the segments that are whole: the same in all. Absent if there is none, nor a control file. */
  readonly topicId: Buffer | undefined
  /** Numbers of the segment files that are there, ascending. */
  readonly segments: readonly number[]
  readonly active: number
  readonly first: number
}

/** Bytes 0 to 63 of a segment, if they are those of a segment of this number and size. */
function identified(header: Buffer, number: number, segmentBytes: number): boolean {
  return (
    header.length >= 64 &&
    header.readBigUInt64LE(0) === segmentMagic &&
    crc32(header.subarray(0, checkedBytes)) === header.readUInt32LE(checkedBytes) &&
    header.readBigUInt64LE(16) === BigInt(number) &&
    header.readBigUInt64LE(40) === BigInt(segmentBytes)
  )
}

function topicIdOf(header: Buffer): Buffer {
  return Buffer.from(header.subarray(24, 40))
}

/** A header for a segment whose own is lost: see docs/log-format.md. */
export function segmentHeader(number: number, topicId: Buffer, segmentBytes: number, baseSequence: number): Buffer {
  const header = Buffer.alloc(native.constants.segmentHeaderBytes)
  header.writeBigUInt64LE(segmentMagic, 0)
  header.writeUInt32LE(native.constants.logVersion, 8)
  header.writeUInt32LE(native.constants.segmentHeaderBytes, 12)
  header.writeBigUInt64LE(BigInt(number), 16)
  topicId.copy(header, 24)
  header.writeBigUInt64LE(BigInt(segmentBytes), 40)
  header.writeBigUInt64LE(BigInt(Date.now()) * 1_000_000n, 48)
  header.writeUInt32LE(crc32(header.subarray(0, checkedBytes)), checkedBytes)
  header.writeBigUInt64LE(BigInt(baseSequence), 64)
  return header
}

/** Looks at names, sizes and headers of a topic's files. Retention may go on meanwhile. */
export async function checkFiles(folder: string, segmentBytes: number): Promise<FileCheck> {
  const faults: FileFault[] = []
  let controlFault: string | undefined
  let kind: FileFaultKind = 'header'
  const control = await readRegular(join(folder, 'control')).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    if (!isNotAFile(error)) throw fromFs(error, `read ${join(folder, 'control')}`)
    kind = 'type'
    controlFault = "The file 'control' is not a file."
    return undefined
  })
  await openRegular(join(folder, 'locks')).then(
    (file) => file.close(),
    (error: unknown) => {
      if (isNotAFile(error))
        faults.push({ file: 'locks', segment: -1, kind: 'type', message: "The file 'locks' is not a file." })
    },
  )
  if (controlFault !== undefined) {
    // (said already)
  } else if (control === undefined) {
    kind = 'lost'
    controlFault = "The file 'control' is lost."
  } else if (control.length !== controlBytes) {
    kind = 'size'
    controlFault = `The file 'control' has ${control.length} bytes, not ${controlBytes}.`
  } else if (
    control.readBigUInt64LE(0) !== controlMagic ||
    crc32(control.subarray(0, checkedBytes)) !== control.readUInt32LE(checkedBytes)
  )
    controlFault = "The header of the file 'control' is damaged."
  if (controlFault !== undefined) faults.push({ file: 'control', segment: 0, kind, message: controlFault })
  const sound = controlFault === undefined && control !== undefined
  const number = (at: number) => (sound ? Number(control.readBigUInt64LE(at)) : 0)
  const names = await readdir(folder).catch((error: unknown) => {
    throw fromFs(error, `list the segments in ${folder}`)
  })
  const segments = names
    .filter((name) => /^\d{10}\.seg$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b)
  const newest = segments.at(-1) ?? 0
  // A flipped bit in the control file must not make us look for billions of segments.
  const active = number(128) <= newest + 1 ? number(128) : 0
  const first = sound && number(256) <= newest ? number(256) : 0
  let topicId: Buffer | undefined = sound ? Buffer.from(control.subarray(40, 56)) : undefined
  const there = new Set(segments)
  const last = Math.max(active, newest)
  for (let at = Math.max(first, sound ? 1 : (segments[0] ?? 1)); at <= last; at++) {
    const file = `${String(at).padStart(10, '0')}.seg`
    if (!there.has(at)) {
      const nowFirst = await firstNow(folder)
      if (sound && at < nowFirst) continue
      faults.push({ file, segment: at, kind: 'lost', message: `Segment ${at} is lost.` })
      continue
    }
    const look = await head(segmentPath(folder, at))
    if (look === 'type') {
      faults.push({ file, segment: at, kind: 'type', message: `Segment ${at} is not a file.` })
      continue
    }
    // Removed by retention since.
    if (look === undefined) continue
    if (identified(look.bytes, at, segmentBytes)) topicId ??= topicIdOf(look.bytes)
    else faults.push({ file, segment: at, kind: 'header', message: `The header of segment ${at} is damaged.` })
    if (look.size !== segmentBytes)
      faults.push({
        file,
        segment: at,
        kind: 'size',
        message: `Segment ${at} has ${look.size} bytes, not ${segmentBytes}.`,
      })
  }
  return { faults, topicId, segments, active, first }
}

async function firstNow(folder: string): Promise<number> {
  const file = await openRegular(join(folder, 'control')).catch(() => undefined)
  if (file === undefined) return 0
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, 256)
    return bytesRead === 8 ? Number(buffer.readBigUInt64LE(0)) : 0
  } finally {
    await file.close()
  }
}

async function head(path: string): Promise<{ readonly bytes: Buffer; readonly size: number } | 'type' | undefined> {
  let file: FileHandle
  try {
    file = await openRegular(path)
  } catch (error) {
    if (isNotAFile(error)) return 'type'
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fromFs(error, `read ${path}`)
  }
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(64), 0, 64, 0)
    return { bytes: buffer.subarray(0, bytesRead), size: (await file.stat()).size }
  } finally {
    await file.close()
  }
}
