import { cpSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pause } from '../../lib/base/pause.js'
import { serve } from '../../lib/broker/index.js'
import { ascii, HermesError, open, type Publisher, struct, u8, u32 } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { flipBit, overwrite, type StoredFrame, segmentFiles, storedFrames, topicFolder } from '../helpers/log-files.js'
import { Program } from '../helpers/program.js'
import { numbers } from '../helpers/receive.js'

// Damage to files that nobody has open. The process must live, and what is whole must be readable.

const folder = foldersPerTest()
/** As in test/process/programs/common.mjs. */
const Numbered = struct({ producer: u32, n: u32, filler: ascii(55), last: u8 })
const topic = 'ticks'
const segmentBytes = 65_536

type Value = { producer: number; n: number; filler: string; last: number }
const value = (n: number): Value => ({ producer: 1, n, filler: `message ${n}`, last: n & 0xff })

/** A log of `count` messages in small segments, closed in order. */
async function closedLog(count: number): Promise<string> {
  const place = folder()
  await using hermes = await open(place)
  await using publisher = await hermes.topic(topic, { codec: Numbered, segmentBytes }).publisher()
  await publishFrom(publisher, 0, count)
  return place
}

async function publishFrom(publisher: Publisher<Value>, first: number, count: number): Promise<void> {
  for (const n of numbers(first, count)) if (!publisher.publish(value(n))) await publisher.ready()
}

/** The same, left behind by a process that was killed. */
async function abandonedLog(count: number): Promise<string> {
  const place = folder()
  const program = Program.start('produce.mjs', { place, topic, producer: 1, count, segmentBytes, abandon: true })
  expect(await program.ended).toMatchObject({ signal: 'SIGKILL' })
  return place
}

interface Outcome {
  /** Sequences that were delivered. */
  readonly sequences: number[]
  /** What ended it, if something did. */
  readonly error: HermesError | undefined
}

/** Polls up to the end or an error. Whatever happens, nothing is delivered but what was published. */
async function readAll(
  place: string,
  options: { from?: number; onDamage?: 'error' | 'skip'; verify?: boolean } = {},
): Promise<Outcome> {
  const sequences: number[] = []
  await using hermes = await open(place)
  let error: HermesError | undefined
  try {
    await using subscriber = await hermes.topic(topic, { codec: Numbered }).subscriber({ from: 'earliest', ...options })
    const handler = ({ n, filler, last }: Value, message: { sequence: number }) => {
      if (options.verify !== false && (filler !== `message ${n}` || last !== (n & 0xff)))
        throw new Error(`message ${n} is not as published`)
      sequences.push(message.sequence)
    }
    while (subscriber.poll(handler, 1000) > 0);
  } catch (thrown) {
    if (!(thrown instanceof HermesError)) throw thrown
    error = thrown
  }
  return { sequences, error }
}

function frameOf(place: string, sequence: number): StoredFrame {
  const found = storedFrames(place, topic).find((one) => one.sequence === sequence && one.type === 'data')
  if (found === undefined) throw new Error(`there is no message ${sequence}`)
  return found
}

const without = (count: number, ...missing: number[]) =>
  numbers(1, count).filter((sequence) => !missing.includes(sequence))

test('delivers up to a flipped bit, says where it is, and goes on behind it if asked to', async () => {
  const place = await closedLog(2000)
  const { file, offset } = frameOf(place, 1000)
  flipBit(file, offset + 32 + 8)
  const { sequences, error } = await readAll(place)
  expect(sequences).toEqual(numbers(1, 999))
  expect(error).toMatchObject({ code: 'CORRUPT', details: { topic, sequence: 1000, offset } })
  expect((await readAll(place, { onDamage: 'skip' })).sequences).toEqual(without(2000, 1000))
  expect((await readAll(place, { from: 1001 })).sequences).toEqual(numbers(1001, 1000))
  // Who does not verify is told nothing, as he asked.
  expect((await readAll(place, { verify: false })).sequences).toEqual(numbers(1, 2000))
})

