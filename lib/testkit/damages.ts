import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HermesError } from '../base/errors.js'
import type { Hermes } from '../client/hermes.js'
import { open } from '../client/open.js'
import { raw } from '../codec/raw.js'
import { type DamageDone, damageAtRandom, fakeClaim, loseFile, zeroFile, zeroPage } from './damage.js'
import { makePayload } from './message.js'
import { Oracle, type Violation } from './oracle.js'
import type { CampaignOptions, CampaignReport } from './power-cuts.js'
import { Random } from './random.js'
import { readEverything, type WholeTopic } from './reading.js'
import { remove } from './remove.js'

const topic = 'damaged'
const segmentHeaderBytes = 256
/** Of a segment's header, what has a meaning that can't be done without: the tail hint is only a hint, the rest is not used. */
const headerBytes = 72
const messages = 400

interface Frame {
  readonly file: string
  readonly offset: number
  readonly end: number
  readonly sequence: number
  readonly isData: boolean
}

/**
 * Damages the files of a topic that no process has open, at random: bits flipped, bytes overwritten, pages zeroed, claims without a publisher, files cut short, zeroed and
 * lost. Then subscribers read it, and `repair()` mends it. What is delivered must be what was published, in order and once; what is not must lie in frames that were
 * damaged, or in a segment whose file or header was; and what is damaged must be noticed.
 *
 * Each case is a copy, which the first publisher that opens it checks as a whole. In half of the cases that was before the damage: the files then count as those that the
 * publishers left. In half of these a publisher publishes before the repair: every subscriber must see that message, or opening must have been refused.
 */
export async function damages({ folder, count, seed, onCase }: CampaignOptions): Promise<CampaignReport> {
  const random = new Random(seed)
  const counts: Record<string, number> = { lostInDamage: 0, refused: 0, harmless: 0, setAside: 0 }
  const add = (name: string, more = 1) => {
    counts[name] = (counts[name] ?? 0) + more
  }
  const violations: Violation[] = []
  const pristine = join(folder, 'pristine')
  const oracle = await makeTopic(pristine)
  const files = topicFiles(pristine)
  const frames = framesOf(files.filter((file) => file.endsWith('.seg')))
  for (let done = 0; done < count; done++) {
    const caseSeed = random.next()
    const own = new Random(caseSeed)
    // Never over the files of the case before: a publisher that has just closed may still prepare a segment there.
    const place = join(folder, `case-${done}`)
    cpSync(pristine, place, { recursive: true })
    cache = new Map()
    const told = `seed ${seed}, case ${caseSeed}`
    const closedInOrder = own.chance(0.5)
    const publishesFirst = closedInOrder && own.chance(0.5)
    if (closedInOrder) {
      await closeInOrder(place)
      add('closed in order')
    }
    const control = readFileSync(join(place, 'topics', topic, 'control'))
    const inflicted = damage(place, files, frames, own)
    for (const { kind } of inflicted) add(kind)
    const text = inflicted
      .map(({ kind, file, offset, bytes }) => `${kind} of ${basename(file)} at ${offset}, ${bytes} bytes`)
      .join('; ')
    const say = (kind: Violation['kind'], message: string) =>
      violations.push({ kind, message: `${told}: ${text}: ${message}` })
    try {
      await judge(place, pristine, control, frames, inflicted, oracle, publishesFirst, say, add)
    } catch (error) {
      say(
        'lost',
        error instanceof Error
          ? `${error.name} ${error.message} ${error.stack?.split('\n')[1]?.trim()}`
          : String(error),
      )
    }
    await remove(place)
    onCase?.(done + 1)
  }
  await remove(pristine)
  return { seed, cases: count, counts, violations }
}

/** Opens it for publishing once: from then on it counts as the place that the publishers left. */
async function closeInOrder(place: string): Promise<void> {
  const hermes = await open(place, { create: false })
  await (await hermes.topic(topic, { codec: raw, create: false }).publisher()).close()
  await hermes.close()
  // The segment that was being prepared is whole then.
  while (readdirSync(join(place, 'topics', topic)).some((name) => name.includes('.tmp')))
    await new Promise((resolve) => setTimeout(resolve, 1))
}

