import { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import { isOurs } from '../codec/failures.js'

export const closedError = (topic: string): HermesError =>
  new HermesError('CLOSED', `The publisher of '${topic}' is closed. Make a new one with topic.publisher().`)

export const busyError = (topic: string): HermesError =>
  new HermesError(
    'BUSY',
    `The publisher of '${topic}' is in use: it is encoding a value or taking those of a batch. Publish afterwards, or with another publisher.`,
  )

/** For what was given behind the values: it would be passed over. */
export const moreThanValues = (call: string, what: string): HermesError =>
  invalid(
    `${call} takes ${what} and no options. 'durability' is an option of topic.publisher(), or of publishAsync(value, { durability }).`,
  )

/** A codec's error, with what a codec does not know: the topic, and that its limit is fixed. */
export function explained(error: unknown, topic: string, maxPayloadBytes: number): unknown {
  if (!isOurs(error)) return error
  const { code, details, message } = error
  if (code === 'VALIDATION_FAILED' || code === 'ENCODE_FAILED') {
    return new HermesError(code, message, { cause: error.cause, details: { ...details, topic } })
  }
  if (code !== 'PAYLOAD_TOO_LARGE') return error
  const size =
    typeof details['needed'] === 'number' ? `${details['needed']} bytes` : `more than ${maxPayloadBytes} bytes`
  return new HermesError(
    code,
    `The value has ${size} encoded; topic '${topic}' takes ${maxPayloadBytes} at most, which was fixed when it was made. Split the value, or make another topic with a larger 'maxPayloadBytes'.`,
    { cause: error, details: { ...details, topic, maxPayloadBytes } },
  )
}
