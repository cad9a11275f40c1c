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

export const closedError = (topic: string): HermesError =>
  new HermesError('CLOSED', `The subscriber of '${topic}' is closed. Make a new one with topic.subscriber().`)

/** @param how it is in use */
export const busyError = (topic: string, how: string): HermesError =>
  new HermesError('BUSY', `The subscriber of '${topic}' is in use: ${how}. Make another subscriber.`)

/** It is not a durable subscription. */
export const unnamedError = (topic: string): HermesError =>
  new HermesError(
    'UNSUPPORTED',
    `This subscriber of '${topic}' has no name to remember its position by: open it with topic.subscriber({ name: … }).`,
    { details: { topic } },
  )