test('stays at damage until the user decides, and iterations stop there as well', async () => {
  const place = await closedLog(100)
  const { file, offset } = frameOf(place, 50)
  flipBit(file, offset + 40)
  await using hermes = await open(place)
  const ticks = hermes.topic(topic, { codec: Numbered })
  const subscriber = await ticks.subscriber({ from: 'earliest' })
  expect(subscriber.poll(() => {})).toBe(49)
  for (const _ of [1, 2]) {
    const error = await failure('CORRUPT', () => subscriber.poll(() => {}))
    expect(error.details.sequence).toBe(50)
    expect(subscriber.position).toBe(50)
  }
  subscriber.seek(51)
  expect(subscriber.poll(() => {})).toBe(50)
  const seen: number[] = []
  await failure('CORRUPT', async () => {
    for await (const message of await ticks.subscriber({ from: 'earliest' })) seen.push(message.sequence)
  })
  expect(seen).toEqual(numbers(1, 49))
  const skipping = await ticks.subscriber({ from: 'earliest', onDamage: 'skip' })
  for await (const message of skipping) if (message.sequence === 100) break
  expect(skipping.position).toBe(101)
})

test('notices a flipped bit anywhere in a frame', async () => {
  const place = await closedLog(300)
  const { file, offset, span } = frameOf(place, 100)
  // The header byte by byte, and some of the payload; the padding behind it belongs to nobody.
  for (const at of [...numbers(0, 32), 32, 50, 95]) {
    expect(at).toBeLessThan(span)
    const bit = at % 8
    flipBit(file, offset + at, bit)
    const { sequences, error } = await readAll(place)
    expect({ at, code: error?.code, last: sequences.at(-1) }).toEqual({ at, code: 'CORRUPT', last: 99 })
    const skipped = await readAll(place, { onDamage: 'skip' })
    expect({ at, error: skipped.error }).toEqual({ at, error: undefined })
    expect(skipped.sequences).toEqual(without(300, 100))
    flipBit(file, offset + at, bit)
  }
  expect((await readAll(place)).sequences).toEqual(numbers(1, 300))
})

test('a publisher that opens the topic after a crash sets damage aside, reports it, and loses nothing else', async () => {
  const place = await abandonedLog(1500)
  const before = frameOf(place, 700)
  flipBit(before.file, before.offset + 33)
  const bytes = readFileSync(before.file).subarray(before.offset, before.offset + before.span)
  await using hermes = await open(place)
  await using publisher = await hermes.topic(topic, { codec: Numbered }).publisher()
  expect(publisher.recovery).toMatchObject({ ran: true, rebooted: false })
  expect(publisher.recovery?.frames).toBeGreaterThan(1000)
  const [damage, ...more] = publisher.recovery?.damage ?? []
  expect(more).toEqual([])
  expect(damage).toMatchObject({ offset: before.offset, bytes: before.span, firstSequence: 700, count: 1 })
  expect(damage?.reason.length).toBeGreaterThan(5)
  expect(readFileSync(damage!.file)).toEqual(bytes)
  await publishFrom(publisher, 1500, 10)
  expect(await readAll(place)).toEqual({ sequences: without(1510, 700), error: undefined })
  // The next one has nothing to report.
  await publisher.close()
  await using next = await hermes.topic(topic, { codec: Numbered }).publisher()
  expect(next.recovery).toMatchObject({ ran: false, damage: [] })
})

test('a publisher that opens the topic after a crash cuts off what was never committed', async () => {
  const place = await abandonedLog(100)
  const last = frameOf(place, 100)
  const end = last.offset + last.span
  overwrite(last.file, end, Buffer.alloc(5000, 0x5a))
  await using hermes = await open(place)
  await using publisher = await hermes.topic(topic, { codec: Numbered }).publisher()
  const [damage] = publisher.recovery?.damage ?? []
  expect(damage).toMatchObject({ offset: end, firstSequence: 101, count: 0 })
  expect(readFileSync(damage!.file).subarray(0, 5000)).toEqual(Buffer.alloc(5000, 0x5a))
  await publishFrom(publisher, 100, 10)
  expect(await readAll(place)).toEqual({ sequences: numbers(1, 110), error: undefined })
})

