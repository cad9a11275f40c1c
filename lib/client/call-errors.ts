import { HermesError } from '../base/errors.js'
import { callHeadBytes } from '../codec/call.js'
import { isOurs } from '../codec/failures.js'

/** An error of one of a service's topics, in the service's numbers: the head that each of its messages has is not the caller's. */
export function ofService(error: unknown, service: string): unknown {
  if (!isOurs(error)) return error
  const { code, details, cause } = error
  if (code === 'CONFIG_MISMATCH' && details['setting'] === 'maxPayloadBytes') {
    const found = withoutHead(details['found'])
    const wanted = withoutHead(details['wanted'])
    return new HermesError(
      code,
      `Service '${service}' was made with maxPayloadBytes ${found}, which is fixed, not ${wanted}. Leave the option out if that is the default, or give ${found}.`,
      { cause: error, details: { ...details, service, found, wanted } },
    )
  }
  if (code === 'PAYLOAD_TOO_LARGE' && details['maxPayloadBytes'] !== undefined) {
    const most = withoutHead(details['maxPayloadBytes'])
    const size = typeof details['needed'] === 'number' ? `${details['needed']} bytes` : `more than ${most} bytes`
    return new HermesError(
      code,
      `The value has ${size} encoded; service '${service}' takes ${most} at most, which was fixed when it was made. Split the value, or make another service with a larger 'maxPayloadBytes'.`,
      { cause, details: { ...details, service, maxPayloadBytes: most } },
    )
  }
  return error
}

const withoutHead = (bytes: unknown): unknown => (typeof bytes === 'number' ? bytes - callHeadBytes : bytes)
