/**
 * Files as memory, with the interface of the package mmap-io: `import mmap from 'hermes-mq/mmap'`. docs/mmap.md says where
 * it differs. Nothing here has to do with topics.
 * @module hermes-mq/mmap
 */
import { constants as bufferConstants } from 'node:buffer'
import { isUint8Array } from 'node:util/types'
import type { ErrorCode } from './base/errors.js'
import { HermesError } from './base/errors.js'
import { checkBoolean, checkInteger, invalid, show } from './base/options.js'
import { bufferOf, lengthOf, offsetOf } from './base/plain-bytes.js'
import { native } from './native/addon.js'
import { callNative } from './native/error.js'
import { loadAddon } from './native/load.js'
import type { NativeFileMapping } from './native/types.js'

export const {
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  PROT_EXEC,
  MAP_SHARED,
  MAP_PRIVATE,
  MAP_NONBLOCK,
  MAP_POPULATE,
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  MADV_DONTNEED,
  /** Bytes per page of memory. Offsets into files are multiples of it. */
  PAGESIZE,
} = native.mappingConstants

const hints: Partial<Record<ErrorCode, string>> = {
  ACCESS_DENIED: "Open the file for reading ('r'), and for reading and writing ('r+') if stores are to reach it.",
  DISK_FULL: 'Make room: a store to a page without a place on the disk would end the process.',
}

/**
 * The mapping of each ArrayBuffer made here. A mapping lives as long as its buffer does, or any view of it, and so as
 * long as any call in the thread pool that was given one.
 */
const mappings = new WeakMap<object, NativeFileMapping>()

/**
 * Maps `size` bytes of an open file, from `offset` on, as a Buffer. The file stays mapped until `unmap`, or until the Buffer and
 * all views of it are garbage; its descriptor may be closed at once.
 *
 * @param size bytes; all of them must be within the file
 * @param protection `PROT_READ`, `PROT_WRITE` or both. Without `PROT_WRITE`, what is written to the Buffer stays in it:
 *   the written page becomes a copy of its own, and neither the file nor another process sees it.
 * @param flags `MAP_SHARED` or `MAP_PRIVATE` (stores stay private), and `MAP_POPULATE` to read the file in at once
 * @param offset bytes; a multiple of `PAGESIZE`
 * @param advice one of `MADV_…`
 * @throws HermesError `INVALID_ARGUMENT`, `UNSUPPORTED` (`PROT_NONE`, `PROT_EXEC`; not a file that can be mapped),
 *   `ACCESS_DENIED`, `DISK_FULL`, `IO_FAILED`
 */
export function map(
  size: number,
  protection: number,
  flags: number,
  fd: number,
  offset = 0,
  advice: number = MADV_NORMAL,
): Buffer {
  // (Without an addon the constants are not there either: that is what is wrong, not the arguments.)
  loadAddon('hermes-mq/mmap')
  checkInteger('size', size, 1, bufferConstants.MAX_LENGTH)
  checkProtection(protection)
  checkFlags(flags)
  checkInteger('fd', fd, 0, 2 ** 31 - 1)
  checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER - size)
  checkAdvice(advice)
  const writable = (protection & PROT_WRITE) !== 0
  const shared = (flags & MAP_SHARED) !== 0
  const populate = (flags & MAP_POPULATE) !== 0 && (flags & MAP_NONBLOCK) === 0
  return callMapping(() => {
    const mapping = new native.FileMapping(fd, size, offset, writable && shared, populate)
    if (advice !== MADV_NORMAL) mapping.advise(0, size, advice)
    const region = mapping.region()
    mappings.set(region, mapping)
    return Buffer.from(region)
  })
}

/**
 * Lets go of the file now. The Buffer, and every view of it, has no bytes from then on. Idempotent. What was written with
 * `PROT_WRITE` and `MAP_SHARED` is in the file; `sync` before makes it durable.
 *
 * @throws HermesError `INVALID_ARGUMENT` if `buffer` is not of `map`
 */
export function unmap(buffer: Uint8Array): void {
  const { mapping, region } = mappingOf('unmap', buffer)
  callMapping(() => mapping.unmap(region))
}

/**
 * Tells the kernel how the memory will be used: all of `buffer`, or `length` bytes from `offset` on, which must be the beginning
 * of a page. `MADV_DONTNEED` also throws away what was written privately.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `CLOSED` after `unmap`
 */
export function advise(buffer: Uint8Array, advice: number): void
export function advise(buffer: Uint8Array, offset: number, length: number, advice: number): void
export function advise(buffer: Uint8Array, first: number, length?: number, last?: number): void {
  const whole = length === undefined && last === undefined
  const advice = whole ? first : last
  checkAdvice(advice)
  const { mapping, start, bytes } = openRange('advise', buffer, whole ? 0 : first, whole ? undefined : length)
  callMapping(() => mapping.advise(start, bytes, advice))
}

