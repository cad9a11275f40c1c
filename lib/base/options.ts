import { HermesError } from './errors.js'

/** The number of edits between two words: one letter more, less or other, or two neighbours that have changed places (Damerau, 1964; three rows at a time). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwapped ? (before[j - 2] as number) + 1 : substituted
      next.push(Math.min(substituted, swapped, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    before = row
    row = next
  }
  return row[b.length] as number
}

/** The allowed word that `word` was most likely meant to be, if one is near. */
export function likely(word: string, allowed: readonly string[]): string | undefined {
  let best: string | undefined
  // (Of a short word, two letters that differ are another word.)
  let nearest = (word.length < 5 ? 1 : Math.max(2, Math.floor(word.length / 3))) + 1
  for (const candidate of allowed) {
    const apart = distance(word.toLowerCase(), candidate.toLowerCase())
    if (apart < nearest) {
      nearest = apart
      best = candidate
    }
  }
  return best
}

export function invalid(message: string, details?: Readonly<Record<string, unknown>>): HermesError {
  return new HermesError('INVALID_ARGUMENT', message, details === undefined ? {} : { details })
}

/**
 * Refuses what is no object of options, and options that do not exist.
 *
 * @param where the call, for the message: `topic()`
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
 */
export function checkOptions(where: string, options: unknown, allowed: readonly string[]): void {
  const names = namesOfOptions(options)
  if (names === undefined) {
    if (isCodec(options)) throw misplacedCodec(where, allowed)
    throw invalid(`${where} takes an object of options${listed(allowed)}, not ${show(options)}.`)
  }
  for (const name of names) {
    if (allowed.includes(name)) continue
    if (isCodec(options)) throw misplacedCodec(where, allowed)
    const meant = likely(name, allowed)
    const hint = meant === undefined ? `It takes: ${allowed.join(', ')}.` : `Did you mean '${meant}'?`
    throw new HermesError('UNKNOWN_OPTION', `${where} has no option '${name}'. ${hint}`, {
      details: { option: name, ...(meant === undefined ? {} : { likely: meant }) },
    })
  }
}

/** Whether it looks like a codec: json is a function, what struct() returns an object. */
export function isCodec(value: unknown): boolean {
  try {
    const { name, fingerprint, encode, decode, reader } = value as Record<string, unknown>
    const methods = [encode, decode, reader]
    return (
      typeof name === 'string' && typeof fingerprint === 'string' && methods.every((one) => typeof one === 'function')
    )
  } catch {
    return false // undefined, null, or a revoked Proxy
  }
}

/** For a codec in the place of the options. */
function misplacedCodec(where: string, allowed: readonly string[]): HermesError {
  const options = ['codec', 'request', 'reply'].filter((name) => allowed.includes(name))
  const how =
    options.length === 0
      ? 'codecs are an option of topic(): topic(name, { codec })'
      : `give the codec as an option: { ${options.join(', ')} }`
  return invalid(`${where} takes an object of options, not a codec: ${how}.`)
}

/** ' ({ signal, timeoutMs })', where there are few. */
function listed(names: readonly string[]): string {
  return names.length > 0 && names.length <= 6 ? ` ({ ${names.join(', ')} })` : ''
}

/** The names of what `options` has; `undefined` for what is no object, or can't be looked at, as a revoked Proxy. */
export function namesOfOptions(options: unknown): string[] | undefined {
  try {
    if (typeof options === 'object' && options !== null && !Array.isArray(options)) return Object.keys(options)
  } catch {
    // a Proxy that refuses
  }
  return undefined
}

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return
  throw invalid(`'${name}' must be an integer from ${least} to ${most}, not ${show(value)}.`)
}

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw invalid(`'${name}' must be true or false, not ${show(value)}.`)
}

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (typeof value === 'string' && choices.includes(value)) return
  const meant = typeof value === 'string' ? likely(value, choices) : undefined
  const hint = meant === undefined ? '' : ` Did you mean '${meant}'?`
  throw invalid(`'${name}' must be one of ${choices.map((one) => `'${one}'`).join(', ')}, not ${show(value)}.${hint}`)
}

/** @throws HermesError `INVALID_ARGUMENT`; `ABORTED` if it has fired already */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return
  if (!isSignal(signal)) throw invalid(`'signal' must be an AbortSignal, not ${show(signal)}.`)
  if (signal.aborted) throw aborted(signal)
}

/** `instanceof AbortSignal`, for any value: a revoked Proxy refuses even that. */
export function isSignal(value: unknown): value is AbortSignal {
  try {
    return value instanceof AbortSignal
  } catch {
    return false
  }
}

export function aborted(signal: AbortSignal): HermesError {
  return new HermesError('ABORTED', 'The wait was aborted by its signal.', { cause: signal.reason })
}

export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 60)}…'` : `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (value === null || typeof value !== 'object') return String(value)
  try {
    return Array.isArray(value) ? 'an array' : 'an object'
  } catch {
    return 'an object' // a revoked Proxy
  }
}
