import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expectTypeOf, it } from 'vitest'
import { json } from '../../lib/codec/json.js'
import {
  array,
  ascii,
  bool,
  bytes,
  enumeration,
  f64,
  u32,
  u53,
  u64,
  varArray,
  varUtf8,
} from '../../lib/codec/struct/field.js'
import { type DynamicStructView, struct, type structFromSchema } from '../../lib/codec/struct/struct.js'
import { validated } from '../../lib/codec/validated.js'
import type { InputOf as In, ValueOf as Out, ViewOf as View } from '../../lib/index.js'

const Level = struct({ price: f64, side: enumeration(['buy', 'sell']) })
const Book = struct({
  symbol: ascii(8),
  id: u64,
  sequence: u53,
  live: bool,
  key: bytes(4),
  best: Level,
  levels: array(Level, 5),
  ticks: varArray(u32),
})

describe('a struct', () => {
  it('infers what is written', () => {
    expectTypeOf<In<typeof Level>>().toEqualTypeOf<{ price: number; side: 'buy' | 'sell' }>()
    expectTypeOf<In<typeof Book>['id']>().toEqualTypeOf<bigint>()
    expectTypeOf<In<typeof Book>['sequence']>().toEqualTypeOf<number>()
    expectTypeOf<In<typeof Book>['live']>().toEqualTypeOf<boolean>()
    expectTypeOf<In<typeof Book>['key']>().toEqualTypeOf<Uint8Array>()
    expectTypeOf<In<typeof Book>['best']['side']>().toEqualTypeOf<'buy' | 'sell'>()
    expectTypeOf<Uint32Array>().toExtend<In<typeof Book>['ticks']>()
    expectTypeOf<readonly { price: number; side: 'buy' }[]>().toExtend<In<typeof Book>['levels']>()
  })

  it('infers owned values, which may be changed', () => {
    expectTypeOf<Out<typeof Level>>().toEqualTypeOf<{ price: number; side: 'buy' | 'sell' }>()
    expectTypeOf<Out<typeof Book>['levels']>().toEqualTypeOf<{ price: number; side: 'buy' | 'sell' }[]>()
    expectTypeOf<Out<typeof Book>['ticks']>().toEqualTypeOf<number[]>()
  })

  it('infers views, which are read only and nest', () => {
    expectTypeOf<View<typeof Book>['symbol']>().toEqualTypeOf<string>()
    expectTypeOf<View<typeof Book>['best']['price']>().toEqualTypeOf<number>()
    expectTypeOf<ReturnType<View<typeof Book>['best']['toObject']>>().toEqualTypeOf<Out<typeof Level>>()
    const use = (view: View<typeof Level>): void => {
      // @ts-expect-error a view cannot be written to
      view.price = 1
    }
    expectTypeOf(use).toBeFunction()
  })

  it('refuses wrong values and wrong fields', () => {
    const wrong = (): void => {
      const region = undefined as never
      // @ts-expect-error not a label
      Level.encode({ price: 1, side: 'hold' }, region, 0, 0)
      // @ts-expect-error a field is missing
      Level.encode({ price: 1 }, region, 0, 0)
      // @ts-expect-error a number for a bigint
      struct({ a: u64 }).encode({ a: 1 }, region, 0, 0)
      // @ts-expect-error a type function that was not called
      struct({ a: ascii })
      // @ts-expect-error a name in place of a type
      struct({ a: 'u32' })
    }
    expectTypeOf(wrong).toBeFunction()
  })

  it('is known at run time only when made from a schema', () => {
    expectTypeOf<View<ReturnType<typeof structFromSchema>>>().toEqualTypeOf<DynamicStructView>()
    expectTypeOf<DynamicStructView['anything']>().toEqualTypeOf<unknown>()
  })

  it('has a trailing string', () => {
    const Note = struct({ text: varUtf8() })
    expectTypeOf<Out<typeof Note>>().toEqualTypeOf<{ text: string }>()
  })
})

describe('json', () => {
  it('takes and yields unknown, or the type that it is called with', () => {
    expectTypeOf<Out<typeof json>>().toEqualTypeOf<unknown>()
    const typed = () => json<{ a: number }>()
    expectTypeOf<In<ReturnType<typeof typed>>>().toEqualTypeOf<{ a: number }>()
  })
})

describe('validated', () => {
  interface Order {
    readonly price: number
    readonly side: 'buy' | 'sell'
  }
  const order = undefined as unknown as StandardSchemaV1<{ price: string; side: string }, Order>

  it('takes the input of the validator, and hands out its output', () => {
    const make = () => validated(Level, order)
    expectTypeOf<In<ReturnType<typeof make>>>().toEqualTypeOf<{ price: string; side: string }>()
    expectTypeOf<Out<ReturnType<typeof make>>>().toEqualTypeOf<Order>()
    expectTypeOf<View<ReturnType<typeof make>>>().toEqualTypeOf<Order>()
  })

  it('leaves the other side alone when it runs on one', () => {
    const publish = () => validated(Level, order, { on: 'publish' })
    expectTypeOf<View<ReturnType<typeof publish>>>().toEqualTypeOf<View<typeof Level>>()
    const receive = () => validated(json<string>(), order, { on: 'receive' })
    expectTypeOf<In<ReturnType<typeof receive>>>().toEqualTypeOf<string>()
    expectTypeOf<Out<ReturnType<typeof receive>>>().toEqualTypeOf<Order>()
  })
})
