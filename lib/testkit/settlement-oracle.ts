import type { Seen, Violation } from './oracle.js'

/** What a group handed out after a fault, and what there was to hand out. */
export interface GroupReading {
  /** The messages that the topic holds, in sequence. */
  readonly present: readonly Seen[]
  /** What members got, in the order in which they got it, until nothing was left. All of it was settled. */
  readonly delivered: readonly Seen[]
  /** What the dead-letter topic holds. */
  readonly letters: readonly Seen[]
  /** Of what may not overtake each other. Not given: there is no order. */
  readonly laneOf?: (message: Seen) => unknown
}

interface Settlement {
  readonly isRejected: boolean
  isSynced: boolean
}

/**
 * Keeps what members were promised, and judges what a group hands out after a loss of power:
 * a settlement that was synced survives, and what nobody had begun to settle is handed out.
 */
export class SettlementOracle {
  readonly #attempted = new Set<string>()
  readonly #settled = new Map<string, Settlement>()

  /** Before a message is settled: from now on it may be handed out, or not. */
  attempt(message: Seen): void {
    this.#attempted.add(keyOf(message))
  }

  /** After its settlement was confirmed. */
  settled(message: Seen, isRejected = false): void {
    const key = keyOf(message)
    if (!this.#settled.has(key)) this.#settled.set(key, { isRejected, isSynced: false })
  }

  /** After a sync: what was settled before it began is on the disk. To be taken before the sync, and called after it. */
  syncing(): () => void {
    const now = [...this.#settled.values()]
    return () => {
      for (const one of now) one.isSynced = true
    }
  }

  /** How many settlements a loss of power can't take back. */
  get synced(): number {
    let count = 0
    for (const { isSynced } of this.#settled.values()) if (isSynced) count++
    return count
  }

  /** What it knows now, for one image of many. */
  copy(): SettlementOracle {
    const copy = new SettlementOracle()
    for (const key of this.#attempted) copy.#attempted.add(key)
    for (const [key, one] of this.#settled) copy.#settled.set(key, { ...one })
    return copy
  }

  /** All that is wrong; empty if nothing is. */
  check({ present, delivered, letters, laneOf }: GroupReading): Violation[] {
    const found: Violation[] = []
    const there = new Set(present.map(keyOf))
    const got = new Set<string>()
    const lastOf = new Map<unknown, Seen>()
    for (const message of delivered) {
      const key = keyOf(message)
      if (!there.has(key)) found.push({ kind: 'invented', message: `${nameOf(message)} is not in the topic` })
      if (got.has(key)) found.push({ kind: 'duplicate', message: `${nameOf(message)} came again after it was settled` })
      if (this.#settled.get(key)?.isSynced === true)
        found.push({ kind: 'duplicate', message: `${nameOf(message)} came again, and its settlement was synced` })
      got.add(key)
      if (laneOf === undefined) continue
      const lane = laneOf(message)
      const before = lastOf.get(lane)
      if (before !== undefined && message.sequence < before.sequence)
        found.push({ kind: 'order', message: `${nameOf(message)} came after ${nameOf(before)}` })
      lastOf.set(lane, message)
    }
    const written = new Set(letters.map(keyOf))
    for (const message of present) {
      const key = keyOf(message)
      if (got.has(key)) continue
      if (!this.#attempted.has(key))
        found.push({ kind: 'lost', message: `${nameOf(message)} was never settled, and did not come` })
      const settlement = this.#settled.get(key)
      if (settlement?.isSynced === true && settlement.isRejected && !written.has(key))
        found.push({
          kind: 'lost',
          message: `${nameOf(message)} was rejected and synced, and there is no letter of it`,
        })
    }
    return found
  }
}

/** A sequence that the log lost and gave out again is another message. */
function keyOf({ sequence, id }: Seen): string {
  return `${sequence} ${id?.writer} ${id?.number}`
}

function nameOf({ sequence, id }: Seen): string {
  return `message ${sequence} (number ${id?.number} of writer ${id?.writer})`
}
