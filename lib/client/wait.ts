import { aborted } from '../base/options.js'
import { turn } from '../base/pause.js'
import type { SubscriberPort } from '../placement/port.js'

/**
 * How a subscriber waits for messages.
 *
 * - `spin` polls in place: the shortest delay (below a microsecond), a whole core, and an event loop that gets a turn once per millisecond. Over TCP, as `yield`.
 * - `yield` polls once per turn of the event loop: tens of microseconds, a whole core.
 * - `park` sleeps in the kernel: about 10 to 100 µs, no core.
 * - `adaptive` spins for 50 µs, polls during some turns of the event loop, then parks. Where that took the core from others, it parks at once for a while.
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
/**
 * A look in `adaptive` takes microseconds. One that took so long was interrupted, by another thread that wanted the core or by other work of this event loop: then
 * perhaps that is what the message comes from, and polling only delays it.
 */
const interruptedMs = 0.3
/** So long `adaptive` parks at once after that. */
const restMs = 100
/** By performance.now(); of this thread. */
let restUntil = 0
/** For so long a port sleeps at a time. It looks up by itself, without the event loop, as often as its placement needs. */
const parkMs = 30_000

function isResting(): boolean {
  return performance.now() < restUntil
}

/** Of a look that began at `begun`. */
function noteInterruption(begun: number, now: number): void {
  if (now - begun > interruptedMs) restUntil = now + restMs
}

function spin(port: WaitingPort, limit: number, forMs: number): number {
  let now = performance.now()
  const until = now + forMs
  do {
    for (let i = 0; i < spinsPerLook; i++) {
      const found = port.fetch(limit)
      if (found > 0) return found
    }
    const begun = now
    now = performance.now()
    noteInterruption(begun, now)
  } while (now < until)
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
    if (found === 0 && spins && wait === 'adaptive' && round === 0 && !isResting())
      found = spin(port, limit, adaptiveSpinMs)
    if (found > 0) return found
    if (wait === 'park' || (wait === 'adaptive' && (round > adaptiveTurns || isResting()))) {
      await port.park(parkMs, signal)
    } else {
      const begun = performance.now()
      await turn()
      if (wait === 'adaptive') noteInterruption(begun, performance.now())
    }
  }
}
