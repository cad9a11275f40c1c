/**
 * Every failure that Hermes reports, by its stable code. docs/errors.md says for each what happened and what to do.
 * A code is part of the public interface: codes are added, never renamed or given another meaning.
 */
export const errorCodes = [
  // what the caller asked for
  'INVALID_ARGUMENT', // a value of the wrong type or out of range
  'UNKNOWN_OPTION', // an option name that does not exist; the message names the likely one
  'INVALID_NAME', // a topic, ring or placement name outside the allowed alphabet or length
  'UNSUPPORTED', // the placement, platform or kernel cannot do this
  'CLOSED', // the object was closed before this call
  'ABORTED', // the AbortSignal of a waiting call fired
  'BUSY', // the object is in use by another consumer of the same kind
  // payloads
  'PAYLOAD_TOO_LARGE',
  'ENCODE_FAILED',
  'DECODE_FAILED',
  'VALIDATION_FAILED',
  'CODEC_MISMATCH', // the topic was written with another codec or struct layout
  'TOPIC_DELETED', // the topic was deleted while it was open here
  // places
  'NOT_FOUND',
  'ACCESS_DENIED',
  'NOT_A_DIRECTORY',
  'NOT_HERMES', // a directory or file that holds something else
  'VERSION_MISMATCH', // written by a newer format version
  'CONFIG_MISMATCH', // the topic exists with other fixed settings
  'NATIVE_UNAVAILABLE', // no addon for this platform
  // the log
  'CORRUPT',
  'BEHIND_RETENTION', // the position asked for was removed by retention
  'OUT_OF_RANGE', // the position asked for does not exist yet
  'DISK_FULL',
  'IO_FAILED',
  'EXCLUSIVE_HELD', // another publisher holds the topic or ring exclusively
  'TOO_MANY_PUBLISHERS', // every participant slot is taken
  'BACK_PRESSURE', // publish() after it had returned false, with no room left
  'FORKED', // used in a forked child of the process that opened it
  'PEER_DEAD', // the other side of a ring died
  'TIMED_OUT',
  // groups
  'LEASE_LOST', // acknowledged or committed too late: another member has it
  'POSITION_LOST', // the log has lost messages that a group or a subscription had reached
  // requests
  'REQUEST_FAILED', // the handler of a request failed; details say how
  // the network
  'CONNECTION_FAILED', // no connection to the broker, or it was lost and retrying was given up
  'PROTOCOL', // the other side broke the protocol
  'UNAUTHORIZED', // no token, a wrong one, or one without permission
  'FENCED', // a newer connection took this publisher over
  'LIMIT', // one of the broker's limits
  'SLOW_CONSUMER', // the client read nothing for too long
] as const

export type ErrorCode = (typeof errorCodes)[number]

export interface HermesErrorOptions extends ErrorOptions {
  /** Facts for programs: the sequence, the topic, the limit. Plain JSON values only. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** The one error class of this package. Tell errors apart by `code`, never by the text of `message`. */
export class HermesError extends Error {
  override readonly name = 'HermesError'
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: HermesErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }
}
