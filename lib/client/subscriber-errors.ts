import { HermesError } from '../base/errors.js'

export function lateError(topic: string, timeoutMs: number): HermesError {
  return new HermesError('TIMED_OUT', `No message of topic '${topic}' came within ${timeoutMs} ms.`, {
    details: { topic, timeoutMs },
  })
}

export function changedError(topic: string, sequence: number): HermesError {
  return new HermesError('CORRUPT', `Topic '${topic}' changed while it was read, at sequence ${sequence}.`)
}

export function endError(topic: string, sequence: number): HermesError {
  return new HermesError(
    'OUT_OF_RANGE',
    `The subscriber of '${topic}' has come to its end ('until'): there is nothing more to wait for.`,
    { details: { topic, sequence } },
  )
}
