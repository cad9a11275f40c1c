import { describe, expect, test } from 'vitest'
import { HermesError } from '../../lib/base/errors.js'
import { show } from '../../lib/base/options.js'
import { describe as describeValue } from '../../lib/codec/failures.js'
import { readAscii, readAscii8 } from '../../lib/codec/strings.js'
import { type Codec, crc32, custom, Decoder, Encoder, json, msgpack, raw, text, validated } from '../../lib/index.js'

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'none'
  } catch (error) {
    return error instanceof HermesError ? error.code : `raw ${String(error)}`
  }
}

function region(size = 4096) {
  const bytes = new Uint8Array(size)
  return { bytes, data: new DataView(bytes.buffer) }
}

function there(value: unknown): Uint8Array {
  const target = region()
  return target.bytes.slice(0, msgpack.encode(value, target, 0, 4096))
}

function back(payload: Uint8Array | number[]): unknown {
  const bytes = Uint8Array.from(payload)
  return msgpack.decode({ bytes, data: new DataView(bytes.buffer) }, 0, bytes.length)
}

describe('msgpack changes nothing without a word', () => {
  test('an invalid Date', () => {
    expect(codeOf(() => there(new Date(Number.NaN)))).toBe('ENCODE_FAILED')
    expect(codeOf(() => there({ at: [new Date('nonsense')] }))).toBe('ENCODE_FAILED')
    for (const date of [
      new Date(0),
      new Date(-1),
      new Date(8.64e15),
      new Date(-8.64e15),
      new Date(1_700_000_000_123),
    ]) {
      expect(back(there(date))).toEqual(date)
    }
    // A timestamp of 96 bits that no Date can hold.
    expect(codeOf(() => back([0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]))).toBe(
      'DECODE_FAILED',
    )
  })

  test('half of a surrogate pair, as a value and as a key', () => {
    for (const value of ['\ud800', 'x\udc00', ['\ud83d'], { '\ud800': 1 }, `${'x'.repeat(300)}\ud800`]) {
      expect(codeOf(() => there(value))).toBe('ENCODE_FAILED')
    }
    for (const value of ['😀', { '😀': '😀'.repeat(100) }]) expect(back(there(value))).toEqual(value)
  })

  test('bytes that are no UTF-8, as a value and as a key, short and long', () => {
    const long = [0xda, 1, 0, ...new Array<number>(255).fill(0x61), 0xff]
    for (const payload of [[0xa1, 0xff], [0xa2, 0xc3, 0x28], [0xa3, 0xed, 0xa0, 0x80], [0x81, 0xa1, 0xfe, 1], long]) {
      expect(codeOf(() => back(payload))).toBe('DECODE_FAILED')
    }
  })

  test('a leading U+FEFF of a long string', () => {
    for (const value of ['\ufeffx', `\ufeff${'x'.repeat(300)}`, { [`\ufeff${'k'.repeat(300)}`]: 1 }]) {
      expect(back(there(value))).toEqual(value)
    }
  })

  test('the key __proto__', () => {
    expect(codeOf(() => there(JSON.parse('{"__proto__":1}')))).toBe('ENCODE_FAILED')
    expect(codeOf(() => there([{ a: JSON.parse('{"b":2,"__proto__":{}}') }]))).toBe('ENCODE_FAILED')
    expect(codeOf(() => back([0x81, 0xa9, ...Buffer.from('__proto__'), 1]))).toBe('DECODE_FAILED')
    expect(back(there({ __proto__: { a: 1 }, b: 2 }))).toEqual({ b: 2 })
  })

  test('-0', () => {
    expect(Object.is(back(there(-0)), -0)).toBe(true)
    expect(Object.is((back(there([-0])) as number[])[0], -0)).toBe(true)
    expect(there(0)).toEqual(Uint8Array.of(0))
  })

  test('an array that grows, and one that shrinks, while it is encoded', () => {
    const growing: unknown[] = [
      {
        get a() {
          growing.push(1)
          return 1
        },
      },
      2,
    ]
    expect(back(there(growing))).toEqual([{ a: 1 }, 2])
    const shrinking: unknown[] = [
      {
        get a() {
          shrinking.length = 1
          return 1
        },
      },
      2,
      3,
    ]
    expect(back(there(shrinking))).toEqual([{ a: 1 }, null, null])
  })

  test('sizes at every boundary of a header', () => {
    for (const size of [0, 1, 15, 16, 255, 256, 65_535, 65_536]) {
      const target = region(1_000_000)
      const check = (value: unknown): void => {
        const length = msgpack.encode(value, target, 0, 1_000_000)
        expect(msgpack.decode(target, 0, length)).toEqual(value)
      }
      check(new Array<number>(size).fill(1))
      check(new Uint8Array(size).fill(7))
      check('é'.repeat(size))
      check(Object.fromEntries(Array.from({ length: size }, (_, n) => [`k${n}`, n])))
    }
  })

  test('values encoded by a getter of another value are checked alike', () => {
    let inner = ''
    const value = {
      get a() {
        inner = codeOf(() => there(2n ** 64n))
        return -0
      },
    }
    const decoded = back(there(value)) as { a: number }
    expect(inner).toBe('ENCODE_FAILED')
    expect(Object.is(decoded.a, -0)).toBe(true)
  })
})

