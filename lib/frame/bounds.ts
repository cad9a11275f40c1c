import { frameBytes, frameOffset, frameType } from './frame.js'

/** A run of whole frames: those at [`offset`, `end`), the first of which has the sequence. */
export interface FrameRun {
  readonly region: { readonly data: DataView }
  readonly offset: number
  readonly sequence: number
  end: number
}

/** Where a run is to end. */
export interface RunBound {
  /** In front of this sequence … */
  readonly before: number
  /** … and in front of the first message that was stamped then or later, in ns since 1970. */
  readonly beforeNs: bigint | undefined
}

/**
 * Ends a run in front of a bound, if that lies in it.
 *
 * @returns how many messages are left
 */
export function endRunAt(run: FrameRun, { before, beforeNs }: RunBound): number {
  const { data } = run.region
  let { offset, sequence } = run
  let messages = 0
  while (offset < run.end && sequence < before) {
    const length = data.getUint32(offset + frameOffset.payloadLength, true)
    if (data.getUint8(offset + frameOffset.type) === frameType.data) {
      if (beforeNs !== undefined && data.getBigUint64(offset + frameOffset.timestampNs, true) >= beforeNs) break
      messages++
      sequence++
    } else {
      sequence += length >= 8 ? data.getUint32(offset + frameOffset.payload, true) : 1
    }
    offset += frameBytes(length)
  }
  run.end = Math.min(offset, run.end)
  return messages
}
