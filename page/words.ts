const units = ['', 'k', 'M', 'G', 'T']

/** `12.3k`: three digits and a unit. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  let at = 0
  let rest = Math.abs(value)
  while (rest >= 999.5 && at < units.length - 1) {
    rest /= 1000
    at++
  }
  const digits = at === 0 && Number.isInteger(rest) ? 0 : rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2
  return `${value < 0 ? '-' : ''}${rest.toFixed(digits)}${units[at]}`
}

/** A time as people say it: `3.1 µs`, `250 ms`, `12 s`, `3 min`. */
export function time(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds === 0) return '0 s'
  if (seconds < 0.001) return `${short(seconds * 1e6)} µs`
  if (seconds < 1) return `${short(seconds * 1000)} ms`
  if (seconds < 120) return `${short(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

export const exact = (value: number): string => value.toLocaleString('en')
