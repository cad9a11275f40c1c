import { HermesError } from '../base/errors.js'
import { isOurs } from '../codec/failures.js'

/** Which message it is. */
export interface MessageId {
  readonly topic: string
  readonly group?: string
  readonly sequence: number
}

/** A codec does not know which message it reads: its error names it from here on. Others stay as they are. */
export function ofMessage(error: unknown, where: MessageId): unknown {
  if (!isOurs(error) || 'sequence' in error.details) return error
  if (error.code !== 'DECODE_FAILED' && error.code !== 'VALIDATION_FAILED') return error
  const { code, message, details, cause } = error
  return new HermesError(code, `Message ${where.sequence} of topic '${where.topic}': ${message}`, {
    cause,
    details: { ...details, ...where },
  })
}
