import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  dueOf,
  emptyEvent,
  eventBytes,
  fill,
  type MarketEvent,
  marketEvent,
  type Plan,
  same,
} from '../../lib/cli/battle/event.js'
import { Tally } from '../../lib/cli/battle/tally.js'
import { open } from '../../lib/index.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place
/** Little enough for a busy machine: nothing here is about speed. */
const small = ['--tokens', '20', '--rate', '50', '--duration', '500ms', '--warm-up', '100ms']

/** Everything was delivered, once, in order and as it was published. */
const won = { passed: true, delivery: 100, missing: 0, duplicates: 0, outOfOrder: 0, wrong: 0, acknowledged: true }

/** The command lines of processes that name `folder`. */
function processesOf(folder: string): string[] {
  const lines = readdirSync('/proc').map((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return ''
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8')
    } catch {
      return '' // it has ended meanwhile
    }
  })
  return lines.filter((line) => line.includes(folder))
}

describe('hermes battle', () => {
  test('fights over a broker of its own, reports to programs, and leaves nothing behind', async () => {
    const { code, stdout, stderr } = await hermes(['battle', ...small, '--in', place.folder, '--json'])
    expect([code, stderr]).toEqual([0, ''])
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({
      ...won,
      tokens: 20,
      rate: 50,
      perSecond: 1000,
      durability: 'written',
      network: true,
    })
    expect([report.planned, report.sent, report.received, report.interrupted]).toEqual([600, 600, 600, false])
    const { count, min, p50, p99, p999, max } = report.latencyNs
    expect(count).toBe(500)
    expect([min, p50, p99, p999, max]).toEqual([min, p50, p99, p999, max].toSorted((a, b) => a - b))
    expect(min).toBeGreaterThan(0)
    expect(report.broker.memoryBytes).toBeGreaterThan(1e6)
    expect(readdirSync(place.folder)).toEqual([])
  })

  test('reports to people', async () => {
    const { code, stdout, stderr } = await hermes(['battle', ...small, '--in', place.folder])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('20 tokens × 50 messages/s = 1,000/s for 500.0 ms, 64 bytes each, written')
    expect(stdout).toMatch(/^delivery +100\.00 %$/m)
    expect(stdout).toMatch(/^LATENCY +MIN +P50 +P99 +P99\.9 +MAX\nfrom due to received, µs( +[\d,.]+){5}$/m)
  })

  test('fights in a directory, again in the topic that is there, and beside messages of others', async () => {
    for (let round = 0; round < 2; round++) {
      const { code, stdout } = await hermes(['battle', ...small, '--dir', 'field', '--topic', 'events', '--json'])
      expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ ...won, foreign: 0, broker: null })])
    }
    const info = JSON.parse((await hermes(['info', 'events', '--dir', 'field', '--json'])).stdout)
    expect(info).toMatchObject({ nextSequence: 1201, retention: { bytes: 2 ** 30 } })
    const both = await Promise.all([1, 2].map(() => hermes(['battle', ...small, '--dir', 'field', '--json'])))
    for (const { code, stdout } of both) expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining(won)])
  })

  test('fights over a broker that runs already, and over a ring', async () => {
    const { url } = await place.serve(['--dir', 'served'])
    const name = `battle-${process.pid}`
    try {
      for (const where of [
        ['--url', url],
        ['--dir', `ring:${name}`],
      ]) {
        const { code, stdout, stderr } = await hermes([...where, 'battle', ...small, '--json'])
        expect([code, stderr, JSON.parse(stdout || '{}')]).toEqual([0, '', expect.objectContaining(won)])
        expect(JSON.parse(stdout).place).toBe(where[1])
      }
    } finally {
      rmSync(`/dev/shm/hermes.rings-${name}`, { recursive: true, force: true })
    }
  })

  test('ends early on SIGINT with a report of what was', async () => {
    const battle = start(['battle', '--tokens', '10', '--rate', '100', '--duration', '1h', '--dir', 'field', '--json'])
    await hermes(['sub', 'battle', '--dir', 'field', '--await', '--codec', 'raw', '--count', '200'])
    battle.child.kill('SIGINT')
    const { code, stdout, stderr } = await battle.ended
    expect([code, stderr]).toEqual([130, ''])
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ ...won, interrupted: true })
    expect(report.sent).toBeGreaterThanOrEqual(200)
    expect(report.sent).toBeLessThan(report.planned)
  })

  test('the second SIGINT leaves no files and no processes', async () => {
    const args = ['battle', '--tokens', '10', '--rate', '100', '--duration', '1h', '--in', place.folder]
    const battle = start(args)
    await battle.until('through a broker of its own')
    const topic = () =>
      readdirSync(place.folder, { recursive: true, encoding: 'utf8' }).some((name) => /\.seg$/.test(name))
    while (!topic()) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(processesOf(place.folder)).not.toEqual([])
    battle.child.kill('SIGINT')
    // (Signals that are sent at once may arrive as one. Then it ends in order, which is as good here.)
    await new Promise((resolve) => setTimeout(resolve, 20))
    battle.child.kill('SIGINT')
    expect((await battle.ended).code).toBe(130)
    expect(readdirSync(place.folder)).toEqual([])
    expect(processesOf(place.folder)).toEqual([])
  })

  test('a broker that is killed makes it fail, with a report', async () => {
    const { url, child } = await place.serve(['--dir', 'served'])
    const args = ['--tokens', '10', '--rate', '100', '--duration', '1h', '--stall-timeout', '3s', '--json']
    const battle = start(['battle', '--url', url, ...args])
    await hermes(['sub', 'battle', '--dir', 'served', '--await', '--codec', 'raw', '--count', '200'])
    child.kill('SIGKILL')
    const { code, stdout, stderr } = await battle.ended
    expect(code).toBe(1)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ passed: false, acknowledged: false, stalled: true, wrong: 0, duplicates: 0 })
    expect(report.missing).toBe(report.sent - report.received)
    expect(report.missing).toBeGreaterThan(0)
    expect(report.delivery).toBeLessThan(100)
    expect(JSON.parse(stderr).error.message).toContain('not delivered')
  })

  test('a message that is not as it was planned makes it fail', async () => {
    const battle = start(['battle', '--tokens', '10', '--rate', '50', '--duration', '1h', '--dir', 'field', '--json'])
    const more = (count: string) =>
      hermes(['sub', 'battle', '--dir', 'field', '--await', '--codec', 'raw', '--count', count])
    await more('20')
    // Somebody else publishes a false message and one again, as if they were of the run.
    {
      await using field = await open(join(place.folder, 'field'), { create: false })
      const topic = field.topic('battle', { codec: marketEvent, create: false })
      const subscriber = await topic.subscriber({ from: 5 })
      const publisher = await topic.publisher()
      for await (const { value } of subscriber) {
        publisher.publishBatch([{ ...value, price: value.price + 1 }, value])
        break
      }
    }
    await more('20')
    battle.child.kill('SIGINT')
    const { code, stdout, stderr } = await battle.ended
    expect(code).toBe(1)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ passed: false, wrong: 1, duplicates: 1, outOfOrder: 0, missing: 0, delivery: 100 })
    expect(JSON.parse(stderr).error.message).toBe(
      'The battle is lost: 1 message delivered more than once; 1 message with a content or a sequence that is wrong.',
    )
  })

  test.each([
    [['--tokens', '0'], 2, 'integer'],
    [['--rate', '1e9'], 2, 'more than can be injected'],
    [['--in', 'nowhere'], 3, 'nowhere'],
    [['--url', 'tcp://127.0.0.1:1'], 12, 'No connection'],
    [['--durability', 'held'], 2, 'written, synced'],
  ])('refuses %j', async (args, wanted, text) => {
    const { code, stderr } = await hermes(['battle', ...args])
    expect([code, stderr]).toEqual([wanted, expect.stringContaining(text)])
  })

  test('refuses a topic that holds something else', async () => {
    await hermes(['pub', 'greetings', 'hello', '--dir', 'field'])
    const { code, stderr } = await hermes(['battle', ...small, '--dir', 'field', '--topic', 'greetings'])
    expect([code, stderr]).toEqual([8, expect.stringContaining('CODEC_MISMATCH')])
  })
})

