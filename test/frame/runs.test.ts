import { expect, test } from 'vitest'
import { frameBytes, frameHeaderBytes, frameOffset, frameType, sealFrame } from '../../lib/frame/frame.js'
import { frameScanField, frameScanLayout, sealField } from '../../lib/frame/run-scratch.js'
import { portableScanner, portableSealer } from '../../lib/frame/runs.js'
import { native } from '../../lib/native/addon.js'
import { frameScanner, frameSealer } from '../../lib/native/runs.js'
import { randomOf } from '../codec/helpers.js'

type Random = () => number

const below = (random: Random, most: number): number => Math.floor(random() * most)
const oneOf = <T>(random: Random, choices: readonly T[]): T => choices[below(random, choices.length)] as T

/** Of 32-bit fields: what is likely to be at an edge. */
function hostileWord(random: Random, size: number): number {
  return (
    oneOf(random, [
      () => below(random, size + 40),
      () => size - below(random, 40),
      () => below(random, 2 ** 32),
      () => 2 ** 32 - 1 - below(random, 40),
      () => 2 ** 31 - 20 + below(random, 40),
      () => below(random, 3),
    ])() >>> 0
  )
}

function filled(random: Random, size: number): ArrayBuffer {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at++) bytes[at] = below(random, 256)
  return bytes.buffer
}

const same = (a: ArrayBuffer, b: ArrayBuffer): boolean => Buffer.from(a).equals(Buffer.from(b))
const hex = (memory: ArrayBuffer): string => Buffer.from(memory).toString('hex')

test('the addon does the work where there is one', () => {
  expect(frameSealer).toBe(native.frameSealer)
  expect(frameScanner).toBe(native.frameScanner)
})

/** Lengths as a publisher writes them, or as nobody should. Returns where the run ends. */
function layOut(random: Random, buffer: ArrayBuffer, start: number, count: number, hostile: boolean): number {
  const data = new DataView(buffer)
  let at = start
  for (let frame = 0; frame < count && at + frameHeaderBytes <= buffer.byteLength; frame++) {
    const length = hostile && random() < 0.1 ? hostileWord(random, buffer.byteLength) : below(random, 90)
    data.setUint32(at + frameOffset.payloadLength, length, true)
    at += frameBytes(length)
  }
  return at
}

test('seals as the addon does, byte for byte, whatever the lengths say', () => {
  let sealed = 0
  let refused = 0
  for (let seed = 1; seed <= 3000; seed++) {
    const random = randomOf(seed)
    const size = 8 * below(random, 200)
    const ours = filled(random, size)
    const count = below(random, 12)
    const hostile = random() < 0.5
    const start = hostile && random() < 0.2 ? hostileWord(random, size) : 8 * below(random, 10)
    const end = start > size ? start : layOut(random, ours, start, count, hostile)
    const theirs = ours.slice(0)
    const scratches = [new ArrayBuffer(frameScanLayout.size), new ArrayBuffer(frameScanLayout.size)] as const
    // In the future, so that the time of the call does not matter; near where the lower half goes over.
    const first = (BigInt(Math.floor(Date.now() / 4295 + 1e6)) << 32n) | BigInt(hostileWord(random, 9))
    const bytes = hostile && random() < 0.3 ? hostileWord(random, size) : Math.max(0, end - start)
    for (const scratch of scratches) {
      const words = new Uint32Array(scratch)
      words[sealField.offset] = start
      words[sealField.bytes] = bytes
      words[sealField.count] = hostile && random() < 0.2 ? hostileWord(randomOf(seed), 9) : count
      words[sealField.done] = 7
      new BigUint64Array(scratch)[sealField.timestamp] = first
    }
    new Uint32Array(scratches[1]).set(new Uint32Array(scratches[0]))
    portableSealer(ours, scratches[0])()
    native.frameSealer(theirs, scratches[1])()
    if (!same(ours, theirs)) expect([seed, hex(ours)]).toEqual([seed, hex(theirs)])
    if (!same(scratches[0], scratches[1])) expect([seed, hex(scratches[0])]).toEqual([seed, hex(scratches[1])])
    if (new Uint32Array(scratches[0])[sealField.done] === 1) sealed++
    else refused++
  }
  // Both ways are gone often enough.
  expect(sealed).toBeGreaterThan(1000)
  expect(refused).toBeGreaterThan(300)
})