async function makeTopic(place: string): Promise<Oracle> {
  const oracle = new Oracle()
  const hermes = await open(place)
  const publisher = await hermes.topic(topic, { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }).publisher()
  oracle.attempt(0, messages)
  oracle.attempt(98, 1)
  for (let number = 0; number < messages; number++) {
    publisher.publish(makePayload({ writer: 0, number }, 16 + ((number * 37) % 700)))
    oracle.acknowledge({ writer: 0, number }, 'synced', publisher.lastSequence)
  }
  await publisher.flush('synced')
  await hermes.close()
  // The segment that was being prepared is whole then.
  while (readdirSync(join(place, 'topics', topic)).some((name) => name.includes('.tmp')))
    await new Promise((resolve) => setTimeout(resolve, 10))
  return oracle
}

function damage(place: string, files: readonly string[], frames: readonly Frame[], random: Random): DamageDone[] {
  if (random.chance(0.06)) {
    // A file of the topic as a whole, whichever it is.
    const folder = join(place, 'topics', topic)
    const names = readdirSync(folder).filter((one) => one !== 'quarantine' && !one.includes('.tmp'))
    const file = join(folder, random.pick(names))
    return [random.chance(0.5) ? zeroFile(file) : loseFile(file)]
  }
  return Array.from({ length: random.pick([1, 1, 1, 2, 4]) }, () => {
    if (random.chance(0.25)) return falseClaim(place, frames, random)
    if (random.chance(0.1)) return zeroedPages(place, frames, random)
    const name = basename(random.pick(random.chance(0.9) ? files.filter((file) => file.endsWith('.seg')) : files))
    const file = join(place, 'topics', topic, name)
    const size = readFileSync(file).length
    // Mostly where something is: behind the end of the log there is little to damage.
    const used = Math.max(0, ...frames.filter((frame) => basename(frame.file) === name).map(({ end }) => end))
    return damageAtRandom(file, random, random.chance(0.9) && used > 0 ? Math.min(used, size) : size)
  }).filter((one) => one.bytes > 0)
}

/** Eight bytes that look like a claim, at the beginning of a message. */
function falseClaim(place: string, frames: readonly Frame[], random: Random): DamageDone {
  const frame = random.pick(frames.filter(({ isData }) => isData))
  const own = Math.ceil((frame.end - frame.offset) / 8) * 8
  const slot = random.chance(0.7) ? random.below(4) : random.below(1024)
  const rest = 65_536 - frame.offset
  const [count, span] = random.pick([
    [1, own],
    [1, 8 * (4 + random.below(Math.max(1, rest / 8 - 4)))],
    [1 + random.below(300), 8 * (4 + random.below(Math.max(1, rest / 8 - 4)))],
    [0, rest],
    [2, rest],
  ])
  return fakeClaim(
    join(place, 'topics', topic, basename(frame.file)),
    frame.offset,
    slot,
    count as number,
    span as number,
  )
}

/** Pages that were lost, at a boundary of frames or anywhere. */
function zeroedPages(place: string, frames: readonly Frame[], random: Random): DamageDone {
  const { file, offset } = random.pick(frames)
  const path = join(place, 'topics', topic, basename(file))
  const first = Math.floor(offset / 4096)
  const count = Math.min(1 + random.below(6), 16 - first)
  for (let page = first; page < first + count; page++) zeroPage(path, page)
  return { kind: 'zero-page', file: path, offset: first * 4096, bytes: count * 4096 }
}

type Say = (kind: Violation['kind'], message: string) => void

