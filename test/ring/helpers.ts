import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HermesError } from '../../lib/base/errors.js'
import { crc32 } from '../../lib/frame/crc32.js'
import type { RingHandle } from '../../lib/ring/index.js'
import { header } from '../../lib/ring/layout.js'

/** The code of the HermesError that `action` throws. */
export function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof HermesError) return error.code
    throw error
  }
  return 'none'
}

export async function codeOfAsync(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof HermesError) return error.code
    throw error
  }
  return 'none'
}

/** The shared words of a ring, for tests that damage or inspect it. */
export function wordsOf(handle: RingHandle): Int32Array {
  return new Int32Array(handle.buffer, handle.byteOffset, handle.byteLength >> 2)
}

export function bytesOf(handle: RingHandle): Uint8Array {
  return new Uint8Array(handle.buffer, handle.byteOffset, handle.byteLength)
}

/** Makes the checksum of a changed header right again. */
export function seal(handle: RingHandle): void {
  const bytes = bytesOf(handle)
  new DataView(handle.buffer, handle.byteOffset).setUint32(header.crc, crc32(bytes.slice(0, header.crc)), true)
}

/** 16 bytes a line, without lines of zeros and without the private copies: the form of test/ring/golden/*.hex. */
export function dump(handle: RingHandle): string {
  const bytes = bytesOf(handle)
  let text = ''
  for (let at = 0; at < bytes.length; at += 16) {
    const line = Buffer.from(bytes.slice(at, at + 16))
    if ((at >= 256 && at < 384) || (at >= 512 && at < 640) || line.every((byte) => byte === 0)) continue
    text += `${at.toString(16).padStart(4, '0')}: ${[...line].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}\n`
  }
  return text
}

export function golden(name: string): string {
  return readFileSync(join(import.meta.dirname, 'golden', `${name}.hex`), 'utf8')
}

export function load(name: string, length: number): RingHandle {
  const buffer = new SharedArrayBuffer(length)
  const bytes = new Uint8Array(buffer)
  for (const line of golden(name).trim().split('\n')) {
    const [offset, hex] = line.split(': ') as [string, string]
    bytes.set(Buffer.from(hex.replaceAll(' ', ''), 'hex'), Number.parseInt(offset, 16))
  }
  return { buffer, byteOffset: 0, byteLength: length }
}

export function u32s(...values: number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer)
}

export function u32Of(bytes: Uint8Array | undefined, index = 0): number {
  if (bytes === undefined) throw new Error('no item')
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * index, true)
}
