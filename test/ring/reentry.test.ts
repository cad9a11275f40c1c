import { describe, expect, test } from 'vitest'
import { HermesError } from '../../lib/base/errors.js'
import { custom, json, MpmcRing, raw, SpscByteRing, SpscRing, struct, u32 } from '../../lib/index.js'

const Item = struct({ n: u32 })

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'none'
  } catch (error) {
    return error instanceof HermesError ? error.code : `raw ${String(error)}`
  }
}

const spsc = () => {
  const producer = SpscRing.create({ capacity: 8, codec: Item, role: 'producer' })
  const consumer = SpscRing.attach(producer.handle, { codec: Item, role: 'consumer' })
  return { producer, consumer }
}
const bytes = () => {
  const producer = SpscByteRing.create({ capacity: 1024, codec: json<unknown>(), role: 'producer' })
  const consumer = SpscByteRing.attach(producer.handle, { codec: json<unknown>(), role: 'consumer' })
  return { producer, consumer }
}

describe('a handler of poll can not take items itself', () => {
  test('SpscRing', () => {
    const { producer, consumer } = spsc()
    for (let n = 0; n < 5; n++) producer.tryPush({ n })
    const seen: number[] = []
    const codes = new Set<string>()
    consumer.poll((view) => {
      seen.push(view.n)
      for (const call of [
        () => consumer.tryPop(),
        () => consumer.popBatch(),
        () => consumer.popInto(new Uint8Array(4)),
        () => consumer.peek(),
        () => consumer.consume(1),
        () => consumer.poll(() => {}),
      ]) {
        codes.add(codeOf(call))
      }
      expect(view.n).toBe(seen.at(-1))
    })
    expect([...codes]).toEqual(['BUSY'])
    expect(seen).toEqual([0, 1, 2, 3, 4])
    for (let n = 5; n < 12; n++) expect(producer.tryPush({ n })).toBe(true)
    expect(consumer.popBatch().map((one) => one.n)).toEqual([5, 6, 7, 8, 9, 10, 11])
  })

  test('SpscByteRing: the view stays', () => {
    const { producer, consumer } = bytes()
    for (let n = 0; n < 5; n++) producer.tryPush({ n }, n)
    const seen: unknown[] = []
    consumer.poll((view, label) => {
      for (const call of [
        () => consumer.tryPop(),
        () => consumer.popBatch(),
        () => consumer.popInto(new Uint8Array(99)),
      ]) {
        expect(codeOf(call)).toBe('BUSY')
      }
      expect(codeOf(() => consumer.poll(() => {}))).toBe('BUSY')
      expect(consumer.label).toBe(label)
      seen.push(view)
    })
    expect(seen).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })))
    expect(consumer.tryPop()).toBeUndefined()
  })

  test('neither can a decode', () => {
    let inside = (): unknown => undefined
    const codes: string[] = []
    const nosy = custom<Uint8Array, number>({
      name: 'nosy',
      fingerprint: '1',
      encode: (value) => value,
      decode: (payload) => {
        codes.push(codeOf(inside))
        return payload[0] as number
      },
    })
    const producer = SpscRing.create({ capacity: 8, codec: nosy, itemBytes: 4, role: 'producer' })
    const consumer = SpscRing.attach(producer.handle, { codec: nosy, role: 'consumer' })
    for (let n = 1; n <= 4; n++) producer.tryPush(new Uint8Array(4).fill(n))
    inside = () => consumer.tryPop()
    expect([consumer.tryPop(), ...consumer.popBatch()]).toEqual([1, 2, 3, 4])
    expect(codes).toEqual(['BUSY', 'BUSY', 'BUSY', 'BUSY'])
  })

  test('MpmcRing: each item is claimed for itself, so a handler may pop; not poll', () => {
    const ring = MpmcRing.create({ capacity: 8, codec: Item })
    for (let n = 0; n < 6; n++) ring.tryPush({ n })
    const seen: number[] = []
    ring.poll((view) => {
      const own = view.n
      seen.push(own)
      expect(codeOf(() => ring.poll(() => {}))).toBe('BUSY')
      const other = ring.tryPop()
      if (other !== undefined) seen.push(other.n)
      expect(view.n).toBe(own)
    })
    expect(seen).toEqual([0, 1, 2, 3, 4, 5])
  })
})

