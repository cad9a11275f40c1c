import { HermesError } from '../base/errors.js'
import { errorTable } from './error-table.js'
import type { ExitCode } from './exit-codes.js'

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof HermesError ? errorTable[error.code].exit : 1
}

/** The signals that end a command in order, and the exit code of each: 128 and its number, as shells have it. */
export const stopSignals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const satisfies Record<string, ExitCode>
export type StopSignal = keyof typeof stopSignals