async function judge(
  place: string,
  pristine: string,
  controlBefore: Buffer,
  frames: readonly Frame[],
  inflicted: readonly DamageDone[],
  oracle: Oracle,
  publishesFirst: boolean,
  say: Say,
  add: (name: string, more?: number) => void,
): Promise<void> {
  const folder = join(place, 'topics', topic)
  const changed = (file: string, from: number, to: number) =>
    differs(join(pristine, 'topics', topic, basename(file)), join(folder, basename(file)), from, to)
  const control = !read(join(folder, 'control')).equals(controlBefore)
  // What may be missing: damaged frames, and whole segments without a good header or of another length.
  const excused = new Set<number>()
  const lostFiles = new Set(
    inflicted
      .filter(({ kind, file }) => ['truncate', 'lose', 'zero-file'].includes(kind) && file.endsWith('.seg'))
      .map(({ file }) => basename(file)),
  )
  // A segment that was only prepared holds nothing.
  for (const name of [...lostFiles]) if (!frames.some(({ file }) => basename(file) === name)) lostFiles.delete(name)
  for (const { file } of frames) if (changed(file, 0, headerBytes)) lostFiles.add(basename(file))
  for (const frame of frames) {
    if (lostFiles.has(basename(frame.file)) || changed(frame.file, frame.offset, frame.end))
      if (frame.isData) excused.add(frame.sequence)
  }
  const headers = frames.some(({ file }) => changed(file, 0, headerBytes))
  // The topic without a description, or with another one: reported by the next opening.
  const anything = headers || lostFiles.size > 0 || frames.some(({ file, offset, end }) => changed(file, offset, end))
  // A segment that was only prepared holds nothing, and yet may be told to be damaged.
  const anyFile = inflicted.some(
    ({ kind, file }) =>
      file.endsWith('.seg') && (['truncate', 'lose', 'zero-file'].includes(kind) || changed(file, 0, headerBytes)),
  )
  // At a claim a single look ends: who waits there learns moments later that it is none.
  const claims = inflicted.some(({ kind }) => kind === 'claim')
  const hermes = await open(place, { create: false })
  try {
    const before = await attempt(() => readEverything(hermes, topic), say, add)
    if (before !== undefined) {
      judgeReading(before, 'before the repair', oracle, excused, control || claims, say, add)
      if (anything && !claims && before.damage.length === 0) say('gap', 'verify() noticed nothing')
      if (!anything && !anyFile && !control && before.damage.length > 0)
        say('invented', `verify() reports damage where there is none: ${before.damage[0]?.reason}`)
    }
    const early = publishesFirst && !claims ? await publishEarly(hermes, say, add) : undefined
    const repaired = await attempt(() => hermes.repair(topic), say, add)
    if (repaired === undefined) return
    add('setAside', repaired.damage.length)
    const after = await attempt(() => readEverything(hermes, topic), say, add)
    if (after === undefined) return say('lost', 'after a repair that succeeded the topic can not be read')
    if (early !== undefined && !after.seen.some(({ sequence, id }) => sequence === early && id?.writer === 98))
      say('lost', `what was published at sequence ${early} before the repair is not there after it`)
    judgeReading(after, 'after the repair', oracle, excused, control, say, add)
    if (after.damage.length > 0) say('gap', `damage is left after the repair: ${after.damage[0]?.reason}`)
    const publisher = await hermes.topic(topic, { codec: raw, create: false }).publisher()
    publisher.publish(makePayload({ writer: 99, number: 0 }, 100))
    if (publisher.lastSequence !== after.nextSequence)
      say('gap', `the next message got sequence ${publisher.lastSequence}, not ${after.nextSequence}`)
    await publisher.close()
  } finally {
    await hermes.close()
  }
}

