import { HermesError } from '../../base/errors.js'
import { unref } from '../../base/node.js'
import { pause } from '../../base/pause.js'
import type { GroupEntry } from './group-entry.js'
import { type Ledger, mostMembers, remove } from './ledger.js'

const beatsPerLease = 4
/** How often who waits looks for what others did, at most: they tell, too. */
const mostLookMs = 1000

/**
 * One member in the entry of its group: what it changes there is made once. The others see that it lives as long as its number goes on; each measures by its own clock how long it sees nothing
 * new. None are compared.
 */
export class GroupMember {
  readonly entry: GroupEntry
  readonly leaseMs: number
  /** Anew with each membership. */
  id = ''
  /** It has been seen, by this member, that others have no more life in them. */
  readonly #seen = new Map<string, { beat: number; ms: number }>()
  readonly #name: string
  #turn = 0
  #changedMs = 0
  readonly #ticker: NodeJS.Timeout
  readonly #ending = new AbortController()

  /** @param tick called some times per lease: to show life, and to look */
  constructor(entry: GroupEntry, name: string, leaseMs: number, tick: () => void) {
    this.entry = entry
    this.#name = Buffer.from(name).subarray(0, 64).toString()
    this.leaseMs = leaseMs
    this.#ticker = setInterval(tick, Math.min(leaseMs / beatsPerLease / 2, mostLookMs))
    unref(this.#ticker)
  }

  /** Of the next change: messages that are claimed by it have this number. */
  get turn(): number {
    return this.#turn + 1
  }

  /** Its life has to be shown. */
  get isDue(): boolean {
    return performance.now() - this.#changedMs >= this.leaseMs / beatsPerLease
  }

  /** Its lease may be over: it could not show its life for so long. */
  get isLate(): boolean {
    return this.id !== '' && performance.now() - this.#changedMs >= this.leaseMs
  }

  /** Whether it still is one, as of the last look. */
  isIn(ledger: Ledger | undefined): boolean {
    return ledger?.members[this.id] !== undefined
  }

  /** Joins anew, in the next change. */
  enter(draft: Ledger): void {
    if (Object.keys(draft.members).length >= mostMembers) {
      const { topic, name: group } = this.entry
      throw new HermesError(
        'LIMIT',
        `Group '${group}' of topic '${topic}' has ${mostMembers} members, as many as it may.`,
        {
          details: { topic, group, members: mostMembers },
        },
      )
    }
    this.id = crypto.randomUUID().slice(24)
    const none = { beat: 0, turn: 0, claimed: 0, settled: 0 }
    draft.members[this.id] = { name: this.#name, pid: process.pid, sinceMs: Date.now(), ...none }
  }

  /** Those whose lease is over, as far as this one can see. */
  over({ members }: Ledger): string[] {
    const now = performance.now()
    for (const id of this.#seen.keys()) if (members[id] === undefined) this.#seen.delete(id)
    return Object.entries(members).flatMap(([id, { beat }]) => {
      if (id === this.id) return []
      const seen = this.#seen.get(id)
      if (seen === undefined || seen.beat !== beat) {
        this.#seen.set(id, { beat, ms: now })
        return []
      }
      return now - seen.ms > this.leaseMs ? [id] : []
    })
  }

  /**
   * Changes the entry, and shows life by it.
   *
   * @param build what is to become of a copy. `undefined`: nothing is to be done
   * @throws HermesError `NOT_FOUND` if the group was deleted
   */
  async change<T>(build: (draft: Ledger) => T | undefined): Promise<T | undefined> {
    const turn = this.turn
    let by = this.id
    const sent = performance.now()
    const answer = await this.entry.change(
      (draft) => {
        if (draft === undefined) throw this.gone()
        const answer = build(draft)
        if (answer === undefined) return undefined
        by = this.id
        const own = draft.members[this.id]
        if (own !== undefined) {
          own.beat++
          own.turn = turn
        }
        return { ledger: draft, answer }
      },
      (found) => (found?.members[by]?.turn ?? -1) >= turn,
      () => !this.#ending.signal.aborted && this.entry.isConnected,
      this.#ending.signal,
    )
    if (answer !== undefined) {
      this.#turn = turn
      this.#changedMs = sent
    }
    return answer
  }

  gone(): HermesError {
    const { topic, name: group } = this.entry
    return new HermesError('NOT_FOUND', `Group '${group}' of topic '${topic}' was deleted.`, {
      details: { topic, group },
    })
  }

  /** Leaves. What the cluster does not answer in this time is left to the lease. Never rejects. */
  async leave(timeoutMs: number): Promise<void> {
    clearInterval(this.#ticker)
    const over = pause(timeoutMs, this.#ending.signal).then(() => this.#ending.abort())
    await this.change((draft) => {
      if (!this.isIn(draft)) return undefined
      remove(draft, this.id, false)
      return true
    }).catch(() => undefined)
    this.#ending.abort()
    await over
    this.entry.tell()
  }
}
