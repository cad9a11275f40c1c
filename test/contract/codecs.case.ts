import { expect } from 'vitest'
import {
  array,
  ascii,
  bool,
  type Codec,
  custom,
  enumeration,
  f64,
  i64,
  json,
  msgpack,
  raw,
  struct,
  text,
  u32,
  utf8,
  validated,
  varBytes,
} from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, same, take } from '../helpers/receive.js'
import type { OpenPlace, Suite } from './placement.js'

const Trade = struct({ symbol: ascii(8), price: f64, size: u32, side: enumeration(['buy', 'sell']) })
const Wide = struct({
  id: i64,
  open: bool,
  name: utf8(12),
  legs: array(struct({ price: f64, size: u32 }), 2),
  note: varBytes(),
})

interface Example<In, Out, View> {
  readonly name: string
  readonly codec: Codec<In, Out, View>
  readonly values: readonly In[]
  readonly copy: (view: View) => Out
}
const example = <In, Out, View>(one: Example<In, Out, View>): Example<unknown, unknown, unknown> =>
  one as unknown as Example<unknown, unknown, unknown>

const bytes = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff)

const trades = [
  { symbol: 'BTC', price: 50_000.25, size: 3, side: 'buy' as const },
  { symbol: '', price: -0.5, size: 0, side: 'sell' as const },
  { symbol: 'ABCDEFGH', price: Number.MAX_VALUE, size: 0xffff_ffff, side: 'buy' as const },
]

const examples = [
  example({
    name: 'raw',
    codec: raw,
    values: [bytes(0, 0), bytes(1, 1), bytes(64, 2), bytes(65, 3), bytes(5000, 4)],
    copy: (view) => view.slice(),
  }),
  example({ name: 'text', codec: text, values: ['', 'a', 'grün €𝄞', 'x'.repeat(5000)], copy: same }),
  example({
    name: 'json',
    codec: json,
    values: [null, 0, 'x', [1, { a: [true] }], { nested: { deep: 'ü' } }],
    copy: same,
  }),
  example({
    name: 'msgpack',
    codec: msgpack,
    values: [null, 1.5, 'x', [1, { a: [true] }], { bin: bytes(9, 1) }],
    copy: same,
  }),
  example({ name: 'struct', codec: Trade, values: trades, copy: (view) => view.toObject() }),
  example({
    name: 'struct with a trailing part',
    codec: Wide,
    values: [
      {
        id: -5n,
        open: true,
        name: 'Zoë',
        legs: [
          { price: 1, size: 2 },
          { price: 3, size: 4 },
        ],
        note: bytes(0, 0),
      },
      {
        id: 2n ** 62n,
        open: false,
        name: '',
        legs: [
          { price: 0, size: 0 },
          { price: 0, size: 1 },
        ],
        note: bytes(777, 5),
      },
    ],
    copy: (view) => view.toObject(),
  }),
  example({
    name: 'custom',
    codec: custom<string>({
      name: 'reversed',
      fingerprint: '1',
      encode: (value) => Buffer.from([...value].reverse().join('')),
      decode: (payload) => [...Buffer.from(payload).toString()].reverse().join(''),
    }),
    values: ['abc', '', 'ñandú'],
    copy: same,
  }),
  example({
    name: 'validated',
    codec: validated(json<{ size: number }>(), {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value: unknown) =>
          typeof value === 'object' && value !== null && 'size' in value && typeof value.size === 'number'
            ? { value: { size: value.size } }
            : { issues: [{ message: 'size is missing' }] },
      },
    }),
    values: [{ size: 1 }, { size: 2 }],
    copy: same,
  }),
]

