import { describe, expect, it } from 'vitest'
import { custom } from '../../lib/codec/custom.js'
import { json } from '../../lib/codec/json.js'
import { msgpack } from '../../lib/codec/msgpack.js'
import { raw } from '../../lib/codec/raw.js'
import { regionOf } from '../../lib/codec/region.js'
import { text } from '../../lib/codec/text.js'
import { decodeBytes, dirtyRegion, encodeBytes, failure, placed, randomOf, roundTrip, viewBytes } from './helpers.js'

describe('fingerprints', () => {
  it('never change, since topics keep them', () => {
    const all = [raw, text, json, msgpack].map((codec) => `${codec.name} ${codec.fingerprint}`)
    expect(all).toEqual([
      'raw 20fee05698fb0df8',
      'text d9b0ebe2e9de9dc4',
      'json 50f25b3c162218cb',
      'msgpack 90dcdaaaa7fa2bae',
    ])
  })
})

describe('raw', () => {
  it('brings back the bytes, of every length around the small-array limit', () => {
    for (const size of [0, 1, 63, 64, 65, 200, 2048]) {
      const value = Uint8Array.from({ length: size }, (_, index) => index * 7)
      const payload = encodeBytes(raw, value)
      expect(decodeBytes(raw, payload)).toEqual(value)
      expect(viewBytes(raw, payload)).toEqual(value)
    }
  })

  it('takes a Buffer', () => {
    expect(roundTrip(raw, Buffer.from('hermes'))).toEqual(new Uint8Array(Buffer.from('hermes')))
  })

  it('never hands out the memory of the region, by any way', () => {
    for (const size of [8, 64, 65, 1000]) {
      const { region, offset, length } = placed(new Uint8Array(size).fill(1))
      for (const given of [raw.decode(region, offset, length), raw.reader().read(region, offset, length)]) {
        expect(given.buffer).not.toBe(region.bytes.buffer)
        given.fill(9)
        structuredClone(given.buffer, { transfer: [given.buffer as ArrayBuffer] })
        expect(region.bytes.subarray(offset, offset + length).every((byte) => byte === 1)).toBe(true)
      }
    }
  })

  it('copies out of a region made of a Buffer', () => {
    const buffer = Buffer.alloc(100, 5)
    const given = raw.decode(regionOf(buffer), 0, 10)
    given.fill(0)
    expect(buffer[0]).toBe(5)
    expect(Buffer.isBuffer(given)).toBe(false)
  })

  it('goes on reading after a handler transferred the buffer of its view away', () => {
    const { region, offset, length } = placed(new Uint8Array(500).fill(3))
    const reader = raw.reader()
    const first = reader.read(region, offset, length)
    structuredClone(first.buffer, { transfer: [first.buffer as ArrayBuffer] })
    expect(reader.read(region, offset, length)).toEqual(new Uint8Array(500).fill(3))
  })

  it('refuses what is no Uint8Array', () => {
    for (const value of ['text', [1, 2], new Uint16Array(2), new ArrayBuffer(2), null, undefined]) {
      failure('ENCODE_FAILED', () => raw.encode(value as never, dirtyRegion(), 0, 100))
    }
  })

  it('writes up to the limit and not past it', () => {
    expect(encodeBytes(raw, new Uint8Array(16), 16)).toHaveLength(16)
    const error = failure('PAYLOAD_TOO_LARGE', () => encodeBytes(raw, new Uint8Array(17), 16))
    expect(error.details).toEqual({ limit: 16, needed: 17 })
  })
})

describe('text', () => {
  const samples = [
    '',
    'a',
    'hermes',
    'x'.repeat(32),
    'x'.repeat(33),
    'é',
    '日本語テキスト',
    '🚀'.repeat(20),
    'a\0b',
    '\ufeffbom',
    `${'x'.repeat(15)}é`,
  ]

  it('brings back every string', () => {
    for (const sample of samples) {
      expect(roundTrip(text, sample)).toBe(sample)
      expect(viewBytes(text, encodeBytes(text, sample))).toBe(sample)
      expect(Buffer.from(encodeBytes(text, sample)).toString('utf8')).toBe(sample)
    }
  })

  it('refuses half a surrogate pair, which UTF-8 would change', () => {
    failure('ENCODE_FAILED', () => encodeBytes(text, 'a\ud83d'))
    failure('ENCODE_FAILED', () => encodeBytes(text, `${'x'.repeat(60)}\ude80`))
  })

  it('refuses bytes that are not UTF-8', () => {
    for (const payload of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [...new Array(30).fill(0x61), 0x80]]) {
      failure('DECODE_FAILED', () => decodeBytes(text, Uint8Array.from(payload)))
      failure('DECODE_FAILED', () => viewBytes(text, Uint8Array.from(payload)))
    }
  })

  it('writes up to the limit and not past it', () => {
    for (const sample of samples) {
      const size = Buffer.byteLength(sample)
      expect(encodeBytes(text, sample, size)).toHaveLength(size)
      if (size > 0) failure('PAYLOAD_TOO_LARGE', () => encodeBytes(text, sample, size - 1))
    }
  })

  it('refuses what is no string', () => {
    failure('ENCODE_FAILED', () => encodeBytes(text, 7 as never))
  })
})

