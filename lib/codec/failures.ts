import { HermesError } from '../base/errors.js'

/** The memory that a view or decoder reads was released under it. */
export function closedError(cause: unknown): HermesError {
  return new HermesError(
    'CLOSED',
    'The memory behind this message was released: its subscriber was closed, or the buffer was transferred. ' +
      'Copy what you need inside the handler, for example with toObject().',
    { cause },
  )
}

export function payloadTooLarge(codec: string, limit: number, needed?: number): HermesError {
  const size = needed === undefined ? 'more' : `${needed} bytes`
  return new HermesError(
    'PAYLOAD_TOO_LARGE',
    `The ${codec} value needs ${size}, and ${limit} bytes are allowed. Send less, or make what it goes into larger: 'maxPayloadBytes' of a topic, 'itemBytes' or 'capacity' of a ring, 'maxPayload' of an Encoder.`,
    { details: needed === undefined ? { limit } : { limit, needed } },
  )
}

export function encodeFailed(codec: string, reason: string, cause?: unknown): HermesError {
  return new HermesError('ENCODE_FAILED', `Can't encode as ${codec}: ${reason}`, { cause, details: { codec } })
}

export function decodeFailed(codec: string, reason: string, cause?: unknown): HermesError {
  return new HermesError('DECODE_FAILED', `Can't decode as ${codec}: ${reason}`, { cause, details: { codec } })
}

export function invalidArgument(message: string, details?: Readonly<Record<string, unknown>>): HermesError {
  return new HermesError('INVALID_ARGUMENT', message, details === undefined ? {} : { details })
}

/** `instanceof`, for whatever a caller's code threw: a revoked Proxy refuses even that. */
export function isOurs(error: unknown): error is HermesError {
  try {
    return error instanceof HermesError
  } catch {
    return false
  }
}

/** Array.isArray, for any value: a revoked Proxy refuses even that. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

/** The name of a function that was given in place of what it makes. */
export function nameOfFunction(value: unknown): string | undefined {
  try {
    if (typeof value === 'function' && typeof value.name === 'string' && value.name !== '') return value.name
  } catch {
    // a revoked Proxy
  }
  return undefined
}

export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return `${describe(error)} was thrown`
  }
}

/** A short text for a value in an error message. Never throws, whatever the value. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return 'nothing'
    case 'string':
      return value.length > 40
        ? `${JSON.stringify(value.slice(0, 40))}… (${value.length} characters)`
        : JSON.stringify(value)
    case 'bigint': {
      const digits = value.toString()
      return `${digits.length > 40 ? `${digits.slice(0, 40)}…` : digits}n`
    }
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'boolean':
      return String(value)
    case 'object':
      if (value === null) return 'null'
      try {
        return Array.isArray(value) ? `an array of ${String(value.length)}` : 'an object'
      } catch {
        return 'an object' // a revoked Proxy, or one that refuses
      }
    default:
      return `a ${typeof value}`
  }
}
