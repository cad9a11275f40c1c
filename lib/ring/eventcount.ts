import { bounded, checkWaitOptions, onAbort, type WaitOptions } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { aborted, checkInteger } from '../base/options.js'
import { pause, turn } from '../base/pause.js'
import { parked } from '../native/parked.js'
import { word } from './layout.js'
import type { RingMemory } from './ring-memory.js'

const waitingWord = (room: boolean): number => (room ? word.producersWaiting : word.consumersWaiting)
const eventcountWord = (room: boolean): number => (room ? word.roomEventcount : word.itemsEventcount)

/** Wakes all who sleep on an eventcount: that of room, or else that of items. */
export function wake(memory: RingMemory, room: boolean): void {
  const { words, file } = memory
  Atomics.store(words, waitingWord(room), 0)
  Atomics.add(words, eventcountWord(room), 1)
  if (file === undefined) Atomics.notify(words, eventcountWord(room))
  else file.wake(room)
}

const spins = 2000
/** A sleeper looks up at least this often, so that a peer that is evicted or can't ring is noticed. */
const napMs = 50
/** In a file the kernel tells who died, if it is asked. */
const fileNapMs = 10
const turns = 100

/**
 * Blocks this thread until `ready` or the time is over. `ready` also returns true when waiting makes no sense any more.
 *
 * @throws HermesError `UNSUPPORTED` if the memory is not shared or the ring does not allow parking; what `ready` throws
 */
export function sleepUntil(memory: RingMemory, room: boolean, ready: () => boolean, timeoutMs: number): boolean {
  checkInteger('timeoutMs', timeoutMs, 0, 2 ** 31 - 1)
  for (let i = 0; i < spins; i++) if (ready()) return true
  if (timeoutMs === 0) return false
  const { words, file } = memory
  if (!memory.parking || (file === undefined && !(words.buffer instanceof SharedArrayBuffer))) {
    throw new HermesError(
      'UNSUPPORTED',
      'This ring does not allow sleeping. Create it with `parking: true`, by name or in a SharedArrayBuffer, or poll it.',
    )
  }
  const until = performance.now() + timeoutMs
  for (;;) {
    const seen = Atomics.load(words, eventcountWord(room))
    Atomics.store(words, waitingWord(room), 1)
    if (ready()) return true
    const left = until - performance.now()
    if (left <= 0) return false
    if (file === undefined) {
      Atomics.wait(words, eventcountWord(room), seen, Math.min(left, napMs))
    } else {
      file.sleep(room, seen, Math.min(left, fileNapMs))
      file.probe()
    }
    if (ready()) return true
  }
}

/**
 * Waits without blocking the thread, as long as the options allow.
 *
 * @param call for the message: `items()`
 * @throws HermesError `ABORTED`, `TIMED_OUT`, `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; what `ready` throws
 */
export async function waitUntil(
  call: string,
  memory: RingMemory,
  room: boolean,
  ready: () => boolean,
  options: WaitOptions,
): Promise<void> {
  checkWaitOptions(call, options)
  await bounded(
    options,
    (signal) => pollUntil(memory, room, ready, signal),
    () =>
      new HermesError(
        'TIMED_OUT',
        `${call} of a ring: there was no ${room ? 'room' : 'item'} within ${options.timeoutMs} ms.`,
        { details: { timeoutMs: options.timeoutMs } },
      ),
  )
}

/** As `sleepUntil` without blocking the thread: polls each turn of the event loop at first, then every millisecond, or asleep on the eventcount of a named ring. */
export async function pollUntil(
  memory: RingMemory,
  room: boolean,
  ready: () => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let round = 0; !ready(); round++) {
    if (signal?.aborted) throw aborted(signal)
    if (round < turns) await turn()
    else if (memory.file === undefined || !memory.parking) await pause(1)
    else await park(memory, room, ready, 1000, signal)
  }
}

/**
 * Sleeps on the eventcount of a named ring, on a thread of its own, for `timeoutMs` at most, unless `ready`. May return early.
 *
 * @throws HermesError `UNSUPPORTED`; what `ready` throws
 */
export async function park(
  memory: RingMemory,
  room: boolean,
  ready: () => boolean,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { words, file } = memory
  if (file === undefined)
    throw new HermesError('UNSUPPORTED', 'Only a ring with a name can be slept on by the event loop.')
  const seen = Atomics.load(words, eventcountWord(room))
  Atomics.store(words, waitingWord(room), 1)
  if (ready()) return
  const forget = signal && onAbort(signal, () => file.cancel())
  try {
    await parked(() => memory.call(() => file.park(room, seen, timeoutMs)))
  } finally {
    forget?.()
  }
}
