import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { HermesError } from '../base/errors.js'
import { open } from '../client/open.js'
import { raw } from '../codec/raw.js'
import { Oracle, type Violation } from './oracle.js'
import { Random } from './random.js'
import { readEverything } from './reading.js'

export interface KillOptions {
  /** An empty or new directory: topics are made in it. */
  readonly place: string
  readonly rounds: number
  readonly seed: number
  /** Processes of each kind that are alive between rounds. Default 3 and 2. */
  readonly writers?: number
  readonly readers?: number
  /** Rounds with one topic, before it is read from end to end. Default 50. */
  readonly roundsPerTopic?: number
  readonly onRound?: (round: number) => void
}

export interface KillReport {
  readonly seed: number
  readonly rounds: number
  /** SIGKILLs, of writers and readers. */
  readonly kills: number
  readonly acknowledged: number
  /** Sequences that dead writers left empty. */
  readonly voids: number
  readonly violations: readonly Violation[]
}

/** Survivors have to get on within this time, in ms: it bounds a hang, it measures nothing. */
const actorTimeoutMs = 60_000

/**
 * Runs writers and readers on a topic, and kills one or all of them with SIGKILL in each round, mostly while it publishes. After each round the
 * survivors must get on. In the end everything that was acknowledged must be there, once and in order.
 */
export async function killRounds(options: KillOptions): Promise<KillReport> {
  const { place, rounds, seed, writers = 3, readers = 2, roundsPerTopic = 50, onRound } = options
  const random = new Random(seed)
  const total = { kills: 0, acknowledged: 0, voids: 0 }
  const violations: Violation[] = []
  for (let round = 0, topic = 0; round < rounds; topic++) {
    const scene = await Scene.open(place, `kill-${topic}`, random.fork())
    try {
      await scene.fill(writers, readers)
      for (let n = 0; n < roundsPerTopic && round < rounds; n++, round++) {
        await scene.round()
        await scene.fill(writers, readers)
        onRound?.(round + 1)
      }
      const { acknowledged, voids } = await scene.finish()
      total.acknowledged += acknowledged
      total.voids += voids
    } catch (error) {
      if (!(error instanceof Stuck)) throw error
      scene.violations.push({ kind: 'lost', message: error.message })
    } finally {
      await scene.killAll()
      total.kills += scene.kills
      violations.push(
        ...scene.violations.map(({ kind, message }) => ({ kind, message: `seed ${seed}, topic ${topic}: ${message}` })),
      )
    }
  }
  return { seed, rounds, ...total, violations }
}

class Stuck extends Error {}

interface Actor {
  readonly kind: 'writer' | 'reader'
  readonly id: number
  readonly child: ChildProcess
  readonly exited: Promise<unknown>
  /** What it told last, for the caller that waits. */
  attempted: number
  acknowledged: number
  position: number
  killed: boolean
}

class Scene {
  readonly violations: Violation[] = []
  kills = 0
  readonly #place: string
  readonly #topic: string
  readonly #random: Random
  readonly #oracle = new Oracle()
  readonly #actors = new Set<Actor>()
  #nextId = 0
  #listeners = new Set<() => void>()

  private constructor(place: string, topic: string, random: Random) {
    this.#place = place
    this.#topic = topic
    this.#random = random
  }

  static async open(place: string, topic: string, random: Random): Promise<Scene> {
    const hermes = await open(place)
    // Small segments: rotation is where much can go wrong.
    await (await hermes.topic(topic, { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }).publisher()).close()
    await hermes.close()
    return new Scene(place, topic, random)
  }

