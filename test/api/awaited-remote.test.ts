import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { AwaitedTopics } from '../../lib/placement/remote/awaited-topics.js'
import { Channels, type LinkUser } from '../../lib/placement/remote/channels.js'

const user = (): LinkUser => ({
  connected: () => {},
  disconnected: () => {},
  packet: () => {},
  failed: () => {},
  idle: true,
})

it('a user has one channel of a connection, and gives it back', () => {
  const channels = new Channels()
  const [one, two] = [user(), user()]
  channels.assign(one)
  channels.assign(two)
  expect([channels.user(1), channels.user(2), channels.has(one)]).toEqual([one, two, true])
  expect([channels.release(one), channels.release(one), channels.has(one), channels.user(1)]).toEqual([
    1,
    undefined,
    false,
    undefined,
  ])
  channels.assign(one)
  expect(channels.user(3)).toBe(one)
  // (what comes late for a channel that it had before)
  channels.end(1)
  expect(channels.has(one)).toBe(true)
  channels.end(3)
  expect([channels.has(one), channels.user(3)]).toEqual([false, undefined])
  channels.clear()
  expect(channels.has(two)).toBe(false)
  channels.assign(two)
  expect(channels.user(1)).toBe(two)
})

it('thousands of users give their channels back in a time that grows with their number, not with its square', () => {
  /** Processor time, in milliseconds. */
  const cost = (count: number) => {
    const channels = new Channels()
    const users = Array.from({ length: count }, user)
    for (const one of users) channels.assign(one)
    const before = process.cpuUsage()
    for (const one of users) if (channels.has(one)) channels.release(one)
    const { user: own, system } = process.cpuUsage(before)
    return (own + system) / 1000
  }
  cost(1000)
  expect(cost(20_000)).toBeLessThan(50 * Math.max(1, cost(1000)))
})

/** Waiting users whose topics are not there, as the broker sees them. */
class Waiting {
  ready = true
  readonly asked: string[] = []
  lists = 0
  topics: string[] | Error = []
  readonly awaited: AwaitedTopics
  readonly #names = new Map<LinkUser, string>()

  constructor() {
    const link = {
      isReady: () => this.ready,
      get ready() {
        return link.isReady()
      },
      renewIdle: (one: LinkUser) => {
        const name = this.#names.get(one) as string
        this.asked.push(name)
        // The broker has not got it, or says so.
        if (this.topics instanceof Error || !this.topics.includes(name)) this.awaited.add(one, name, false)
      },
    }
    this.awaited = new AwaitedTopics(link, async () => {
      this.lists++
      if (this.topics instanceof Error) throw this.topics
      return this.topics
    })
  }

  add(count: number): LinkUser[] {
    return Array.from({ length: count }, (_, n) => {
      const one = user()
      this.#names.set(one, `t${n}`)
      this.awaited.add(one, `t${n}`, true)
      return one
    })
  }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('a thousand remote subscribers that wait for topics ask for the list of them, and only those that are there are asked for', async () => {
  const waiting = new Waiting()
  waiting.add(1000)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(waiting.asked).toEqual([])
  // At first more often, then twice per second.
  expect(waiting.lists).toBeGreaterThan(20)
  expect(waiting.lists).toBeLessThan(32)
  waiting.topics = ['t7', 'other', 't999']
  await vi.advanceTimersByTimeAsync(600)
  expect(waiting.asked).toEqual(['t7', 't999'])
  await vi.advanceTimersByTimeAsync(5000)
  expect(waiting.asked).toEqual(['t7', 't999'])
})

it('a few ask themselves, and so do all where the broker gives no list', async () => {
  const few = new Waiting()
  few.add(3)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(few.lists).toBe(0)
  expect(few.asked.length).toBeGreaterThan(3 * 20)
  expect(few.asked.length).toBeLessThan(3 * 32)
  few.awaited.clear()
  const many = new Waiting()
  many.topics = new Error('no')
  many.add(100)
  await vi.advanceTimersByTimeAsync(2000)
  expect(new Set(many.asked).size).toBe(100)
  expect(many.asked.length).toBeLessThan(100 * 15)
})

it('who has gone is not asked for, and nobody asks while there is no connection', async () => {
  const waiting = new Waiting()
  const [first, ...others] = waiting.add(20)
  for (const one of others) waiting.awaited.remove(one)
  waiting.ready = false
  await vi.advanceTimersByTimeAsync(5000)
  expect([waiting.asked, waiting.lists]).toEqual([[], 0])
  waiting.ready = true
  await vi.advanceTimersByTimeAsync(600)
  expect(waiting.asked[0]).toBe('t0')
  waiting.awaited.remove(first as LinkUser)
  expect(vi.getTimerCount()).toBeLessThan(2)
  waiting.awaited.clear()
  expect(vi.getTimerCount()).toBe(0)
})
