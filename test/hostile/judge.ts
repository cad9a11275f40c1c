import { inspect, isDeepStrictEqual } from 'node:util'
import { errorCodes, HermesError } from '../../lib/base/errors.js'

/** What hostile code threw by itself: it may come out of a call that runs the caller's code, as it is. */
export class Thrown {
  readonly #seen: unknown[] = []

  throw(what: unknown): never {
    this.#seen.push(what)
    throw what
  }

  has(what: unknown): boolean {
    return this.#seen.some((one) => Object.is(one, what))
  }

  clear(): void {
    this.#seen.length = 0
  }
}

/** What the test itself found wrong, also within a handler. */
export class Violation extends Error {}

/** The code of a HermesError; anything else is a violation, unless the caller's own code threw it. */
export function codeOf(error: unknown, where: string, thrown: Thrown): string {
  if (thrown.has(error)) return 'own'
  let ours = false
  try {
    if (error instanceof Violation) throw error
    ours = error instanceof HermesError
  } catch (caught) {
    if (caught === error) throw error
    // a revoked Proxy
  }
  if (!ours) throw new Violation(`${where}: a raw error came out: ${text(error)}`, { cause: error })
  const { code, message } = error as HermesError
  if (!errorCodes.includes(code)) throw new Violation(`${where}: unknown code ${String(code)}`)
  if (message.length > 2000) throw new Violation(`${where}: a message of ${message.length} characters`)
  return code
}

/** Calls, and returns what came of it: a value, or the code of what was thrown. */
export function attempt<T>(where: string, thrown: Thrown, call: () => T): { value: T } | { code: string } {
  try {
    return { value: call() }
  } catch (error) {
    return { code: codeOf(error, where, thrown) }
  }
}

export function same(where: string, found: unknown, expected: unknown): void {
  if (isDeepStrictEqual(found, expected)) return
  throw new Violation(`${where}: ${text(found)} was found where ${text(expected)} was expected`)
}

export function text(value: unknown): string {
  try {
    return inspect(value, { depth: 4, breakLength: 200, maxArrayLength: 20, maxStringLength: 200 })
  } catch {
    return 'something that can not be shown'
  }
}