describe('json and text', () => {
  test('half of a surrogate pair, U+FEFF and __proto__ come back as they were', () => {
    const target = region()
    for (const value of ['\ud800', '\ufeffx', { '\udc00': '\ud83d' }, JSON.parse('{"__proto__":1}')]) {
      expect(json.decode(target, 0, json.encode(value, target, 0, 4096))).toEqual(value)
    }
    expect(text.decode(target, 0, text.encode('\ufeffx', target, 0, 4096))).toBe('\ufeffx')
    expect(codeOf(() => text.encode('\ud800', target, 0, 4096))).toBe('ENCODE_FAILED')
  })
})

describe('strings of a struct', () => {
  test('a store between the two reads of a field does not change what others read', () => {
    // The two views stand for the same memory before and after the store of another process.
    for (const [index, size] of [8, 4, 3, 7].entries()) {
      const before = region(8)
      const after = region(8)
      const own = `ABCDEFG${index}`.slice(0, size - 1) + index
      for (let at = 0; at < size; at++) {
        before.bytes[at] = own.charCodeAt(at)
        after.bytes[at] = 'zyxwvuts'.charCodeAt(at)
      }
      expect(readAscii(before.data, after.bytes, 0, size)).toBe(own)
      expect(readAscii(before.data, before.bytes, 0, size)).toBe(own)
      if (size === 8) expect(readAscii8(before.data, before.bytes, 0)).toBe(own)
      after.bytes.fill(0xff)
      const next = `${own.slice(1)}q`
      for (let at = 0; at < size; at++) before.bytes[at] = next.charCodeAt(at)
      expect(readAscii(before.data, after.bytes, 0, size)).toBe(next)
    }
  })

  test('every length, and zeros in the middle', () => {
    for (let size = 1; size <= 8; size++) {
      for (let length = 0; length <= size; length++) {
        const { bytes, data } = region(8)
        const text = Array.from({ length }, (_, n) => String.fromCharCode(65 + size + n)).join('')
        for (let at = 0; at < length; at++) bytes[at] = text.charCodeAt(at)
        expect(readAscii(data, bytes, 0, size)).toBe(text)
        for (let hole = 0; hole < length - 1; hole++) {
          const torn = bytes.slice()
          torn[hole] = 0
          expect(codeOf(() => readAscii(new DataView(torn.buffer), torn, 0, size))).toBe('DECODE_FAILED')
        }
      }
    }
  })
})

