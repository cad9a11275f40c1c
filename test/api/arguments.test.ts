import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Decoder, Encoder, type Hermes, HermesError, json, open, text, validated } from '../../lib/index.js'

// What a caller without types may pass: a HermesError each time, never a TypeError from within.

let folder: string
let hermes: Hermes

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-arguments-'))
  hermes = await open(folder)
})

afterEach(async () => {
  await hermes.close()
  rmSync(folder, { recursive: true, force: true })
})

async function failureOf(work: () => unknown): Promise<HermesError> {
  const error = await (async () => work())().then(
    () => expect.unreachable('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(HermesError)
  return error as HermesError
}

const nothing = null as unknown as object
const anything: StandardSchemaV1<string> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as string }) },
}

test.each<[string, () => unknown]>([
  ['open()', () => open(folder, nothing)],
  ['topic()', () => hermes.topic('t', nothing)],
  ['publisher()', () => hermes.topic('t').publisher(nothing)],
  ['subscriber()', () => hermes.topic('t').subscriber(nothing)],
  ['publishAsync()', async () => (await hermes.topic('t').publisher()).publishAsync(1, nothing)],
  ['flush()', async () => (await hermes.topic('t').publisher()).flush('written', nothing)],
  ['a publisher’s ready()', async () => (await hermes.topic('t').publisher()).ready(nothing)],
  ['a subscriber’s ready()', async () => (await hermes.topic('t').subscriber()).ready(nothing)],
  ['new Encoder()', () => new Encoder(json, nothing)],
  ['new Decoder()', () => new Decoder(json, nothing)],
  ['validated()', () => validated(text, anything, nothing)],
])('%s refuses null in place of its options', async (_, work) => {
  expect((await failureOf(work)).code).toBe('INVALID_ARGUMENT')
})

test('open() shows a refused mode in octal', async () => {
  const { code, message } = await failureOf(() => open(folder, { mode: 0o400 }))
  expect(code).toBe('INVALID_ARGUMENT')
  expect(message).toContain('0o600 to 0o777, not 0o400')
})

test.each([18_446_744_073_710, 8.64e15])('a Date beyond the log’s timestamps, %d ms, is in the future', async (ms) => {
  const topic = hermes.topic('t', { codec: text })
  const publisher = await topic.publisher()
  publisher.publish('one')
  publisher.publish('two')
  const subscriber = await topic.subscriber({ from: new Date(ms) })
  expect(subscriber.position).toBe(3)
})
