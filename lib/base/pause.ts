import { onAbort } from './abort.js'

/** Resolves in a later turn of the event loop, after what has arrived meanwhile. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    else message(resolve)
  })
}

/** The same in a browser, whose timers wait for 4 ms at least if one starts the next. */
function message(resolve: () => void): void {
  const { port1, port2 } = new MessageChannel()
  const done = (): void => {
    port1.close()
    resolve()
  }
  // (What Node declares is another class.)
  Object.assign(port1, { onmessage: done })
  port2.postMessage(undefined)
}

/** Resolves after so many milliseconds, or when the signal fires: look at the signal. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return
  let forget: (() => void) | undefined
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
    forget = signal && onAbort(signal, resolve)
  })
  clearTimeout(timer)
  forget?.()
}
