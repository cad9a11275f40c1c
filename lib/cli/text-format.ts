/** Text for people: numbers, sizes, times and tables. */

export function counted(value: number, noun: string): string {
  return `${grouped(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** 1234567 as 1,234,567, whatever the locale. */
export function grouped(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

export function bytesText(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = value < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  const number = value / 1024 ** power
  return `${power === 0 ? number : number.toFixed(1)} ${units[power]}`
}

export function secondsText(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(1)} ms`
  return `${(ms / 1000).toFixed(2)} s`
}

/** A time as options take it: `500ms`, `30s`. */
export function durationText(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

/** `12 messages in 1.20 s (10/s)` */
export function rateText(count: number, ms: number): string {
  const rate = ms > 0 ? ` (${grouped((count * 1000) / ms)}/s)` : ''
  return `${counted(count, 'message')} in ${secondsText(ms)}${rate}`
}

/** 2026-01-31T09:30:00.123456789Z */
export function timestampText(timestampNs: bigint): string {
  const ms = Number(timestampNs / 1_000_000n)
  const date = new Date(ms).toISOString()
  const fraction = (timestampNs % 1_000_000_000n).toString().padStart(9, '0')
  return `${date.slice(0, -4)}${fraction}Z`
}

/** Columns side by side; numbers, given as such, to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string[] {
  const texts = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : cell)))
  const last = rows[rows.length - 1] ?? []
  const widths = last.map((_, column) => Math.max(...texts.map((row) => row[column]?.length ?? 0)))
  return texts.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number
        return typeof last[column] === 'number' ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
}