test('stamps what it seals with the time, and never goes back', () => {
  const buffer = new ArrayBuffer(64)
  const scratch = new ArrayBuffer(frameScanLayout.size)
  const words = new Uint32Array(scratch)
  words[sealField.bytes] = frameHeaderBytes
  words[sealField.count] = 1
  const seal = portableSealer(buffer, scratch)
  const stamp = () => new DataView(buffer).getBigUint64(frameOffset.timestampNs, true)
  const before = BigInt(Date.now()) * 1_000_000n
  seal()
  expect(words[sealField.done]).toBe(1)
  const off = stamp() - before
  // (as far as the system's clock was set meanwhile)
  expect(off > -5_000_000_000n && off < 60_000_000_000n).toBe(true)
  const later = stamp() + 3_600_000_000_000n
  new BigUint64Array(scratch)[sealField.timestamp] = later
  seal()
  expect(stamp()).toBe(later)
})

/** A run of data and voids, some of it damaged. Returns where it ends and how many messages it holds. */
function run(random: Random, buffer: ArrayBuffer, start: number, sequence: number): { end: number; count: number } {
  const bytes = new Uint8Array(buffer)
  const data = new DataView(buffer)
  let at = start
  let next = sequence
  let count = 0
  for (;;) {
    const length = below(random, 60)
    if (at + frameBytes(length) > buffer.byteLength || random() < 0.05) return { end: at, count }
    const isVoid = random() < 0.2
    const type = isVoid ? frameType.void : frameType.data
    const skipped = oneOf(random, [1, 2, 1000, 2 ** 32 - 1])
    if (isVoid && length >= 8) data.setUint32(at + frameOffset.payload, skipped, true)
    sealFrame(bytes, data, at, type, below(random, 65_536), Math.min(next, Number.MAX_SAFE_INTEGER), 1, 2, length)
    // (exact beyond 2^53 too)
    data.setBigUint64(at + frameOffset.sequence, BigInt(next), true)
    sealAgain(bytes, data, at)
    next += isVoid && length >= 8 ? skipped : 1
    count++
    at += frameBytes(length)
  }
}

/** The checksum for what stands in the header now. */
function sealAgain(bytes: Uint8Array, data: DataView, at: number): void {
  const type = data.getUint8(at + frameOffset.type)
  const length = data.getUint32(at + frameOffset.payloadLength, true)
  const checked = type === frameType.data ? length : Math.min(length, 8)
  const seed = native.crc32(bytes.slice(at + 4, at + 28), 0)
  data.setUint32(at + frameOffset.crc32, native.crc32(bytes.slice(at + 32, at + 32 + checked), seed), true)
}

test('scans as the addon does, whatever stands there', () => {
  let sound = 0
  let damaged = 0
  for (let seed = 1; seed <= 6000; seed++) {
    const random = randomOf(seed)
    const size = 8 * below(random, 150)
    const buffer = filled(random, size)
    const sequence = oneOf(random, [1, 5, 2 ** 32 - 2, 2 ** 53 - 3, 2 ** 53 - 1])
    const start = Math.min(8 * below(random, 4), size)
    const { end, count } = run(random, buffer, start, sequence)
    const bytes = new Uint8Array(buffer)
    // Some bits, and some whole fields.
    if (random() < 0.4 && end > start) bytes[start + below(random, end - start)]! ^= 1 << below(random, 8)
    if (random() < 0.2 && end > start)
      new DataView(buffer).setUint32(start + frameOffset.payloadLength, hostileWord(random, size), true)
    const hostile = random() < 0.2
    const scratches = [new ArrayBuffer(frameScanLayout.size), new ArrayBuffer(frameScanLayout.size)] as const
    const words = new Uint32Array(scratches[0])
    words.set([1, 2, 3, 4, 5, 6, 7, 8])
    words[frameScanField.offset] = hostile && random() < 0.5 ? hostileWord(random, size) : start
    words[frameScanField.end] = hostile && random() < 0.5 ? hostileWord(random, size) : end
    words[frameScanField.limit] = random() < 0.5 ? 65_535 : below(random, count + 2)
    new Float64Array(scratches[0])[frameScanField.sequence] = random() < 0.9 ? sequence : sequence + 1
    new Uint32Array(scratches[1]).set(words)
    const mostPayload = oneOf(random, [65_536, 59, 20, 2 ** 32 - 1])
    const verify = random() < 0.8
    const before = buffer.slice(0)
    portableScanner(buffer, scratches[0], mostPayload, verify)()
    native.frameScanner(buffer, scratches[1], mostPayload, verify)()
    if (!same(scratches[0], scratches[1])) expect([seed, hex(scratches[0])]).toEqual([seed, hex(scratches[1])])
    if (!same(buffer, before)) expect([seed, hex(buffer)]).toEqual([seed, hex(before)])
    if (words[frameScanField.damage] === 0) sound++
    else damaged++
  }
  expect(sound).toBeGreaterThan(1500)
  expect(damaged).toBeGreaterThan(1500)
})
