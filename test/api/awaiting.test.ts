import { expect, it, vi } from 'vitest'
import { HermesError } from '../../lib/index.js'
import { type Awaited, AwaitedSubscriber } from '../../lib/placement/awaited-subscriber.js'
import type { SubscriberPort } from '../../lib/placement/port.js'

/** Topics that are not there, one for each subscriber; `looks` counts how often somebody looks for one. */
async function awaiting(count: number, work: (looks: () => number) => Promise<void>): Promise<void> {
  let looks = 0
  const all: SubscriberPort[] = []
  vi.useFakeTimers()
  try {
    for (let n = 0; n < count; n++) {
      const awaited: Awaited = {
        key: `awaiting ${n}`,
        topic: 't',
        open: async () => {
          looks++
          throw new HermesError('NOT_FOUND', 'There is no such topic.')
        },
        openNow: () => undefined,
        revision: () => '',
        check: () => {},
      }
      all.push(await AwaitedSubscriber.open(awaited, 'latest'))
    }
    await work(() => looks)
  } finally {
    for (const one of all) one.close()
    vi.useRealTimers()
  }
}

it('one subscriber looks for its topic ten times per second', async () => {
  await awaiting(1, async (looks) => {
    await vi.advanceTimersByTimeAsync(5000)
    const before = looks()
    await vi.advanceTimersByTimeAsync(2000)
    expect(looks() - before).toBeGreaterThanOrEqual(19)
  })
})

it('three hundred look no more often together than fifty do', async () => {
  await awaiting(300, async (looks) => {
    await vi.advanceTimersByTimeAsync(4000)
    const before = looks()
    await vi.advanceTimersByTimeAsync(2400)
    const perSecond = (looks() - before) / 2.4
    expect(perSecond).toBeGreaterThan(250)
    expect(perSecond).toBeLessThanOrEqual(600)
  })
}, 120_000)