describe('what an encoding runs can not push to the same ring', () => {
  test.each(['tryPush', 'pushBatch'] as const)('SpscRing.%s', (method) => {
    const { producer, consumer } = spsc()
    const codes: string[] = []
    const value = {
      get n(): number {
        for (const call of [
          () => producer.tryPush({ n: 99 }),
          () => producer.pushBatch([{ n: 99 }]),
          () => producer.claim(),
          () => producer.commit(),
        ]) {
          codes.push(codeOf(call))
        }
        return 1
      },
    }
    if (method === 'tryPush') expect(producer.tryPush(value)).toBe(true)
    else expect(producer.pushBatch([{ n: 0 }, value])).toBe(2)
    expect(new Set(codes)).toEqual(new Set(['BUSY']))
    expect(producer.tryPush({ n: 2 })).toBe(true)
    expect(consumer.popBatch().map((one) => one.n)).toEqual(method === 'tryPush' ? [1, 2] : [0, 1, 2])
  })

  test('a getter of the batch itself', () => {
    const { producer, consumer } = spsc()
    const codes: string[] = []
    const values = [{ n: 0 }]
    Object.defineProperty(values, 1, {
      get: () => {
        codes.push(codeOf(() => producer.tryPush({ n: 99 })))
        return { n: 1 }
      },
    })
    expect(producer.pushBatch(values)).toBe(2)
    expect(codes).toEqual(['BUSY'])
    expect(consumer.popBatch().map((one) => one.n)).toEqual([0, 1])
  })

  test('SpscByteRing', () => {
    const { producer, consumer } = bytes()
    const codes: string[] = []
    const value = {
      toJSON: () => {
        codes.push(codeOf(() => producer.tryPush('nested')))
        codes.push(codeOf(() => producer.claim(8)))
        codes.push(codeOf(() => producer.pushBatch(['nested'])))
        return 'outer'
      },
    }
    expect(producer.tryPush(value)).toBe(true)
    expect(producer.pushBatch([value, 'last'])).toBe(2)
    expect(new Set(codes)).toEqual(new Set(['BUSY']))
    expect(consumer.popBatch()).toEqual(['outer', 'outer', 'last'])
  })

  test('MpmcRing: nor commit, abort or end', () => {
    const ring = MpmcRing.create({ capacity: 8, codec: Item })
    ring.tryPush({ n: 0 })
    const codes: string[] = []
    let popped: unknown
    const value = {
      get n(): number {
        for (const call of [
          () => ring.tryPush({ n: 99 }),
          () => ring.claim(),
          () => ring.commit(),
          () => ring.abort(),
          () => ring.end(),
        ]) {
          codes.push(codeOf(call))
        }
        popped = ring.tryPop() ?? popped
        return 1
      },
    }
    expect(ring.tryPush(value)).toBe(true)
    expect(new Set(codes)).toEqual(new Set(['BUSY']))
    expect(popped).toEqual({ n: 0 })
    expect(ring.popBatch()).toEqual([{ n: 1 }])
  })

  test('MpmcRing: a pop does not move an open claim', () => {
    const ring = MpmcRing.create({ capacity: 8, codec: Item })
    ring.tryPush({ n: 7 })
    expect(ring.claim()).toBe(true)
    const at = ring.claimOffset
    expect(ring.tryPop()).toEqual({ n: 7 })
    expect(ring.claimOffset).toBe(at)
    ring.region.data.setUint32(at, 8, true)
    ring.commit()
    expect(ring.tryPop()).toEqual({ n: 8 })
  })

  test('close() from there takes effect afterwards, and the value is not in the ring', () => {
    for (const make of [spsc, bytes]) {
      const { producer, consumer } = make() as ReturnType<typeof spsc>
      producer.tryPush({ n: 1 })
      const value = {
        get n(): number {
          producer.close()
          return 2
        },
      }
      expect(codeOf(() => producer.tryPush(value))).toBe('CLOSED')
      expect(codeOf(() => producer.tryPush({ n: 3 }))).toBe('CLOSED')
      expect(consumer.popBatch()).toEqual([{ n: 1 }])
      expect(consumer.tryPop()).toBeUndefined()
      expect(consumer.ended).toBe(true)
    }
    const ring = MpmcRing.create({ capacity: 8, codec: Item })
    const other = MpmcRing.attach(ring.handle, { codec: Item })
    const value = {
      get n(): number {
        ring.close()
        return 2
      },
    }
    expect(codeOf(() => ring.tryPush(value))).toBe('CLOSED')
    expect(ring.closed).toBe(true)
    other.tryPush({ n: 3 })
    expect(other.popBatch()).toEqual([{ n: 3 }])
    expect(other.attached).toBe(1)
  })
})