describe('json and msgpack', () => {
  it('are codecs as they stand, and the same codecs when called for a type', () => {
    expect([json.name, json<number>().name]).toEqual(['json', 'json'])
    expect(json<number>()).toBe(json)
    expect(msgpack<number>()).toBe(msgpack)
    expect(roundTrip(json, { a: 1 })).toEqual({ a: 1 })
    expect(roundTrip(msgpack, { a: 1 })).toEqual({ a: 1 })
    expect(viewBytes(msgpack, encodeBytes(msgpack, 5))).toBe(5)
  })
})

describe('json', () => {
  it('brings back JSON values', () => {
    for (const value of [null, true, 0, -1.5, 'é', [1, [2]], { a: { b: [null] } }, { __proto__: null, x: 1 }]) {
      expect(roundTrip(json(), value)).toEqual(value)
    }
  })

  it('refuses values that JSON has no text for', () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    for (const value of [undefined, () => 1, Symbol('s'), 1n, circular]) {
      failure('ENCODE_FAILED', () => encodeBytes(json(), value))
    }
  })

  it('refuses a payload that is no JSON', () => {
    for (const payload of ['', '{', 'undefined', '1 2', '{"a":}']) {
      failure('DECODE_FAILED', () => decodeBytes(json(), Buffer.from(payload)))
    }
  })

  it('writes up to the limit and not past it', () => {
    failure('PAYLOAD_TOO_LARGE', () => encodeBytes(json(), 'abcdef', 7))
    expect(encodeBytes(json(), 'abcdef', 8)).toHaveLength(8)
  })
})

describe('msgpack', () => {
  it('brings back values of every kind', () => {
    const value = {
      none: null,
      yes: true,
      small: 5,
      negative: -70000,
      float: 1.25,
      large: Number.MAX_SAFE_INTEGER,
      wide: 2n ** 64n - 1n,
      deep: -(2n ** 63n),
      words: 'é'.repeat(300),
      bytes: Uint8Array.of(1, 2, 3),
      list: Array.from({ length: 70_000 }, (_, index) => index & 7),
      date: new Date(1_340_285_400_123),
      nested: { a: [{ b: [[]] }] },
    }
    expect(roundTrip(json(), 1)).toBe(1)
    const payload = encodeBytes(msgpack(), value, 100_000)
    expect(decodeBytes(msgpack(), payload)).toEqual(value)
  })

  it('refuses a bigint beyond 64 bits', () => {
    expect(failure('ENCODE_FAILED', () => encodeBytes(msgpack(), [2n ** 64n])).message).toContain('64 bits')
    failure('ENCODE_FAILED', () => encodeBytes(msgpack(), { a: -(2n ** 63n) - 1n }))
  })

  it('refuses functions and circular values', () => {
    const circular: unknown[] = []
    circular.push(circular)
    failure('ENCODE_FAILED', () => encodeBytes(msgpack(), () => 1))
    failure('ENCODE_FAILED', () => encodeBytes(msgpack(), circular))
  })

  it('hands out bytes that share no memory with the region', () => {
    const { region, offset, length } = placed(encodeBytes(msgpack(), { data: new Uint8Array(300).fill(1) }))
    const value = msgpack<{ data: Uint8Array }>().decode(region, offset, length)
    expect(value.data.buffer).not.toBe(region.bytes.buffer)
    value.data.fill(7)
    expect(region.bytes.includes(7)).toBe(false)
  })

  it('refuses an announced length that the payload cannot hold, without setting memory aside', () => {
    const hostile = [
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xdd, 0x01, 0xff, 0xff, 0xff, 0xc0],
      [0xdf, 0xff, 0xff, 0xff, 0xff],
      [0xdc, 0xff, 0xff],
      [0xde, 0x00, 0x02, 0xa1, 0x61, 0x01],
      [0xc6, 0xff, 0xff, 0xff, 0xff],
      [0xdb, 0x7f, 0xff, 0xff, 0xff, 0x61],
      [0xc9, 0x00, 0x00, 0x00, 0x08, 0x01],
      [0xd9],
      [0xc1],
      [],
      [0x01, 0x02],
      // Each level claims what only one of them could have.
      new Array(60).fill([0xdc, 0x01, 0x00]).flat(),
    ]
    for (const payload of hostile) {
      const before = process.memoryUsage().heapUsed
      failure('DECODE_FAILED', () => decodeBytes(msgpack(), Uint8Array.from(payload)))
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(16_000_000)
    }
  })

  it('refuses nesting beyond what it writes itself', () => {
    failure('DECODE_FAILED', () => decodeBytes(msgpack(), new Uint8Array(5000).fill(0x91)))
  })

  it('survives random bytes and every truncation', () => {
    const random = randomOf(11)
    for (let round = 0; round < 3000; round++) {
      const payload = Uint8Array.from({ length: Math.floor(random() * 40) }, () => random() * 256)
      try {
        decodeBytes(msgpack(), payload)
      } catch (error) {
        expect((error as { code: string }).code).toBe('DECODE_FAILED')
      }
    }
    const whole = encodeBytes(msgpack(), { a: [1, 2.5, 'text', 3n], b: new Uint8Array(40), c: new Date(5) })
    expect(decodeBytes(msgpack(), whole)).toBeTruthy()
    for (let size = 0; size < whole.length; size++) {
      failure('DECODE_FAILED', () => decodeBytes(msgpack(), whole.subarray(0, size)))
    }
  })

  it('writes up to the limit and not past it', () => {
    failure('PAYLOAD_TOO_LARGE', () => encodeBytes(msgpack(), 'abcdef', 6))
    expect(encodeBytes(msgpack(), 'abcdef', 7)).toHaveLength(7)
  })

  it('encodes within the toJSON-like getter of another value', () => {
    const inner = {
      get nested() {
        return encodeBytes(msgpack(), [1, 2, 3])
      },
    }
    expect(roundTrip(msgpack(), inner)).toEqual({ nested: Uint8Array.of(0x93, 1, 2, 3) })
  })
})

