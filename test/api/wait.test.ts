import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type WaitingPort, waitForMessages } from '../../lib/client/wait.js'

/** A port on which a message comes as it is parked. `lookMs`: how long each look takes. */
class Port implements WaitingPort {
  looks = 0
  parks = 0
  #messages = 0
  readonly #lookMs: () => number

  constructor(lookMs: () => number = () => 0) {
    this.#lookMs = lookMs
  }

  fetch(): number {
    this.looks++
    const end = performance.now() + this.#lookMs()
    while (performance.now() < end);
    return this.#messages
  }

  park(): Promise<void> {
    this.parks++
    this.#messages = 1
    return Promise.resolve()
  }
}

const wait = (port: Port, how: 'adaptive' | 'park') => waitForMessages(port, how, 1, undefined, () => false)

test('adaptive polls before it parks; where polling is interrupted, it parks at once for a while', async () => {
  // On a busy machine a look may be interrupted without our doing: then it is tried again.
  const undisturbed = async () => {
    for (let attempt = 0; attempt < 100; attempt++) {
      const port = new Port()
      expect(await wait(port, 'adaptive')).toBe(1)
      expect(port.parks).toBe(1)
      if (port.looks > 20) return port.looks
      await sleep(120)
    }
    return 0
  }
  expect(await undisturbed()).toBeGreaterThan(20)
  let slow = 5
  expect(await wait(new Port(() => (slow-- > 0 ? 1 : 0)), 'adaptive')).toBe(1)
  const after = new Port()
  expect(await wait(after, 'adaptive')).toBe(1)
  expect([after.looks, after.parks]).toEqual([2, 1])
  expect(await undisturbed()).toBeGreaterThan(20)
}, 60_000)

test('park does not poll', async () => {
  const port = new Port()
  expect(await wait(port, 'park')).toBe(1)
  expect([port.looks, port.parks]).toEqual([2, 1])
})
