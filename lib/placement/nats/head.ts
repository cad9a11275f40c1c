import { HermesError } from '../../base/errors.js'
import type { MsgHdrs } from './peer.js'

/*
 * What stands in front of the frames in a message of a stream, as its headers. docs/cluster.md, "How a topic lies in a stream".
 */

export interface Head {
  /** The sequence of the message's first frame. */
  readonly first: number
  /** The sequence behind its last one. */
  readonly next: number
  /** Who appended it, and as which of its batches: so an appender whose acknowledgement was lost finds out. */
  readonly by: string
  /** The revision of the leader that appended it. */
  readonly fence?: number
}

export const headName = { first: 'Hermes-First', next: 'Hermes-Next', by: 'Hermes-By', fence: 'Hermes-Fence' } as const

export function writeHead(headers: MsgHdrs, { first, next, by, fence }: Head): MsgHdrs {
  headers.set(headName.first, String(first))
  headers.set(headName.next, String(next))
  headers.set(headName.by, by)
  if (fence !== undefined) headers.set(headName.fence, String(fence))
  return headers
}

/** @throws HermesError `CORRUPT` if it was not written by Hermes */
export function readHead(headers: MsgHdrs | undefined, topic: string, streamSequence: number): Head {
  const first = sequenceOf(headers?.get(headName.first))
  const next = sequenceOf(headers?.get(headName.next))
  const by = headers?.get(headName.by) ?? ''
  const fence = sequenceOf(headers?.get(headName.fence))
  if (first !== undefined && next !== undefined && next > first && by !== '')
    return { first, next, by, ...(fence !== undefined && { fence }) }
  throw new HermesError(
    'CORRUPT',
    `Message ${streamSequence} in the stream of topic '${topic}' does not come from Hermes: something else publishes to its subject. Restrict the permission to publish there.`,
    { details: { topic, streamSequence } },
  )
}

function sequenceOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^[1-9][0-9]{0,15}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}
