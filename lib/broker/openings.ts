/**
 * Openings of one party that are under way at once. They use the few threads that files are opened with: thousands over many connections would have others wait
 * for a turn of these threads at each of several steps.
 */
const mostOfParty = 32
/** Who takes longer does not wait for a thread, but for a recovery, a sync or another client. He does not count any more. */
const longMs = 250

/** A client may open something. */
export interface Permit {
  /** Over. Idempotent. */
  release(): void
}

type Granted = (permit: Permit) => void

interface Party {
  underWay: number
  readonly waiting: Set<Granted>
}

/** Lets so many openings of each party begin. Its connections take turns. */
export class Openings {
  readonly #parties = new Map<string, Party>()

  /** Calls `granted` once the party may begin one opening more: now, or later. */
  ask(name: string, granted: Granted): void {
    let party = this.#parties.get(name)
    if (party === undefined) {
      party = { underWay: 0, waiting: new Set() }
      this.#parties.set(name, party)
    }
    party.waiting.add(granted)
    this.#serve(name, party)
  }

  #serve(name: string, party: Party): void {
    for (const granted of party.waiting) {
      if (party.underWay >= mostOfParty) break
      party.waiting.delete(granted)
      granted(this.#permit(name, party))
    }
    if (party.underWay === 0 && party.waiting.size === 0 && this.#parties.get(name) === party)
      this.#parties.delete(name)
  }

  #permit(name: string, party: Party): Permit {
    party.underWay++
    let counts = true
    const release = () => {
      clearTimeout(timer)
      if (!counts) return
      counts = false
      party.underWay--
      this.#serve(name, party)
    }
    const timer = setTimeout(release, longMs)
    timer.unref()
    return { release }
  }
}
