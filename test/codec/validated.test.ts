import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, it } from 'vitest'
import { json } from '../../lib/codec/json.js'
import { f64, u32 } from '../../lib/codec/struct/field.js'
import { struct } from '../../lib/codec/struct/struct.js'
import { validated } from '../../lib/codec/validated.js'
import { decodeBytes, encodeBytes, failure, roundTrip, viewBytes } from './helpers.js'

type Result<T> = StandardSchemaV1.Result<T>

function schemaOf<In, Out>(
  validate: (value: unknown) => Result<Out> | Promise<Result<Out>>,
): StandardSchemaV1<In, Out> {
  return { '~standard': { version: 1, vendor: 'test', validate } }
}

interface Order {
  readonly price: number
  readonly size: number
}

const positive = schemaOf<Order, Order>((value) => {
  const order = value as Order
  const issues: StandardSchemaV1.Issue[] = []
  if (!(order.price > 0)) issues.push({ message: 'must be positive', path: ['price'] })
  if (!(order.size > 0)) issues.push({ message: 'must be positive', path: [{ key: 'size' }, 0] })
  return issues.length > 0 ? { issues } : { value: order }
})

const Order = struct({ price: f64, size: u32 })

describe('validated', () => {
  it('lets valid values through, in both directions', () => {
    const codec = validated(json<Order>(), positive)
    expect(roundTrip(codec, { price: 1, size: 2 })).toEqual({ price: 1, size: 2 })
  })

  it('refuses an invalid value before it is encoded, with its issues', () => {
    const error = failure('VALIDATION_FAILED', () => encodeBytes(validated(Order, positive), { price: -1, size: 0 }))
    expect(error.details['issues']).toEqual([
      { message: 'must be positive', path: ['price'] },
      { message: 'must be positive', path: ['size', 0] },
    ])
    expect(error.message).toContain('price')
    expect(JSON.parse(JSON.stringify(error.details))).toEqual(error.details)
  })

  it('refuses an invalid value that arrives, from iterators and from poll', () => {
    const payload = encodeBytes(Order, { price: -1, size: 1 })
    const codec = validated(Order, positive)
    failure('VALIDATION_FAILED', () => decodeBytes(codec, payload))
    failure('VALIDATION_FAILED', () => viewBytes(codec, payload))
  })

  it('gives poll an owned plain value', () => {
    const view = viewBytes(validated(Order, positive), encodeBytes(Order, { price: 2, size: 1 }))
    expect(Object.getPrototypeOf(view)).toBe(Object.prototype)
  })

  it('encodes what the validator returns', () => {
    const parse = schemaOf<string, number>((value) => ({ value: Number(value) }))
    const codec = validated(json<number>(), parse, { on: 'publish' })
    expect(Buffer.from(encodeBytes(codec, '12')).toString()).toBe('12')
  })

  it('hands out what the validator returns', () => {
    const parse = schemaOf<string, Date>((value) => ({ value: new Date(value as string) }))
    const codec = validated(json<string>(), parse, { on: 'receive' })
    expect(roundTrip(codec, '2012-06-21T00:00:00.000Z')).toEqual(new Date('2012-06-21T00:00:00.000Z'))
  })

  it('runs on one side only when asked', () => {
    const payload = encodeBytes(Order, { price: -1, size: 1 })
    const view = viewBytes(validated(Order, positive, { on: 'publish' }), payload)
    expect(view.price).toBe(-1)
    expect(view.toObject()).toEqual({ price: -1, size: 1 })
    expect(encodeBytes(validated(Order, positive, { on: 'receive' }), { price: -1, size: 1 })).toEqual(payload)
  })

  it('refuses an asynchronous validator, and its rejection does not end the process', async () => {
    const late = schemaOf<Order, Order>(() => Promise.reject(new Error('late')))
    const error = failure('INVALID_ARGUMENT', () => encodeBytes(validated(Order, late), { price: 1, size: 1 }))
    expect(error.message).toContain('asynchronous')
    await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it('reports a validator that throws', () => {
    const cause = new Error('broken')
    const throwing = schemaOf<Order, Order>(() => {
      throw cause
    })
    expect(
      failure('VALIDATION_FAILED', () => encodeBytes(validated(Order, throwing), { price: 1, size: 1 })).cause,
    ).toBe(cause)
  })

  it('keeps the identity of the codec, since the bytes are the same', () => {
    const codec = validated(Order, positive)
    expect([codec.name, codec.fingerprint, codec.schema, codec.maxBytes]).toEqual([
      'struct',
      Order.fingerprint,
      Order.schema,
      16,
    ])
  })

  it('refuses what is no validator, no codec or no option', () => {
    for (const wrong of [undefined, {}, { '~standard': { version: 2, validate: () => 0 } }, 'x']) {
      failure('INVALID_ARGUMENT', () => validated(Order, wrong as never))
    }
    expect(failure('INVALID_ARGUMENT', () => validated(struct as never, positive)).message).toContain('struct(…)')
    failure('UNKNOWN_OPTION', () => validated(Order, positive, { onn: 'publish' } as never))
    failure('INVALID_ARGUMENT', () => validated(Order, positive, { on: 'never' } as never))
  })
})
