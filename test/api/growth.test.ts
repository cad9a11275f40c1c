import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { ascii, f64, type Hermes, json, open, struct, u8, u32, validated, withDefault } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { take } from '../helpers/receive.js'

const First = struct({ symbol: ascii(8), price: f64 })
const Second = First.extend({ size: withDefault(u32, 1) })
const Third = Second.extend({ venue: withDefault(ascii(4), 'XNYS') })
const Branch = First.extend({ size: withDefault(u8, 1) })

const trade = { symbol: 'BTC', price: 5 }

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-growth-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function description(): Promise<{ codec: { fingerprint: string }; history?: { fingerprint: string }[] }> {
  return JSON.parse(await readFile(join(dir, 'topics/trades/topic.json'), 'utf8'))
}

/** Two programs of each age share the topic: what they publish and receive, and what its file says then. */
async function sharedBy(older: Hermes, newer: Hermes): Promise<void> {
  const first = await older.topic('trades', { codec: First }).publisher()
  await first.publishAsync(trade)
  const early = await older.topic('trades', { codec: First }).subscriber({ from: 'earliest' })
  const ahead = await newer.topic('trades', { codec: Second }).subscriber({ from: 'earliest' })
  // Who only reads leaves the topic as it is.
  expect((await description()).codec.fingerprint).toBe(First.fingerprint)
  const second = await newer.topic('trades', { codec: Second }).publisher()
  await second.publishAsync({ ...trade, size: 7 })
  await first.publishAsync(trade)
  const third = await newer.topic('trades', { codec: Third }).publisher()
  await third.publishAsync({ ...trade, size: 8, venue: 'XLON' })
  // One of the oldest that comes last is welcome, too.
  const last = await older.topic('trades', { codec: First }).publisher()
  await last.publishAsync(trade)
  expect((await take(early, 5)).map(({ value }) => value)).toEqual([trade, trade, trade, trade, trade])
  expect((await take(ahead, 5)).map(({ value }) => value.size)).toEqual([1, 7, 1, 8, 1])
  const whole = await newer.topic('trades', { codec: Third }).subscriber({ from: 'earliest' })
  expect((await take(whole, 5)).map(({ value }) => value.venue)).toEqual(['XNYS', 'XNYS', 'XNYS', 'XLON', 'XNYS'])
  const { codec, history } = await description()
  expect(codec.fingerprint).toBe(Third.fingerprint)
  expect(history?.map(({ fingerprint }) => fingerprint)).toEqual([First.fingerprint, Second.fingerprint])
  const info = await newer.info('trades')
  expect([info.codec.fingerprint, info.history?.length]).toEqual([Third.fingerprint, 2])
  // Another addition in the same place can't be read by those who know the first.
  for (const role of ['publisher', 'subscriber'] as const) {
    const error = await failure('CODEC_MISMATCH', () => older.topic('trades', { codec: Branch })[role]())
    expect(error.message).toContain("'size'")
  }
  expect((await description()).codec.fingerprint).toBe(Third.fingerprint)
}

