import { HermesError } from './errors.js'
import { show } from './options.js'

/**
 * The length of a batch: what its `length` says, which may be the caller's code.
 *
 * @throws HermesError `INVALID_ARGUMENT` for what has no length, or does not tell it
 */
export function lengthOfBatch(call: string, values: unknown): number {
  let cause: unknown
  try {
    if (typeof values === 'object' && values !== null) {
      const { length } = values as { length?: unknown }
      if (typeof length === 'number' && Number.isSafeInteger(length) && length >= 0) return length
    }
  } catch (error) {
    cause = error // a revoked Proxy, or a getter that throws
  }
  throw new HermesError('INVALID_ARGUMENT', `${call} takes an array of values, not ${show(values)}.`, { cause })
}

/** One value of a batch. @throws HermesError `INVALID_ARGUMENT` if the caller's array does not give it */
export function valueOfBatch<In>(call: string, values: ArrayLike<In>, index: number): In {
  try {
    return values[index] as In
  } catch (cause) {
    throw new HermesError('INVALID_ARGUMENT', `${call} can't read value ${index} of its array.`, { cause })
  }
}
