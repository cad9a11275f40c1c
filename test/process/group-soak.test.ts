import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { json, open } from '../../lib/index.js'
import { seeded } from '../broker/harness.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { programsFolder } from '../helpers/program.js'
import { handOverMs, judge, type Kill, type Note } from './soak-judge.js'

/*
 * Four processes share the messages of a topic: two in its directory, one through a broker, one through it in Python. They are killed, stopped, and kept busy at random.
 *
 *   HERMES_SOAK_ROUNDS, HERMES_SOAK_MESSAGES, HERMES_SOAK_SEED
 */

const rounds = Number(process.env['HERMES_SOAK_ROUNDS'] ?? 2)
const messages = Number(process.env['HERMES_SOAK_MESSAGES'] ?? 3000)
const firstSeed = Number(process.env['HERMES_SOAK_SEED'] ?? Date.now() % 100_000)
const leaseMs = 600
const graceMs = 200
const maxInFlight = 20
const places = ['local', 'local', 'tcp', 'python'] as const

/** One of the four; killed ones are followed by others. */
class Member {
  readonly instance: string
  readonly child: ChildProcess
  readonly ready: Promise<void>

  constructor(instance: string, how: (typeof places)[number], options: object) {
    this.instance = instance
    const [program, file] = how === 'python' ? ['python3', 'soak_member.py'] : [process.execPath, 'soak-member.mjs']
    const argument = JSON.stringify({ ...options, instance })
    this.child = spawn(program as string, [join(programsFolder, file as string), argument], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.child.stdin?.on('error', () => {})
    this.ready = new Promise((resolve) => {
      createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).once('line', () => resolve())
      // (one that finds no time to connect on a busy machine ends: another one follows it)
      this.child.once('exit', () => resolve())
    })
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  async kill(): Promise<number> {
    const gone = once(this.child, 'exit')
    const at = Number(process.hrtime.bigint())
    this.child.kill('SIGKILL')
    await gone
    return at
  }

  async end(): Promise<void> {
    if (!this.isRunning) return
    const gone = once(this.child, 'exit')
    this.child.stdin?.write('end\n')
    await gone
  }
}

describe('members of a group that are killed, stopped and kept busy', () => {
  for (let round = 0; round < rounds; round++) {
    const seed = firstSeed + round
    it(`lose nothing, settle nothing twice: seed ${seed}`, { timeout: 240_000 }, () => soak(seed))
  }
})

async function soak(seed: number): Promise<void> {
  const random = seeded(seed)
  const kind = seed % 2 === 0 ? 'keyed' : 'shared'
  const folder = makeFolder()
  const dir = join(folder, 'data')
  const journal = join(folder, 'journal')
  writeFileSync(journal, '')
  const broker = await serve({ dir, port: 0, limits: { memberGraceMs: graceMs } })
  const hermes = await open(dir)
  const members: Member[] = []
  onTestFinished(async () => {
    for (const one of members) one.child.kill('SIGKILL')
    await hermes.close().catch(() => undefined)
    await broker.close()
    removeFolder(folder)
  })
  const topic = hermes.topic('soak', {
    codec: json<{ n: number; key: string }>(),
    segmentBytes: 65_536,
    maxPayloadBytes: 4096,
  })
  const publisher = await topic.publisher()
  let started = 0
  const begin = (index: number) => {
    const how = places[index] as (typeof places)[number]
    const place = how === 'local' ? dir : broker.url
    const member = new Member(`${how}-${index}-${started++}`, how, {
      place,
      journal,
      kind,
      leaseMs,
      maxInFlight,
      workMs: 8,
    })
    members[index] = member
    return member.ready
  }
  await Promise.all(places.map((_, index) => begin(index)))
  const watcher = await topic.group('members', kind === 'keyed' ? { key: 'key' } : {})
  const kills: Kill[] = []
  let published = 0
  let isDone = false
  const publishing = (async () => {
    while (published < messages) {
      for (let some = 0; some < 20 && published < messages; some++)
        publisher.publish({ n: published, key: `k${published++ % 50}` })
      await sleep(5)
    }
  })()
  const harm = (async () => {
    while (!isDone) {
      await sleep(20 + random() * 150)
      const index = Math.floor(random() * places.length)
      const member = members[index] as Member
      const what = random()
      if (isDone) break
      if (!member.isRunning) {
        console.log(`seed ${seed}: ${member.instance} has ended by itself, with ${member.child.exitCode}`)
        await begin(index)
      } else if (what < 0.4) {
        kills.push({ instance: member.instance, at: await member.kill() })
        await begin(index)
      } else if (what < 0.7) {
        member.child.kill('SIGSTOP')
        await sleep(random() * 2 * leaseMs)
        member.child.kill('SIGCONT')
      } else {
        member.child.stdin?.write(`block ${Math.floor(random() * 2 * leaseMs)}\n`)
      }
    }
  })()
  await publishing
  const until = performance.now() + 120_000
  let report = await watcher.describe()
  while (report.floor <= messages && performance.now() < until) {
    await sleep(20)
    report = await watcher.describe()
  }
  isDone = true
  await harm
  await watcher.close()
  await Promise.all(members.map((one) => one.end()))
  const notes = readFileSync(journal, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Note)
  const times = [...handOverMs(notes, kills)].map(([instance, ms]) => `${instance} ${ms.toFixed(0)} ms`)
  const { settled, redelivered, late, taken } = report.totals
  console.log(
    `seed ${seed}, ${kind}: ${messages} messages, ${kills.length} kills; settled ${settled}, redelivered ${redelivered}, late ${late}, taken ${taken}; handed over after: ${times.join(', ')}`,
  )
  expect(report.floor, `seed ${seed}: ${JSON.stringify(report.oldest)}`).toBe(messages + 1)
  expect(judge(messages, notes, kills, { keyed: kind === 'keyed', maxInFlight }), `seed ${seed}`).toEqual([])
}

describe('the judge', () => {
  const note = (what: Note['what'], n: number, at: number, instance = 'a', deliveries = 1, code?: string): Note => ({
    what,
    instance,
    n,
    key: 'k',
    sequence: n + 1,
    deliveries,
    at,
    ...(code === undefined ? {} : { code }),
  })
  const handled = (n: number, at: number, instance = 'a', deliveries = 1) => [
    note('got', n, at, instance, deliveries),
    note('settling', n, at + 1, instance, deliveries),
    note('settled', n, at + 2, instance, deliveries),
  ]
  const rules = { keyed: true, maxInFlight: 1 }
  const good = [...handled(0, 0), ...handled(1, 10)]

  it('finds nothing wrong with what is right', () => {
    expect(judge(2, good, [], rules)).toEqual([])
    const died = [note('got', 0, 0), ...handled(0, 10, 'b', 2), ...handled(1, 20, 'b')]
    expect(judge(2, died, [{ instance: 'a', at: 5 }], rules)).toEqual([])
    const late = [note('got', 0, 0), ...handled(0, 10, 'b', 2), note('failed', 0, 20, 'a', 1, 'LEASE_LOST')]
    expect(judge(1, late, [], rules)).toEqual([])
    const cut = [note('got', 0, 0), note('settling', 0, 1)]
    expect(judge(1, cut, [{ instance: 'a', at: 5 }], rules)).toEqual([])
  })

  it('notices what is lost, settled twice, duplicated without need, too much, and out of order', () => {
    expect(judge(3, good, [], rules)).toEqual(['message 2 was never settled'])
    expect(judge(2, [...good, ...handled(1, 20, 'b', 2)], [], rules)[0]).toContain('message 1 was settled twice')
    const again = [note('got', 0, 0), ...handled(0, 10, 'b', 2), ...handled(1, 20, 'b')]
    expect(judge(2, again, [], rules)[0]).toContain('neither killed nor told')
    const many = [note('got', 0, 0), note('got', 1, 1), ...handled(0, 10, 'b', 2), ...handled(1, 20, 'b', 2)]
    expect(judge(2, many, [{ instance: 'a', at: 5 }], rules)).toEqual(['2 messages came again of a, which may hold 1'])
    expect(judge(2, [...handled(0, 20), ...handled(1, 10)], [], rules)[0]).toContain('was handled before')
  })
})
