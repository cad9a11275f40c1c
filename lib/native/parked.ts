import { pause } from '../base/pause.js'

/** Between two polls of waits for which no thread can sleep, in ms. */
const lookMs = 1
let warned = false

/**
 * Awaits a wait in the addon. In a process that is at its limit of tasks there may be no thread to sleep with: then this returns a
 * millisecond later, and the caller looks by itself. That is slower and takes some processor time, so it's said once, as a warning.
 */
export async function parked(wait: () => Promise<unknown>): Promise<void> {
  try {
    await wait()
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    if (code !== 'LIMIT') throw error
    if (!warned) {
      warned = true
      process.emitWarning(
        `Hermes polls every ${lookMs} ms instead of sleeping: ${message}. Raise the limit; hermes doctor shows it.`,
        { code: 'HERMES_TASK_LIMIT' },
      )
    }
    await pause(lookMs)
  }
}
