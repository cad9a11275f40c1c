import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { capabilitiesOf } from '../../lib/client/hermes.js'
import type { Hermes, OpenOptions } from '../../lib/index.js'
import type { Capabilities } from '../../lib/placement/capabilities.js'

/** A place where topics may live, as the contract suite sees it. Each case file is run over every placement. */
export interface Placement {
  readonly name: string
  /** What the placement says that it can do: tests that need more are left out. */
  readonly capabilities: Capabilities
  /** Opens a fresh, empty place. `place` opens the same one again; `cleanup` closes and removes it. */
  open(): Promise<OpenPlace>
}

export interface OpenPlace {
  readonly hermes: Hermes
  readonly place: string
  /** What `open(place)` needs besides. */
  readonly options?: OpenOptions
  readonly cleanup: () => Promise<void>
}

export type Work = (place: OpenPlace) => Promise<void>

export interface Suite {
  /** Defines one test, over a fresh place. */
  it(name: string, work: Work, timeoutMs?: number): void
  /** One that only placements with these capabilities can pass. */
  it(name: string, needs: readonly (keyof Capabilities)[], work: Work, timeoutMs?: number): void
}

export type Case = (suite: Suite) => void

/** Runs `cases` over `placement`. */
export function runContract(placement: Placement, cases: Readonly<Record<string, Case>>): void {
  const { name: title, capabilities } = placement
  describe(title, () => {
    let place: OpenPlace
    beforeEach(async () => {
      place = await placement.open()
    })
    afterEach(() => place.cleanup())

    test('is what it says it is', () => {
      expect(capabilitiesOf(place.hermes)).toBe(capabilities)
    })

    const define = (name: string, needs: readonly (keyof Capabilities)[], work: Work, timeoutMs?: number) => {
      const missing = needs.filter((one) => capabilities[one] !== true)
      if (missing.length === 0) test(name, () => work(place), timeoutMs)
      else test.skip(`${name} (needs ${missing.map((one) => `${one}: ${capabilities[one]}`).join(' ')})`, () => {})
    }
    const suite: Suite = {
      it(name: string, ...rest: readonly unknown[]) {
        const [needs, work, timeoutMs] = (Array.isArray(rest[0]) ? rest : [[], ...rest]) as [
          (keyof Capabilities)[],
          Work,
          number?,
        ]
        define(name, needs, work, timeoutMs)
      },
    }
    for (const [chapter, defineCase] of Object.entries(cases)) describe(chapter, () => defineCase(suite))
  })
}
