import { expect } from 'vitest'
import {
  array,
  type Codec,
  type MessageView,
  raw,
  struct,
  u8,
  u32,
  utf8,
  validated,
  varBytes,
} from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { collect, drain, numbers, same, take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const Parts = struct({ n: u32, small: array(u8, 4), name: utf8(8), rest: varBytes() })
const parts = (n: number) => ({
  n,
  small: [n, n, n, n].map((x) => x & 0xff),
  name: `n${n}`,
  rest: new Uint8Array(n).fill(n),
})

export function viewCase({ it }: Suite): void {
  it('leaves the log as it was when raw payloads are changed', ['sharing'], async ({ hermes }) => {
    const topic = hermes.topic('bytes', { codec: raw })
    const publisher = await topic.publisher()
    const values = [1, 64, 65, 1000, 60_000].map((length) => new Uint8Array(length).fill(length))
    publisher.publishBatch(values)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const other = await topic.subscriber({ from: 'earliest' })
    subscriber.poll((view, message) => {
      view.fill(0xee)
      message.copyPayload().fill(0xdd)
      // Everything that may be done to a buffer: also beyond the view, and taking it away.
      new Uint8Array(view.buffer).fill(0xcc)
      structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] })
    })
    for await (const batch of other.batches()) {
      for (const message of batch) {
        new Uint8Array(message.value.buffer).fill(0xbb)
        structuredClone(message.value.buffer, { transfer: [message.value.buffer as ArrayBuffer] })
      }
      break
    }
    const again = await topic.subscriber({ from: 'earliest' })
    expect(drain(again, (view) => view.slice()).map((one) => one.value)).toEqual(values)
    publisher.publish(values[3]!)
    subscriber.seek('earliest')
    const both = await collect(subscriber, 6, (view) => view.slice())
    expect(both.map((one) => one.value)).toEqual([...values, values[3]])
  })

  it('leaves the log as it was when what struct views give out is changed', ['replay'], async ({ hermes }) => {
    const topic = hermes.topic('parts', { codec: Parts })
    const publisher = await topic.publisher()
    const values = numbers(1, 100).map(parts)
    publisher.publishBatch(values)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    subscriber.poll((view) => {
      const { rest, small } = view
      rest.fill(0xee)
      new Uint8Array(rest.buffer).fill(0xee)
      structuredClone(rest.buffer, { transfer: [rest.buffer as ArrayBuffer] })
      ;(small as number[]).fill(0xee)
      for (const assign of [() => Object.assign(view, { n: 0 }), () => Reflect.set(view, 'rest', 0)]) {
        try {
          assign()
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError)
        }
      }
    })
    subscriber.seek('earliest')
    const intact = await collect(subscriber, 100, (view) => view.toObject())
    expect(intact.map((one) => one.value)).toEqual(values)
  })

  it('leaves what was published as it was when the value is changed afterwards', async ({ hermes }) => {
    const topic = hermes.topic('bytes', { codec: raw })
    const publisher = await topic.publisher()
    const value = new Uint8Array(100).fill(1)
    publisher.publish(value)
    value.fill(2)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    expect(drain(subscriber, (view) => view[0])).toEqual([{ value: 1, sequence: 1 }])
  })

  it('gives out no memory of the log', ['replay'], async ({ hermes }) => {
    const topic = hermes.topic('parts', { codec: Parts, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    publisher.publish(parts(100))
    const bytes = await hermes.topic('bytes', { codec: raw, segmentBytes: 65_536 }).publisher()
    bytes.publish(new Uint8Array(100))
    const buffers: ArrayBufferLike[] = []
    const gather = (thing: unknown, depth = 0): void => {
      if (depth > 5 || ((typeof thing !== 'object' || thing === null) && typeof thing !== 'function')) return
      if (ArrayBuffer.isView(thing)) buffers.push(thing.buffer)
      else if (thing instanceof ArrayBuffer) buffers.push(thing)
      else {
        for (let at = thing; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
          for (const key of Reflect.ownKeys(at)) {
            let inner: unknown
            try {
              inner = Reflect.get(at, key, thing)
            } catch {
              continue
            }
            if (typeof inner !== 'function') gather(inner, depth + 1)
          }
        }
      }
    }
    const viewer = await topic.subscriber({ from: 'earliest' })
    viewer.poll((view, message) => gather([view, message, viewer, view.toObject(), message.copyPayload()]))
    const rawViewer = await hermes.topic('bytes', { codec: raw }).subscriber({ from: 'earliest' })
    rawViewer.poll((view, message) => gather([view, message, rawViewer, publisher, bytes, hermes, topic]))
    rawViewer.seek('earliest')
    for await (const message of rawViewer) {
      gather(message)
      break
    }
    expect(buffers.length).toBeGreaterThan(3)
    for (const buffer of buffers) expect(buffer.byteLength).toBeLessThan(65_536)
  })

  it('gives codecs that were written elsewhere copies to work on', ['replay'], async ({ hermes }) => {
    const hostile = (region: { bytes: Uint8Array }) => {
      region.bytes.fill(0xee)
      structuredClone(region.bytes.buffer, { transfer: [region.bytes.buffer as ArrayBuffer] })
    }
    const codec: Codec<Uint8Array> = {
      ...raw,
      decode(region, offset, length) {
        const value = region.bytes.slice(offset, offset + length)
        hostile(region)
        return value
      },
      reader: () => ({ read: codec.decode }),
    }
    const topic = hermes.topic('bytes', { codec })
    const publisher = await topic.publisher()
    const values = [1, 10, 1000].map((n) => new Uint8Array(n).fill(n))
    publisher.publishBatch(values)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (const _ of [1, 2]) {
      expect((await collect(subscriber, 3, same)).map((one) => one.value)).toEqual(values)
      subscriber.seek('earliest')
    }
    expect((await take(subscriber, 3)).map((one) => one.value)).toEqual(values)
    const checked = validated(codec, {
      '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as Uint8Array }) },
    })
    const again = await hermes.topic('bytes', { codec: checked }).subscriber({ from: 'earliest' })
    expect((await take(again, 3)).map((one) => one.value)).toEqual(values)
    for (const encode of [hostile, () => -1, () => 1e9, () => Number.NaN]) {
      const bad: Codec<Uint8Array> = { ...raw, encode: (_, region) => Number(encode(region)) }
      const other = await hermes.topic('bytes', { codec: bad }).publisher()
      await failure('ENCODE_FAILED', () => other.publish(new Uint8Array(1)))
      await failure('ENCODE_FAILED', () => other.publishBatch([new Uint8Array(1)]))
    }
    expect(publisher.lastSequence).toBe(3)
  })

  it('answers with an error when a view is read after its subscriber was closed', async ({ hermes }) => {
    const topic = hermes.topic('parts', { codec: Parts })
    const publisher = await topic.publisher()
    publisher.publish(parts(50))
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const kept: { view?: { n: number; rest: Uint8Array; toObject(): unknown }; message?: MessageView } = {}
    subscriber.poll((view, message) => {
      kept.view = view
      kept.message = message
    })
    await subscriber.close()
    const { view, message } = kept
    await failure('CLOSED', () => view?.n)
    await failure('CLOSED', () => view?.rest)
    await failure('CLOSED', () => view?.toObject())
    await failure('CLOSED', () => message?.timestampNs)
    await failure('CLOSED', () => message?.copyPayload())
    expect(message).toMatchObject({ sequence: 1, payloadBytes: expect.any(Number) })
  })

  it('answers with another message or an error when a view is kept', ['replay', 'immediacy'], async ({ hermes }) => {
    const topic = hermes.topic('parts', { codec: Parts, segmentBytes: 65_536 })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const kept: { n: number; toObject(): unknown }[] = []
    const messages: MessageView[] = []
    for (const n of numbers(1, 400)) {
      if (!publisher.publish(parts(n % 250))) await publisher.ready()
      subscriber.poll((view, message) => {
        kept.push(view)
        messages.push(message)
      })
      // Read each of them, long after: across rotations too.
      expect(kept[0]?.n).toBe(n % 250)
      expect(messages[0]?.sequence).toBe(n)
      expect(messages[0]?.copyPayload().length).toBe(messages[0]?.payloadBytes)
    }
    expect(kept).toHaveLength(400)
    // Elsewhere in the log, what was kept still shows the last message, or nothing; never anything else.
    subscriber.seek('earliest')
    const reads = [() => kept[0]?.n, () => messages[0]?.copyPayload().length]
    const last = reads.map((read) => {
      try {
        return read()
      } catch (error) {
        return (error as { code: string }).code
      }
    })
    expect([
      [400 % 250, messages[0]?.payloadBytes],
      ['CLOSED', 'CLOSED'],
    ]).toContainEqual(last)
    await subscriber.close()
    for (const read of reads) await failure('CLOSED', read)
  })
}
