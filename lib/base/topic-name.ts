import { HermesError } from './errors.js'
import { show } from './options.js'

const alphabet = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/

/**
 * Topics are folders, so their names have a narrow alphabet: 1 to 128 of `A–Z a–z 0–9 . _ -`, not beginning with `.` or `-`.
 *
 * @throws HermesError `INVALID_NAME`
 */
export function checkTopicName(name: unknown, what = 'topic'): asserts name is string {
  if (typeof name === 'string' && alphabet.test(name)) return
  throw new HermesError(
    'INVALID_NAME',
    `${show(name)} is no valid ${what} name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - and do not begin with '.' or '-'.`,
    { details: { name: typeof name === 'string' ? name.slice(0, 200) : show(name) } },
  )
}