describe('errors are HermesErrors', () => {
  const revoked = (() => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  })()

  test('of values that refuse to be looked at', () => {
    expect(describeValue(revoked)).toBe('an object')
    expect(show(revoked)).toBe('an object')
    const target = region()
    for (const codec of [raw, text, msgpack, json]) {
      expect(codeOf(() => codec.encode(revoked as never, target, 0, 4096))).toBe('ENCODE_FAILED')
    }
    expect(codeOf(() => crc32(revoked as never))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => crc32(new Uint8Array(1), revoked as never))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => crc32(new Uint8Array(1), Object.create(null) as never))).toBe('INVALID_ARGUMENT')
    const thrower = custom({
      name: 'thrower',
      fingerprint: '1',
      encode: () => {
        throw revoked
      },
      decode: () => {
        throw revoked
      },
    })
    expect(codeOf(() => thrower.encode(1, target, 0, 4096))).toBe('ENCODE_FAILED')
    expect(codeOf(() => thrower.decode(target, 0, 1))).toBe('DECODE_FAILED')
  })

  test('of validators that return nothing, or throw where they are looked at', () => {
    const schema = (validate: () => unknown) => ({ '~standard': { version: 1, vendor: 'test', validate } }) as never
    const target = region()
    for (const result of [
      undefined,
      null,
      1,
      'x',
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('trap')
          },
        },
      ),
      {
        get issues() {
          throw new Error('issues')
        },
      },
      { issues: 1 },
      { issues: [null] },
      revoked,
    ]) {
      const codec = validated(
        json<unknown>(),
        schema(() => result),
      )
      expect(codeOf(() => (codec as Codec<unknown>).encode({}, target, 0, 4096))).toBe('VALIDATION_FAILED')
    }
    expect(
      codeOf(() =>
        (
          validated(
            json<unknown>(),
            schema(async () => ({ value: 1 })),
          ) as unknown as Codec<unknown>
        ).encode({}, target, 0, 99),
      ),
    ).toBe('INVALID_ARGUMENT')
  })

  test('crc32 of a subclass with a species of its own', () => {
    class Other extends Uint8Array {
      static get [Symbol.species](): never {
        return function made() {
          return new Uint8Array(3)
        } as never
      }
      override get length(): number {
        return 5
      }
      override subarray(): never {
        return 'nothing' as never
      }
    }
    const bytes = new Other(1000).fill(9)
    expect(crc32(bytes)).toBe(crc32(new Uint8Array(1000).fill(9)))
  })

  test('of buffers that are transferred in a toJSON or in a handler', () => {
    const encoder = new Encoder(json<unknown>(), { timestamp: 'none' })
    const away = {
      toJSON: () => {
        structuredClone(encoder.bytes, { transfer: [encoder.bytes.buffer as ArrayBuffer] })
        return 1
      },
    }
    encoder.encode('first')
    expect(codeOf(() => encoder.encode(away))).toBe('CLOSED')
    expect(codeOf(() => encoder.encode('next'))).toBe('CLOSED')
    const made = new Encoder(json<unknown>(), { timestamp: 'none' })
    made.encodeBatch([1, 2, 3])
    for (const end of [false, true]) {
      const frames = made.bytes.slice()
      const decoder = new Decoder(json<unknown>())
      const seen: unknown[] = []
      expect(
        codeOf(() =>
          decoder.decode(
            frames,
            (value) => {
              seen.push(value)
              structuredClone(frames, { transfer: [frames.buffer] })
            },
            end,
          ),
        ),
      ).toBe('CLOSED')
      expect(seen).toEqual([1])
    }
  })
})

describe('Encoder and Decoder refuse to be used by the code that they run', () => {
  test('encode, encodeBatch and reset within an encode', () => {
    const encoder = new Encoder(json<unknown>(), { timestamp: 'none' })
    const codes: string[] = []
    const value = {
      toJSON: () => {
        codes.push(
          codeOf(() => encoder.encode('nested')),
          codeOf(() => encoder.encodeBatch(['nested'])),
          codeOf(() => encoder.reset()),
        )
        return 'outer'
      },
    }
    encoder.encode(value)
    encoder.encodeBatch([value, 'last'])
    expect(new Set(codes)).toEqual(new Set(['BUSY']))
    expect([...new Decoder(json<unknown>()).messages(encoder.bytes)].map((one) => one.value)).toEqual([
      'outer',
      'outer',
      'last',
    ])
    expect(encoder.sequence).toBe(3)
    for (const values of [undefined, null, 1] as unknown as [])
      expect(codeOf(() => encoder.encodeBatch(values))).toBe('INVALID_ARGUMENT')
  })

  test('decode within the report of damage', () => {
    const made = new Encoder(json<unknown>(), { timestamp: 'none' })
    made.encodeBatch([1, 2])
    const codes: string[] = []
    const decoder: Decoder<unknown> = new Decoder(json<unknown>(), {
      onDamage: 'resynchronise',
      damage: () => {
        codes.push(
          codeOf(() => decoder.decode(made.bytes, () => {})),
          codeOf(() => [...decoder.messages(made.bytes)]),
        )
      },
    })
    const noisy = Buffer.concat([Buffer.from('noise'), made.bytes, Buffer.from('noise')])
    expect([...decoder.messages(noisy)].map((one) => one.value)).toEqual([1, 2])
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set(['BUSY']))
  })

  test("a codec of the user's own that is used within itself", () => {
    const rings = { inner: undefined as unknown }
    const target = region()
    let depth = 0
    const own = {
      name: 'own',
      fingerprint: '1',
      schema: null,
      maxBytes: undefined,
      encode(value: number, to: { bytes: Uint8Array }, offset: number): number {
        to.bytes.fill(value, offset, offset + 4)
        if (depth++ === 0) rings.inner = other.encode(9)
        return 4
      },
      decode: (from: { bytes: Uint8Array }, offset: number) => from.bytes[offset] as number,
      reader: () => ({ read: (from: { bytes: Uint8Array }, offset: number) => from.bytes[offset] as number }),
    }
    const codec = validated(own, {
      '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
    } as never)
    const other = new Encoder(codec as never, { timestamp: 'none', maxPayload: 64, capacity: 96 })
    expect(codec.encode(5 as never, target, 0, 64)).toBe(4)
    expect(rings.inner).toBeDefined()
    expect(target.bytes.slice(0, 4)).toEqual(new Uint8Array(4).fill(5))
  })
})
