import { closeSync, fstatSync, ftruncateSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { isUint8Array } from 'node:util/types'
import { checkInteger, invalid, show } from '../base/options.js'
import type { Random } from './random.js'

/** Bytes of a file that were changed. */
export interface DamageDone {
  readonly kind: 'flip' | 'overwrite' | 'zero-page' | 'truncate' | 'claim' | 'zero-file' | 'lose'
  readonly file: string
  readonly offset: number
  /** From `offset` on; for `truncate` and `lose`, up to the old end. */
  readonly bytes: number
}

/** Changes one bit of a file. `bit` is 0 to 7, from the lowest. */
export function flipBit(file: string, offset: number, bit = 0): DamageDone {
  checkOffset(offset)
  checkInteger('bit', bit, 0, 7)
  return withFile(file, (handle) => {
    const byte = Buffer.alloc(1)
    if (readSync(handle, byte, 0, 1, offset) !== 1) throw invalid(`${file} has no byte ${offset}.`)
    byte.writeUInt8(byte.readUInt8(0) ^ (1 << bit), 0)
    writeSync(handle, byte, 0, 1, offset)
    return { kind: 'flip', file, offset, bytes: 1 }
  })
}

export function overwrite(file: string, offset: number, bytes: Uint8Array): DamageDone {
  checkOffset(offset)
  if (!isUint8Array(bytes)) throw invalid(`overwrite() takes a Uint8Array or Buffer, not ${show(bytes)}.`)
  return withFile(file, (handle) => {
    writeSync(handle, bytes, 0, bytes.length, offset)
    return { kind: 'overwrite', file, offset, bytes: bytes.length }
  })
}

/** Fills a page with zeros, as a lost write does. `page` counts from 0 in units of `pageBytes`. */
export function zeroPage(file: string, page: number, pageBytes = 4096): DamageDone {
  checkInteger('pageBytes', pageBytes, 1, 2 ** 30)
  checkInteger('page', page, 0, Math.floor(Number.MAX_SAFE_INTEGER / pageBytes) - 1)
  overwrite(file, page * pageBytes, Buffer.alloc(pageBytes))
  return { kind: 'zero-page', file, offset: page * pageBytes, bytes: pageBytes }
}

/**
 * Writes at a frame's beginning what looks like a publisher's claim of room (docs/log-format.md: Segment): of `count` messages in `spanBytes` bytes, by the
 * participant in `slot`. Slots from 256 on, and spans that are not those of frames, are no publisher's.
 */
export function fakeClaim(file: string, offset: number, slot: number, count: number, spanBytes: number): DamageDone {
  checkInteger('slot', slot, 0, 1023)
  checkInteger('count', count, 0, 65_535)
  checkInteger('spanBytes', spanBytes, 0, 2 ** 40)
  const word = 0xc1n | (BigInt(slot) << 8n) | (BigInt(count) << 18n) | (BigInt(Math.floor(spanBytes / 8)) << 34n)
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(61, word))
  return { ...overwrite(file, offset, bytes), kind: 'claim' }
}

/** Fills a whole file with zeros. */
export function zeroFile(file: string): DamageDone {
  checkFile(file)
  const { size } = statSync(file)
  overwrite(file, 0, Buffer.alloc(size))
  return { kind: 'zero-file', file, offset: 0, bytes: size }
}

/** Removes a file. */
export function loseFile(file: string): DamageDone {
  checkFile(file)
  const { size } = statSync(file)
  rmSync(file)
  return { kind: 'lose', file, offset: 0, bytes: size }
}

/** Makes a file shorter. Never do so while a process has it mapped: touching what is gone kills that process (SIGBUS). */
export function truncate(file: string, bytes: number): DamageDone {
  checkInteger('bytes', bytes, 0, Number.MAX_SAFE_INTEGER)
  return withFile(file, (handle) => {
    const { size } = fstatSync(handle)
    ftruncateSync(handle, bytes)
    return { kind: 'truncate', file, offset: bytes, bytes: Math.max(0, size - bytes) }
  })
}

/** Does one kind of damage somewhere in the first `limit` bytes of a file. */
export function damageAtRandom(file: string, random: Random, limit: number): DamageDone {
  const kind = random.below(10)
  if (kind < 5) return flipBit(file, random.below(limit), random.below(8))
  if (kind < 7) {
    const bytes = Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256)))
    return overwrite(file, Math.min(random.below(limit), limit - bytes.length), bytes)
  }
  if (kind < 9) return zeroPage(file, random.below(Math.max(1, Math.floor(limit / 4096))))
  return truncate(file, random.below(limit))
}

function checkFile(file: unknown): void {
  if (typeof file !== 'string' || file === '' || file.includes('\0'))
    throw invalid(`'file' must be a path, not ${show(file)}.`)
}

/** What is no place in a file would be taken for the current one by the system's calls. */
function checkOffset(offset: unknown): void {
  checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER)
}

function withFile<T>(file: string, work: (handle: number) => T): T {
  checkFile(file)
  const handle = openSync(file, 'r+')
  try {
    return work(handle)
  } finally {
    closeSync(handle)
  }
}
