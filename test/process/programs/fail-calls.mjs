// Makes each system call of the addon fail, one after the other, in the life of a topic, and looks at what is left:
// { place, orders, calls: { name: [number, ...errnos] }, times, most, step, begins }. The process is preloaded with test/helpers/fail-call.c.
// `begins` says with what: 'empty', or as a topic was left: 'copied' while it was in use, 'lost-control', 'failed-sync', 'damaged'.
import { closeSync, cpSync, mkdirSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { HermesError, open, raw } from '../../../dist/index.js'
import { options, pause, report } from './common.mjs'

const file = openSync(options.orders, 'r+')
const write = (call, error, first, times) => {
  const bytes = Buffer.alloc(28)
  for (const [at, value] of [call, error, first, times].entries()) bytes.writeInt32LE(value, at * 4)
  writeSync(file, bytes, 0, bytes.length, 0)
}
const failures = () => {
  const bytes = Buffer.alloc(28)
  readSync(file, bytes, 0, bytes.length, 0)
  return bytes.readInt32LE(20)
}

const bytes = 9000
const payload = (number) => {
  const value = Buffer.alloc(bytes, number % 251)
  value.writeUInt32LE(number, 0)
  return value
}
const openFiles = () => readdirSync('/proc/self/fd').length

/** What went wrong that must not, in this case. */
let wrong = []
/** What was refused, by step. */
let refused = {}

/** Tries again what is refused, as a program does; undefined if it stays refused. */
async function attempt(step, work, tries = 3) {
  for (let n = 0; n < tries; n++) {
    const begun = performance.now()
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof HermesError)) wrong.push(`${step}: ${error?.stack ?? error}`)
      refused[step] = error?.code
      await pause(1)
    } finally {
      const ms = performance.now() - begun
      if (ms > 8000) wrong.push(`${step} took ${ms.toFixed(0)} ms`)
    }
  }
  return undefined
}

/** The life of a topic: acknowledged numbers by sequence. */
async function live(folder, retention) {
  const acknowledged = new Map()
  const hermes = await attempt('open', () => open(folder))
  if (hermes === undefined) return acknowledged
  const topic = hermes.topic('t', {
    codec: raw,
    segmentBytes: 65_536,
    maxPayloadBytes: 16_384,
    lowWaterBytes: 0,
    ...(retention && { retention: { bytes: 196_608 } }),
  })
  let publisher = await attempt('publisher', () => topic.publisher())
  const subscriber = await attempt('subscriber', () => topic.subscriber({ from: 'earliest' }))
  let number = 0
  const reopen = async () => {
    await attempt('close', () => publisher?.close(), 1)
    publisher = await attempt('publisher', () => topic.publisher())
  }
  const read = new Map()
  const poll = () =>
    subscriber?.poll((value, { sequence }) => {
      if (read.has(sequence)) wrong.push(`${sequence} was delivered twice`)
      read.set(sequence, value[0] | (value[1] << 8))
    }, 100)
  for (let n = 0; n < 24 && publisher !== undefined; n++) {
    const mine = number++
    const synced = n % 6 === 5
    const done = await attempt(synced ? 'publishAsync' : 'publish', async () => {
      if (synced)
        acknowledged.set((await publisher.publishAsync(payload(mine), { durability: 'synced' })).sequence ?? 0, mine)
      else {
        publisher.publish(payload(mine))
        acknowledged.set(publisher.lastSequence, mine)
      }
      return true
    })
    if (done === undefined) await reopen()
    if (n % 5 === 0) await attempt('poll', poll)
  }
  await attempt('poll', poll)
  await attempt('seek', () => subscriber?.seek(2))
  await attempt('seekTime', () => subscriber?.seek(new Date(Date.now() - 1)))
  await attempt('info', () => topic.info())
  await attempt('verify', () => hermes.verify('t'))
  await attempt('flush', () => publisher?.flush('synced'))
  await attempt('closeSubscriber', () => subscriber?.close(), 1)
  await attempt('close', () => publisher?.close(), 1)
  await attempt('closeHermes', () => hermes.close(), 1)
  return acknowledged
}

const begins = options.begins ?? ['empty']
const left = new Map()