  async fill(writers: number, readers: number): Promise<void> {
    const opened: Promise<unknown>[] = []
    const count = (kind: Actor['kind']) => [...this.#actors].filter((one) => one.kind === kind).length
    while (count('writer') < writers)
      opened.push(this.#start('writer', [String(this.#nextId), String(this.#random.next())]))
    while (count('reader') < readers) opened.push(this.#start('reader', ['1']))
    await Promise.all(opened)
  }

  async round(): Promise<void> {
    const random = this.#random
    const all = [...this.#actors]
    const writers = all.filter(({ kind }) => kind === 'writer')
    const mode = random.below(10)
    const readers = all.filter(({ kind }) => kind === 'reader')
    const victims =
      mode < 6 ? [random.pick(writers)] : mode < 8 && readers.length > 0 ? [random.pick(readers)] : writers
    const first = victims[0] as Actor
    if (first.kind === 'writer' && random.chance(0.8)) {
      // In the middle of publishing: its next line says that it begins.
      const before = first.attempted
      await this.#until(() => first.attempted > before, `writer ${first.id} does not get on`)
    } else await sleep(random.below(30))
    await Promise.all(victims.map((victim) => this.#kill(victim)))
    const left = [...this.#actors].filter(({ kind }) => kind === 'writer')
    const progress = left.map((one) => ({ one, before: one.acknowledged }))
    if (left.length > 0) {
      await this.#until(
        () => progress.some(({ one, before }) => one.acknowledged > before),
        'no writer gets on after a kill',
      )
    }
  }

  /** Kills all writers, reads everything, and lets the readers come to the end. */
  async finish(): Promise<{ acknowledged: number; voids: number }> {
    for (const one of [...this.#actors]) if (one.kind === 'writer') await this.#kill(one)
    const hermes = await open(this.#place)
    try {
      const publisher = await hermes.topic(this.#topic, { codec: raw }).publisher()
      const { damage = [] } = publisher.recovery ?? {}
      for (const one of damage)
        this.violations.push({
          kind: 'lost',
          message: `recovery found damage: ${one.reason} in segment ${one.segment} at ${one.offset}`,
        })
      await publisher.close()
      const reading = await readEverything(hermes, this.#topic)
      for (const one of reading.damage)
        this.violations.push({
          kind: 'lost',
          message: `damage: ${one.reason} in segment ${one.segment} at ${one.offset}`,
        })
      this.violations.push(...this.#oracle.check({ ...reading, level: 'written' }))
      const end = reading.seen.at(-1)?.sequence ?? 0
      await this.#until(
        () => [...this.#actors].every(({ position }) => position >= end),
        `a reader does not come to sequence ${end}`,
      )
      return { acknowledged: this.#oracle.acknowledged('written'), voids: reading.voids }
    } finally {
      await hermes.close()
    }
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#actors].map((one) => this.#kill(one)))
  }

  #start(kind: Actor['kind'], args: readonly string[]): Promise<void> {
    const child = spawn(process.execPath, [program(`kill-${kind}.js`), this.#place, this.#topic, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const actor: Actor = {
      kind,
      id: this.#nextId++,
      child,
      exited: once(child, 'exit'),
      attempted: 0,
      acknowledged: 0,
      position: 0,
      killed: false,
    }
    this.#actors.add(actor)
    let ready = false
    const errors: string[] = []
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()))
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line === 'open') ready = true
        else this.#hear(actor, line)
        for (const listener of this.#listeners) listener()
      })
    }
    void actor.exited.then(() => {
      if (!actor.killed)
        this.violations.push({
          kind: 'lost',
          message: `${kind} ${actor.id} ended by itself: ${errors.join('').slice(0, 600)}`,
        })
      for (const listener of this.#listeners) listener()
    })
    return this.#until(
      () => ready || (!actor.killed && child.exitCode !== null),
      `${kind} ${actor.id} does not open the topic`,
    )
  }

  #hear(actor: Actor, line: string): void {
    const [word = '', rest = ''] = line.split(/ (.*)/)
    const end = Number(rest)
    if (word === 'attempt') {
      this.#oracle.attempt(actor.id, end)
      actor.attempted = end
    } else if (word === 'written' || word === 'synced') {
      for (let number = word === 'synced' ? 0 : actor.acknowledged; number < end; number++)
        this.#oracle.acknowledge({ writer: actor.id, number }, word)
      actor.acknowledged = end
    } else if (word === 'at') actor.position = end
    else if (word === 'fault') this.violations.push({ kind: 'order', message: `reader ${actor.id}: ${rest}` })
  }

  async #kill(actor: Actor): Promise<void> {
    if (actor.killed) return
    actor.killed = true
    actor.child.kill('SIGKILL')
    this.kills++
    // 'close' comes when its last line was read, too.
    if (actor.child.stdout?.closed === false)
      await Promise.race([once(actor.child, 'close'), sleep(actorTimeoutMs, undefined, { ref: false })])
    await actor.exited
    this.#actors.delete(actor)
  }

  /** Waits until `done`, checked after each report of a process. */
  async #until(done: () => boolean, failure: string): Promise<void> {
    if (done()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => end(() => reject(new Stuck(failure))), actorTimeoutMs)
      const listener = () => {
        if (done()) end(resolve)
      }
      const end = (how: () => void) => {
        clearTimeout(timer)
        this.#listeners.delete(listener)
        how()
      }
      this.#listeners.add(listener)
    })
  }
}

/** Programs run from dist/, also when this file runs from lib/ under a test runner. */
function program(name: string): string {
  const here = join(import.meta.dirname, name)
  const built = existsSync(here) ? here : join(import.meta.dirname, '../../dist/testkit', name)
  if (!existsSync(built)) throw new HermesError('NOT_FOUND', `${built} is missing. Build first: npm run build.`)
  return built
}
