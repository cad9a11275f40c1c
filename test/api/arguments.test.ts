import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as broker from '../../lib/broker/index.js'
import * as everything from '../../lib/index.js'
import { Decoder, Encoder, type Hermes, HermesError, json, open, raw, text, validated } from '../../lib/index.js'
import * as mmap from '../../lib/mmap.js'
import * as testkit from '../../lib/testkit/index.js'

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

test('every class that is exported is made by `new`, or says what makes it', async () => {
  const classes = [everything, broker, mmap, testkit].flatMap((module) =>
    Object.entries(module).filter(([, value]) => typeof value === 'function' && /^class\b/.test(String(value))),
  ) as [string, new () => unknown][]
  expect(classes.map(([name]) => name)).toEqual(expect.arrayContaining(['Encoder', 'MpmcRing', 'Oracle', 'SpscRing']))
  const rings = []
  for (const [name, Class] of classes) {
    try {
      new Class()
    } catch (error) {
      expect(error, name).toBeInstanceOf(HermesError)
      const { code, message } = error as HermesError
      expect([name, code]).toEqual([name, 'INVALID_ARGUMENT'])
      if (!name.endsWith('Ring')) continue
      expect(message).toContain(`${name}.create({ capacity, … })`)
      expect(message).toContain(`${name}.attach(handle, …)`)
      rings.push(name)
    }
  }
  expect(rings.sort()).toEqual(['MpmcRing', 'SpscByteRing', 'SpscRing'])
})

type Loose = (...args: unknown[]) => unknown

test('what is given behind the arguments of a call is refused, with where it belongs', async () => {
  const publisher = await hermes.topic('t', { codec: json }).publisher()
  const publish = publisher.publish.bind(publisher) as Loose
  const publishBatch = publisher.publishBatch.bind(publisher) as Loose
  const doctor = hermes.doctor.bind(hermes) as Loose
  for (const work of [
    () => publish(1, { durability: 'synced' }),
    () => publish(1, 'synced'),
    () => publishBatch([1], { durability: 'synced' }),
  ]) {
    const { code, message } = await failureOf(work)
    expect(code).toBe('INVALID_ARGUMENT')
    expect(message).toContain('topic.publisher()')
    expect(message).toContain('publishAsync(value, { durability })')
  }
  expect(publisher.lastSequence).toBe(0)
  publish(1, undefined)
  expect(publisher.lastSequence).toBe(1)
  const group = await hermes.topic('t', { codec: json }).group('g')
  const jobs: everything.Job<unknown>[] = []
  for await (const job of group) {
    jobs.push(job)
    break
  }
  const job = jobs[0] as everything.Job<unknown>
  for (const work of [
    () => (job.ack as Loose).call(job, { durability: 'synced' }),
    () => (group.ack as Loose).call(group, jobs, { durability: 'synced' }),
    () => (job.extend as Loose).call(job, 5000),
  ]) {
    const { code, message } = await failureOf(work)
    expect(code).toBe('INVALID_ARGUMENT')
    expect(message).toContain('takes no options')
  }
  await job.ack()
  const { code, message } = await failureOf(() => doctor('t'))
  expect(code).toBe('INVALID_ARGUMENT')
  expect(message).toContain('verify(topic)')
})

test('a codec in the place of the options is told for what it is', async () => {
  const topic = hermes.topic.bind(hermes) as Loose
  const requester = hermes.requester.bind(hermes) as Loose
  const createTopic = hermes.admin.createTopic.bind(hermes.admin) as Loose
  const publisher = hermes.topic('t').publisher.bind(hermes.topic('t')) as Loose
  for (const codec of [json, raw, everything.struct({ n: everything.u32 })]) {
    for (const [work, says] of [
      [
        () => topic('t', codec),
        'topic() takes an object of options, not a codec: give the codec as an option: { codec }.',
      ],
      [() => createTopic('t', codec), '{ codec }'],
      [() => requester('t', codec), '{ request, reply }'],
      [() => publisher(codec), 'topic(name, { codec })'],
    ] as const) {
      const { code, message } = await failureOf(work)
      expect(code).toBe('INVALID_ARGUMENT')
      expect(message).toContain(says)
    }
  }
})

test.each(['request', 'reply'])("a codec of requests that is none is named by its own option: '%s'", async (option) => {
  const options = { [option]: 'json' }
  for (const work of [() => hermes.requester('x', options), () => hermes.responder('x', () => 1, options)]) {
    const { code, message } = await failureOf(work)
    expect(code).toBe('INVALID_ARGUMENT')
    expect(message).toContain(`'${option}' must be a codec, not 'json'`)
    expect(message).not.toContain("'codec'")
  }
})
