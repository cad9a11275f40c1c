import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { SegmentReport } from '../model/recovery.js'
import { native } from '../native/addon.js'

export function segmentPath(folder: string, number: number): string {
  return join(folder, `${String(number).padStart(10, '0')}.seg`)
}

/** Where the walk over a segment came to its end. */
export function endOf({ bytes, damage }: SegmentReport): number {
  return native.constants.segmentHeaderBytes + bytes + damage.reduce((sum, one) => sum + one.bytes, 0)
}

/** Whether the walk ended at a message that a publisher has begun and not finished. */
export async function endsInClaim(folder: string, report: SegmentReport): Promise<boolean> {
  const file = await open(segmentPath(folder, report.segment), 'r')
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, endOf(report))
    return bytesRead === 8 && buffer.readUInt8(0) === native.constants.claimTag
  } finally {
    await file.close()
  }
}