/** Publishes a message, which every reader must reach, at whichever position. Its sequence, unless opening was refused. */
async function publishEarly(
  hermes: Hermes,
  say: Say,
  add: (name: string, more?: number) => void,
): Promise<number | undefined> {
  const publisher = await attempt(() => hermes.topic(topic, { codec: raw, create: false }).publisher(), say, add)
  if (publisher === undefined) return undefined
  add('publishedFirst')
  publisher.publish(makePayload({ writer: 98, number: 0 }, 100))
  const { lastSequence } = publisher
  await publisher.close()
  const reading = await attempt(() => readEverything(hermes, topic), say, add)
  if (
    reading !== undefined &&
    reading.damage.length === 0 &&
    !reading.seen.some(({ sequence, id }) => sequence === lastSequence && id?.writer === 98)
  )
    say(
      'lost',
      `what was published at sequence ${lastSequence} before the repair is not delivered, and no damage is told`,
    )
  return lastSequence
}

/** A clear refusal is an answer, too; any other failure is not. */
async function attempt<T>(work: () => Promise<T>, say: Say, add: (name: string) => void): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    const code = error instanceof HermesError ? error.code : 'none'
    if (!['CORRUPT', 'NOT_HERMES', 'VERSION_MISMATCH', 'NOT_FOUND'].includes(code)) {
      say('lost', `failed with ${error instanceof Error ? `${error.name} ${code} ${error.message}` : String(error)}`)
    }
    add('refused')
    return undefined
  }
}

function judgeReading(
  reading: WholeTopic,
  when: string,
  oracle: Oracle,
  excused: ReadonlySet<number>,
  control: boolean,
  say: Say,
  add: (name: string, more?: number) => void,
): void {
  // How many sequences are empty is judged by what is missing, below.
  const made = reading.seen.filter(({ id }) => id?.writer !== 98)
  const found = oracle.check({
    ...reading,
    seen: made,
    firstSequence: 1,
    nextSequence: messages + 1,
    voids: messages - new Set(made.map(({ sequence }) => sequence)).size,
    level: 'none',
  })
  for (const { kind, message } of found) say(kind, `${when}: ${message}`)
  const seen = new Set(made.map(({ sequence }) => sequence))
  let lost = 0
  for (let sequence = 1; sequence <= messages; sequence++) {
    if (seen.has(sequence)) continue
    lost++
    // Until it is repaired, zeros in the newest segment look like the log's end, and a damaged control file may say that retention had removed the
    // oldest segments. verify() tells.
    const told = reading.damage.some((one) => sequence >= one.firstSequence && sequence < one.firstSequence + one.count)
    if (!excused.has(sequence) && !(when.startsWith('before') && (control || told)))
      say('lost', `${when}: sequence ${sequence} is not delivered, but its frame is whole`)
  }
  if (lost > 0) add('lostInDamage', lost)
  else add('harmless')
}

function topicFiles(place: string): string[] {
  const folder = join(place, 'topics', topic)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.seg') || name === 'control')
    .sort()
    .map((name) => join(folder, name))
}

function framesOf(files: readonly string[]): Frame[] {
  const frames: Frame[] = []
  for (const file of files) {
    const bytes = readFileSync(file)
    for (let offset = segmentHeaderBytes; offset + 32 <= bytes.length && bytes.readUInt32LE(offset) === 0x314d5248; ) {
      const end = offset + Math.ceil((32 + bytes.readUInt32LE(offset + 24)) / 8) * 8
      const isData = bytes.readUInt8(offset + 5) === 1
      // Of padding only the header counts, and the zeros behind a payload don't.
      const relevant = isData ? offset + 32 + bytes.readUInt32LE(offset + 24) : offset + 32
      frames.push({ file, offset, end: relevant, sequence: Number(bytes.readBigUInt64LE(offset + 8)), isData })
      offset = end
    }
  }
  return frames
}

function differs(one: string, other: string, from: number, to: number): boolean {
  return !read(one).subarray(from, to).equals(read(other).subarray(from, to))
}

/** Files are read once per case. */
let cache = new Map<string, Buffer>()
function read(file: string): Buffer {
  let bytes = cache.get(file)
  if (bytes === undefined) {
    bytes = existsSync(file) ? readFileSync(file) : Buffer.alloc(0)
    cache.set(file, bytes)
  }
  return bytes
}
