import { addAbortSignal, type Readable } from 'node:stream'
import { HermesError } from '../base/errors.js'

/** Longer than any payload: what has no line end until here is no list of values. */
const maxLineBytes = 64 * 1024 * 1024
const lineFeed = 10
const carriageReturn = 13

export interface Line {
  readonly content: Buffer
  /** Counted from 1. */
  readonly number: number
}

/**
 * The lines of a stream, in groups as they arrive. Bytes stay as they are, without the line end: a line feed, with or
 * without a carriage return before it. Ends early, without an error, when `signal` fires.
 *
 * @throws HermesError `ENCODE_FAILED` for a line of more than 64 MiB
 */
export async function* linesOf(stream: Readable, signal: AbortSignal): AsyncGenerator<Line[]> {
  let number = 0
  let rest: Buffer[] = []
  let restBytes = 0
  const lineOf = (end: Buffer): Line => {
    const whole = rest.length === 0 ? end : Buffer.concat([...rest, end])
    rest = []
    restBytes = 0
    const length = whole[whole.length - 1] === carriageReturn ? whole.length - 1 : whole.length
    return { content: whole.subarray(0, length), number: ++number }
  }
  if (signal.aborted) return
  try {
    for await (const chunk of addAbortSignal(signal, stream) as AsyncIterable<Buffer>) {
      const group: Line[] = []
      let start = 0
      for (;;) {
        const end = chunk.indexOf(lineFeed, start)
        if (end < 0) break
        group.push(lineOf(chunk.subarray(start, end)))
        start = end + 1
      }
      if (start < chunk.length) {
        rest.push(chunk.subarray(start))
        restBytes += chunk.length - start
      }
      if (group.length > 0) yield group
      if (restBytes > maxLineBytes) {
        throw new HermesError('ENCODE_FAILED', `line ${number + 1} has more than ${maxLineBytes} bytes.`)
      }
    }
  } catch (error) {
    if (signal.aborted) return
    throw error
  }
  if (restBytes > 0) yield [lineOf(Buffer.alloc(0))]
}