test('damage hides nothing of a topic that was not closed in order: how far it goes, where it ends, what groups have reached', async () => {
  const live = await abandonedLog(2000)
  await using before = await open(live)
  const engine = await before.topic(topic, { codec: Numbered }).subscriber({ name: 'engine', from: 1500 })
  expect(engine.poll(() => {}, 101)).toBe(101)
  await engine.commit()
  const pool = await before.topic(topic, { codec: Numbered }).group('pool', { from: 1500 })
  pool.poll(() => {}, 100)
  await before.close()
  // A copy, as after a restart: nothing is taken for as it was left.
  const place = join(folder(), 'copy')
  cpSync(live, place, { recursive: true })
  const { file, offset } = frameOf(place, 100)
  overwrite(file, offset, Buffer.alloc(64, 0xff))

  await using hermes = await open(place)
  const ticks = hermes.topic(topic, { codec: Numbered })
  const { nextSequence, watermarks } = await ticks.info()
  expect({ nextSequence, ...watermarks }).toMatchObject({ nextSequence: 2001, written: 2001, claimed: 2001 })
  const seen: number[] = []
  const error = await failure('CORRUPT', async () => {
    for await (const { sequence } of await ticks.subscriber({ from: 'earliest', until: 'latest' })) seen.push(sequence)
  })
  expect(error.details.sequence).toBe(100)
  expect(seen).toEqual(numbers(1, 99))
  const skipping = await ticks.subscriber({ from: 'earliest', until: 'latest', onDamage: 'skip', name: 'skipping' })
  const rest: number[] = []
  for await (const { sequence } of skipping) rest.push(sequence)
  expect(rest).toEqual(without(2000, 100))
  await skipping.commit(2000)
  await skipping.close()
  expect((await ticks.subscriber({ name: 'engine' })).position).toBe(1601)
  const again: number[] = []
  ;(await ticks.group('pool')).poll((_, { sequence }) => again.push(sequence), 10)
  expect(again).toEqual(numbers(1600, 10))
})

test.each([
  ['a segment that is full', 100],
  ['the newest segment', 2900],
])('a position behind damage is found all the same: in %s', async (_, damaged) => {
  const place = await closedLog(3000)
  const wanted = damaged + 50
  {
    await using hermes = await open(place)
    const ticks = hermes.topic(topic, { codec: Numbered })
    for (const [name, from] of [
      ['engine', wanted],
      ['within', damaged],
    ] as const) {
      const engine = await ticks.subscriber({ name, from })
      expect(engine.poll(() => {}, 1)).toBe(1)
      await engine.close()
    }
    await (await ticks.group('pool', { from: wanted })).close()
  }
  const { file, offset } = frameOf(place, damaged)
  overwrite(file, offset, Buffer.alloc(64, 0xff))

  await using hermes = await open(place)
  const ticks = hermes.topic(topic, { codec: Numbered })
  expect((await hermes.admin.groups(topic)).map(({ name, lag }) => [name, lag.messages])).toEqual([
    ['engine', 3001 - wanted],
    ['pool', 3001 - wanted],
    ['within', 3001 - damaged],
  ])
  const first = async (options: object) => {
    await using subscriber = await ticks.subscriber(options)
    const seen: number[] = []
    subscriber.poll((_, { sequence }) => seen.push(sequence), 1)
    return seen[0]
  }
  expect(await first({ name: 'engine' })).toBe(wanted)
  expect(await first({ from: wanted })).toBe(wanted)
  // The message itself is damaged: it is told, or passed.
  const error = await failure('CORRUPT', () => first({ name: 'within' }))
  expect(error.details.sequence).toBe(damaged)
  expect(await first({ name: 'within', onDamage: 'skip' })).toBe(damaged + 1)
  expect(await first({ from: 3001 })).toBeUndefined()
  await failure('OUT_OF_RANGE', () => first({ from: 3002 }))
})

test.each([
  ['a segment that is full', 100],
  ['the newest segment', 2900],
])('a time behind damage is found all the same: in %s', async (_, damaged) => {
  const place = folder()
  const before = new Date()
  await using hermes = await open(place)
  const topics = hermes.topic(topic, { codec: Numbered, segmentBytes })
  await using publisher = await topics.publisher()
  await publishFrom(publisher, 0, damaged + 20)
  await pause(20)
  const later = new Date()
  await publishFrom(publisher, damaged + 20, 3000 - damaged - 20)
  const wanted = damaged + 21
  const { file, offset } = frameOf(place, damaged)
  overwrite(file, offset, Buffer.alloc(64, 0xff))

  const first = async (options: object) => {
    await using subscriber = await topics.subscriber(options)
    const seen: number[] = []
    subscriber.poll((_, { sequence }) => seen.push(sequence), 1)
    return seen[0]
  }
  expect(await first({ from: later })).toBe(wanted)
  expect(await first({ from: before })).toBe(1)
  await using seeking = await topics.subscriber({ from: 'earliest' })
  seeking.seek(later)
  expect(seeking.position).toBe(wanted)
  await (await topics.subscriber({ name: 'engine', from: 'latest' })).close()
  expect(await hermes.admin.resetGroup(topic, 'engine', later)).toBe(wanted)
  const replayed: number[] = []
  for await (const { sequence } of await topics.subscriber({ from: later, until: wanted + 4 })) replayed.push(sequence)
  expect(replayed).toEqual(numbers(wanted, 5))
  await using broker = await serve({ dir: place, port: 0 })
  await using remote = await open(broker.url)
  await using there = await remote.topic(topic, { codec: Numbered }).subscriber({ from: later })
  expect(there.position).toBe(wanted)
  there.seek(later)
  await there.ready({ timeoutMs: 60_000 })
  expect(there.position).toBe(wanted)
  expect(await remote.admin.resetGroup(topic, 'engine', later)).toBe(wanted)
})

