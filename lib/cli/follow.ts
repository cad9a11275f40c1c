import { setImmediate as turn } from 'node:timers/promises'
import { HermesError } from '../base/errors.js'
import type { Handler } from '../client/handler.js'
import type { Subscriber } from '../client/subscriber.js'
import type { Output } from './output.js'

/** Messages between two looks at the output's room. */
const pollLimit = 256
/** The event loop gets a turn this often while messages keep coming, in ms: signals and the output need it. */
const turnMs = 5
/** How long to wait for what must be there before the position is looked at again, in ms. */
const glanceMs = 20

export interface FollowOptions<View> {
  readonly handler: Handler<View>
  readonly out: Output
  readonly signal: AbortSignal
  /** Stop after so many messages. */
  readonly count?: number | undefined
  /** Stop before this sequence, or when nothing more is there. */
  readonly until?: number | undefined
}

/** Hands messages to `handler` until there were enough, or the signal fires. Returns how many there were. */
export async function follow<View>(
  subscriber: Subscriber<unknown, View>,
  options: FollowOptions<View>,
): Promise<number> {
  const { handler, out, signal, count = Number.POSITIVE_INFINITY, until = Number.POSITIVE_INFINITY } = options
  let handled = 0
  let turned = performance.now()
  while (handled < count && subscriber.position < until && !signal.aborted) {
    const before = subscriber.position
    const polled = pollOnce(subscriber, handler, Math.min(pollLimit, count - handled, until - before))
    handled += polled
    if (out.full) await out.flush()
    if (polled > 0 || subscriber.position !== before) {
      if (performance.now() - turned < turnMs) continue
      await turn()
      turned = performance.now()
      continue
    }
    await out.flush()
    if (until === Number.POSITIVE_INFINITY) {
      if (!(await readyOrEnded(subscriber, signal))) break
    } else if (subscriber.lag > 0) {
      await readyWithin(subscriber, signal, glanceMs)
    } else {
      break
    }
    turned = performance.now()
  }
  return handled
}

function pollOnce<View>(subscriber: Subscriber<unknown, View>, handler: Handler<View>, limit: number): number {
  try {
    return subscriber.poll(handler, limit)
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'DECODE_FAILED') throw error
    const sequence = subscriber.position - 1
    throw new HermesError(
      'DECODE_FAILED',
      `Message ${sequence} of topic '${subscriber.topic}': ${error.message} Go on behind it with --from ${sequence + 1}, ` +
        'or see its bytes with --codec raw.',
      { cause: error, details: { ...error.details, topic: subscriber.topic, sequence } },
    )
  }
}

/** Of a broker, what is there is on its way. It may be no message but unused sequences: then the position has moved. */
async function readyWithin(subscriber: Subscriber<unknown, unknown>, signal: AbortSignal, ms: number): Promise<void> {
  const over = new AbortController()
  const stop = () => over.abort()
  const timer = setTimeout(stop, ms)
  signal.addEventListener('abort', stop, { once: true })
  try {
    await readyOrStopped(subscriber, signal.aborted ? signal : over.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

/** False if the subscriber has come to where it was to end. */
async function readyOrEnded(subscriber: Subscriber<unknown, unknown>, signal: AbortSignal): Promise<boolean> {
  try {
    await readyOrStopped(subscriber, signal)
    return true
  } catch (error) {
    if (error instanceof HermesError && error.code === 'OUT_OF_RANGE') return false
    throw error
  }
}

async function readyOrStopped(subscriber: Subscriber<unknown, unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  try {
    await subscriber.ready({ signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