export function codecCase({ it }: Suite): void {
  for (const { name, codec, values, copy } of examples) {
    const prepare = async ({ hermes }: OpenPlace) => {
      const topic = hermes.topic('values', { codec })
      const publisher = await topic.publisher()
      for (const value of values) publisher.publish(value)
      publisher.publishBatch(values)
      const expected = [...values, ...values].map((value, index) => ({ value, sequence: index + 1 }))
      return { subscriber: await topic.subscriber({ from: 'earliest' }), expected }
    }

    it(`polls what was published: ${name}`, async (place) => {
      const { subscriber, expected } = await prepare(place)
      expect(drain(subscriber, copy)).toEqual(expected)
    })

    it(`iterates over what was published: ${name}`, async (place) => {
      const { subscriber, expected } = await prepare(place)
      expect(await take(subscriber, expected.length)).toEqual(expected)
    })
  }

  it('hands out the payload as it was encoded', async ({ hermes }) => {
    const topic = hermes.topic('text', { codec: text })
    const publisher = await topic.publisher()
    publisher.publish('grün')
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const seen: unknown[] = []
    subscriber.poll((_, message) => seen.push(message.payloadBytes, message.copyPayload()))
    expect(seen).toEqual([5, new Uint8Array(Buffer.from('grün'))])
  })

  it('refuses a codec that the topic was not made with', async ({ hermes }) => {
    await hermes.topic('trades', { codec: Trade }).publisher()
    const Other = struct({ symbol: ascii(8), price: f64, size: f64 })
    for (const codec of [Other, json, raw] as Codec<never>[]) {
      const other = hermes.topic<never>('trades', { codec })
      const error = await failure('CODEC_MISMATCH', () => other.publisher())
      expect(error.details).toMatchObject({ topic: 'trades', found: { name: 'struct' }, wanted: { name: codec.name } })
      // Names and fields tell people more than fingerprints do.
      expect(error.message).not.toMatch(/[0-9a-f]{16}/)
      await failure('CODEC_MISMATCH', () => other.subscriber())
    }
  })

  it('publishes nothing of a value that can not be encoded', async ({ hermes }) => {
    const topic = hermes.topic('trades', { codec: Trade })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const [good] = trades
    const bad = { ...good, size: -1 } as unknown as (typeof trades)[number]
    await failure('ENCODE_FAILED', () => publisher.publish(bad))
    await failure('ENCODE_FAILED', () => publisher.publishAsync(bad))
    publisher.publish(good!)
    expect(await collect(subscriber, 1, (view) => view.toObject())).toEqual([{ value: good, sequence: 1 }])
  })

  it('says how many values of a batch were accepted before one that can not be encoded', async ({ hermes }) => {
    const topic = hermes.topic('trades', { codec: Trade })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const many = Array.from({ length: 300 }, (_, n) => ({ ...trades[0]!, size: n === 290 ? -1 : n }))
    const error = await failure('ENCODE_FAILED', () => publisher.publishBatch(many))
    expect(error.details.accepted).toBe(256)
    expect(await collect(subscriber, 256, (view) => view.size)).toHaveLength(256)
  })

  it('goes on behind a message that can not be decoded', ['sharing'], async ({ hermes }) => {
    const fussy = custom<string>({
      name: 'fussy',
      fingerprint: '1',
      encode: (value) => Buffer.from(value),
      decode: (payload) => {
        const value = Buffer.from(payload).toString()
        if (value === 'bad') throw new Error('not to my taste')
        return value
      },
    })
    const topic = hermes.topic('fussy', { codec: fussy })
    const publisher = await topic.publisher()
    publisher.publishBatch(['one', 'bad', 'three'])
    const poller = await topic.subscriber({ from: 'earliest' })
    const iterator = await topic.subscriber({ from: 'earliest' })
    const polled: string[] = []
    const poll = () => poller.poll((value) => polled.push(value))
    await failure('DECODE_FAILED', poll)
    expect(polled).toEqual(['one'])
    expect(poll()).toBe(1)
    expect(polled).toEqual(['one', 'three'])

    const batches = iterator.batches()
    expect((await batches.next()).value?.map((one: { value: string }) => one.value)).toEqual(['one'])
    await failure('DECODE_FAILED', () => batches.next())
    expect(await take(iterator, 1)).toEqual([{ value: 'three', sequence: 3 }])
  })
}