/** Topics as they are when somebody has to recover them. */
async function leave() {
  const folder = join(options.place, 'source')
  const hermes = await open(folder)
  const publisher = await hermes
    .topic('t', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 16_384, lowWaterBytes: 0 })
    .publisher()
  for (let number = 1000; number < 1012; number++) {
    publisher.publish(payload(number))
    left.set(publisher.lastSequence, number)
  }
  for (const kind of begins.filter((one) => one !== 'empty')) {
    const copy = join(options.place, `left-${kind}`)
    cpSync(folder, copy, { recursive: true })
    const topic = join(copy, 'topics', 't')
    if (kind === 'lost-control') rmSync(join(topic, 'control'))
    if (kind === 'failed-sync') {
      const words = Buffer.alloc(16)
      words.writeBigUInt64LE(5n, 0)
      words.writeBigUInt64LE(5n ^ 0x48524d5350415245n, 8)
      poke(join(topic, 'control'), 680, words)
    }
    // In the middle of the second message.
    if (kind === 'damaged') poke(join(topic, '0000000001.seg'), 256 + 9032 + 500, Buffer.from('damage'))
  }
  await hermes.close()
}

function poke(path, at, bytes) {
  const target = openSync(path, 'r+')
  writeSync(target, bytes, 0, bytes.length, at)
  closeSync(target)
}

/** Everything that was acknowledged is there, once, and nothing is damaged. */
async function check(folder, acknowledged, retention, begin) {
  const hermes = await open(folder)
  try {
    const topic = hermes.topic('t', { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 16_384, lowWaterBytes: 0 })
    const publisher = await topic.publisher()
    if (begin !== 'damaged' && publisher.recovery?.damage?.length > 0)
      wrong.push(`damage: ${JSON.stringify(publisher.recovery.damage)}`)
    const seen = new Map()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const first = subscriber.position
    publisher.publish(payload(9999))
    while (
      subscriber.poll((value, { sequence }) => {
        const mine = Buffer.from(value)
        if (!mine.equals(payload(mine.readUInt32LE(0)))) wrong.push(`${sequence} is not what was published`)
        seen.set(sequence, mine.readUInt32LE(0))
      }, 1000) > 0
    );
    for (const [sequence, number] of acknowledged) {
      if (retention && sequence < first) continue
      if (sequence !== 0 ? seen.get(sequence) !== number : ![...seen.values()].includes(number))
        wrong.push(`${number} (sequence ${sequence}) was acknowledged and is lost`)
    }
    const report = await hermes.verify('t')
    if (report.damage.length > 0) wrong.push(`verify: ${JSON.stringify(report.damage)}`)
    if (![...seen.values()].includes(9999)) wrong.push('what is published now does not arrive')
  } finally {
    await hermes.close()
  }
}

const baseline = async () => {
  const folder = join(options.place, 'warm-up')
  mkdirSync(folder, { recursive: true })
  await live(folder, true)
  rmSync(folder, { recursive: true })
}
await baseline()
await baseline()
await pause(50)
const files = openFiles()
let cases = 0
let reached = 0
const faults = []
const codes = {}
await leave()
for (const [begin, name, [call, ...errors]] of begins.flatMap((one) =>
  Object.entries(options.calls).map(([name, what]) => [one, name, what]),
)) {
  for (const error of errors) {
    for (let first = 1; first <= options.most; first += options.step ?? 1) {
      const folder = join(options.place, `${begin}-${name}-${error}-${first}`)
      if (begin === 'empty') mkdirSync(folder, { recursive: true })
      else cpSync(join(options.place, `left-${begin}`), folder, { recursive: true })
      wrong = []
      refused = {}
      const retention = begin === 'empty' && first % 2 === 0
      write(call, error, first, options.times)
      report('case', { begin, name, error, first })
      const acknowledged = await live(folder, retention)
      const failed = failures()
      write(0, 0, 0, 0)
      cases++
      if (failed > 0) reached++
      for (let n = 0; n < 100 && openFiles() > files; n++) await pause(10)
      if (openFiles() > files) wrong.push(`${openFiles() - files} files stay open`)
      try {
        const all = begin === 'empty' ? acknowledged : new Map([...left, ...acknowledged])
        if (begin === 'damaged') all.delete(2)
        await check(folder, all, retention, begin)
      } catch (failure) {
        wrong.push(`afterwards: ${failure?.stack ?? failure}`)
      }
      for (const [step, code] of Object.entries(refused)) codes[`${name}/${error}/${step}`] = code
      if (wrong.length > 0) faults.push({ begin, name, error, first, times: options.times, refused, wrong })
      rmSync(folder, { recursive: true })
      if (failed === 0) break
    }
  }
}
report('result', { cases, reached, faults, codes, files })