describe('an event of the battle', () => {
  const plan: Plan = { run: 7, tokens: 3, perSecond: 300, messages: 900, warmUp: 0 }
  const event = (id: number): MarketEvent => {
    const made = emptyEvent()
    fill(made, id, plan, 1000)
    return made
  }

  test('has 64 bytes', () => {
    expect(marketEvent.maxBytes).toBe(eventBytes)
  })

  test('belongs to the tokens in turn, at even distances', () => {
    expect([4, 5, 6].map((id) => [event(id).token, event(id).number])).toEqual([
      [1, 1],
      [2, 1],
      [0, 2],
    ])
    expect(dueOf(30, plan, 1000) - dueOf(0, plan, 1000)).toBe(1e8)
  })

  test('differs from another one in every field', () => {
    const [one, other] = [event(4), event(4)]
    expect(same(one, other)).toBe(true)
    for (const [name, value] of Object.entries(one) as [keyof MarketEvent, string | number][]) {
      const changed = typeof value === 'number' ? value + 1 : 'neither'
      expect([name, same({ ...one, [name]: changed } as MarketEvent, other)]).toEqual([name, false])
    }
    // What is said of a message depends on its token and its number.
    expect(new Set(Array.from({ length: 900 }, (_, id) => event(id).check)).size).toBe(900)
  })
})

test('a tally tells what is missing, late and twice', () => {
  const tally = new Tally()
  for (const id of [0, 1, 5, 6, 3, 3, 1, 9]) tally.take(id)
  expect(tally).toMatchObject({ received: 6, duplicates: 2, outOfOrder: 1 })
  expect([tally.has(2), tally.has(10)]).toEqual([true, false])
  for (const id of [8, 2, 7, 4]) tally.take(id)
  expect(tally).toMatchObject({ received: 10, duplicates: 2, outOfOrder: 5 })
  expect([tally.has(10), tally.has(11)]).toEqual([true, false])
})
