import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { HermesError } from '../errors.js'
import { aborted, checkInteger } from '../options.js'
import { word } from './layout.js'

/** Wakes all who sleep on a bell. `waiting` and `bell` are word indices. */
export function wake(words: Int32Array, waiting: number, bell: number): void {
  Atomics.store(words, waiting, 0)
  Atomics.add(words, bell, 1)
  Atomics.notify(words, bell)
}

const spins = 2000
/** A sleeper looks up at least this often, so that a peer that is evicted or can't ring is noticed. */
const napMs = 50

/**
 * Blocks this thread until `ready` or the time is over. `ready` also returns true when waiting makes no sense any more.
 *
 * @throws HermesError `UNSUPPORTED` if the memory is not shared or the ring does not allow parking; what `ready` throws
 */
export function sleepUntil(
  words: Int32Array,
  parking: boolean,
  side: 'items' | 'room',
  ready: () => boolean,
  timeoutMs: number,
): boolean {
  checkInteger('timeoutMs', timeoutMs, 0, 2 ** 31 - 1)
  for (let i = 0; i < spins; i++) if (ready()) return true
  if (timeoutMs === 0) return false
  if (!parking || !(words.buffer instanceof SharedArrayBuffer)) {
    throw new HermesError(
      'UNSUPPORTED',
      'This ring does not allow sleeping. Create it with `parking: true` in a SharedArrayBuffer, or poll it.',
    )
  }
  const waiting = side === 'items' ? word.consumersWaiting : word.producersWaiting
  const bell = side === 'items' ? word.itemsBell : word.roomBell
  const until = performance.now() + timeoutMs
  for (;;) {
    const seen = Atomics.load(words, bell)
    Atomics.store(words, waiting, 1)
    if (ready()) return true
    const left = until - performance.now()
    if (left <= 0) return false
    Atomics.wait(words, bell, seen, Math.min(left, napMs))
    if (ready()) return true
  }
}

/** As `sleepUntil` without blocking the thread: polls, each turn of the event loop at first, then every millisecond. */
export async function pollUntil(ready: () => boolean, signal: AbortSignal | undefined): Promise<void> {
  for (let round = 0; !ready(); round++) {
    if (signal?.aborted) throw aborted(signal)
    if (round < 100) await turn()
    else await pause(1)
  }
}