describe('custom', () => {
  const reversed = custom<string>({
    name: 'reversed',
    fingerprint: '1',
    encode: (value) => {
      if (value === 'bad') throw new TypeError('no')
      return value === 'odd' ? ('odd' as never) : Buffer.from(value).reverse()
    },
    decode: (payload) => {
      if (payload.length === 0) throw new TypeError('empty')
      return Buffer.from(payload).reverse().toString()
    },
  })

  it('brings back what its functions make', () => {
    expect(roundTrip(reversed, 'hermes')).toBe('hermes')
  })

  it('gives its decoder a copy of the payload', () => {
    const { region, offset, length } = placed(Uint8Array.of(1, 2, 3))
    const keep = custom<Uint8Array>({
      name: 'keep',
      fingerprint: '1',
      encode: (value) => value,
      decode: (value) => value,
    })
    keep.decode(region, offset, length).fill(9)
    expect([...region.bytes.subarray(offset, offset + 3)]).toEqual([1, 2, 3])
  })

  it('reports what its functions throw, with the cause', () => {
    expect(failure('ENCODE_FAILED', () => encodeBytes(reversed, 'bad')).cause).toBeInstanceOf(TypeError)
    expect(failure('DECODE_FAILED', () => decodeBytes(reversed, new Uint8Array(0))).cause).toBeInstanceOf(TypeError)
    failure('ENCODE_FAILED', () => encodeBytes(reversed, 'odd'))
    failure('PAYLOAD_TOO_LARGE', () => encodeBytes(reversed, 'longer', 5))
  })

  it('has a fingerprint of its name and fingerprint', () => {
    const base = { name: 'x', fingerprint: '1', encode: () => new Uint8Array(0), decode: () => 0 }
    const all = [base, { ...base, name: 'y' }, { ...base, fingerprint: '2' }].map((one) => custom(one).fingerprint)
    expect(new Set(all).size).toBe(3)
    expect(all[0]).toMatch(/^[0-9a-f]{16}$/)
  })

  it('refuses a reserved or malformed name, and missing parts', () => {
    const base = { name: 'x', fingerprint: '1', encode: () => new Uint8Array(0), decode: () => 0 }
    for (const wrong of [
      { ...base, name: 'struct' },
      { ...base, name: 'Ab' },
      { ...base, name: '../x' },
      { ...base, name: '' },
      { ...base, fingerprint: '' },
      { ...base, encode: undefined },
      { ...base, decode: 1 },
      undefined,
    ]) {
      failure('INVALID_ARGUMENT', () => custom(wrong as never))
    }
  })
})
