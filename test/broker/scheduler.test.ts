import { setImmediate as nextRound } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Scheduler, type Worker } from '../../lib/broker/scheduler.js'

/** Keeps the thread busy. */
function burn(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Has `steps` of work of `stepMs` each, and writes its name down for every turn. */
class Busy implements Worker {
  readonly party: string
  readonly #name: string
  readonly #turns: string[]
  readonly #stepMs: number
  steps: number

  constructor(party: string, name: string, turns: string[], stepMs: number, steps: number) {
    this.party = party
    this.#name = name
    this.#turns = turns
    this.#stepMs = stepMs
    this.steps = steps
  }

  turn(until: number): boolean {
    this.#turns.push(this.#name)
    do {
      burn(this.#stepMs)
      this.steps--
    } while (this.steps > 0 && performance.now() < until)
    return this.steps > 0
  }
}

async function idle(scheduler: Scheduler): Promise<void> {
  while (!scheduler.isIdle) await nextRound()
}

describe('the thread is shared', () => {
  it('so that a client does not wait behind hundreds of connections of another one', async () => {
    const scheduler = new Scheduler()
    const turns: string[] = []
    const crowd = Array.from({ length: 300 }, (_, n) => new Busy('crowd', `crowd ${n}`, turns, 0.3, 1))
    const lonely = new Busy('lonely', 'lonely', turns, 0.05, 1)
    for (const one of crowd) scheduler.offer(one)
    const before = turns.length
    expect(before).toBeLessThan(100)
    scheduler.offer(lonely)
    await idle(scheduler)
    // Of 300 turns that were asked for before its own at most a few come first.
    expect(turns.indexOf('lonely') - before).toBeLessThan(5)
    expect(turns).toHaveLength(301)
  })

  it('so that a connection with little to do does not wait behind its neighbours with much', async () => {
    const scheduler = new Scheduler()
    const turns: string[] = []
    const crowd = Array.from({ length: 200 }, (_, n) => new Busy('one', `crowd ${n}`, turns, 0.2, 20))
    const modest = new Busy('one', 'modest', turns, 0.02, 1)
    scheduler.offer(modest)
    await idle(scheduler)
    for (const one of crowd) scheduler.offer(one)
    // All of them have had a turn, and are in line again.
    while (!crowd.every((one) => one.steps < 20)) await nextRound()
    await new Promise((resolve) => setTimeout(resolve, 20))
    turns.length = 0
    modest.steps = 1
    scheduler.offer(modest)
    const waited: number[] = []
    const at = () => turns.indexOf('modest')
    while (at() < 0) await nextRound()
    waited.push(at())
    expect(waited[0]).toBeLessThan(20)
    for (const one of crowd) scheduler.remove(one)
  })

  it('and nobody is left out: who has used much gets on as well', async () => {
    const scheduler = new Scheduler()
    const turns: string[] = []
    const greedy = new Busy('greedy', 'greedy', turns, 1, 5)
    scheduler.queue(greedy)
    const frugal = Array.from({ length: 50 }, (_, n) => new Busy(`party ${n}`, 'frugal', turns, 0.05, Infinity))
    for (const one of frugal) scheduler.queue(one)
    for (let round = 0; greedy.steps > 0; round++) {
      expect(round).toBeLessThan(2000)
      await nextRound()
    }
    for (const one of frugal) scheduler.remove(one)
    await idle(scheduler)
  })

  it('also within a turn: whoever gets work by it is served then, or put in line', async () => {
    const scheduler = new Scheduler()
    const turns: string[] = []
    const listeners = Array.from({ length: 100 }, (_, n) => new Busy('listeners', `listener ${n}`, turns, 0.2, 1))
    const speaker: Worker = {
      party: 'speaker',
      turn: () => {
        turns.push('speaker')
        for (const one of listeners) scheduler.offer(one)
        return false
      },
    }
    const begin = performance.now()
    const user = process.cpuUsage()
    scheduler.offer(speaker)
    const { user: spent } = process.cpuUsage(user)
    // 20 ms of work are not done in one go. (Processor time: others may use this machine.)
    expect(spent / 1000).toBeLessThan(15)
    expect(turns.length).toBeLessThan(60)
    await idle(scheduler)
    expect(turns).toHaveLength(101)
    expect(performance.now() - begin).toBeGreaterThan(15)
  })
})
