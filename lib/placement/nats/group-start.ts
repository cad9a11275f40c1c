import type { HermesError } from '../../base/errors.js'
import type { Start, TopicStream } from './stream.js'

/** Where a group goes on. `isBehind`: retention was faster; `isCut`: the topic has lost what the group had come to. */
export async function whereToBegin(
  stream: TopicStream,
  next: number,
): Promise<{ start: Start; isBehind?: true; isCut?: true }> {
  try {
    return { start: await stream.locate(next) }
  } catch (error) {
    const { code } = error as HermesError
    if (code === 'BEHIND_RETENTION') return { start: await stream.locate('earliest'), isBehind: true }
    if (code === 'OUT_OF_RANGE') return { start: await stream.locate('latest'), isCut: true }
    throw error
  }
}
