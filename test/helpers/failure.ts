import { expect } from 'vitest'
import { type ErrorCode, HermesError } from '../../lib/index.js'

/** Runs `work`, expects it to throw or reject with a HermesError of `code`, and returns that. */
export async function failure(code: ErrorCode, work: () => unknown): Promise<HermesError> {
  let caught: unknown
  try {
    await work()
  } catch (error) {
    caught = error
  }
  if (!(caught instanceof HermesError)) {
    throw new Error(`expected a HermesError ${code}, got ${caught === undefined ? 'no error' : String(caught)}`, {
      cause: caught,
    })
  }
  expect({ code: caught.code, message: caught.message }).toEqual({ code, message: caught.message })
  // More than the code: a sentence.
  expect(caught.message.length).toBeGreaterThan(20)
  // Facts for programs: what JSON can't hold would be lost in a log line.
  expect(JSON.parse(JSON.stringify(caught.details))).toEqual(caught.details)
  return caught
}
