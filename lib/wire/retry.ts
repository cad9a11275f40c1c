import { type ErrorCode, HermesError, type HermesErrorOptions } from '../base/errors.js'

/**
 * Ends a channel, and the client is to open it again by itself: `"retry": true` in its ERROR (docs/wire-protocol.md). What was not
 * acknowledged is sent again then, and stored once.
 */
export class RetryError extends HermesError {
  readonly retry = true

  constructor(code: ErrorCode, message: string, options: HermesErrorOptions = {}) {
    super(code, message, options)
  }

  /** The same failure, as one that may pass. */
  static of({ code, message, details, cause }: HermesError): RetryError {
    return new RetryError(code, message, { details, cause })
  }
}
