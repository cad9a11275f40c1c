import { expect } from 'vitest'
import { json, open, raw, struct, u8, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, numbers, publishMany, same } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const count = json<number>()

export function limitsCase({ it }: Suite): void {
  for (const { maxPayloadBytes, segmentBytes } of [
    { maxPayloadBytes: undefined, segmentBytes: undefined },
    { maxPayloadBytes: 1, segmentBytes: 65_536 },
    { maxPayloadBytes: 100, segmentBytes: 65_536 },
    { maxPayloadBytes: 16_384, segmentBytes: 65_536 },
    { maxPayloadBytes: 1_048_576, segmentBytes: 4_194_304 },
  ]) {
    const limit = maxPayloadBytes ?? 65_536
    const needs = segmentBytes === 4 * (maxPayloadBytes ?? 0) ? (['growth'] as const) : []
    it(
      `takes a payload of the limit and refuses one byte more: ${maxPayloadBytes ?? 'default'}`,
      needs,
      async ({ hermes }) => {
        const topic = hermes.topic('bytes', {
          codec: raw,
          ...(maxPayloadBytes === undefined ? {} : { maxPayloadBytes }),
          ...(segmentBytes === undefined ? {} : { segmentBytes }),
        })
        const publisher = await topic.publisher()
        const subscriber = await topic.subscriber({ from: 'earliest' })
        expect((await topic.info()).maxPayloadBytes).toBe(limit)
        const most = new Uint8Array(limit).fill(0x5a)
        const more = new Uint8Array(limit + 1)
        const room = async (accepted: boolean) => accepted || publisher.ready()
        await room(publisher.publish(most))
        await failure('PAYLOAD_TOO_LARGE', () => publisher.publish(more))
        await failure('PAYLOAD_TOO_LARGE', () => publisher.publishAsync(more))
        const error = await failure('PAYLOAD_TOO_LARGE', () => publisher.publishBatch([most, most, more]))
        expect(error.details).toMatchObject({ limit, needed: limit + 1 })
        await room(publisher.publishBatch([most, most]))
        await publisher.publishAsync(most)
        const count = 4 + (error.details.accepted as number)
        const whole = (view: Uint8Array) => view.length === limit && view.every((byte) => byte === 0x5a)
        expect(await collect(subscriber, count, whole)).toEqual(
          numbers(1, count).map((sequence) => ({ value: true, sequence })),
        )
      },
    )
  }

  it('refuses struct values that a small limit leaves no room for', async ({ hermes }) => {
    const Fat = struct({ bytes: u32, tail: u8 })
    const topic = hermes.topic('fat', { codec: Fat, maxPayloadBytes: 4, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    await failure('PAYLOAD_TOO_LARGE', () => publisher.publish({ bytes: 1, tail: 1 }))
    await failure('PAYLOAD_TOO_LARGE', () => publisher.publishBatch([{ bytes: 1, tail: 1 }]))
  })

  it(
    'goes through many of the smallest segments, with sizes of every kind',
    ['growth', 'segments'],
    async ({ hermes }) => {
      const topic = hermes.topic('bytes', { codec: raw, segmentBytes: 65_536 })
      const publisher = await topic.publisher()
      const subscriber = await topic.subscriber({ from: 'earliest' })
      // A fixed sequence of sizes (a multiplicative generator), so that segments end in every way.
      let state = 12_345
      const next = () => (state = (state * 48_271) % 2_147_483_647)
      const sizes: number[] = []
      let total = 0
      while (total < 3_000_000) {
        const size = next() % 8 === 0 ? next() % 16_385 : next() % 300
        sizes.push(size)
        total += size
      }
      const value = (index: number) => new Uint8Array(sizes[index]!).fill(index)
      let seen = 0
      const check = (view: Uint8Array, { sequence }: { sequence: number }) => {
        expect(sequence).toBe(seen + 1)
        const ok = view.length === sizes[seen] && view.every((byte) => byte === (seen & 0xff))
        if (!ok) throw new Error(`message ${sequence} is not what was published`)
        seen++
      }
      for (let index = 0; index < sizes.length; ) {
        const many = index % 5
        const room =
          many === 0
            ? publisher.publish(value(index++))
            : publisher.publishBatch(Array.from({ length: Math.min(many, sizes.length - index) }, () => value(index++)))
        if (!room) await publisher.ready()
        if (index % 50 === 0) while (subscriber.poll(check) > 0);
      }
      while (seen < sizes.length) {
        await subscriber.ready()
        while (subscriber.poll(check) > 0);
      }
      const { segments, segmentBytes, bytes } = await topic.info()
      expect(segments).toBeGreaterThan(40)
      expect(bytes).toBe(segments * segmentBytes)
    },
  )

  it('fills segments to the last byte', ['growth'], async ({ hermes }) => {
    // (65,536 - 256) / 8,160 = 8: eight frames of 8,128 bytes of payload fill a segment, and no padding is needed.
    const topic = hermes.topic('exact', { codec: raw, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (const n of numbers(0, 40)) if (!publisher.publish(new Uint8Array(8128).fill(n))) await publisher.ready()
    expect(await collect(subscriber, 40, (view) => view[8127])).toEqual(
      numbers(0, 40).map((n) => ({ value: n, sequence: n + 1 })),
    )
    expect((await topic.info()).nextSequence).toBe(41)
  })

  it('tells what is known of a topic', ['retention', 'files'], async ({ hermes, place }) => {
    expect(await hermes.topics()).toEqual([])
    const Tick = struct({ n: u32 })
    const topic = hermes.topic('ticks', {
      codec: Tick,
      segmentBytes: 65_536,
      maxPayloadBytes: 1000,
      retention: { bytes: 655_360 },
    })
    await failure('NOT_FOUND', () => topic.info())
    await failure('NOT_FOUND', () => hermes.info('ticks'))
    const before = Date.now()
    const publisher = await topic.publisher()
    const empty = await topic.info()
    expect(empty).toMatchObject({ firstSequence: 1, nextSequence: 1, publishers: 1, diskAlarm: false })
    publisher.publishBatch(numbers(0, 100).map((n) => ({ n })))
    await publisher.flush('synced')
    const info = await hermes.info('ticks')
    expect(info).toEqual({
      name: 'ticks',
      codec: { name: 'struct', fingerprint: Tick.fingerprint, schema: Tick.schema },
      createdMs: expect.any(Number),
      firstSequence: 1,
      nextSequence: 101,
      syncedSequence: 101,
      watermarks: { claimed: 101, written: 101, synced: 101 },
      segments: 1,
      bytes: 65_536,
      usedBytes: expect.any(Number),
      segmentBytes: 65_536,
      maxPayloadBytes: 1000,
      retention: { bytes: 655_360 },
      publishers: 1,
      diskAlarm: false,
    })
    // A frame of 40 bytes for each message, and the header of the segment.
    expect(info.usedBytes).toBeGreaterThanOrEqual(100 * 40)
    expect(info.usedBytes).toBeLessThanOrEqual(100 * 40 + 8192)
    expect(info.createdMs).toBeGreaterThanOrEqual(before - 1000)
    expect(info.createdMs).toBeLessThanOrEqual(Date.now() + 1000)
    expect(await topic.info()).toEqual(info)
    await publisher.close()
    await using again = await open(place, { create: false })
    expect(await again.info('ticks')).toEqual({ ...info, publishers: 0 })
    expect(await again.topics()).toEqual(['ticks'])
  })

  it('holds a topic to the settings that it was made with', ['sharing'], async ({ hermes }) => {
    const made = hermes.topic('counts', { codec: count, segmentBytes: 131_072, maxPayloadBytes: 1000 })
    await made.publisher()
    for (const other of [{ segmentBytes: 65_536 }, { maxPayloadBytes: 1001 }]) {
      const topic = hermes.topic('counts', { codec: count, ...other })
      const error = await failure('CONFIG_MISMATCH', () => topic.publisher())
      expect(error.details.setting).toBe(Object.keys(other)[0])
      await failure('CONFIG_MISMATCH', () => topic.subscriber())
    }
    await hermes.topic('counts', { codec: count }).subscriber()
    await hermes.topic('counts', { codec: count, segmentBytes: 131_072 }).subscriber()
  })

  it('makes no topic where that was not asked for', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count, create: false })
    await failure('NOT_FOUND', () => topic.publisher())
    await failure('NOT_FOUND', () => topic.subscriber())
    expect(await hermes.topics()).toEqual([])
    const made = await hermes.topic('counts', { codec: count }).publisher()
    await publishMany(made, 0, 3)
    expect(drain(await topic.subscriber({ from: 'earliest' }), same)).toHaveLength(3)
  })
}
