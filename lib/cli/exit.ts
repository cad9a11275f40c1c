import type { ErrorCode } from '../base/errors.js'
import { HermesError } from '../base/errors.js'

/** Every exit code of `hermes`, and what it means. docs/cli.md and each `--help` print this table. */
export const exitMeanings = {
  0: 'done',
  1: 'failed for a reason that has no code of its own',
  2: 'wrong usage: a command, option, argument or name that is not allowed',
  3: 'there is no such topic, file or Hermes directory',
  4: 'access denied by the operating system',
  5: 'damaged data in the log',
  6: 'the disk is full',
  7: 'data that cannot be read or published: not valid for its codec, or too large',
  8: 'mismatch: the topic has another codec, layout, setting or format version',
  9: 'held or used by somebody else',
  10: 'the position asked for is not there: removed by retention, or not published yet',
  11: 'time over before the --count was reached, or an answer came',
  12: 'no connection to the broker, or it was lost for good',
  129: 'stopped by SIGHUP',
  130: 'interrupted (SIGINT, Ctrl-C)',
  143: 'terminated (SIGTERM)',
} as const

export type ExitCode = keyof typeof exitMeanings

/** The type makes the compiler ask for an exit code when an error code is added. */
const exitCodes: Readonly<Record<ErrorCode, ExitCode>> = {
  INVALID_ARGUMENT: 2,
  UNKNOWN_OPTION: 2,
  INVALID_NAME: 2,
  UNSUPPORTED: 1,
  CLOSED: 1,
  ABORTED: 1,
  BUSY: 9,
  PAYLOAD_TOO_LARGE: 7,
  ENCODE_FAILED: 7,
  DECODE_FAILED: 7,
  VALIDATION_FAILED: 7,
  CODEC_MISMATCH: 8,
  TOPIC_DELETED: 3,
  NOT_FOUND: 3,
  ACCESS_DENIED: 4,
  NOT_A_DIRECTORY: 3,
  NOT_HERMES: 3,
  VERSION_MISMATCH: 8,
  CONFIG_MISMATCH: 8,
  NATIVE_UNAVAILABLE: 1,
  CORRUPT: 5,
  BEHIND_RETENTION: 10,
  OUT_OF_RANGE: 10,
  DISK_FULL: 6,
  IO_FAILED: 1,
  EXCLUSIVE_HELD: 9,
  TOO_MANY_PUBLISHERS: 9,
  BACK_PRESSURE: 1,
  FORKED: 1,
  PEER_DEAD: 1,
  TIMED_OUT: 11,
  LEASE_LOST: 9,
  POSITION_LOST: 10,
  CONNECTION_FAILED: 12,
  PROTOCOL: 1,
  UNAUTHORIZED: 4,
  FENCED: 9,
  LIMIT: 1,
  SLOW_CONSUMER: 1,
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof HermesError ? exitCodes[error.code] : 1
}

/** The signals that end a command in order, and the exit code of each: 128 and its number, as shells have it. */
export const stopSignals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const satisfies Record<string, ExitCode>
export type StopSignal = keyof typeof stopSignals

/** The table as text: `  0  done`. */
export function exitTable(): string {
  return Object.entries(exitMeanings)
    .map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`)
    .join('\n')
}
