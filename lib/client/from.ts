import { isDate } from '../base/kinds.js'
import { invalid, show } from '../base/options.js'
import type { From } from '../model/topic.js'

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkFrom(where: string, from: unknown): From {
  if (from === 'earliest' || from === 'latest') return from
  if (typeof from === 'number' && Number.isSafeInteger(from) && from >= 1) return from
  if (isDate(from)) {
    // What it is, whatever a subclass says: its time is asked for once.
    const time = Date.prototype.getTime.call(from)
    if (time >= 0) return new Date(time)
  }
  const given = isDate(from) ? 'a Date without a time, or before 1970' : show(from)
  throw invalid(`${where} takes 'earliest', 'latest', a sequence from 1 on, or a Date since 1970, not ${given}.`)
}

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkUntil(until: unknown): 'latest' | number | Date {
  if (until !== 'earliest') {
    try {
      return checkFrom("'until'", until) as 'latest' | number | Date
    } catch {
      // what it takes is another thing
    }
  }
  const given = isDate(until) ? 'a Date without a time, or before 1970' : show(until)
  throw invalid(`'until' takes 'latest', a sequence from 1 on, or a Date since 1970, not ${given}.`)
}
