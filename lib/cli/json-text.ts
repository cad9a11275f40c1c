import { HermesError } from '../base/errors.js'
import type { Codec, Reader, Region } from '../codec/codec.js'
import { decodeFailed, messageOf } from '../codec/failures.js'
import { json } from '../codec/json.js'
import { decodeText, encodeText } from '../codec/text.js'

/** What stands in a line as text: JSON is valid UTF-8. */
export function lineText(line: Buffer): string {
  const written = line.toString('utf8')
  // (A replacement character stands there for what was no UTF-8, or because it was written.)
  if (written.includes('\ufffd') && !Buffer.from(written).equals(line)) {
    throw new HermesError('ENCODE_FAILED', 'This is not valid UTF-8. For other bytes, use --codec raw.')
  }
  return written
}

/** @throws HermesError `ENCODE_FAILED` for what is no JSON */
export function parseJson(written: string): unknown {
  try {
    return JSON.parse(written) as unknown
  } catch (error) {
    throw new HermesError('ENCODE_FAILED', `This is not JSON: ${(error as Error).message}.`, { cause: error })
  }
}

const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/** Whether a number as it is written would become another one as a number of JavaScript; of a fraction the nearest one is it. */
export function changes(number: string): boolean {
  const value = Number(number)
  if (value === 0 && /[1-9]/.test(number.split(/e/i, 1)[0] as string)) return true
  return !Number.isFinite(value) || (/^-?\d+$/.test(number) && !Number.isSafeInteger(value))
}

/** JSON whose integers beyond 2^53 are strings, as struct's 64-bit fields take them. */
export function quoteLarge(written: string): string {
  return written.replace(tokens, (token) =>
    !token.startsWith('"') && /^-?\d+$/.test(token) && changes(token) ? `"${token}"` : token,
  )
}

/** @throws HermesError `ENCODE_FAILED` for a number that would become another one */
export function refuseLarge(written: string): string {
  for (const [token] of written.matchAll(tokens)) {
    if (!token.startsWith('"') && changes(token))
      throw new HermesError(
        'ENCODE_FAILED',
        `The number ${token} can't be held exactly: write it as a string, or use --codec json, which keeps the text.`,
      )
  }
  return written
}

/** JSON.stringify, with -0 as `-0`: what is printed is what is there. */
export function exactText(value: unknown, replace: (key: string, value: unknown) => unknown, mark = '\0-0\0'): string {
  let found = false
  let isTaken = false
  const text = JSON.stringify(value, (key, one: unknown) => {
    const shown = replace(key, one)
    if (Object.is(shown, -0)) {
      found = true
      return mark
    }
    isTaken ||= key === mark || shown === mark
    return shown
  })
  if (!found) return text
  return isTaken ? exactText(value, replace, `${mark}\0`) : text.replaceAll(JSON.stringify(mark), '-0')
}

/** JSON of one line: a line end can stand only between its parts. */
export function oneLine(written: string): string {
  return /[\r\n]/.test(written) ? written.replace(/[\r\n]+/g, ' ') : written
}

/** The codec json with the text itself in place of the value: what is published and printed is what was written. */
export const jsonText: Codec<string> = {
  name: json.name,
  fingerprint: json.fingerprint,
  schema: json.schema,
  maxBytes: json.maxBytes,
  encode: (value, target, offset, limit) => encodeText('json', value, target, offset, limit),
  decode: readJson,
  reader(): Reader<string> {
    return { read: readJson }
  },
}

function readJson(source: Region, offset: number, length: number): string {
  const written = decodeText('json', source, offset, length)
  try {
    JSON.parse(written)
  } catch (error) {
    throw decodeFailed('json', messageOf(error), error)
  }
  return written
}
