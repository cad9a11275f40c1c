import { HermesError } from './errors.js'
import { aborted, checkInteger, checkOptions, checkSignal } from './options.js'

/** What is to be called when a signal fires, and the one listener that does it. */
interface Watch {
  readonly callbacks: Set<() => void>
  readonly fire: () => void
}

const watches = new WeakMap<AbortSignal, Watch>()

/**
 * Calls `callback` once when `signal` fires. However many waits share a signal, it has one listener of this package: Node warns of a leak beyond
 * ten, and thousands of waits under one signal are in order here.
 *
 * REQUIRES: the signal has not fired, and each call brings a function of its own.
 *
 * @returns takes the callback back; may be called after it has fired, and more than once
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const watch = watches.get(signal) ?? watchOver(signal)
  watch.callbacks.add(callback)
  return () => {
    if (!watch.callbacks.delete(callback) || watch.callbacks.size > 0) return
    signal.removeEventListener('abort', watch.fire)
    if (watches.get(signal) === watch) watches.delete(signal)
  }
}

function watchOver(signal: AbortSignal): Watch {
  const callbacks = new Set<() => void>()
  const fire = () => {
    watches.delete(signal)
    // (one may take others back)
    for (const callback of callbacks) callback()
    callbacks.clear()
  }
  const watch = { callbacks, fire }
  watches.set(signal, watch)
  signal.addEventListener('abort', fire, { once: true })
  return watch
}

/** How long a call may wait. */
export interface WaitOptions {
  /** Ends the wait with an `ABORTED` error. What was published stays published. */
  readonly signal?: AbortSignal | undefined
  /** Ends the wait with a `TIMED_OUT` error after so many milliseconds: 0 to 3,600,000. No limit unless given. */
  readonly timeoutMs?: number | undefined
}

export const mostTimeoutMs = 3_600_000

/** What a call waits with that was given no options: there is nothing to check in them. */
export const noOptions: WaitOptions = Object.freeze({})

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; `ABORTED` if the signal has fired already */
export function checkWaitOptions(where: string, options: WaitOptions, others: readonly string[] = []): void {
  if (options === noOptions) return
  checkOptions(where, options, [...others, 'signal', 'timeoutMs'])
  if (options.timeoutMs !== undefined) checkInteger('timeoutMs', options.timeoutMs, 0, mostTimeoutMs)
  checkSignal(options.signal)
}

/**
 * Runs a wait that heeds a signal, and has it end after `timeoutMs` too.
 *
 * @param late makes the error for the time-out
 */
export function bounded<T>(
  { signal, timeoutMs }: WaitOptions,
  wait: (signal: AbortSignal | undefined) => Promise<T>,
  late: () => HermesError,
): Promise<T> {
  // Most waits are not timed: they need no promise of their own.
  return timeoutMs === undefined ? wait(signal) : timed(signal, timeoutMs, wait, late)
}

async function timed<T>(
  signal: AbortSignal | undefined,
  timeoutMs: number,
  wait: (signal: AbortSignal | undefined) => Promise<T>,
  late: () => HermesError,
): Promise<T> {
  const either = new AbortController()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    either.abort()
  }, timeoutMs)
  if (signal?.aborted) either.abort(signal.reason)
  const forget = signal && !signal.aborted ? onAbort(signal, () => either.abort(signal.reason)) : undefined
  try {
    return await wait(either.signal)
  } catch (error) {
    throw isLate && error instanceof HermesError && error.code === 'ABORTED' ? late() : error
  } finally {
    clearTimeout(timer)
    forget?.()
  }
}

/** The promise, or an `ABORTED` error if the signal fires first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? promise : raced(promise, signal)
}

async function raced<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw aborted(signal)
  let forget = () => {}
  const fired = new Promise<never>((_, reject) => {
    forget = onAbort(signal, () => reject(aborted(signal)))
  })
  try {
    return await Promise.race([promise, fired])
  } finally {
    forget()
  }
}
