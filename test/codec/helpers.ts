import { expect } from 'vitest'
import { type ErrorCode, HermesError } from '../../lib/base/errors.js'
import type { Codec, Region } from '../../lib/codec/codec.js'
import { regionOf } from '../../lib/codec/region.js'

/** Memory full of 0xAA, so that bytes a codec forgets to write are seen. */
export function dirtyRegion(size = 4096): Region {
  return regionOf(new Uint8Array(size).fill(0xaa))
}

/** Encodes in the middle of dirty memory, checks that nothing around it was touched, and returns the payload. */
export function encodeBytes<In>(codec: Codec<In, unknown, unknown>, value: In, limit = 2048): Uint8Array {
  const region = dirtyRegion(limit + 512)
  const offset = 248
  const length = codec.encode(value, region, offset, offset + limit)
  const before = region.bytes.subarray(0, offset)
  const after = region.bytes.subarray(offset + limit)
  expect(before.every((byte) => byte === 0xaa)).toBe(true)
  expect(after.every((byte) => byte === 0xaa)).toBe(true)
  return region.bytes.slice(offset, offset + length)
}

/** Lays a payload at an odd place of a larger region. */
export function placed(payload: Uint8Array): { region: Region; offset: number; length: number } {
  const region = dirtyRegion(payload.length + 64)
  region.bytes.set(payload, 24)
  return { region, offset: 24, length: payload.length }
}

export function decodeBytes<Out>(codec: Codec<never, Out, unknown>, payload: Uint8Array): Out {
  const { region, offset, length } = placed(payload)
  return codec.decode(region, offset, length)
}

export function viewBytes<View>(codec: Codec<never, unknown, View>, payload: Uint8Array): View {
  const { region, offset, length } = placed(payload)
  return codec.reader().read(region, offset, length)
}

export function roundTrip<In, Out>(codec: Codec<In, Out, unknown>, value: In): Out {
  return decodeBytes(codec as Codec<never, Out, unknown>, encodeBytes(codec, value))
}

/** Runs `work`, expects a HermesError with `code`, and returns it. */
export function failure(code: ErrorCode, work: () => unknown): HermesError {
  let caught: unknown
  try {
    work()
  } catch (error) {
    caught = error
  }
  expect(caught).toBeInstanceOf(HermesError)
  expect((caught as HermesError).code).toBe(code)
  return caught as HermesError
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** A small seeded generator (mulberry32), so that a failing case can be repeated. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}
