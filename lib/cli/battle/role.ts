import { HermesError } from '../../base/errors.js'
import type { Failure } from './task.js'

/** What a process of a battle does. It has opened everything when it is made. */
export interface Role {
  /** Where it can be reached, of the broker. */
  readonly url?: string
  /** How many messages it has sent or received. */
  progress(): number
  /** Does its work, from this time of the monotonic clock on, and resolves with the outcome. */
  begin(begun: number): Promise<unknown>
  end(count: number): void
  stop(): void
}

/** What `work` failed with: the report is to show it beside what was reached until then. */
export async function failureOf(work: () => Promise<unknown>): Promise<Failure | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    return described(error)
  }
}

export function described(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  return error instanceof HermesError ? { code: error.code, message } : { message }
}