describe('a topic whose layout grows', () => {
  it('serves programs of each age side by side', async () => {
    await using older = await open(dir)
    await using newer = await open(dir)
    await sharedBy(older, newer)
  })

  it('does so through a broker', async () => {
    await using broker = await serve({ dir, port: 0 })
    await using older = await open(broker.url)
    await using newer = await open(broker.url)
    await sharedBy(older, newer)
  })

  it('does so for local and remote programs', async () => {
    await using broker = await serve({ dir, port: 0 })
    await using older = await open(broker.url)
    await using newer = await open(dir)
    await sharedBy(older, newer)
  })

  it('takes one of two additions that come at once', async () => {
    await using hermes = await open(dir)
    await (await hermes.topic('trades', { codec: First }).publisher()).publishAsync(trade)
    for (let round = 0; round < 10; round++) {
      const name = `trades-${round}`
      await (await hermes.topic(name, { codec: First }).publisher()).publishAsync(trade)
      const results = await Promise.allSettled(
        [Second, Branch, Second, Branch].map((codec) => hermes.topic(name, { codec: codec as never }).publisher()),
      )
      const states = results.map(({ status }) => status)
      expect([states[0], states[1]]).toEqual([states[2], states[3]])
      expect(new Set(states)).toEqual(new Set(['fulfilled', 'rejected']))
    }
  })

  it('is not let grow by a client that may only publish', async () => {
    const access = [
      { token: 'administrator-0123456789', name: 'admin', publish: ['*'], subscribe: ['*'], administer: true },
      { token: 'publisher-0123456789abc', name: 'publisher', publish: ['trades'], subscribe: ['trades'] },
    ]
    await using broker = await serve({ dir, port: 0, access })
    await using admin = await open(broker.url, { token: 'administrator-0123456789' })
    await using client = await open(broker.url, { token: 'publisher-0123456789abc' })
    await (await admin.topic('trades', { codec: First }).publisher()).publishAsync(trade)
    const error = await failure('ACCESS_DENIED', () => client.topic('trades', { codec: Second }).publisher())
    expect(error.message).toContain('administrator')
    const ahead = await client.topic('trades', { codec: Second }).subscriber({ from: 'earliest' })
    expect((await take(ahead, 1)).map(({ value }) => value.size)).toEqual([1])
    await admin.topic('trades', { codec: Second }).publisher()
    await (await client.topic('trades', { codec: Second }).publisher()).publishAsync({ ...trade, size: 2 })
  })

  it('does not grow in a ring, which has one layout', async () => {
    const name = `hermes-growth-${process.pid}`
    await using hermes = await open(`ring:${name}`)
    const subscriber = await hermes.topic('trades', { codec: First }).subscriber({ create: true })
    await failure('CODEC_MISMATCH', () => hermes.topic('trades', { codec: Second }).publisher())
    await subscriber.close()
    await rm(`/dev/shm/${name}`, { recursive: true, force: true })
  })
})

/** Takes objects whose named fields are numbers. */
function numbers<T>(...names: string[]): StandardSchemaV1<T, T> {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) => {
        const wrong = names.filter((name) => typeof (value as Record<string, unknown>)[name] !== 'number')
        return wrong.length === 0
          ? { value: value as T }
          : { issues: wrong.map((name) => ({ message: 'no number', path: [name] })) }
      },
    },
  }
}

describe('versions of values that describe themselves', () => {
  const version = (options: object, ...names: string[]) =>
    validated(json<Record<string, number>>(), numbers<Record<string, number>>(...names), options)

  it('are kept with the topic, and let older and newer programs share it', async () => {
    await using hermes = await open(dir)
    const one = version({ version: 1 }, 'a')
    const two = version({ version: 2 }, 'a')
    await (await hermes.topic('trades', { codec: one }).publisher()).publishAsync({ a: 1 })
    await (await hermes.topic('trades', { codec: two }).publisher()).publishAsync({ a: 2, b: 1 })
    await (await hermes.topic('trades', { codec: one }).publisher()).publishAsync({ a: 3 })
    for (const codec of [one, two, json<Record<string, number>>()]) {
      const subscriber = await hermes.topic('trades', { codec }).subscriber({ from: 'earliest' })
      expect((await take(subscriber, 3)).map(({ value }) => value['a'])).toEqual([1, 2, 3])
    }
    expect((await hermes.info('trades')).codec.schema).toMatchObject({ format: 'hermes-version', version: 2 })
  })

  it('refuse who can not read what is there', async () => {
    await using hermes = await open(dir)
    await (await hermes.topic('trades', { codec: version({ version: 1 }, 'a') }).publisher()).publishAsync({ a: 1 })
    const later = hermes.topic('trades', { codec: version({ version: 3, reads: 2 }, 'b') })
    const error = await failure('CODEC_MISMATCH', () => later.publisher())
    expect(error.message).toContain('version 1')
    await failure('CODEC_MISMATCH', () => later.subscriber())
  })

  it('refuse who could not read what newer programs publish', async () => {
    await using hermes = await open(dir)
    const two = hermes.topic('trades', { codec: version({ version: 2, readBy: 2 }, 'a') })
    await two.publisher()
    await failure('CODEC_MISMATCH', () => hermes.topic('trades', { codec: version({ version: 1 }, 'a') }).subscriber())
    await failure('CODEC_MISMATCH', () => hermes.topic('trades', { codec: version({ version: 1 }, 'a') }).publisher())
  })

  it('are whole numbers, of codecs without a layout', async () => {
    await failure('INVALID_ARGUMENT', () => version({ version: 0 }, 'a'))
    await failure('INVALID_ARGUMENT', () => version({ version: 2, reads: 3 }, 'a'))
    await failure('INVALID_ARGUMENT', () => version({ reads: 1 }, 'a'))
    await failure('INVALID_ARGUMENT', () => validated(First, numbers('price') as never, { version: 1 }))
  })
})
