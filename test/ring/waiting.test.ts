import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { Decoder, Encoder, MpmcRing, SpscByteRing, SpscRing, struct, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'

const codec = struct({ value: u32 })
const kinds = {
  SpscRing: () => {
    const producer = SpscRing.create({ capacity: 4, codec, role: 'producer' })
    return { producer, consumer: SpscRing.attach(producer.handle, { codec, role: 'consumer' }) }
  },
  SpscByteRing: () => {
    const producer = SpscByteRing.create({ capacity: 64, codec, role: 'producer' })
    return { producer, consumer: SpscByteRing.attach(producer.handle, { codec, role: 'consumer' }) }
  },
  MpmcRing: () => {
    const producer = MpmcRing.create({ capacity: 4, codec })
    return { producer, consumer: MpmcRing.attach(producer.handle, { codec }) }
  },
}

for (const [name, make] of Object.entries(kinds)) {
  test(`${name}: items() and room() end when their time is over, and know no other options`, async () => {
    const { producer, consumer } = make()
    expect((await failure('TIMED_OUT', () => consumer.items({ timeoutMs: 5 }))).details).toEqual({ timeoutMs: 5 })
    while (producer.tryPush({ value: 1 }));
    await failure('TIMED_OUT', () => producer.room({ timeoutMs: 0 }))
    await failure('UNKNOWN_OPTION', () => consumer.items({ timeout: 5 } as never))
    await failure('INVALID_ARGUMENT', () => producer.room({ timeoutMs: -1 }))
    await consumer.items({ timeoutMs: 5 })
    consumer.tryPop()
    await producer.room({ timeoutMs: 5 })
  })

  test(`${name}: a handler that returns a promise is refused, and its item counts as taken`, async () => {
    const { producer, consumer } = make()
    producer.pushBatch([{ value: 1 }, { value: 2 }])
    const seen: number[] = []
    await failure('INVALID_ARGUMENT', () =>
      consumer.poll(async ({ value }) => {
        seen.push(value)
      }),
    )
    expect(consumer.poll(({ value }) => seen.push(value))).toBe(1)
    expect(seen).toEqual([1, 2])
  })

  test(`${name}: console.log shows what it is and not its memory`, () => {
    const { producer } = make()
    const shown = inspect(producer)
    expect(shown).toMatch(new RegExp(`^${name} \\{[^]*capacity: ${producer.capacity}`))
    expect(shown.length).toBeLessThan(200)
    producer.close()
    expect(inspect(producer)).toContain('closed: true')
  })
}

test('a Decoder refuses a handler that returns a promise, and goes on behind its frame', async () => {
  const encoder = new Encoder(codec)
  encoder.encodeBatch([{ value: 1 }, { value: 2 }])
  const decoder = new Decoder(codec)
  await failure('INVALID_ARGUMENT', () => decoder.decode(encoder.bytes, async () => {}))
  const seen: number[] = []
  decoder.decode(encoder.bytes.subarray(decoder.position), ({ value }) => seen.push(value))
  expect(seen).toEqual([2])
})
