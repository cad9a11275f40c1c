import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Hermes, OpenOptions } from '../../lib/index.js'

/** A place where topics may live, as the contract suite sees it. Each case file is run over every placement. */
export interface Placement {
  readonly name: string
  /** Opens a fresh, empty place. `place` opens the same one again; `cleanup` closes and removes it. */
  open(): Promise<OpenPlace>
  /** What this placement can't do: full test names, each with the reason. */
  readonly skip: readonly Skip[]
}

export interface OpenPlace {
  readonly hermes: Hermes
  readonly place: string
  /** What `open(place)` needs besides. */
  readonly options?: OpenOptions
  readonly cleanup: () => Promise<void>
}

export interface Skip {
  readonly test: string
  readonly reason: string
}

export type Work = (place: OpenPlace) => Promise<void>

export interface Suite {
  /** Defines one test, over a fresh place. */
  it(name: string, work: Work, timeoutMs?: number): void
}

export type Case = (suite: Suite) => void

/** Runs `cases` over `placement`. A skip that names no test is an error: it would hide nothing and say that it does. */
export function runContract(placement: Placement, cases: Readonly<Record<string, Case>>): void {
  const left = new Map(placement.skip.map(({ test: name, reason }) => [name, reason]))
  describe(placement.name, () => {
    let place: OpenPlace
    beforeEach(async () => {
      place = await placement.open()
    })
    afterEach(() => place.cleanup())
    for (const [title, define] of Object.entries(cases)) {
      describe(title, () => {
        define({
          it(name, work, timeoutMs) {
            const reason = left.get(name)
            left.delete(name)
            if (reason === undefined) test(name, () => work(place), timeoutMs)
            else test.skip(`${name} (${reason})`, () => {})
          },
        })
      })
    }
  })
  test(`every skip of ${placement.name} names a test`, () => {
    expect([...left.keys()]).toEqual([])
  })
}
