import type { Session } from './session.js'

/** Resolves when the command is asked to stop, or after `duration` milliseconds. */
export function untilStopped(session: Session, duration: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = duration === undefined ? undefined : setTimeout(resolve, duration)
    const stop = () => {
      clearTimeout(timer)
      resolve()
    }
    if (session.stopping) stop()
    else session.signal.addEventListener('abort', stop, { once: true })
  })
}
