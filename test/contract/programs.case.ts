import { expect } from 'vitest'
import { type HermesError, json, struct, text, u64, validated } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { take } from '../helpers/receive.js'
import type { Suite } from './placement.js'

const Trade = struct({ id: u64 })
const even = {
  '~standard': {
    version: 1 as const,
    vendor: 'test',
    validate: (value: unknown) =>
      Number(value) % 2 === 0 ? { value: value as number } : { issues: [{ message: 'odd' }] },
  },
}

/** What a new user's programs meet first. */
export function programsCase({ it }: Suite): void {
  it('yields messages that JSON takes, with a date', async ({ hermes }) => {
    const topic = hermes.topic('trades', { codec: Trade })
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const receipt = await (await topic.publisher()).publishAsync({ id: 2n ** 63n })
    const { timestampNs } = receipt
    expect(JSON.parse(JSON.stringify(receipt))).toEqual({ sequence: 1, timestampNs: String(timestampNs) })
    expect(receipt.date.getTime()).toBe(Number(timestampNs / 1_000_000n))
    for await (const message of subscriber) {
      expect(JSON.parse(JSON.stringify(message))).toEqual({
        sequence: 1,
        timestampNs: String(timestampNs),
        value: { id: '9223372036854775808' },
      })
      expect(message.date.getTime()).toBe(Number(timestampNs / 1_000_000n))
      break
    }
  })

  it('tells which message is not valid, and goes on behind it where it is told to', async ({ hermes }) => {
    const publisher = await hermes.topic('numbers', { codec: json<number>() }).publisher()
    const topic = hermes.topic('numbers', { codec: validated(json(), even) })
    const seen: HermesError[] = []
    const subscriber = await topic.subscriber({ from: 'earliest', onError: (error) => seen.push(error) })
    for (const n of [2, 3, 5, 4]) publisher.publish(n)
    await publisher.flush()
    expect((await take(subscriber, 2)).map((one) => one.value)).toEqual([2, 4])
    expect(seen.map(({ code, details }) => [code, details['topic'], details['sequence']])).toEqual([
      ['VALIDATION_FAILED', 'numbers', 2],
      ['VALIDATION_FAILED', 'numbers', 3],
    ])
  })

  it('refuses a handler that returns a promise, and goes on behind its message', async ({ hermes }) => {
    const topic = hermes.topic('texts', { codec: text })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    for (const value of ['a', 'b', 'c']) publisher.publish(value)
    await publisher.flush()
    await subscriber.ready()
    const seen: string[] = []
    const save = async (value: string) => {
      seen.push(value)
    }
    // An arrow function that calls an async one is none itself.
    const error = await failure('INVALID_ARGUMENT', () => subscriber.poll((value) => save(value)))
    expect(error.message).toContain('promise')
    expect(seen).toEqual(['a'])
    const rest: string[] = []
    while (rest.length < 2) {
      await subscriber.ready()
      subscriber.poll((value) => rest.push(value))
    }
    expect(rest).toEqual(['b', 'c'])
  })

  it('does not take one string for a batch of its characters', async ({ hermes }) => {
    const publisher = await hermes.topic('texts', { codec: text }).publisher()
    await failure('INVALID_ARGUMENT', () => publisher.publishBatch('abc'))
    publisher.publishBatch(['abc'])
    await publisher.flush()
    expect(publisher.lastSequence).toBe(1)
  })

  it('ends an iteration by its signal without an error where it is told to', async ({ hermes }) => {
    const controller = new AbortController()
    const topic = hermes.topic('texts', { codec: text })
    const subscriber = await topic.subscriber({ signal: controller.signal, onAbort: 'end' })
    setTimeout(() => controller.abort(), 20)
    for await (const _ of subscriber) throw new Error('there is nothing')
    await failure('INVALID_ARGUMENT', () => topic.subscriber({ onAbort: 'stop' as never }))
    await failure('INVALID_ARGUMENT', () => topic.subscriber({ onError: 5 as never }))
  })

  it('ends an iteration by what onError throws, and goes on behind the message', ['replay'], async ({ hermes }) => {
    const publisher = await hermes.topic('values', { codec: json() }).publisher()
    publisher.publishBatch([2, 3, 4])
    await publisher.flush()
    const told: string[] = []
    const subscriber = await hermes.topic('values', { codec: validated(json(), even) }).subscriber({
      from: 'earliest',
      onError: ({ code }) => {
        told.push(code)
        throw new RangeError('enough')
      },
    })
    const seen: unknown[] = []
    const read = async () => {
      for await (const { value } of subscriber) if (seen.push(value) === 2) return
    }
    await expect(read()).rejects.toThrow(new RangeError('enough'))
    expect([seen, told, subscriber.position]).toEqual([[2], ['VALIDATION_FAILED'], 3])
    await read()
    expect([seen, told]).toEqual([[2, 4], ['VALIDATION_FAILED']])
  })

  it('refuses a handler that is not done when it returns', async ({ hermes }) => {
    const subscriber = await hermes.topic('texts', { codec: text }).subscriber()
    const error = await failure('INVALID_ARGUMENT', () => subscriber.poll(async () => {}))
    expect(error.message).toContain('for await')
    expect(subscriber.poll(() => {})).toBe(0)
  })

  it('says which topic a value is too large for, and how large it is allowed to be', async ({ hermes }) => {
    const publisher = await hermes
      .topic('texts', { codec: text, maxPayloadBytes: 16, segmentBytes: 65_536 })
      .publisher()
    const uses = [() => publisher.publish('x'.repeat(17)), () => publisher.publishBatch(['x'.repeat(17)])]
    for (const use of uses) {
      const error = await failure('PAYLOAD_TOO_LARGE', use)
      expect(error.details).toMatchObject({ topic: 'texts', maxPayloadBytes: 16 })
      expect(error.message).toContain("topic 'texts' takes 16 at most")
      expect(error.message).not.toContain('raise')
    }
  })

  it('names the fields that differ', async ({ hermes }) => {
    const publisher = await hermes.topic('trades', { codec: Trade }).publisher()
    publisher.publish({ id: 1n })
    await publisher.flush()
    const other = struct({ number: u64 })
    const error = await failure('CODEC_MISMATCH', () => hermes.topic('trades', { codec: other }).publisher())
    expect(error.message).toContain("field 'id' (u64) is missing here; field 'number' (u64) is not in the topic")
  })
}
