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