describe('limits, batches and targets', () => {
  const rings = {
    spsc,
    bytes,
    mpmc: () => {
      const ring = MpmcRing.create({ capacity: 8, codec: Item })
      return { producer: ring, consumer: ring }
    },
  }

  test.each(Object.keys(rings) as (keyof typeof rings)[])('%s: a limit is a whole number', (kind) => {
    const { producer, consumer } = rings[kind]() as ReturnType<typeof spsc>
    for (let n = 0; n < 4; n++) producer.tryPush({ n })
    for (const limit of [1.5, -1, Number.NaN, '2', null, 2n, {}] as unknown as number[]) {
      expect(codeOf(() => consumer.popBatch(limit))).toBe('INVALID_ARGUMENT')
      expect(codeOf(() => consumer.poll(() => {}, limit))).toBe('INVALID_ARGUMENT')
    }
    expect(codeOf(() => consumer.poll(undefined as never))).toBe('INVALID_ARGUMENT')
    expect(consumer.popBatch(0)).toEqual([])
    expect(consumer.popBatch(1)).toEqual([{ n: 0 }])
    expect(consumer.popBatch(Number.POSITIVE_INFINITY)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    for (const values of [undefined, null, 3, 'ab', {}, { length: 1.5 }, { length: -1 }] as unknown as []) {
      expect(codeOf(() => producer.pushBatch(values))).toBe('INVALID_ARGUMENT')
    }
  })

  test('MpmcRing.popBatch returns what it took before an item that can not be decoded', () => {
    const picky = custom<number, number>({
      name: 'picky',
      fingerprint: '1',
      encode: (value) => new Uint8Array(4).fill(value),
      decode: (payload) => {
        if (payload[0] === 3) throw new Error('three')
        return payload[0] as number
      },
    })
    const ring = MpmcRing.create({ capacity: 8, codec: picky, itemBytes: 4 })
    ring.pushBatch([1, 2, 3, 4])
    expect(ring.popBatch()).toEqual([1, 2])
    expect(codeOf(() => ring.popBatch())).toBe('DECODE_FAILED')
    expect(ring.popBatch()).toEqual([4])
    ring.pushBatch([1, 3])
    expect(ring.popBatch()).toEqual([1])
    expect(codeOf(() => ring.tryPop())).toBe('DECODE_FAILED')
    expect(ring.tryPop()).toBeUndefined()
  })

  test('a subclass that says it is shorter does not write past its limit', () => {
    class Short extends Uint8Array {
      override get length(): number {
        return 8
      }
    }
    const long = new Short(16).fill(0xee)
    const ring = SpscRing.create({ capacity: 2, itemBytes: 8, role: 'producer' })
    const reader = SpscRing.attach(ring.handle, { role: 'consumer' })
    expect(codeOf(() => ring.tryPush(long))).toMatch(/^(PAYLOAD_TOO_LARGE|ENCODE_FAILED)$/)
    expect(ring.tryPush(new Uint8Array(8).fill(1))).toBe(true)
    expect(reader.tryPop()).toEqual(new Uint8Array(8).fill(1))
    const byteRing = SpscByteRing.create({ capacity: 64, role: 'producer' })
    const byteReader = SpscByteRing.attach(byteRing.handle, { role: 'consumer' })
    expect(byteRing.tryPush(long)).toBe(true)
    expect(byteReader.tryPop()).toEqual(new Uint8Array(16).fill(0xee))
    // A target that says it is longer.
    class Long extends Uint8Array {
      override get length(): number {
        return 99
      }
    }
    expect(ring.tryPush(new Uint8Array(8).fill(2))).toBe(true)
    expect(codeOf(() => reader.popInto(new Long(4)))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => reader.popInto([] as never))).toBe('INVALID_ARGUMENT')
    expect(reader.tryPop()).toEqual(new Uint8Array(8).fill(2))
  })

  test('values and codecs that are none', () => {
    for (const value of [undefined, null, 1, 'x', {}, [], new Uint16Array(4)] as unknown as Uint8Array[]) {
      const ring = SpscByteRing.create({ capacity: 64, role: 'producer' })
      expect(codeOf(() => ring.tryPush(value))).toBe('ENCODE_FAILED')
      expect(codeOf(() => SpscRing.create({ capacity: 8, itemBytes: 4, role: 'producer' }).tryPush(value))).toBe(
        'ENCODE_FAILED',
      )
      expect(codeOf(() => SpscRing.create({ capacity: 8, codec: value === undefined ? null : value } as never))).toBe(
        'INVALID_ARGUMENT',
      )
    }
    expect(raw.name).toBe('raw')
  })
})