test('a truncated segment is an error, and the others are readable', async () => {
  const place = await closedLog(3000)
  const files = segmentFiles(place, topic)
  expect(files.length).toBeGreaterThan(3)
  const [, second, third] = files
  const firstOf = (file: string) => storedFrames(place, topic).find((one) => one.file === file)!.sequence
  const [inSecond, inThird] = [firstOf(second!), firstOf(third!)]
  for (const size of [0, 100, 4096, 65_535]) {
    const whole = readFileSync(second!)
    truncateSync(second!, size)
    const { sequences, error } = await readAll(place)
    expect(sequences).toEqual(numbers(1, inSecond - 1))
    expect(error).toMatchObject({ code: 'CORRUPT' })
    expect((await readAll(place, { from: inThird })).sequences).toEqual(numbers(inThird, 3001 - inThird))
    writeFileSync(second!, whole)
    expect((await readAll(place)).error).toBeUndefined()
  }
})

test('a truncated, damaged or missing newest segment is an error for publishers too, and the older ones are readable', async () => {
  const place = await abandonedLog(3000)
  const newest = segmentFiles(place, topic)
    .filter((file) => storedFrames(place, topic).some((one) => one.file === file))
    .at(-1)!
  const inNewest = storedFrames(place, topic).find((one) => one.file === newest)!.sequence
  const whole = readFileSync(newest)
  for (const damage of [() => truncateSync(newest, 8192), () => flipBit(newest, 20), () => rmSync(newest)]) {
    damage()
    const { sequences, error } = await readAll(place)
    expect(sequences).toEqual(numbers(1, inNewest - 1))
    expect(error).toMatchObject({ code: 'CORRUPT' })
    await using hermes = await open(place)
    await failure('CORRUPT', () => hermes.topic(topic, { codec: Numbered }).publisher())
    writeFileSync(newest, whole)
  }
  await using hermes = await open(place)
  await using publisher = await hermes.topic(topic, { codec: Numbered }).publisher()
  await publishFrom(publisher, 3000, 1)
  expect(await readAll(place)).toEqual({ sequences: numbers(1, 3001), error: undefined })
})

test('a lost control file is made again of the segments', async () => {
  const place = await closedLog(3000)
  rmSync(join(topicFolder(place, topic), 'control'))
  await using hermes = await open(place)
  await using publisher = await hermes.topic(topic, { codec: Numbered }).publisher()
  await publishFrom(publisher, 3000, 10)
  expect(await readAll(place)).toEqual({ sequences: numbers(1, 3010), error: undefined })
})

test('survives any damage: bytes changed at random, in all files of the topic', async () => {
  const original = await abandonedLog(1500)
  const base = folder()
  let state = 20_261_120
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
  let delivered = 0
  let refused = 0
  for (let round = 0; round < 60; round++) {
    const place = join(base, String(round))
    cpSync(original, place, { recursive: true })
    const control = join(topicFolder(place, topic), 'control')
    for (let flips = 1 + random(4); flips > 0; flips--) {
      const files = [...segmentFiles(place, topic), control]
      const file = files[random(files.length)]!
      const length = readFileSync(file).length
      if (random(10) === 0) truncateSync(file, random(length))
      else if (random(2) === 0) flipBit(file, random(Math.min(length, 8192)), random(8))
      else overwrite(file, random(length - 64), Buffer.from(numbers(0, 64).map(() => random(256))))
    }
    for (const onDamage of ['error', 'skip'] as const)
      delivered += (await readAll(place, { onDamage })).sequences.length
    await using hermes = await open(place)
    try {
      await using publisher = await hermes.topic(topic, { codec: Numbered }).publisher()
      await publishFrom(publisher, 5000, 3)
      for (const { file } of publisher.recovery?.damage ?? []) expect(existsSync(file)).toBe(true)
    } catch (error) {
      expect(error).toBeInstanceOf(HermesError)
      refused++
    }
    await readAll(place)
    rmSync(place, { recursive: true })
  }
  // Most of it was readable, and most topics were good for publishing again.
  expect(delivered).toBeGreaterThan(60 * 1500)
  expect(refused).toBeLessThan(40)
}, 60_000)
