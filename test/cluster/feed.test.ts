import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { HermesError } from '../../lib/base/errors.js'
import { Feed } from '../../lib/placement/nats/feed.js'
import type { TopicStream } from '../../lib/placement/nats/stream.js'
import { failure } from '../helpers/failure.js'

beforeEach(() => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }))
afterEach(() => vi.useRealTimers())

/** A stream whose consumers send what the test has them send. */
class FalseStream {
  readonly state = { messages: 0, last_seq: 0 }
  looks = 0
  answer: () => void = () => {}
  #callback: (error: Error | undefined, message: unknown) => void = () => {}
  #delivered = 0

  get stream(): TopicStream {
    const connection = {
      subscribe: (_: string, { callback }: { callback: (error: Error | undefined, message: unknown) => void }) => {
        this.#callback = callback
        return { unsubscribe: () => {} }
      },
      publish: () => {},
      isClosed: () => false,
    }
    const consumers = { add: async () => ({ name: 'c' }), delete: async () => true }
    const enums = { AckPolicy: {}, DeliverPolicy: {}, ReplayPolicy: {} }
    return {
      topic: 't',
      name: 's',
      cluster: {
        connection,
        manager: { consumers },
        peer: { jetstream: enums, transport: { createInbox: () => 'inbox' } },
        reconnected: new Set(),
      },
      info: async () => {
        this.looks++
        this.answer()
        return { state: { ...this.state } }
      },
    } as unknown as TopicStream
  }

  /** As from a consumer that is alive. */
  heartbeat(): void {
    this.#callback(undefined, { subject: 'inbox', headers: { code: 100 } })
  }

  deliver(seq: number): void {
    const reply = `$JS.ACK.s.c.1.${seq}.${++this.#delivered}.0.0`
    this.#callback(undefined, { subject: 'data', reply, data: new Uint8Array(8) })
  }
}

/** Lets `seconds` go by, with a heartbeat in each. */
async function goBy(there: FalseStream, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    there.heartbeat()
    await vi.advanceTimersByTimeAsync(1000)
  }
}

const open = (there: FalseStream, taken: number[] = []) =>
  Feed.open(there.stream, 1, { take: ({ seq }) => taken.push(seq), room: () => 1e6 })

it('a consumer that hands out nothing, though the stream has more, is left for another one', async () => {
  const there = new FalseStream()
  const taken: number[] = []
  const feed = await open(there, taken)
  Object.assign(there.state, { messages: 5, last_seq: 5 })
  there.deliver(1)
  there.deliver(2)
  const ended = failure('CONNECTION_FAILED', () => feed.ended)
  await goBy(there, 60)
  expect((await ended).message).toContain('stays behind')
  expect(taken).toEqual([1, 2])
})

it('a consumer of a stream without more is believed, and one whose message comes late', async () => {
  const there = new FalseStream()
  let isOver = false
  const feed = await open(there)
  feed.ended.finally(() => {
    isOver = true
  })
  await goBy(there, 60)
  // A purge leaves the number of the last message behind.
  Object.assign(there.state, { messages: 0, last_seq: 7 })
  await goBy(there, 60)
  Object.assign(there.state, { messages: 1, last_seq: 8 })
  await goBy(there, 5)
  there.deliver(8)
  await goBy(there, 60)
  expect(isOver).toBe(false)
  expect(there.looks).toBeGreaterThan(10)
  feed.close()
})

it('a stream that is gone ends its feed, one that does not answer does not', async () => {
  const there = new FalseStream()
  const feed = await open(there)
  there.answer = () => {
    throw new HermesError('TIMED_OUT', 'The cluster does not answer.')
  }
  await goBy(there, 30)
  const ended = failure('NOT_FOUND', () => feed.ended)
  there.answer = () => {
    throw new HermesError('NOT_FOUND', "Topic 't' was deleted while it was in use.")
  }
  await goBy(there, 30)
  await ended
})
