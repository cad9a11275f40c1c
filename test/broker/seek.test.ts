import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { open, text } from '../../lib/index.js'
import { native } from '../../lib/native/addon.js'
import { LogCursor } from '../../lib/store/log-cursor.js'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType } from '../../lib/wire/packet.js'
import { jsonPacket } from '../../lib/wire/packet-writer.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { Stranger, settings } from './stranger.js'

/* Finding a place in a topic is work that a client can ask for: the broker's thread is not to be held up by it. */

const count = 200_000
const codec = text
let dir: string
let folder: string

beforeEach(async () => {
  dir = makeFolder()
  folder = join(dir, 'topics', 't')
  await using local = await open(dir)
  const options = { codec, segmentBytes: 4 * 1024 * 1024, maxPayloadBytes: 4096 }
  const publisher = await local.topic('t', options).publisher()
  for (let n = 1; n <= count; n++) if (!publisher.publish(`message ${n}`)) await publisher.ready()
})
afterEach(() => removeFolder(dir))

/** Processor time of this thread's work, in milliseconds. */
function cost(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

const openLog = () => new native.openLog(folder, {})

async function forgetIndexes(): Promise<void> {
  for (const name of await readdir(folder)) if (name.endsWith('.idx')) await rm(join(folder, name))
}

it('a seek that was prepared does not look through whole segments', async () => {
  const middle = count / 2
  const cold = openLog()
  const without = cost(() => cold.openReader(false).seek(middle))
  cold.close()
  await forgetIndexes()
  const log = openLog()
  await log.prepareSeek(middle)
  const reader = log.openReader(false)
  expect(reader.seek(middle)).toMatchObject({ sequence: middle })
  const hundred = cost(() => {
    for (let n = 0; n < 100; n++) reader.seek(middle + n * 7)
  })
  // A hundred of them are less work than thirty without an index.
  expect(hundred).toBeLessThan(30 * without)
  reader.close()
  log.close()
})

it('a time is looked for in all segments, off the thread, once', async () => {
  const sealed = (await readdir(folder)).filter((name) => /^\d{10}\.(?!idx)/.test(name)).length - 1
  expect(sealed).toBeGreaterThan(1)
  const log = openLog()
  const later = BigInt(Date.now() + 3_600_000) * 1_000_000n
  await log.prepareSeek(later)
  for (let number = 1; number < sealed; number++)
    expect(existsSync(join(folder, `${String(number).padStart(10, '0')}.idx`))).toBe(true)
  const reader = log.openReader(false)
  reader.seek(later)
  expect(cost(() => reader.seek(later))).toBeLessThan(20)
  reader.close()
  log.close()
})

it('the newest of many SEEKs is where a remote subscriber goes, in order with the others', async () => {
  await using broker = await serve({ dir, port: 0 })
  const stranger = await Stranger.greeted(broker.port)
  const wanted = { ...settings, segmentBytes: undefined, create: false }
  stranger.say(jsonPacket(packetType.subscribe, 1, { topic: 't', settings: wanted, from: count / 2, credit: 100 }))
  const { body } = await stranger.hear(packetType.subscribed)
  expect(parseJson(body, 0, body.length)).toMatchObject({ epoch: 0, sequence: count / 2 })
  const places = [1, { timeMs: 0 }, 'earliest', count, { timeMs: Date.now() + 1e7 }, 'latest', 77]
  let epoch = 0
  const packets = Array.from({ length: 40 }, () =>
    places.map((from) => jsonPacket(packetType.seek, 1, { epoch: ++epoch, from })),
  )
  stranger.say(...packets.flat())
  for (;;) {
    const answer = await stranger.hear(packetType.subscribed)
    const told = parseJson(answer.body, 0, answer.body.length)
    if (told['epoch'] !== epoch) continue
    expect(told).toMatchObject({ sequence: 77 })
    break
  }
  // A place that is not there ends the channel, and the connection goes on.
  stranger.say(jsonPacket(packetType.seek, 1, { epoch: epoch + 1, from: count + 100 }))
  expect(await stranger.error()).toBe('OUT_OF_RANGE')
  stranger.say(jsonPacket(packetType.subscribe, 2, { topic: 't', settings: wanted, from: count + 100, credit: 100 }))
  expect(await stranger.error()).toBe('OUT_OF_RANGE')
  stranger.say(jsonPacket(packetType.subscribe, 3, { topic: 't', settings: wanted, from: 5, credit: 100 }))
  const third = await stranger.hear(packetType.subscribed)
  expect(parseJson(third.body, 0, third.body.length)).toMatchObject({ sequence: 5 })
  stranger.socket.destroy()
})

it('clients that leave while their place is looked for hold up nobody who comes after', async () => {
  await using broker = await serve({ dir, port: 0 })
  const wanted = { ...settings, segmentBytes: undefined, create: false }
  const subscribe = (channel: number) =>
    jsonPacket(packetType.subscribe, channel, { topic: 't', settings: wanted, from: count / 2, credit: 100 })
  const stranger = await Stranger.greeted(broker.port)
  const rounds = 40
  for (let round = 0; round < rounds; round++) {
    // In line one behind the other, and cut off at any moment on the way.
    const leaver = await Stranger.greeted(broker.port)
    leaver.say(...Array.from({ length: 10 }, (_, channel) => subscribe(channel + 1)))
    setTimeout(() => leaver.socket.destroy(), (round / rounds) * 8)
    await leaver.gone()
  }
  stranger.say(subscribe(1))
  const { body } = await stranger.hear(packetType.subscribed)
  expect(parseJson(body, 0, body.length)).toMatchObject({ sequence: count / 2 })
  stranger.socket.destroy()
}, 60_000)

it('how old the oldest message of a group is, is not looked for on the thread of who asks', async () => {
  // (so many that looking there costs many times what a look without it does)
  const many = 10 * count
  await using local = await open(dir)
  // One long segment, which has no index in a file.
  const publisher = await local
    .topic('long', { codec, segmentBytes: 128 * 1024 * 1024, maxPayloadBytes: 4096 })
    .publisher()
  for (let n = 1; n <= many; n++) if (!publisher.publish(`message ${n}`)) await publisher.ready()
  const group = await local.topic('long', { codec }).group('late', { from: many - 10 })
  await group.close()
  const costs: number[] = []
  const real = LogCursor.prototype.seek
  const spy = vi.spyOn(LogCursor.prototype, 'seek').mockImplementation(function (this: LogCursor, target) {
    costs.push(cost(() => real.call(this, target)))
  })
  try {
    const cold: number[] = []
    const prepared: number[] = []
    for (let n = 0; n < 5; n++) {
      const log = new native.openLog(join(dir, 'topics', 'long'), {})
      const reader = log.openReader(false)
      cold.push(cost(() => reader.seek(many - 10)))
      reader.close()
      log.close()
      costs.length = 0
      await local.admin.describeGroup('long', 'late')
      expect(costs.length).toBeGreaterThan(0)
      prepared.push(costs.reduce((sum, one) => sum + one, 0))
    }
    expect(Math.min(...prepared)).toBeLessThan(Math.min(...cold) / 3)
  } finally {
    spy.mockRestore()
  }
})
