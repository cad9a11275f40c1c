import { onAbort } from './abort.js'

/** Resolves in a later turn of the event loop, after what has arrived meanwhile. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
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
