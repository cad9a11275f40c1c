import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { Buffer as Ours, PortableBuffer } from '../../lib/base/buffer.js'

/* What runs where there is no Node answers as Node's Buffer does. */

const portable = PortableBuffer as unknown as typeof Buffer
const texts = ['', 'HERMESW1', 'grün', '\u{1f600} ok', '\ufeffmark', '00ff10']

it('is Node’s own where there is Node', () => {
  expect(Ours).toBe(Buffer)
})

describe('the portable one', () => {
  it('reads and writes texts', () => {
    for (const text of texts) {
      expect([...portable.from(text)]).toEqual([...Buffer.from(text)])
      expect([...portable.from(text, 'hex')]).toEqual([...Buffer.from(text, 'hex')])
      expect(portable.byteLength(text)).toBe(Buffer.byteLength(text))
      const [a, b] = [portable.alloc(20), Buffer.alloc(20)]
      expect(a.write(text, 3)).toBe(b.write(text, 3))
      expect([...a]).toEqual([...b])
    }
    expect([...portable.from('HERMES\xff', 'latin1')]).toEqual([...Buffer.from('HERMES\xff', 'latin1')])
    const bytes = randomBytes(100)
    for (const encoding of ['hex', 'base64', 'latin1'] as const) {
      expect(portable.from(bytes).toString(encoding)).toBe(bytes.toString(encoding))
      expect(portable.from(bytes).toString(encoding, 3, 50)).toBe(bytes.toString(encoding, 3, 50))
    }
    expect(portable.from('grün').toString()).toBe('grün')
    expect(() => portable.from('x').toString('utf16le')).toThrow(TypeError)
  })

  it('reads and writes numbers, and refuses what is out of range', () => {
    const bytes = randomBytes(64)
    const copy = portable.from(bytes)
    for (let at = 0; at <= 56; at++) {
      expect(copy.readUInt16LE(at)).toBe(bytes.readUInt16LE(at))
      expect(copy.readUInt32LE(at)).toBe(bytes.readUInt32LE(at))
      expect(copy.readBigUInt64LE(at)).toBe(bytes.readBigUInt64LE(at))
    }
    for (const buffer of [copy, bytes]) {
      expect(buffer.writeUInt32LE(0xfedc_ba98, 1)).toBe(5)
      expect(buffer.writeBigUInt64LE(0xfedc_ba98_7654_3210n, 7)).toBe(15)
      expect(() => buffer.readUInt32LE(61)).toThrow(RangeError)
      expect(() => buffer.readUInt32LE(-1)).toThrow(RangeError)
      expect(() => buffer.readBigUInt64LE(57)).toThrow(RangeError)
      expect(() => buffer.writeUInt32LE(0, 61)).toThrow(RangeError)
      expect(() => buffer.writeUInt32LE(2 ** 32, 0)).toThrow(RangeError)
      expect(() => buffer.writeUInt32LE(-1, 0)).toThrow(RangeError)
      expect(() => buffer.writeBigUInt64LE(-1n, 0)).toThrow(RangeError)
      expect(() => buffer.writeBigUInt64LE(1n << 64n, 0)).toThrow(RangeError)
    }
    expect([...copy]).toEqual([...bytes])
  })

  it('shares and copies memory as Node’s does', () => {
    const memory = new ArrayBuffer(16)
    const view = portable.from(memory, 4, 8)
    view[0] = 7
    expect(new Uint8Array(memory)[4]).toBe(7)
    expect(view.subarray(0, 2)).toBeInstanceOf(PortableBuffer)
    expect(view.subarray(0, 2).readUInt16LE(0)).toBe(7)
    const copy = portable.from(view)
    copy[0] = 9
    expect(view[0]).toBe(7)
    expect([...portable.concat([portable.from('a'), Buffer.from('bc')])]).toEqual([97, 98, 99])
    const target = portable.alloc(4)
    expect(portable.from('abcdef').copy(target, 1, 2, 6)).toBe(3)
    expect([...target]).toEqual([0, 99, 100, 101])
    for (const [a, b] of [
      ['a', 'b'],
      ['b', 'a'],
      ['a', 'a'],
      ['a', 'ab'],
      ['', 'a'],
    ] as const)
      expect(portable.compare(portable.from(a), portable.from(b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
  })
})
