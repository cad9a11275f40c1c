const pattern =
  /^(\d{4})-(\d{2})(?:-(\d{2}))?(?:[T ](\d{2}):(\d{2})(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/i

/** An ISO 8601 date, with a time or without, in ms since 1970; NaN for anything else, and for a day that no month has. */
export function isoTime(text: string): number {
  const [, year, month, day = '01'] = pattern.exec(text.trim()) ?? []
  if (year === undefined || month === undefined) return Number.NaN
  // Date.parse takes the 31st of February for the 3rd of March.
  if (Number(day) < 1 || Number(day) > new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate())
    return Number.NaN
  return Date.parse(text.trim().replace(',', '.'))
}
