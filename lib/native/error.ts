import { type ErrorCode, errorCodes, HermesError } from '../base/errors.js'
import { systemAdvice } from '../base/system-advice.js'

const known: ReadonlySet<string> = new Set(errorCodes)

/** What to do about a native failure, where that does not follow from its text. */
export const advice: Partial<Record<ErrorCode, string>> = {
  BEHIND_RETENTION:
    "Go on at 'earliest', the first message that is left. Have retention keep more, or read faster, if that happens again.",
  ACCESS_DENIED:
    'Run as the owner of the directory, or have it made with a wider `mode`; if its file system is read-only, mount it for writing.',
  DISK_FULL: 'Make room or move the directory; nothing was half-written, and publishing works again once room is back.',
  EXCLUSIVE_HELD: 'Close the other publisher first. A killed one gives way at once.',
  CORRUPT:
    'Close the publishers and subscribers of the topic, then run `hermes repair <topic>`: it keeps the damaged bytes in `quarantine/` and goes on with the rest. Or restore a backup.',
  IO_FAILED: 'Look at the kernel log; the device may be failing.',
}

/** The same for the file of a group: it is set aside by itself, and its position is all that is lost. */
const groupFileAdvice =
  'Close the publishers and subscribers of the topic, then run `hermes repair <topic>`, which sets the file aside: the next member that joins creates the group again, and `hermes groups reset <topic> <group> <sequence>` sets it to its former position.'

/** A text that says itself what to close needs no other advice. */
function damageAdvice(text: string, general: string | undefined): string | undefined {
  if (text.includes('. Close ')) return undefined
  return text.includes('.grp ') ? groupFileAdvice : general
}

/** Makes a HermesError of what the addon threw; anything else is returned as it is. */
export function fromNative(error: unknown, details: Readonly<Record<string, unknown>> = {}, hints = advice): unknown {
  if (!(error instanceof Error) || error instanceof HermesError) return error
  const { code, errno } = error as Error & { code?: string; errno?: number }
  if (code === undefined || !known.has(code)) return error
  const hinted = hints[code as ErrorCode]
  const general = code === 'CORRUPT' ? damageAdvice(error.message, hinted) : hinted
  const { topic } = details
  // A command that can be run as it stands there.
  const hint = systemAdvice(error) ?? (typeof topic === 'string' ? general?.replaceAll('<topic>', topic) : general)
  const text = error.message.endsWith('.') ? error.message : `${error.message}.`
  const message = text.charAt(0).toUpperCase() + text.slice(1)
  return new HermesError(code as ErrorCode, hint === undefined ? message : `${message} ${hint}`, {
    cause: error,
    details: errno === undefined ? details : { ...details, errno },
  })
}

/** Calls the addon; its failures come out as HermesErrors. */
export function callNative<T>(call: () => T, details?: Readonly<Record<string, unknown>>, hints = advice): T {
  try {
    return call()
  } catch (error) {
    throw fromNative(error, details, hints)
  }
}
