import { HermesError } from '../base/errors.js'
import { fromNative } from '../native/error.js'
import type { NativeLog } from '../native/types.js'

/** Makes a HermesError of what opening a publisher, or repairing, failed with. One that others are in the way of names their processes. */
export function fromHeld(error: unknown, topic: string, log: NativeLog): unknown {
  const known = fromNative(error, { topic })
  if (!(known instanceof HermesError) || known.code !== 'EXCLUSIVE_HELD') return known
  const pids = publisherPids(log)
  const held = pids.length === 0 ? '' : ` (held by pid ${pids.join(', ')})`
  return new HermesError('EXCLUSIVE_HELD', `Topic '${topic}'${held}: ${known.message}`, {
    cause: error,
    details: { topic, pids },
  })
}

/** Of the publishers that are open, each process once. Pids are as their own PID namespace has them. */
function publisherPids(log: NativeLog): number[] {
  try {
    const alive = log.participants().slots.filter((slot) => slot.alive)
    return [...new Set(alive.map((slot) => slot.pid))]
  } catch {
    // What is to be told is why the topic is held, not why one can't see by whom.
    return []
  }
}