/**
 * How many pages of `buffer` are not in memory, and how many are. (For files that are not the caller's own and not writable for it,
 * the kernel says that all are.)
 *
 * @throws HermesError `INVALID_ARGUMENT`, `CLOSED` after `unmap`
 */
export function incore(buffer: Uint8Array): [unmapped: number, mapped: number] {
  const { mapping, start, bytes } = openRange('incore', buffer, 0, undefined)
  return callMapping(() => mapping.incore(start, bytes))
}

/**
 * Writes changed pages to the file: all of `buffer`, or `size` bytes from `offset` on.
 *
 * @param blocking true: they are on the disk when this returns, and the event loop waits for it. False (default): soon.
 * @param invalidate make other mappings of the file see the change (on Linux they do anyway)
 * @throws HermesError `INVALID_ARGUMENT`, `IO_FAILED`, `BUSY`, `CLOSED` after `unmap`
 */
export function sync(buffer: Uint8Array, blocking: boolean, invalidate?: boolean): void
export function sync(buffer: Uint8Array, offset?: number, size?: number, blocking?: boolean, invalidate?: boolean): void
export function sync(
  buffer: Uint8Array,
  first: number | boolean = 0,
  second?: number | boolean,
  third = false,
  fourth = false,
): void {
  const whole = typeof first === 'boolean'
  const blocking = whole ? first : third
  const invalidate = whole ? (second ?? false) : fourth
  checkBoolean('blocking', blocking)
  checkBoolean('invalidate', invalidate)
  const { mapping, start, bytes } = openRange('sync', buffer, whole ? 0 : first, whole ? undefined : second)
  callMapping(() => mapping.sync(start, bytes, blocking, invalidate as boolean))
}

function checkProtection(protection: unknown): void {
  const all = PROT_READ | PROT_WRITE | PROT_EXEC
  if (typeof protection !== 'number' || !Number.isInteger(protection) || (protection & ~all) !== 0) {
    throw invalid(`'protection' must be PROT_READ, PROT_WRITE or both, not ${show(protection)}.`)
  }
  if (protection === PROT_NONE) {
    throw new HermesError('UNSUPPORTED', 'PROT_NONE is not offered: a touch of such memory would end the process.')
  }
  if ((protection & PROT_EXEC) !== 0) {
    throw new HermesError(
      'UNSUPPORTED',
      'PROT_EXEC is not offered: JavaScript has no use for executable memory. Leave it out.',
    )
  }
}

function checkFlags(flags: unknown): void {
  const extra = MAP_NONBLOCK | MAP_POPULATE
  const kind = typeof flags === 'number' && Number.isInteger(flags) ? flags & ~extra : -1
  if (kind === MAP_SHARED || kind === MAP_PRIVATE) return
  throw invalid(
    `'flags' must be MAP_SHARED or MAP_PRIVATE, with MAP_POPULATE or MAP_NONBLOCK if wanted, not ${show(flags)}.`,
  )
}

function checkAdvice(advice: unknown): asserts advice is number {
  if ([MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED].includes(advice as number)) return
  throw invalid(
    `'advice' must be MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED or MADV_DONTNEED, not ${show(advice)}.`,
  )
}

function mappingOf(call: string, buffer: unknown): { mapping: NativeFileMapping; region: ArrayBuffer } {
  if (isUint8Array(buffer)) {
    const region = bufferOf(buffer) as ArrayBuffer
    const mapping = mappings.get(region)
    if (mapping !== undefined) return { mapping, region }
  }
  throw invalid(`${call}() takes a Buffer that map() returned, or a view of one.`)
}

/** The stretch of a mapping that `length` bytes from `offset` of a view are. */
function openRange(
  call: string,
  buffer: Uint8Array,
  offset: unknown,
  length: unknown,
): { mapping: NativeFileMapping; start: number; bytes: number } {
  const { mapping, region } = mappingOf(call, buffer)
  if (region.byteLength === 0) {
    throw new HermesError('CLOSED', `${call}() was given a Buffer that is not mapped any more. Map the file again.`)
  }
  // What the view really is, whatever a subclass or a property of its own says.
  const all = lengthOf(buffer)
  checkInteger('offset', offset, 0, all)
  const rest = all - (offset as number)
  if (length !== undefined) checkInteger('length', length, 0, rest)
  return { mapping, start: offsetOf(buffer) + (offset as number), bytes: (length as number | undefined) ?? rest }
}

function callMapping<T>(call: () => T): T {
  return callNative(call, undefined, hints)
}

/** All of this module as one object, as mmap-io exports it. */
const mmap = Object.freeze({
  map,
  unmap,
  advise,
  incore,
  sync,
  ...native.mappingConstants,
})

// biome-ignore lint/style/noDefaultExport: the interface of mmap-io has one.
export default mmap
