import { join } from 'node:path'
import { readRegular } from './regular-file.js'

const salt = 0x48524d5350415245n

/** A position in the log, as the control file keeps it. */
export interface StoredPosition {
  readonly segment: number
  readonly offset: number
  readonly sequence: number
}

/** What the control file says besides what the addon tells: read without mapping or changing anything. See docs/log-format.md. */
export interface ControlSummary {
  readonly active: number
  readonly first: number
  readonly maxPayloadBytes: number
  /** 0: unlimited. */
  readonly retention: { readonly bytes: number; readonly ageMs: number; readonly waitForGroups: number }
  /** Absent if never written, or just being written. */
  readonly checkpoint: StoredPosition | undefined
  readonly synced: StoredPosition | undefined
  /** Of the boot in which the topic was last opened for publishing. */
  readonly bootId: string
  readonly closedInOrder: boolean
}

export async function readControl(topicFolder: string): Promise<ControlSummary> {
  const bytes = await readRegular(join(topicFolder, 'control'))
  if (bytes.length < 1024) throw new RangeError(`it has ${bytes.length} bytes`)
  const number = (at: number) => Number(bytes.readBigUInt64LE(at))
  return {
    active: number(128),
    first: number(256),
    maxPayloadBytes: bytes.readUInt32LE(24),
    retention: retentionOf(bytes),
    checkpoint: positionAt(bytes, 512),
    synced: positionAt(bytes, 640),
    bootId: bytes.subarray(896, 912).toString('hex'),
    closedInOrder: bytes.readUInt32LE(912) === 1,
  }
}

function retentionOf(bytes: Buffer): ControlSummary['retention'] {
  const [most = 0n, ageNs = 0n, check = 0n, wait = 0n, waitCheck = 0n] = [768, 776, 792, 800, 808].map((at) =>
    bytes.readBigUInt64LE(at),
  )
  const whole = (most ^ ageNs ^ salt) === check && (wait === 0n ? waitCheck === 0n : (wait ^ salt) === waitCheck)
  return whole
    ? { bytes: Number(most), ageMs: Number(ageNs / 1_000_000n), waitForGroups: Number(wait) }
    : { bytes: 0, ageMs: 0, waitForGroups: 0 }
}

function positionAt(bytes: Buffer, at: number): StoredPosition | undefined {
  const [segment = 0n, offset = 0n, sequence = 0n, check = 0n] = [0, 8, 16, 24].map((step) =>
    bytes.readBigUInt64LE(at + step),
  )
  if ((segment ^ offset ^ sequence ^ salt) !== check || segment === 0n) return undefined
  return { segment: Number(segment), offset: Number(offset), sequence: Number(sequence) }
}
