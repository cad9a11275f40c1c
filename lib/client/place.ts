import { invalid, show } from '../base/options.js'
import { isWellFormed } from '../codec/strings.js'
import { placeForms, type Schemes } from '../placement/registry.js'

/** The place as a text. @throws HermesError `INVALID_ARGUMENT` */
export function checkedPlace(schemes: Schemes<never>, place: string | URL): string {
  const text = isUrl(place) ? place.href : place
  if (typeof text !== 'string' || text === '' || text.includes('\0') || !isWellFormed(text)) {
    throw invalid(`open() takes a place: ${placeForms(schemes)}; not ${show(place)}.`)
  }
  return text
}

function isUrl(place: unknown): place is URL {
  try {
    return place instanceof URL
  } catch {
    return false // a revoked Proxy
  }
}
