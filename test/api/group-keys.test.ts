import { expect, it } from 'vitest'
import { type HermesError, json, msgpack, open } from '../../lib/index.js'
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
