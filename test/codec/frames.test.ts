import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { type Damage, Decoder } from '../../lib/codec/decoder.js'
import { Encoder } from '../../lib/codec/encoder.js'
import { raw } from '../../lib/codec/raw.js'
import { regionOf } from '../../lib/codec/region.js'
import { ascii, f64, u32 } from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { text } from '../../lib/codec/text.js'
import { crc32 } from '../../lib/frame/crc32.js'
import { frameBytes, frameHeaderBytes, frameType, sealFrame } from '../../lib/frame/frame.js'
import { failure, hex, randomOf } from './helpers.js'

interface Vector {
  readonly name: string
  readonly hex: string
  readonly type: number
  readonly flags: number
  readonly sequence: string
  readonly timestampNs: string
  readonly payloadLength: number
  readonly payloadHex: string
  readonly span: number
}

const vectors = (
  JSON.parse(readFileSync(new URL('../vectors/frames.json', import.meta.url), 'utf8')) as { frames: Vector[] }
).frames

const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })

function framesOf(values: readonly string[], sequence = 0): Uint8Array {
  const encoder = new Encoder(text, { sequence, timestamp: 'none' })
  expect(encoder.encodeBatch(values)).toBe(values.length)
  return encoder.bytes.slice()
}

/** One frame of any type, with a payload as given. */
function frameOf(type: number, payload: Uint8Array, sequence = 0): Uint8Array {
  const { bytes, data } = regionOf(new Uint8Array(frameBytes(payload.length)))
  bytes.set(payload, frameHeaderBytes)
  sealFrame(bytes, data, 0, type, 0, sequence, 0, 0, payload.length)
  return bytes
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function resynchronised(bytes: Uint8Array, end = true): { values: string[]; damages: Damage[]; consumed: number } {
  const values: string[] = []
  const damages: Damage[] = []
  const decoder = new Decoder(text, { onDamage: 'resynchronise', damage: (one) => damages.push(one) })
  const consumed = decoder.decode(bytes, (value) => values.push(value), end)
  return { values, damages, consumed }
}

describe('frames', () => {
  it.each(vectors)('have the bytes of the golden vector "$name"', (vector) => {
    const payload = Buffer.from(vector.payloadHex, 'hex')
    const { bytes, data } = regionOf(new Uint8Array(vector.span).fill(0xaa))
    bytes.set(payload, frameHeaderBytes)
    const stamp = BigInt(vector.timestampNs)
    const size = sealFrame(
      bytes,
      data,
      0,
      vector.type,
      vector.flags,
      Number(vector.sequence),
      Number(stamp & 0xffff_ffffn),
      Number(stamp >> 32n),
      payload.length,
    )
    expect(size).toBe(vector.span)
    expect(hex(bytes)).toBe(vector.hex)
  })

  it('are read from the golden vectors, with voids and padding passed over', () => {
    const all = joined(...vectors.map((vector) => Buffer.from(vector.hex, 'hex')))
    const seen: unknown[] = []
    const consumed = new Decoder(raw).decode(all, (value, frame) => {
      seen.push([hex(value), String(frame.sequence), String(frame.timestampNs), frame.flags, frame.length])
    })
    expect(consumed).toBe(all.length)
    expect(seen).toEqual(
      vectors
        .filter((vector) => vector.type === frameType.data)
        .map((one) => [one.payloadHex, one.sequence, one.timestampNs, one.flags, one.payloadLength]),
    )
  })

  it('carry zlib checksums over what follows the magic, the checksum excepted', () => {
    const frame = framesOf(['hello, hermes'])
    const expected = crc32(frame.subarray(32, 45), crc32(frame.subarray(4, 28)))
    expect(Buffer.from(frame).readUInt32LE(28)).toBe(expected)
    expect(frame).toHaveLength(48)
    expect([...frame.subarray(45)]).toEqual([0, 0, 0])
  })
})

describe('Encoder', () => {
  it('writes frames with dense sequences that a Decoder brings back', () => {
    const encoder = new Encoder(Trade, { sequence: 2 ** 40 })
    const before = BigInt(Date.now() - 2) * 1_000_000n
    expect(encoder.encode({ symbol: 'BTC', price: 50_000, size: 3 })).toBe(56)
    expect(
      encoder.encodeBatch([
        { symbol: 'ETH', price: 1, size: 1 },
        { symbol: 'SOL', price: 2, size: 2 },
      ]),
    ).toBe(2)
    expect(encoder.length).toBe(3 * 56)
    expect(encoder.sequence).toBe(2 ** 40 + 3)
    const messages = [...new Decoder(Trade).messages(encoder.bytes)]
    const after = BigInt(Date.now() + 2) * 1_000_000n
    expect(messages.map(({ value, sequence }) => [value.symbol, sequence - 2 ** 40])).toEqual([
      ['BTC', 0],
      ['ETH', 1],
      ['SOL', 2],
    ])
    for (const { timestampNs } of messages) {
      expect(timestampNs).toBeGreaterThan(before)
      expect(timestampNs).toBeLessThan(after)
    }
  })

  it('splits the wall clock into halves without an error, at any time', () => {
    const now = vi.spyOn(performance, 'now')
    try {
      for (const days of [0, 1, 3, 100, 1000, 10_000, 100_000]) {
        for (const rest of [0, 0.25, 999.75, 65_535_999.5]) {
          const milliseconds = performance.timeOrigin + days * 86_400_000 + rest
          now.mockReturnValue(milliseconds - performance.timeOrigin)
          const encoder = new Encoder(text)
          encoder.encode('x')
          const stamp = [...new Decoder(text).messages(encoder.bytes)][0]?.timestampNs as bigint
          // A number of milliseconds of this size is exact to a microsecond or two, in steps of 2^-11 ms.
          const expected = BigInt(Math.floor(milliseconds)) * 1_000_000n + BigInt(Math.round((milliseconds % 1) * 1e6))
          expect(Math.abs(Number(stamp - expected))).toBeLessThan(2000)
        }
      }
    } finally {
      now.mockRestore()
    }
  })

  it('takes timestamps from a function, or writes none', () => {
    const stamps = [0n, 1n, 2n ** 63n + 5n, 2n ** 64n - 1n]
    let next = 0
    const encoder = new Encoder(text, { timestamp: () => stamps[next++] as bigint })
    for (const _ of stamps) encoder.encode('x')
    expect([...new Decoder(text).messages(encoder.bytes)].map((message) => message.timestampNs)).toEqual(stamps)
    expect([...new Decoder(text).messages(framesOf(['x']))][0]?.timestampNs).toBe(0n)
    failure('INVALID_ARGUMENT', () => new Encoder(text, { timestamp: () => -1n }).encode('x'))
  })

  it('refuses a message that does not fit any more, and is as before', () => {
    const encoder = new Encoder(text, { capacity: 100, timestamp: 'none' })
    encoder.encode('a'.repeat(20))
    const { length, sequence } = encoder
    const before = hex(encoder.bytes)
    failure('BACK_PRESSURE', () => encoder.encode('b'.repeat(20)))
    expect([encoder.length, encoder.sequence, hex(encoder.bytes)]).toEqual([length, sequence, before])
    encoder.reset()
    expect(encoder.encode('b'.repeat(20))).toBe(56)
    expect(encoder.sequence).toBe(2)
  })

  it('fills its buffer to the last byte', () => {
    const encoder = new Encoder(raw, { capacity: 80, timestamp: 'none' })
    encoder.encode(new Uint8Array(8))
    expect(encoder.encode(new Uint8Array(8))).toBe(40)
    expect(encoder.length).toBe(80)
    failure('BACK_PRESSURE', () => encoder.encode(new Uint8Array(0)))
  })

  it('stops a batch where the buffer is full, and goes on from there', () => {
    const values = Array.from({ length: 10 }, (_, index) => `message ${index}`)
    const encoder = new Encoder(text, { capacity: 200, timestamp: 'none' })
    const seen: string[] = []
    for (let start = 0; start < values.length; ) {
      const written = encoder.encodeBatch(values, start)
      expect(written).toBeGreaterThan(0)
      start += written
      for (const message of new Decoder(text).messages(encoder.bytes)) seen.push(message.value)
      encoder.reset()
    }
    expect(seen).toEqual(values)
    expect(encoder.sequence).toBe(10)
  })

  it('tells a message that is too large for it from a full buffer', () => {
    failure('PAYLOAD_TOO_LARGE', () => new Encoder(text, { capacity: 64 }).encode('x'.repeat(40)))
    failure('PAYLOAD_TOO_LARGE', () => new Encoder(text, { maxPayload: 10 }).encode('x'.repeat(11)))
    expect(new Encoder(text, { maxPayload: 10 }).encode('x'.repeat(10))).toBe(48)
  })

  it('keeps what came before a refused value of a batch', () => {
    const encoder = new Encoder(text, { timestamp: 'none' })
    failure('ENCODE_FAILED', () => encoder.encodeBatch(['a', 'b', 7 as never, 'c']))
    expect(encoder.sequence).toBe(2)
    expect([...new Decoder(text).messages(encoder.bytes)].map((message) => message.value)).toEqual(['a', 'b'])
  })

  it('says so when its buffer was transferred away', () => {
    const encoder = new Encoder(text)
    encoder.encode('x')
    structuredClone(encoder.bytes.buffer, { transfer: [encoder.bytes.buffer as ArrayBuffer] })
    failure('CLOSED', () => encoder.encode('y'))
  })

  it('refuses wrong options', () => {
    failure('UNKNOWN_OPTION', () => new Encoder(text, { capasity: 1 } as never))
    for (const options of [
      { capacity: 8 },
      { capacity: 2 ** 31 },
      { maxPayload: -1 },
      { sequence: 1.5 },
      { timestamp: 'utc' },
    ]) {
      failure('INVALID_ARGUMENT', () => new Encoder(text, options as never))
    }
    expect(failure('INVALID_ARGUMENT', () => new Encoder(struct as never)).message).toContain('struct(…)')
  })
})

describe('Decoder', () => {
  const values = ['one', 'two, which is longer', '', 'four']

  it('reads a stream cut into pieces of any size', () => {
    const whole = framesOf(values)
    for (let size = 1; size < whole.length; size++) {
      const decoder = new Decoder(text)
      const seen: string[] = []
      let rest: Uint8Array = new Uint8Array(0)
      for (let at = 0; at < whole.length; at += size) {
        const bytes = joined(rest, whole.subarray(at, at + size))
        rest = bytes.subarray(decoder.decode(bytes, (value) => seen.push(value)))
      }
      expect(seen).toEqual(values)
      expect(rest).toHaveLength(0)
    }
  })

  it('stops at damage, with its place and reason', () => {
    const bytes = framesOf(values)
    bytes[48 + 35] = (bytes[48 + 35] as number) ^ 1
    const seen: string[] = []
    const error = failure('CORRUPT', () => new Decoder(text).decode(bytes, (value) => seen.push(value)))
    expect(seen).toEqual(['one'])
    expect(error.details['offset']).toBe(40)
  })

  it('notices every flipped bit', () => {
    const pristine = framesOf(['flip me', 'second'])
    // The padding of one byte after 'flip me' is the one place that nothing covers.
    const covered = [...Array(39).keys()]
    for (const at of covered) {
      for (let bit = 0; bit < 8; bit++) {
        const bytes = pristine.slice()
        bytes[at] = (bytes[at] as number) ^ (1 << bit)
        const { values: seen, damages } = resynchronised(bytes)
        expect(seen).toEqual(['second'])
        expect(damages).toHaveLength(1)
        expect(damages[0]).toMatchObject({ offset: 0, bytes: 40 })
      }
    }
  })

  it('finds the next frame after damage at any offset, and reports what it passed over', () => {
    const noise = Buffer.from('HRM1 is no frame, HHRM1HRM neither')
    const bytes = joined(
      framesOf(['a']),
      noise,
      framesOf(['b'], 1),
      noise.subarray(0, 5),
      framesOf(['c'], 2),
      Buffer.from('HRM'),
    )
    const { values: seen, damages, consumed } = resynchronised(bytes)
    expect(seen).toEqual(['a', 'b', 'c'])
    expect(damages.map(({ offset, bytes: size }) => [offset, size])).toEqual([
      [40, noise.length],
      [80 + noise.length, 5],
      [125 + noise.length, 3],
    ])
    expect(consumed).toBe(bytes.length)
  })

  it('keeps a possible beginning of a frame for the next call', () => {
    const bytes = joined(framesOf(['a']), Buffer.from('noise HRM'))
    expect(resynchronised(bytes, false).consumed).toBe(bytes.length - 3)
    expect(resynchronised(joined(framesOf(['a']), framesOf(['b']).subarray(0, 39)), false).consumed).toBe(40)
  })

  it('takes an unfinished frame for damage at the end', () => {
    const bytes = framesOf(['a', 'b']).subarray(0, 79)
    expect(new Decoder(text).decode(bytes, () => undefined)).toBe(40)
    expect(failure('CORRUPT', () => new Decoder(text).decode(bytes, () => undefined, true)).details['offset']).toBe(40)
    failure('CORRUPT', () => [...new Decoder(text).messages(bytes)])
  })

  it('refuses an announced length beyond the limit before waiting for it', () => {
    const bytes = framesOf(['a'])
    new DataView(bytes.buffer).setUint32(24, 0xffff_ffff, true)
    expect(failure('CORRUPT', () => new Decoder(text).decode(bytes, () => undefined)).message).toContain('4294967295')
    failure('CORRUPT', () => new Decoder(text, { maxPayload: 2 }).decode(framesOf(['abc']), () => undefined))
  })

  it('tells a newer version from damage', () => {
    const bytes = framesOf(['a'])
    bytes[4] = 2
    failure('VERSION_MISMATCH', () => new Decoder(text).decode(bytes, () => undefined))
  })

  it('refuses unknown types and sequences beyond 2^53 - 1, with a valid checksum', () => {
    failure('CORRUPT', () => new Decoder(text).decode(frameOf(4, new Uint8Array(0)), () => undefined))
    const bytes = framesOf(['a'])
    const data = new DataView(bytes.buffer)
    data.setUint32(12, 0x0020_0000, true)
    data.setUint32(28, crc32(bytes.subarray(32, 33), crc32(bytes.subarray(4, 28))), true)
    expect(failure('CORRUPT', () => new Decoder(text).decode(bytes, () => undefined)).message).toContain('2^53')
  })

  it('passes over padding longer than any payload', () => {
    const bytes = joined(framesOf(['a']), frameOf(frameType.padding, new Uint8Array(200_000)), framesOf(['b'], 1))
    expect([...new Decoder(text).messages(bytes)].map((message) => message.value)).toEqual(['a', 'b'])
  })

  it('survives random bytes and random damage', () => {
    const random = randomOf(7)
    const pristine = framesOf(Array.from({ length: 30 }, (_, index) => `message number ${index}`))
    for (let round = 0; round < 500; round++) {
      const bytes = pristine.slice()
      const flips = 1 + Math.floor(random() * 5)
      for (let flip = 0; flip < flips; flip++) bytes[Math.floor(random() * bytes.length)] = random() * 256
      const { values: seen } = resynchronised(bytes.subarray(0, Math.floor(random() * bytes.length)))
      const numbers = seen.map((value) => Number(/^message number (\d+)$/.exec(value)?.[1]))
      expect(numbers.every((one, index) => index === 0 || one > (numbers[index - 1] as number))).toBe(true)
    }
  })

  it('gives views over the bytes, in place', () => {
    const encoder = new Encoder(Trade)
    encoder.encodeBatch([
      { symbol: 'A', price: 1, size: 1 },
      { symbol: 'B', price: 2, size: 2 },
    ])
    const views = new Set<unknown>()
    const symbols: string[] = []
    new Decoder(Trade).decode(encoder.bytes, (view) => {
      views.add(view)
      symbols.push(view.symbol)
    })
    expect(views.size).toBe(1)
    expect(symbols).toEqual(['A', 'B'])
  })

  it('tells where to go on after a handler threw', () => {
    const bytes = framesOf(values)
    const decoder = new Decoder(text)
    const seen: string[] = []
    const handler = (value: string): void => {
      seen.push(value)
      if (value.startsWith('two')) throw new RangeError('mine')
    }
    expect(() => decoder.decode(bytes, handler)).toThrow(RangeError)
    decoder.decode(bytes.subarray(decoder.position), handler)
    expect(seen).toEqual(values)
  })

  it('refuses to be used within its own handler, and wrong arguments', () => {
    const decoder = new Decoder(text)
    const bytes = framesOf(['a'])
    failure('BUSY', () => decoder.decode(bytes, () => decoder.decode(bytes, () => undefined)))
    failure('INVALID_ARGUMENT', () => decoder.decode('abc' as never, () => undefined))
    failure('INVALID_ARGUMENT', () => decoder.decode(bytes, undefined as never))
    failure('UNKNOWN_OPTION', () => new Decoder(text, { ondamage: 'stop' } as never))
    failure('INVALID_ARGUMENT', () => new Decoder(text, { onDamage: 'ignore' } as never))
  })
})
