import { aborted } from '../base/options.js'
import { turn } from '../base/pause.js'
import type { SubscriberPort } from '../placement/port.js'

/**
 * How a subscriber waits for messages.
 *
 * - `spin` polls in place: the shortest delay (below a microsecond), a whole core, and an event loop that gets a turn once per millisecond. Over TCP, as `yield`.
 * - `yield` polls once per turn of the event loop: tens of microseconds, a whole core.
 * - `park` sleeps in the kernel: about 10 to 100 µs, no core.
 * - `adaptive` spins for 50 µs, polls during some turns of the event loop, then parks.
 */
export type Wait = 'spin' | 'yield' | 'park' | 'adaptive'
export const waits: readonly Wait[] = ['spin', 'yield', 'park', 'adaptive']

/** What a wait needs of a subscriber's port. */
export interface WaitingPort extends Pick<SubscriberPort, 'fetch' | 'park'> {
  arrivesByTurn?: boolean
}

/** Between two looks at the clock while spinning. */
const spinsPerLook = 64
const spinSliceMs = 1
const adaptiveSpinMs = 0.05
const adaptiveTurns = 20
/** For so long a port sleeps at a time. It looks up by itself, without the event loop, as often as its placement needs. */
const parkMs = 30_000

function spin(port: WaitingPort, limit: number, forMs: number): number {
  const until = performance.now() + forMs
  do {
    for (let i = 0; i < spinsPerLook; i++) {
      const found = port.fetch(limit)
      if (found > 0) return found
    }
  } while (performance.now() < until)
  return 0
}

/**
 * Waits until `port` has fetched at least one message. Returns 0 once `isClosed` says so.
 *
 * @throws HermesError `ABORTED`, and what `fetch` throws
 */
export async function waitForMessages(
  port: WaitingPort,
  wait: Wait,
  limit: number,
  signal: AbortSignal | undefined,
  isClosed: () => boolean,
): Promise<number> {
  const spins = port.arrivesByTurn !== true
  for (let round = 0; ; round++) {
    if (isClosed()) return 0
    if (signal?.aborted) throw aborted(signal)
    let found = port.fetch(limit)
    if (found === 0 && spins && wait === 'spin') found = spin(port, limit, spinSliceMs)
    if (found === 0 && spins && wait === 'adaptive' && round === 0) found = spin(port, limit, adaptiveSpinMs)
    if (found > 0) return found
    if (wait === 'park' || (wait === 'adaptive' && round > adaptiveTurns)) {
      await port.park(parkMs, signal)
    } else {
      await turn()
    }
  }
}
