/** How far apart two ticks are, in ms. */
const everyMs = 500

/** Goes on twice a second while a subscriber is open: a poll reads it instead of a clock. */
export let lookTick = 0

let users = 0
let timer: NodeJS.Timeout | undefined
const looks = new Set<() => void>()

/**
 * @param look called at each tick; does not throw
 * @returns what ends it
 */
export function startLookTick(look?: () => void): () => void {
  if (look !== undefined) looks.add(look)
  if (users++ === 0) {
    timer = setInterval(() => {
      lookTick = (lookTick + 1) | 0
      for (const one of looks) one()
    }, everyMs)
    // A process ends when its own work does.
    timer.unref()
  }
  return () => {
    if (look !== undefined) looks.delete(look)
    if (--users === 0) clearInterval(timer)
  }
}
