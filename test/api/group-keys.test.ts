import { expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import type { Job } from '../../lib/client/job.js'
import { Lanes } from '../../lib/client/lanes.js'
import { type HermesError, json, msgpack, open, struct, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { take } from '../helpers/receive.js'

const folder = foldersPerTest()

interface Entry {
  readonly account: string
  readonly n: number
}

/** Messages 1 and 4 have a key; 2, 3 and 5 have none. */
async function entries() {
  const hermes = await open(folder())
  const topic = hermes.topic('entries', { codec: json<Entry>() })
  const publisher = await topic.publisher()
  const values = [{ account: 'x', n: 1 }, { n: 2 }, { account: null, n: 3 }, { account: 'x', n: 4 }, null]
  for (const value of values) publisher.publish(value as Entry)
  return { hermes, topic }
}

it('gives up messages without a key, and holds up none that has one', async () => {
  const { hermes, topic } = await entries()
  const errors: HermesError[] = []
  const group = await topic.group('ledger', {
    key: 'account',
    maxDeliveries: 2,
    backoffMs: 1,
    onError: (error) => errors.push(error),
  })
  const seen: number[] = []
  const running = group.run((job) => void seen.push(job.value.n))
  const letters = await hermes
    .topic('entries.dead', { codec: msgpack<{ sequence: number; deliveries: number; reason: string }>() })
    .subscriber({ from: 'earliest' })
  const found = (await take(letters, 3)).map(({ value }) => value)
  await group.close()
  await running
  expect(seen).toEqual([1, 4])
  expect(found.map(({ sequence }) => Number(sequence)).sort()).toEqual([2, 3, 5])
  // As often as it was handed to somebody: putting it aside is no delivery.
  for (const { deliveries, reason } of found) {
    expect(Number(deliveries)).toBe(2)
    expect(reason).toBe('delivered 2 times without being handled')
  }
  expect(errors).toHaveLength(6)
  const [first] = errors
  expect(first?.code).toBe('VALIDATION_FAILED')
  expect(first?.message).toBe(
    "Message 2 of topic 'entries': its key, field 'account', has to be a string, a number or a bigint, not undefined.",
  )
  expect(first?.details).toMatchObject({ topic: 'entries', group: 'ledger', sequence: 2 })
  await hermes.close()
})

it('tells of a function that finds no key, by iterations and by poll', async () => {
  const { hermes, topic } = await entries()
  const key = ({ account }: Entry) => account.toLowerCase()
  const group = await topic.group('lower', { key, backoffMs: 60_000 })
  const seen: number[] = []
  const error = await failure('VALIDATION_FAILED', async () => {
    for await (const job of group) {
      seen.push(job.value.n)
      await job.ack()
    }
  })
  expect(error.message).toContain("of topic 'entries': its key can't be found: Cannot read properties of undefined")
  expect(error.cause).toBeInstanceOf(TypeError)
  // Those without a key wait for each other, as those of one key do, and for nobody else.
  group.poll(({ n }) => seen.push(n))
  expect(seen).toEqual([1, 4])
  const polling = await topic.group('polling', { key, backoffMs: 60_000 })
  const polled: number[] = []
  await failure('VALIDATION_FAILED', () => polling.poll(({ n }) => polled.push(n)))
  polling.poll(({ n }) => polled.push(n))
  expect(polled).toEqual([1, 4])
  await hermes.close()
})

it('hands nothing to a handler of poll that goes on after it has returned', async () => {
  const { hermes, topic } = await entries()
  const group = await topic.group('promises', { backoffMs: 60_000 })
  const error = await failure('INVALID_ARGUMENT', () => group.poll(() => Promise.resolve() as never))
  expect(error.message).toContain('returned a promise')
  // It was not handled.
  expect((await group.describe()).totals.settled).toBe(0)
  await hermes.close()
})

interface Step {
  readonly key: number
  readonly n: number
}

/** A place: a directory, or a broker. */
async function place(isRemote: boolean): Promise<{ where: string; end: () => Promise<void> }> {
  if (!isRemote) return { where: folder(), end: async () => {} }
  const broker = await serve({ dir: folder(), port: 0, log: () => {} })
  return { where: broker.url, end: () => broker.close() }
}

async function steps(count: number, keys: number, where = folder(), codec = json<Step>()) {
  const hermes = await open(where)
  const topic = hermes.topic('steps', { codec })
  const publisher = await topic.publisher()
  for (let n = 0; n < count; n++) publisher.publish({ key: n % keys, n })
  return { hermes, topic }
}

const structs = struct({ key: u32, n: u32 }) as unknown as ReturnType<typeof json<Step>>

it.each([
  ['keyed by a function', false, { key: (step: Step) => step.key }, 4],
  ['keyed by a function', true, { key: (step: Step) => step.key }, 4],
  ['keyed by a field', false, { key: 'key' } as const, 4],
  ['keyed by a field', true, { key: 'key' } as const, 4],
  ['exclusive', false, {}, 1],
  ['exclusive', true, {}, 1],
] as const)(
  'run() with many handlers keeps the order, in a group that is %s (behind a broker: %s)',
  async (name, isRemote, key, most) => {
    const count = 400
    const kind = name === 'exclusive' ? 'exclusive' : 'keyed'
    const { where, end } = await place(isRemote)
    const { hermes, topic } = await steps(count, 8, where, name === 'keyed by a field' ? structs : undefined)
    const group = await topic.group('ordered', { kind, ...key })
    const running = new Map<number, number>()
    const done = new Map<number, number[]>()
    const stop = new AbortController()
    let handled = 0
    let beside = 0
    await group.run(
      async ({ value: { key: one, n } }) => {
        const lane = kind === 'keyed' ? one : 0
        expect(running.get(lane)).toBeUndefined()
        running.set(lane, n)
        beside = Math.max(beside, running.size)
        // Later ones would overtake this one, if they could.
        for (let turns = (n * 7) % 5; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
        running.delete(lane)
        done.set(lane, [...(done.get(lane) ?? []), n])
        if (++handled === count) stop.abort()
      },
      { concurrency: 4, signal: stop.signal },
    )
    for (const order of done.values()) expect(order).toEqual([...order].sort((a, b) => a - b))
    expect([...done.values()].flat()).toHaveLength(count)
    expect(beside).toBe(most)
    expect((await group.describe()).totals).toMatchObject({ settled: count, redelivered: 0 })
    await hermes.close()
    await end()
  },
)

it('what was taken before another one of its key was returned, and comes to its turn after that, goes behind it', () => {
  const released: number[] = []
  const job = (lane: number, sequence: number) =>
    ({
      lane,
      sequence,
      wasReturned: sequence === 1,
      release: async () => void released.push(sequence),
    }) as unknown as Job<string>
  const lanes = new Lanes<string>()
  const { turn } = lanes
  expect(lanes.enter(job(1, 1), turn)).toBe(true)
  expect(lanes.after(job(1, 1))).toBeUndefined()
  expect(lanes.enter(job(1, 2), turn)).toBe(false)
  expect(released).toEqual([2])
  expect(lanes.enter(job(2, 3), turn)).toBe(true)
  expect(lanes.enter(job(1, 1), turn)).toBe(true)
  expect(lanes.after(job(1, 1))).toBeUndefined()
  expect(lanes.enter(job(1, 4), lanes.turn)).toBe(true)
  expect(released).toEqual([2])
})

it.each([0, 20])(
  'a message that is returned after %i ms goes before those of its key that were handed out behind it',
  async (backoffMs) => {
    const { hermes, topic } = await steps(60, 3)
    const group = await topic.group('ordered', { key: ({ key }) => key, backoffMs })
    const done: Step[] = []
    const deliveries: number[] = []
    const stop = new AbortController()
    let failed = 0
    const handler = async (job: { readonly value: Step; readonly deliveries: number; nack(): Promise<void> }) => {
      await new Promise((resolve) => setImmediate(resolve))
      const { n } = job.value
      // One by an error, one by hand.
      if (job.deliveries === 1 && n === 9) throw new Error(`no ${++failed}`)
      if (job.deliveries === 1 && n === 22) return job.nack()
      done.push(job.value)
      deliveries.push(job.deliveries)
      if (done.length === 60) stop.abort()
    }
    await group.run(handler, { concurrency: 8, signal: stop.signal, onError: () => {} })
    for (let key = 0; key < 3; key++) {
      const order = done.filter((step) => step.key === key).map(({ n }) => n)
      expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index * 3 + key))
    }
    expect(failed).toBe(1)
    // Those that were given back behind them do not count as delivered.
    expect(deliveries.filter((count) => count > 1)).toHaveLength(2)
    await hermes.close()
  },
)

it('what waits behind others when run() ends is given back at once', async () => {
  const { hermes, topic } = await steps(20, 1)
  const group = await topic.group('ordered', { key: ({ key }) => key })
  const stop = new AbortController()
  const seen: number[] = []
  let finish = () => {}
  const running = group.run(
    ({ value }) => {
      seen.push(value.n)
      return new Promise<void>((resolve) => {
        finish = resolve
      })
    },
    { concurrency: 8, signal: stop.signal },
  )
  await expect.poll(() => seen).toEqual([0])
  stop.abort()
  await expect.poll(async () => (await group.describe()).claimed).toBe(1)
  finish()
  await running
  expect(seen).toEqual([0])
  const { totals, returned } = await group.describe()
  expect({ settled: totals.settled, returned, redelivered: totals.redelivered }).toMatchObject({
    settled: 1,
    redelivered: 0,
  })
  await hermes.close()
})
